"""Do gradients fade on the way back? Norms by layer and epoch, first against last stage."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from labreport import looks
from labreport.formats import STATUS
from labreport.gradients import first_to_last
from labreport.names import short_name
from labreport.study import Study

STAGES = ("输入卷积", "阶段 1", "阶段 2", "阶段 3", "阶段 4", "线性层")


def heat_map(study: Study, variants: Sequence[str]) -> Figure:
    """Gradient norm of each layer (input above, output below) in each epoch; mean over seeds."""
    figure, [row] = looks.figure(1, len(variants), height=2.7)
    tables = {variant: _by_layer(study, variant) for variant in looks.there(study, variants)}
    values = np.concatenate([np.ones(0), *(t.to_numpy().ravel() for t in tables.values())])
    values = values[np.isfinite(values) & (values > 0)]
    norm = LogNorm(*((values.min(), values.max()) if len(values) else (0.1, 1)))
    mesh = None
    for axes, variant in zip(row, variants, strict=True):
        axes.set_title(short_name(variant), fontsize=8.5)
        axes.grid(visible=False)
        if variant not in tables:
            looks.note(axes, STATUS["missing"])
            axes.set(xticks=[], yticks=[])
            continue
        mesh = _mesh(axes, tables[variant], norm)
        failed = study.failed(variant)
        if failed:
            looks.note(axes, STATUS[failed])
    for axes in row[1:]:
        axes.set_yticklabels([])
    if mesh is not None:
        bar = figure.colorbar(mesh, ax=row, label="梯度范数", pad=0.02)
        looks.plain_log(bar.ax.yaxis)
    return figure


def _by_layer(study: Study, variant: str) -> pd.DataFrame:
    """Layers in the order of the forward pass (index: layer, stage) by epoch."""
    tables = [study.gradients(variant, seed) for seed in study.seeds(variant)]
    order = tables[0].drop_duplicates("layer").set_index(["layer", "stage"]).index
    mean = pd.concat(tables).groupby(["layer", "stage", "epoch"])["gradient_norm"].mean()
    return mean.unstack("epoch").reindex(order).sort_index(level="stage", sort_remaining=False)


def _mesh(axes: Axes, table: pd.DataFrame, norm: LogNorm) -> QuadMesh:
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
    axes.set_yticks(centres, [STAGES[stage] for stage in present])
    axes.tick_params(left=False)
    axes.set_ylim(len(table), 0)
    axes.set_xlabel("轮")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5, min_n_ticks=1))
    return mesh


def first_against_last(study: Study, variants: Sequence[str]) -> Figure:
    """Norm of the first stage over that of the last, by epoch; below 1 the gradient fades."""
    figure, [[axes]] = looks.figure(height=2.3)
    for variant in looks.there(study, variants):
        logarithms = {s: pd.Series(first_to_last(study, variant, s)) for s in study.seeds(variant)}
        mean = np.exp(pd.DataFrame(logarithms).mean(axis=1))
        axes.plot(
            mean.index, mean, color=looks.colour(variant), linestyle=looks.line(variant),
            marker=looks.marker(variant), markersize=looks.size(variant),
            markerfacecolor=looks.face(variant), markevery=looks.every(len(mean)),
            label=short_name(variant),
        )  # fmt: skip
    axes.axhline(1, color=looks.GREY, linestyle=":", linewidth=1)
    axes.set_yscale("log")
    looks.plain_log(axes.yaxis)
    axes.set_ylabel("首末阶段梯度范数之比")
    axes.set_xlabel("轮（0 为训练前）")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if axes.get_legend_handles_labels()[0]:
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
    else:
        looks.note(axes, STATUS["missing"])
    return figure
