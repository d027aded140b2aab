"""Test accuracy against what it costs, with the Pareto fronts."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from labcnn.variants import VARIANTS
from labreport import style, words
from labreport.costs import Point, front, points, same_size
from labreport.formats import short_name
from labreport.study import Study

#: Width and height of a point's name, as parts of a panel.
NAME = (0.35, 0.07)


def plot_costs(study: Study, tuned: Study | None = None) -> Figure:
    """Test accuracy against training time (left) and against FLOPs (right).

    A tuned net that had more images, or fewer, isn't shown: neither axis would compare.
    """
    tuned = same_size(study, tuned)
    figure, [row] = style.new_figure(1, 2, height=3.4, sharey="row")
    for axes, column, scale, text in zip(
        row,
        ("train_seconds", "flops"),
        (1 / 60, 1e-6),
        (words.TRAINING_MINUTES, words.FORWARD_FLOPS),
        strict=True,
    ):
        _draw_panel(axes, study, tuned, column, scale)
        axes.set_xlabel(text)
    row[0].set_ylabel(words.SPLIT_ACCURACY["test"])
    row[0].set_ylim(0, row[0].get_ylim()[1] * 1.06)
    style.percent_axis(row[0].yaxis)
    figure.legend(handles=_make_key(study, tuned), loc="outside lower center", ncols=5)
    return figure


def _draw_panel(axes: Axes, study: Study, tuned: Study | None, column: str, scale: float) -> None:
    best = front(points(study, column, tuned))
    steps = np.array([(p.cost * scale, p.accuracy) for p in best])
    axes.step(
        steps[:, 0], steps[:, 1], where="post", color=style.GREY, linewidth=0.9, linestyle="-",
        zorder=1,
    )  # fmt: skip
    for variant in study.present:
        good = study.bad_status(variant) is None
        axes.plot(
            study.mean(variant, column) * scale, study.mean(variant, "test_accuracy"),
            color=style.colour(variant), markersize=6,
            marker=style.switch_marker(variant.split("_", 1)[1]),
            markerfacecolor=style.colour(variant) if good else "white", linestyle="none",
        )  # fmt: skip
    for variant in tuned.present if tuned is not None else ():
        assert tuned is not None
        axes.plot(
            tuned.mean(variant, column) * scale, tuned.mean(variant, "test_accuracy"),
            **style.TUNED,
        )  # fmt: skip
    axes.set_xscale("log")
    style.plain_log_axis(axes.xaxis)
    for point in _keep_apart(axes, best, scale):
        name = words.TUNED_RECIPE if point.tuned else short_name(point.variant)
        axes.annotate(
            name, (point.cost * scale, point.accuracy), xytext=(5, 3), fontsize=7,
            textcoords="offset points", ha="left", annotation_clip=False,
        )  # fmt: skip


def _keep_apart(axes: Axes, found: list[Point], scale: float) -> list[Point]:
    """The most accurate points whose names don't overlap in a panel."""
    kept: list[Point] = []
    where = {p: axes.transLimits.transform((np.log10(p.cost * scale), p.accuracy)) for p in found}
    for point in reversed(found):
        distances = [abs(where[point] - where[other]) for other in kept]
        if all(d[0] > NAME[0] or d[1] > NAME[1] for d in distances):
            kept.append(point)
    return kept


def _make_key(study: Study, tuned: Study | None) -> list[Line2D]:
    depths = list(dict.fromkeys(VARIANTS[v].depth for v in study.present))
    handles = [
        Line2D([], [], color=style.depth_colour(d), linewidth=4, linestyle="-", label=d)
        for d in depths
    ]
    suffixes = list(dict.fromkeys(v.split("_", 1)[1] for v in study.present))
    handles += [
        Line2D(
            [], [], color=style.GREY, marker=style.switch_marker(s), linestyle="none",
            label=words.SWITCHES.get(s, s),
        )
        for s in suffixes
    ]  # fmt: skip
    handles.append(
        Line2D([], [], color=style.GREY, linewidth=0.9, linestyle="-", label=words.FRONT)
    )
    if tuned is not None:
        handles.append(Line2D([], [], label=words.TUNED_RECIPE, **style.TUNED))
    return handles
