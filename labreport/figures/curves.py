"""What happens over the epochs: loss, accuracy, learning rate, gradients."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from labreport import style, words
from labreport.formats import short_name
from labreport.measures import first_to_last
from labreport.study import Study


def tabulate_histories(study: Study, variant: str, column: str) -> pd.DataFrame:
    """A column of ``history.csv``: a row per epoch, a column per seed."""
    series = {
        seed: study.history(variant, seed).set_index("epoch")[column]
        for seed in study.seeds(variant)
    }
    return pd.DataFrame(series)


def _draw_curve(axes: Axes, table: pd.DataFrame, look: Mapping[str, Any]) -> None:
    """The seeds' mean with some markers, and each seed as a thin line where there are several.

    The markers are what is seen of a run of one epoch.
    """
    if table.shape[1] > 1:
        thin = {**look, "linewidth": 0.6, "alpha": 0.35, "label": None, "marker": None}
        axes.plot(table.index, table.to_numpy(), **thin)
    axes.plot(table.index, table.mean(axis=1), **look, markevery=style.marker_step(len(table)))


def plot_training(study: Study, variants: Sequence[str]) -> Figure:
    """Loss (above) and accuracy (below) of each variant: training dashed, validation solid."""
    figure, rows = style.new_figure(2, len(variants), height=3.0, sharex="col", sharey="row")
    for column, variant in enumerate(variants):
        for row, measure in zip(rows, ("loss", "accuracy"), strict=True):
            axes = row[column]
            if not study.seeds(variant):
                style.write_note(axes, words.STATUS["missing"])
                axes.set_xticks([])
                continue
            for split, line in (("train", "--"), ("val", "-")):
                colour = style.colour(variant)
                look = {
                    "color": colour,
                    "linestyle": line,
                    "marker": "o",
                    "markersize": 3,
                    "markerfacecolor": "white" if split == "train" else colour,
                    "label": words.SPLITS[split],
                }
                _draw_curve(axes, tabulate_histories(study, variant, f"{split}_{measure}"), look)
        failed = study.bad_status(variant)
        if failed:
            style.write_note(rows[1][column], words.STATUS[failed])
        rows[0][column].set_title(short_name(variant), fontsize=8.5)
        _label_epochs(rows[1][column])
    rows[0][0].set_ylabel(words.LOSS)
    rows[1][0].set_ylabel(words.ACCURACY)
    style.percent_axis(rows[1][0].yaxis)
    _add_split_legend(figure)
    return figure


def _add_split_legend(figure: Figure) -> None:
    handles = [
        Line2D(
            [], [], color=style.GREY, linestyle="--", marker="o", markersize=3,
            markerfacecolor="white", label=words.SPLITS["train"],
        ),
        Line2D(
            [], [], color=style.GREY, linestyle="-", marker="o", markersize=3,
            label=words.SPLITS["val"],
        ),
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=2)


def _label_epochs(axes: Axes) -> None:
    axes.set_xlabel(words.EPOCH)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5, min_n_ticks=1))


def draw_validation(axes: Axes, study: Study, variants: Sequence[str]) -> None:
    """Validation accuracy of several variants in one panel."""
    for variant, look in style.line_looks(study.with_runs(variants)).items():
        look["label"] = short_name(variant)
        _draw_curve(axes, tabulate_histories(study, variant, "val_accuracy"), look)
    axes.set_ylabel(words.SPLIT_ACCURACY["val"])
    style.percent_axis(axes.yaxis)
    _label_epochs(axes)


def plot_learning_rate(study: Study, variants: Sequence[str]) -> Figure:
    """The rate in each epoch, on a logarithmic axis."""
    figure, [[axes]] = style.new_figure(height=2.2)
    shown = study.with_runs(variants)
    looks = style.line_looks(shown)
    for place, variant in enumerate(shown):
        look = {
            "color": looks[variant]["color"],
            "linestyle": style.line_style(variant),
            # Rates often coincide: a later, thinner line leaves the earlier one to be seen.
            "linewidth": 1.2 + 0.9 * (len(shown) - 1 - place),
            "solid_capstyle": "butt",
            "drawstyle": "steps-mid",
            "label": short_name(variant),
        }
        table = tabulate_histories(study, variant, "learning_rate")
        if len(table) == 1:  # no step to see
            look |= {
                "marker": style.marker(variant),
                "markerfacecolor": style.marker_face(variant),
            }
        _draw_curve(axes, table, look)
    axes.set_yscale("log")
    axes.set_ylabel(words.LEARNING_RATE)
    _label_epochs(axes)
    if axes.lines:
        style.plain_log_axis(axes.yaxis)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
    else:
        style.write_note(axes, words.STATUS["missing"])
    return figure


def plot_gradients(study: Study, variants: Sequence[str]) -> Figure:
    """Gradient norm of each layer (input above, output below) in each epoch; mean over seeds."""
    figure, [row] = style.new_figure(1, len(variants), height=2.7)
    tables = {variant: _tabulate_layers(study, variant) for variant in study.with_runs(variants)}
    values = np.concatenate([np.ones(0), *(t.to_numpy().ravel() for t in tables.values())])
    values = values[np.isfinite(values) & (values > 0)]
    norm = LogNorm(*((values.min(), values.max()) if len(values) else (0.1, 1)))
    mesh = None
    for axes, variant in zip(row, variants, strict=True):
        axes.set_title(short_name(variant), fontsize=8.5)
        axes.grid(visible=False)
        if variant not in tables:
            style.write_note(axes, words.STATUS["missing"])
            axes.set(xticks=[], yticks=[])
            continue
        mesh = _draw_layers(axes, tables[variant], norm)
        failed = study.bad_status(variant)
        if failed:
            style.write_note(axes, words.STATUS[failed])
    for axes in row[1:]:
        axes.set_yticklabels([])
    if mesh is not None:
        bar = figure.colorbar(mesh, ax=row, label=words.GRADIENT_NORM, pad=0.02)
        style.plain_log_axis(bar.ax.yaxis)
    return figure


def _tabulate_layers(study: Study, variant: str) -> pd.DataFrame:
    """Layers in the order of the forward pass (index: layer, stage) by epoch."""
    tables = [study.gradients(variant, seed) for seed in study.seeds(variant)]
    order = tables[0].drop_duplicates("layer").set_index(["layer", "stage"]).index
    mean = pd.concat(tables).groupby(["layer", "stage", "epoch"])["gradient_norm"].mean()
    return mean.unstack("epoch").reindex(order).sort_index(level="stage", sort_remaining=False)


def _draw_layers(axes: Axes, table: pd.DataFrame, norm: LogNorm) -> QuadMesh:
    stages = table.index.get_level_values("stage").to_numpy()
    shown = np.ma.masked_invalid(np.where(table.to_numpy() > 0, table.to_numpy(), np.nan))
    epochs = table.columns.to_numpy()
    edges = np.append(epochs - 0.5, epochs[-1] + 0.5)
    mesh = axes.pcolormesh(
        edges, np.arange(len(table) + 1), shown, norm=norm, cmap="cividis", rasterized=True
    )
    for boundary in np.flatnonzero(np.diff(stages)) + 1:
        axes.axhline(float(boundary), color="white", linewidth=0.8, linestyle="-")
    present = np.unique(stages)
    centres = [float(np.flatnonzero(stages == stage).mean()) + 0.5 for stage in present]
    axes.set_yticks(centres, [words.STAGES[stage] for stage in present])
    axes.tick_params(left=False)
    axes.set_ylim(len(table), 0)
    axes.set_xlabel(words.EPOCH)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5, min_n_ticks=1))
    return mesh


def plot_gradient_ratio(study: Study, variants: Sequence[str]) -> Figure:
    """Norm of the first stage over that of the last, by epoch; below 1 the gradient fades."""
    figure, [[axes]] = style.new_figure(height=2.3)
    for variant in study.with_runs(variants):
        logarithms = {s: pd.Series(first_to_last(study, variant, s)) for s in study.seeds(variant)}
        mean = np.exp(pd.DataFrame(logarithms).mean(axis=1))
        axes.plot(
            mean.index, mean, color=style.colour(variant), linestyle=style.line_style(variant),
            marker=style.marker(variant), markersize=style.marker_size(variant),
            markerfacecolor=style.marker_face(variant), markevery=style.marker_step(len(mean)),
            label=short_name(variant),
        )  # fmt: skip
    axes.axhline(1, color=style.GREY, linestyle=":", linewidth=1)
    axes.set_yscale("log")
    style.plain_log_axis(axes.yaxis)
    axes.set_ylabel(words.GRADIENT_RATIO)
    axes.set_xlabel(words.EPOCH_FROM_ZERO)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if axes.get_legend_handles_labels()[0]:
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
    else:
        style.write_note(axes, words.STATUS["missing"])
    return figure
