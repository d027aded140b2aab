"""Some variants beside each other: validation curves, and test accuracies."""

from collections.abc import Sequence
from itertools import cycle

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from labreport import frames, style, words
from labreport.formats import percent, short_name
from labreport.measures import accuracy_interval
from labreport.study import Study


def plot_comparison(study: Study, variants: Sequence[str]) -> Figure:
    """Validation accuracy by epoch in one panel, test accuracy with its interval in the other.

    A line per seed; each variant has a colour and dashes of its own.
    """
    height = max(2.3, 1 + 0.2 * len(variants))
    figure, [[left, right]] = style.new_figure(1, 2, height=height, width_ratios=[1.15, 1])
    colours = dict(zip(map(short_name, variants), cycle(style.PALETTE), strict=False))
    curves = frames.histories(study, variants).query("split == 'val'")
    sns.lineplot(
        curves, x="epoch", y="accuracy", hue="model", palette=colours, style="model",
        units="seed", estimator=None, linewidth=1.2, ax=left,
    )  # fmt: skip
    style.finish_panel(left)
    left.set_ylabel(words.SPLIT_ACCURACY["val"])
    for place, variant in enumerate(variants):
        draw_accuracy(right, place, study, variant, colours[short_name(variant)])
    finish_accuracies(right, variants)
    style.share_legend(figure, 3)  # one's own names may be long
    return figure


def draw_accuracy(axes: Axes, place: int, study: Study, variant: str, colour: str) -> None:
    """A test accuracy with its interval, and its number at the right edge.

    A net that diverged or learned nothing has a word for it.
    """
    value, low, high = accuracy_interval(study, variant)
    drawn = axes.errorbar(
        value, place, xerr=np.maximum([[value - low], [high - value]], 0), capsize=2.5, zorder=3,
        markersize=4.5, color=colour, marker="o",
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
