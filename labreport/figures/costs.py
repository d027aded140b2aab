"""Test accuracy against the arithmetic of a training, with the Pareto front."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labreport import style, words
from labreport.costs import Point, find_front, find_points
from labreport.formats import percent, short_name
from labreport.study import Study

#: Width and height of a point's name, as parts of the panel.
NAME = (0.17, 0.06)


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
    axes.margins(x=0.14)
    axes.autoscale_view()
    axes.set_ylim(0, axes.get_ylim()[1] * 1.05)
    _name_points(axes, found)
    style.plain_log_axis(axes.xaxis)
    style.percent_axis(axes.yaxis)
    axes.set(xlabel=words.TRAINING_FLOPS, ylabel=words.SPLIT_ACCURACY["test"])
    return figure


def _name_points(axes: Axes, found: Sequence[Point]) -> None:
    """A name at the right of each point, lower where it would cover the one above."""
    placed: list[tuple[float, float]] = []
    for point in sorted(found, key=lambda p: -p.accuracy):
        where = axes.transData.transform((point.cost / 1e12, point.accuracy))
        x, y = axes.transAxes.inverted().transform(where)
        near = [other for left, other in placed if abs(left - x) < NAME[0] and other - y < NAME[1]]
        y = min([y, *(other - NAME[1] for other in near)])
        placed.append((x, y))
        axes.text(
            x + 0.012, y, short_name(point.variant), transform=axes.transAxes, va="center",
            fontsize=7.5,
        )  # fmt: skip
