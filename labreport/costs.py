"""What accuracy costs: seconds of training and FLOPs of a forward pass, with the Pareto front."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from labcnn.variants import BLOCKS_PER_STAGE, VARIANTS
from labreport import looks
from labreport.document import Prose
from labreport.formats import percent, seconds
from labreport.names import SWITCHES, short_name
from labreport.study import Study

TUNED = "tuned 配方"
#: Width and height of a point's name, as parts of a panel.
NAME = (0.35, 0.07)


class Point(NamedTuple):
    """A network's cost and its test accuracy."""

    name: str
    cost: float
    accuracy: float


def points(study: Study, column: str, tuned: Study | None = None) -> list[Point]:
    """Mean over seeds of a column of the table, beside the mean test accuracy."""
    found = [
        Point(short_name(v), study.mean(v, column), study.mean(v, "test_accuracy"))
        for v in study.present
    ]
    if tuned is not None:
        found += [
            Point(TUNED, tuned.mean(v, column), tuned.mean(v, "test_accuracy"))
            for v in tuned.present
        ]
    return found


def front(found: Sequence[Point]) -> list[Point]:
    """The points than which none is both cheaper and as good, or as cheap and better; by cost."""
    kept: list[Point] = []
    for point in sorted(found, key=lambda p: (p.cost, -p.accuracy)):
        if not kept or point.accuracy > kept[-1].accuracy:
            kept.append(point)
    return kept


def comparable(*studies: Study | None) -> bool:
    """Were all runs timed on the same device, in the same precision, with as many threads?"""
    runs = [run for study in studies if study is not None for run in study.results.values()]
    return len({machine for run in runs for machine in run.provenance.machines}) == 1


def alike(study: Study, tuned: Study | None) -> Study | None:
    """The tuned net's study where it had as many training images."""
    if tuned is None or tuned.recipe.fraction != study.recipe.fraction:
        return None
    return tuned


def pareto(study: Study, tuned: Study | None = None) -> Figure:
    """Test accuracy against training time (left) and against FLOPs (right).

    A tuned net that had more images, or fewer, isn't shown: neither axis would compare.
    """
    tuned = alike(study, tuned)
    figure, [row] = looks.figure(1, 2, height=3.4, sharey="row")
    for axes, column, scale, text in zip(
        row,
        ("train_seconds", "flops"),
        (1 / 60, 1e-6),
        ("训练用时 / 分钟", "一幅图像的前向 FLOPs / 百万"),
        strict=True,
    ):
        _panel(axes, study, tuned, column, scale)
        axes.set_xlabel(text)
    row[0].set_ylabel("测试集准确率")
    row[0].set_ylim(0, row[0].get_ylim()[1] * 1.06)
    looks.percent(row[0].yaxis)
    figure.legend(handles=_key(study, tuned), loc="outside lower center", ncols=5)
    return figure


def _panel(axes: Axes, study: Study, tuned: Study | None, column: str, scale: float) -> None:
    best = front(points(study, column, tuned))
    steps = np.array([(p.cost * scale, p.accuracy) for p in best])
    axes.step(
        steps[:, 0], steps[:, 1], where="post", color=looks.GREY, linewidth=0.9, linestyle="-",
        zorder=1,
    )  # fmt: skip
    for variant in study.present:
        good = study.failed(variant) is None
        axes.plot(
            study.mean(variant, column) * scale, study.mean(variant, "test_accuracy"),
            color=looks.colour(variant), marker=looks.switch_marker(variant), markersize=6,
            markerfacecolor=looks.colour(variant) if good else "white", linestyle="none",
        )  # fmt: skip
    for variant in tuned.present if tuned is not None else ():
        assert tuned is not None
        axes.plot(
            tuned.mean(variant, column) * scale, tuned.mean(variant, "test_accuracy"),
            **looks.TUNED,
        )  # fmt: skip
    axes.set_xscale("log")
    looks.plain_log(axes.xaxis)
    for point in _apart(axes, best, scale):
        axes.annotate(
            point.name, (point.cost * scale, point.accuracy), xytext=(5, 3), fontsize=7,
            textcoords="offset points", ha="left", annotation_clip=False,
        )  # fmt: skip


def _apart(axes: Axes, found: list[Point], scale: float) -> list[Point]:
    """The most accurate points whose names don't overlap in a panel."""
    kept: list[Point] = []
    where = {p: axes.transLimits.transform((np.log10(p.cost * scale), p.accuracy)) for p in found}
    for point in reversed(found):
        distances = [abs(where[point] - where[other]) for other in kept]
        if all(d[0] > NAME[0] or d[1] > NAME[1] for d in distances):
            kept.append(point)
    return kept


def _key(study: Study, tuned: Study | None) -> list[Line2D]:
    depths = list(dict.fromkeys(VARIANTS[v].depth for v in study.present))
    handles = [
        Line2D([], [], color=looks.DEPTH_COLOURS[d], linewidth=4, linestyle="-", label=d)
        for d in depths
    ]
    suffixes = list(dict.fromkeys(v.split("_")[1] for v in study.present))
    handles += [
        Line2D(
            [], [], color=looks.GREY, marker=looks.SWITCH_MARKERS[s], linestyle="none",
            label=SWITCHES.get(s, s),
        )
        for s in suffixes
    ]  # fmt: skip
    handles.append(Line2D([], [], color=looks.GREY, linewidth=0.9, linestyle="-", label="前沿"))
    if tuned is not None:
        handles.append(Line2D([], [], label=TUNED, **looks.TUNED))
    return handles


def _noise(study: Study) -> str:
    """How much the machine alone changed the times, where two variants are one training."""
    pairs = [
        (f"{depth}_lrdecay", f"{depth}_baseline", seed)
        for depth in BLOCKS_PER_STAGE
        for seed in study.all_seeds
        if {(f"{depth}_lrdecay", seed), (f"{depth}_baseline", seed)} <= set(study.results)
    ]
    ratios = []
    for first, second, seed in pairs:
        if study.identical(first, second, [seed]):
            one, two = (study.results[v, seed].timing.seconds_per_epoch for v in (first, second))
            ratios.append(max(one, two) / min(one, two) - 1)
    if not ratios:
        return ""
    return (
        "用时含有机器负载的波动：学习率衰减没有触发时，加与不加它的计算完全相同，"
        f"每轮用时却相差可达 {max(ratios) * 100:.0f}%，因此相差更小的模型不分先后。"
    )


def text(study: Study, tuned: Study | None = None) -> Prose:
    """Which networks lie on the fronts, and whether the times may be compared."""
    tuned = alike(study, tuned)
    by_time = front(points(study, "train_seconds", tuned))
    by_flops = front(points(study, "flops", tuned))
    fast = "、".join(f"{p.name}（{seconds(p.cost)}，{percent(p.accuracy)}%）" for p in by_time)
    small = "、".join(f"{p.name}（{percent(p.accuracy)}%）" for p in by_flops)
    sentences = [
        f"按训练用时，处于前沿的有 {len(by_time)} 个：{fast}。",
        f"按一幅图像的前向计算量，处于前沿的有 {len(by_flops)} 个：{small}。",
    ]
    if noise := _noise(study):
        sentences.append(noise)
    if not comparable(study, tuned):
        sentences.append("注意：各次运行的设备、数值精度或线程数不同，用时只供参考。")
    return Prose("".join(sentences))
