"""Some variants beside each other: validation curves, and test accuracies."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from labreport import style, words
from labreport.formats import percent, short_name
from labreport.measures import accuracy_interval
from labreport.study import Study


def plot_comparison(study: Study, variants: Sequence[str]) -> Figure:
    """Validation accuracy by epoch in one panel, test accuracy with its interval in the other."""
    figure, [[left, right]] = style.new_figure(1, 2, height=2.3, width_ratios=[1.15, 1])
    looks = style.line_looks(study.with_runs(variants))
    for variant, look in looks.items():
        _draw_validation(left, study, variant, {**look, "label": short_name(variant)})
    left.set(xlabel=words.EPOCH, ylabel=words.SPLIT_ACCURACY["val"])
    style.percent_axis(left.yaxis)
    left.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5, min_n_ticks=1))
    for place, variant in enumerate(variants):
        if variant in looks:
            draw_accuracy(right, place, study, variant, looks[variant])
        else:
            style.mark_missing(right, place)
    finish_accuracies(right, variants)
    if looks:
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=5)
    else:
        style.write_note(left, words.STATUS["missing"])
    return figure


def _draw_validation(axes: Axes, study: Study, variant: str, look: dict[str, Any]) -> None:
    """The seeds' mean with some markers, and each seed as a thin line where there are several.

    The markers are what is seen of a run of one epoch.
    """
    seeds = study.seeds(variant)
    table = pd.DataFrame(
        {s: study.history(variant, s).set_index("epoch")["val_accuracy"] for s in seeds}
    )
    if len(seeds) > 1:
        thin = {**look, "linewidth": 0.6, "alpha": 0.35, "label": None, "marker": None}
        axes.plot(table.index, table.to_numpy(), **thin)
    axes.plot(table.index, table.mean(axis=1), **look, markevery=style.marker_step(len(table)))


def draw_accuracy(axes: Axes, place: int, study: Study, variant: str, look: dict[str, Any]) -> None:
    """A test accuracy with its interval, and its number at the right edge.

    A net that diverged or learned nothing has a word for it.
    """
    value, low, high = accuracy_interval(study, variant)
    wanted = ("color", "marker", "markerfacecolor")
    drawn = axes.errorbar(
        value, place, xerr=np.maximum([[value - low], [high - value]], 0), capsize=2.5, zorder=3,
        markersize=4.5, **{name: look[name] for name in wanted},
    )  # fmt: skip
    said = f"{short_name(variant)} {percent(value)}% [{percent(low)}, {percent(high)}]"
    style.set_hover(drawn.lines[0], said)
    status = study.bad_status(variant)
    word = f"{words.STATUS[status]} " if status else ""
    axes.text(
        1, place, f"{word}{percent(value)}", transform=axes.get_yaxis_transform(), ha="right",
        va="center", fontsize=7.5,
    )  # fmt: skip


def finish_accuracies(axes: Axes, variants: Sequence[str]) -> None:
    """Name the rows, the first above; the axis in percent, from zero."""
    axes.set_yticks(range(len(variants)), [short_name(v) for v in variants])
    axes.set_ylim(max(len(variants), 1) - 0.5, -0.5)
    style.start_at_zero(axes, 1.16)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    style.percent_axis(axes.xaxis)
    axes.set_xlabel(words.SPLIT_ACCURACY["test"])
    axes.grid(axis="y", linewidth=0.4)
