"""Test accuracy against the arithmetic of a training, with the Pareto front."""

from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.transforms import BboxBase

from labcnn.variants import VARIANTS
from labreport import style, words
from labreport.costs import Point, find_front, find_points
from labreport.formats import percent, short_name
from labreport.study import Study

FRONT: dict[str, Any] = {"color": "#222222", "linewidth": 1.3, "zorder": 1.5}
#: Areas of marks, in points: the baseline's is seen around one that coincides with it.
SIZES = style.by_switch(34, baseline=100, all=55)


def plot_costs(study: Study) -> Figure:
    """A point per variant; the line joins those that no other beats for less, with their names."""
    figure, [[axes]] = style.new_figure(height=2.5)
    found = find_points(study)
    front = find_front(found)
    places = [(point.cost / 1e12, point.accuracy) for point in front]
    axes.step(*zip(*places, strict=True), where="post", label=words.FRONT, **FRONT)
    points = pd.DataFrame(
        {
            "cost": point.cost / 1e12,
            "accuracy": point.accuracy,
            "depth": VARIANTS[point.variant].depth,
            "switch": point.variant.partition("_")[2],
        }
        for point in found
    )
    sns.scatterplot(
        points, x="cost", y="accuracy", style="switch", markers=style.SWITCH_MARKERS,
        size="switch", sizes=SIZES, hue="depth", palette=style.DEPTH_COLOURS,
        hue_order=[depth for depth in style.DEPTH_COLOURS if depth in set(points["depth"])],
        linewidth=0.5, zorder=2, ax=axes,
    )  # fmt: skip
    said = [
        f"{short_name(p.variant)} {percent(p.accuracy)}%, {p.cost / 1e12:.0f} TFLOP" for p in found
    ]
    style.set_hover(axes.collections[0], said)
    axes.set_xscale("log")  # not before: seaborn would write each cost as a power, rounded
    axes.set(xlabel=words.TRAINING_FLOPS, ylabel=words.SPLIT_ACCURACY["test"])
    axes.margins(0.18, 0.12)
    axes.autoscale_view()
    style.plain_log_axis(axes.xaxis)
    style.percent_axis(axes.yaxis)
    style.share_legend(figure)
    _name_front(figure, front)
    return figure


def _name_front(figure: Figure, front: list[Point]) -> None:
    """Names above and left of the front's points, where no other point and no line can be.

    Where two names would cover each other, only the better point has its own.
    """
    (axes,), taken = figure.axes, list[BboxBase]()
    names = [
        axes.annotate(
            short_name(point.variant), (point.cost / 1e12, point.accuracy), (-5, 4),
            textcoords="offset points", ha="right", fontsize=7.5,
        )
        for point in reversed(front)
    ]  # fmt: skip
    figure.draw_without_rendering()  # now it is known where they are
    for name in names:
        box = name.get_window_extent()
        if box.count_overlaps(taken):
            name.set_visible(False)
        else:
            taken.append(box)
