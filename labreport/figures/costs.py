"""Test accuracy against the arithmetic of a training, with the Pareto front."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labreport import style, words
from labreport.costs import Point, find_front, find_points
from labreport.formats import percent, short_name
from labreport.study import Study

#: Width and height of a point's name, its distance, the lowest place: as parts of the panel.
NAME, ASIDE, LOWEST = (0.17, 0.075), 0.018, 0.035


def plot_costs(study: Study) -> Figure:
    """A named point per variant; the line joins those that no other beats for less."""
    figure, [[axes]] = style.new_figure(height=2.6)
    found = find_points(study)
    steps = np.array([(p.cost / 1e12, p.accuracy) for p in find_front(found)])
    axes.step(*steps.T, where="post", color=style.GREY, linewidth=0.9, linestyle="-", zorder=1)
    axes.set_xscale("log")
    for point in found:
        look = style.variant_look(point.variant)
        (mark,) = axes.plot(point.cost / 1e12, point.accuracy, linestyle="none", **look)
        said = (
            f"{short_name(point.variant)} {percent(point.accuracy)}%, {point.cost / 1e12:.0f} TFLOP"
        )
        style.set_hover(mark, said)
    axes.autoscale_view()
    left, right = axes.get_xlim()
    axes.set_xlim(left, right * (right / left) ** 0.2)  # the names' room
    axes.set_ylim(0, axes.get_ylim()[1] * 1.05)
    _name_points(axes, found)
    style.plain_log_axis(axes.xaxis)
    style.percent_axis(axes.yaxis)
    axes.set(xlabel=words.TRAINING_FLOPS, ylabel=words.SPLIT_ACCURACY["test"])
    return figure


def _name_points(axes: Axes, found: Sequence[Point]) -> None:
    """A name at the right of each point, moved where it would cover another, then with a line."""
    ranked = sorted(found, key=lambda p: -p.accuracy)
    data = [axes.transData.transform((p.cost / 1e12, p.accuracy)) for p in ranked]
    points = axes.transAxes.inverted().transform(data)
    heights = [float(y) for _, y in points]
    order = range(len(points))
    near = [[j for j in order if abs(points[i][0] - points[j][0]) < NAME[0]] for i in order]
    for i in order:
        heights[i] = min([heights[i], *(heights[j] - NAME[1] for j in near[i] if j < i)])
    for i in reversed(order):
        above_others = (heights[j] + NAME[1] for j in near[i] if j > i)
        heights[i] = max([heights[i], LOWEST, *above_others])
    for point, (x, y), height in zip(ranked, points, heights, strict=True):
        axes.text(
            x + ASIDE, height, short_name(point.variant), transform=axes.transAxes, va="center",
            fontsize=7.5, zorder=1.5,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4},
        )  # fmt: skip
        if abs(height - y) > NAME[1] / 4:
            axes.plot(
                [x, x + ASIDE], [y, height], transform=axes.transAxes, color=style.GREY,
                linewidth=0.5, linestyle="-", zorder=1.2,
            )  # fmt: skip
