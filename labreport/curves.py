"""Curves over the epochs: loss, accuracy, learning rate."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from labreport import looks
from labreport.formats import STATUS
from labreport.names import short_name
from labreport.study import Study


def histories(study: Study, variant: str, column: str) -> pd.DataFrame:
    """A column of ``history.csv``: a row per epoch, a column per seed."""
    series = {
        seed: study.history(variant, seed).set_index("epoch")[column]
        for seed in study.seeds(variant)
    }
    return pd.DataFrame(series)


def _draw(axes: Axes, table: pd.DataFrame, style: Mapping[str, Any]) -> None:
    """The seeds' mean with some markers, and each seed as a thin line where there are several.

    The markers are what is seen of a run of one epoch.
    """
    if table.shape[1] > 1:
        thin = {**style, "linewidth": 0.6, "alpha": 0.35, "label": None, "marker": None}
        axes.plot(table.index, table.to_numpy(), **thin)
    axes.plot(table.index, table.mean(axis=1), **style, markevery=looks.every(len(table)))


def training(study: Study, variants: Sequence[str]) -> Figure:
    """Loss (above) and accuracy (below) of each variant: training dashed, validation solid."""
    figure, rows = looks.figure(2, len(variants), height=3.0, sharex="col", sharey="row")
    for column, variant in enumerate(variants):
        for row, measure in zip(rows, ("loss", "accuracy"), strict=True):
            axes = row[column]
            if not study.seeds(variant):
                looks.note(axes, STATUS["missing"])
                axes.set_xticks([])
                continue
            for split, name, line in (("train", "训练集", "--"), ("val", "验证集", "-")):
                colour = looks.colour(variant)
                style = {
                    "color": colour,
                    "linestyle": line,
                    "marker": "o",
                    "markersize": 3,
                    "markerfacecolor": "white" if split == "train" else colour,
                    "label": name,
                }
                _draw(axes, histories(study, variant, f"{split}_{measure}"), style)
        failed = study.failed(variant)
        if failed:
            looks.note(rows[1][column], STATUS[failed])
        rows[0][column].set_title(short_name(variant), fontsize=8.5)
        _epochs(rows[1][column])
    rows[0][0].set_ylabel("损失")
    rows[1][0].set_ylabel("准确率")
    looks.percent(rows[1][0].yaxis)
    _split_legend(figure)
    return figure


def _split_legend(figure: Figure) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [], [], color=looks.GREY, linestyle="--", marker="o", markersize=3,
            markerfacecolor="white", label="训练集",
        ),
        Line2D(
            [], [], color=looks.GREY, linestyle="-", marker="o", markersize=3, label="验证集"
        ),
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=2)


def _epochs(axes: Axes) -> None:
    axes.set_xlabel("轮")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5, min_n_ticks=1))


def validation(axes: Axes, study: Study, variants: Sequence[str]) -> None:
    """Validation accuracy of several variants in one panel."""
    for variant in looks.there(study, variants):
        style = {
            "color": looks.colour(variant),
            "linestyle": looks.line(variant),
            "marker": looks.marker(variant),
            "markerfacecolor": "none" if looks.hollow(variant) else looks.colour(variant),
            # Of two curves that coincide, the baseline's rings are seen around the other's dots.
            "markersize": looks.size(variant),
            "zorder": 2.5 if looks.hollow(variant) else 2,
            "label": short_name(variant),
        }
        _draw(axes, histories(study, variant, "val_accuracy"), style)
    axes.set_ylabel("验证集准确率")
    looks.percent(axes.yaxis)
    _epochs(axes)


def learning_rate(study: Study, variants: Sequence[str]) -> Figure:
    """The rate in each epoch, on a logarithmic axis."""
    figure, [[axes]] = looks.figure(height=2.2)
    shown = looks.there(study, variants)
    for place, variant in enumerate(shown):
        style = {
            "color": looks.colour(variant),
            "linestyle": looks.line(variant),
            # Rates often coincide: a later, thinner line leaves the earlier one to be seen.
            "linewidth": 1.2 + 0.9 * (len(shown) - 1 - place),
            "solid_capstyle": "butt",
            "drawstyle": "steps-mid",
            "label": short_name(variant),
        }
        table = histories(study, variant, "learning_rate")
        if len(table) == 1:  # no step to see
            style |= {"marker": looks.marker(variant), "markerfacecolor": looks.face(variant)}
        _draw(axes, table, style)
    axes.set_yscale("log")
    axes.set_ylabel("学习率")
    _epochs(axes)
    if axes.lines:
        looks.plain_log(axes.yaxis)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
    else:
        looks.note(axes, STATUS["missing"])
    return figure
