"""Test accuracy against the arithmetic of a training, with the Pareto front."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labreport import style, words
from labreport.costs import Point, find_front, find_points
from labreport.formats import percent, short_name
from labreport.study import Study

FRONT: dict[str, Any] = {"color": "#222222", "linewidth": 1.3, "linestyle": "-", "zorder": 1.5}
#: From a point to its name, in points of 1/72 inch, and in which directions; nearest first.
DISTANCES = (6.0, 11.0, 18.0, 27.0)
DIRECTIONS = ((1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1), (0, 1), (0, -1))
#: Where a name is farther off, a line leads to it. Free space around a name; half a mark; between
#: the places of a line that are looked at.
FAR, ROOM, MARK, STEP = 8.0, 1.0, 4.0, 2.0
#: What a covered place costs, in points of distance; how many of those it costs to meet another
#: name or to leave the panel; how often every name looks for its place.
COVERED, MEETS, ROUNDS = 20.0, 5, 3


def plot_costs(study: Study) -> Figure:
    """A named point per variant; the line joins those that no other beats for less."""
    figure, [[axes]] = style.new_figure(height=2.9)
    found = find_points(study)
    front = np.array([(p.cost / 1e12, p.accuracy) for p in find_front(found)])
    axes.step(*front.T, where="post", label=words.FRONT, **FRONT)
    axes.set_xscale("log")
    for point in found:
        look = style.variant_look(point.variant)
        if style.is_baseline(point.variant):
            look["markersize"] = 7  # a ring around what coincides with it
        (mark,) = axes.plot(point.cost / 1e12, point.accuracy, linestyle="none", **look)
        said = (
            f"{short_name(point.variant)} {percent(point.accuracy)}%, {point.cost / 1e12:.0f} TFLOP"
        )
        style.set_hover(mark, said)
    axes.margins(0.12, 0.12)
    axes.autoscale_view()
    style.plain_log_axis(axes.xaxis)
    style.percent_axis(axes.yaxis)
    axes.set(xlabel=words.TRAINING_FLOPS, ylabel=words.SPLIT_ACCURACY["test"])
    style.add_depth_legend(figure, [point.variant for point in found])
    figure.draw_without_rendering()  # now it is known where the points are
    corners = [point for a, b in pairwise(front) for point in (a, (b[0], a[1]))]
    _name_points(axes, found, [*corners, front[-1]])
    return figure


def _name_points(axes: Axes, found: Sequence[Point], front: Sequence[Sequence[float]]) -> None:
    """A name beside each point, farther off and with a line where it would cover something."""
    points = [(point.cost / 1e12, point.accuracy) for point in found]
    look: dict[str, Any] = {"textcoords": "offset points", "fontsize": 7.5, "va": "bottom"}
    names = [
        axes.annotate(short_name(point.variant), xy, (0, 0), **look)
        for point, xy in zip(found, points, strict=True)
    ]
    scale, panel = axes.figure.dpi / 72, axes.get_window_extent()
    places, line = (
        (axes.transData.transform(given) - panel.min) / scale for given in (points, front)
    )
    sizes = np.array([name.get_window_extent().size for name in names]) / scale
    boxes = place_names(sizes, places, line, np.array(panel.size) / scale)
    arrow = {"arrowstyle": "-", "color": style.GREY, "linewidth": 0.5, "shrinkA": 1, "shrinkB": 3}
    for name, box, place, xy in zip(names, boxes, places, points, strict=True):
        name.set_position(box[:2] - place)
        end = np.clip(place, box[:2], box[2:]) - place
        if np.hypot(*end) > FAR:
            axes.annotate("", xy, end, arrowprops=arrow, **look)


def place_names(
    sizes: np.ndarray, places: np.ndarray, line: np.ndarray, panel: np.ndarray
) -> np.ndarray:
    """Where names stand so that none covers another, a point, or a line.

    Each name looks several times for the cheapest place around its point, beside the others'.

    Parameters
    ----------
    sizes : of the names (N, 2). All lengths are in points of 1/72 inch, x before y.
    places : of the points that they name (N, 2).
    line : the corners of a line that they keep free (K, 2).
    panel : its size (2); its lower left corner is 0.

    Returns
    -------
    Left, bottom, right and top of each name (N, 4).
    """
    around = MARK * np.array([(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)])
    ink = np.concatenate([*(place + around for place in places), *map(_follow, line, line[1:])])
    boxes, leaders = np.full((len(sizes), 4), -np.inf), [places[:0]] * len(sizes)
    for _ in range(ROUNDS):
        for k, (size, place) in enumerate(zip(sizes, places, strict=True)):
            others = np.delete(boxes, k, axis=0)
            drawn = np.concatenate([ink, *leaders[:k], *leaders[k + 1 :]])
            cheapest = np.inf
            for distance, box in _offer(size, place):
                leader = _follow(place, np.clip(place, box[:2], box[2:]))
                wide = box + ROOM * np.array([-1, -1, 1, 1])
                meets = (wide[:2] < others[:, 2:]) & (others[:, :2] < wide[2:])
                covered = (
                    np.sum(_inside(drawn, wide))
                    + sum(np.sum(_inside(leader, other)) for other in others)
                    + MEETS * meets.all(axis=1).sum()
                    + MEETS * bool((wide[:2] < 0).any() or (wide[2:] > panel).any())
                )
                if distance + COVERED * covered < cheapest:
                    cheapest = distance + COVERED * covered
                    boxes[k], leaders[k] = box, leader
    return boxes


def _offer(size: np.ndarray, place: np.ndarray) -> Iterator[tuple[float, np.ndarray]]:
    """Boxes of a size around a place, each with its distance."""
    for distance in DISTANCES:
        for direction in np.array(DIRECTIONS):
            centre = place + direction * (size / 2 + distance / np.hypot(*direction))
            yield distance, np.concatenate([centre - size / 2, centre + size / 2])


def _follow(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Places along a straight line, some points of 1/72 inch apart."""
    number = 2 + int(np.hypot(*(end - start)) / STEP)
    return np.linspace(start, end, number)


def _inside(points: np.ndarray, box: np.ndarray) -> np.ndarray:
    return np.all((box[:2] < points) & (points < box[2:]), axis=1)
