"""Diagrams of the networks, drawn from the variants' data: one column per depth."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Patch, Rectangle

from labcnn.data.splits import IMAGE_SHAPE
from labcnn.variants import BLOCKS_PER_STAGE
from labreport import style, words
from labreport.style import WIDTH

STAGES = 4
FILLS = {"conv": "#DCE8F4", "pool": "#FBE6D8", "end": "#EDEDED", "option": "white"}
EDGES = {"conv": "#004488", "pool": "#D2601A", "end": style.GREY, "option": style.GREY}
SHORTCUT = "#8C2D5A"
ORDER = ("short", "long", "mid")
#: In units of the drawing: a box, from box to box, more between two double convolutions.
HEIGHT, STEP, BREAK = 0.72, 1.0, 0.46


def plot_networks(width: int, size: int = IMAGE_SHAPE[0]) -> Figure:
    """Short, long and mid side by side, stages level with each other.

    Parameters
    ----------
    width : channels of the first stage; every later stage has twice the one before.
    size : height and width of the images.

    Notes
    -----
    Solid boxes are in every variant; dashed ones only where a switch is on: BN (norm) after each
    convolution, the shortcut (residual) around each double convolution, dropout before the head.
    """
    stage_height = max(_stage_height(depth) for depth in ORDER)
    total = 2 * STEP + STAGES * (stage_height + BREAK) + 3.6 * STEP
    figure = Figure(figsize=(WIDTH, 7.5), layout="constrained")
    for axes, depth, letter in zip(figure.subplots(1, 3), ORDER, "abc", strict=True):
        axes.set(xlim=(-1.02, 1.02), ylim=(total, -0.2), xticks=[], yticks=[])
        axes.set_axis_off()
        _draw_column(axes, depth, width, size, stage_height)
        axes.set_title(f"({letter}) {depth}")
    _add_key(figure)
    return figure


def _stage_height(depth: str) -> float:
    """Of its boxes and what is between them."""
    return BLOCKS_PER_STAGE[depth] * (2 * STEP + BREAK) + STEP


def _draw_column(axes: Axes, depth: str, width: int, size: int, tallest: float) -> None:
    y = 0.4
    previous = _draw_box(axes, y, words.INPUT.format(size=size), "end")
    y += STEP
    size //= 2
    previous = _draw_box(axes, y, words.STRIDED.format(channels=width), "conv", previous)
    _draw_norm(axes, y)
    top = y + STEP * 0.6
    for stage in range(STAGES):
        channels = width * 2**stage
        _draw_stage(axes, top, tallest, words.STAGE.format(number=stage + 1, size=size))
        y = top + (tallest - _stage_height(depth)) / 2 + STEP / 2
        for _ in range(BLOCKS_PER_STAGE[depth]):
            y += BREAK
            start = y - STEP / 2 - BREAK / 2
            for _ in range(2):
                previous = _draw_box(
                    axes, y, words.CONVOLUTION.format(channels=channels), "conv", previous
                )
                _draw_norm(axes, y)
                y += STEP
            _draw_shortcut(axes, start, previous + 0.23)
        y += BREAK / 2
        previous = _draw_box(axes, y, words.POOLING, "pool", previous)
        size //= 2
        top += tallest + BREAK
    y = top + STEP * 0.5
    for text, kind in (
        (words.GLOBAL_POOLING, "end"),
        (words.DROPOUT, "option"),
        (words.LINEAR, "end"),
    ):
        previous = _draw_box(axes, y, text, kind, previous)
        y += STEP


def _add_key(figure: Figure) -> None:
    handles = [
        Patch(facecolor=FILLS["conv"], edgecolor=EDGES["conv"], label=words.IN_ALL),
        Patch(facecolor="white", edgecolor=style.GREY, linestyle="--", label=words.WITH_SWITCH),
        Line2D([], [], color=SHORTCUT, linewidth=0.9, linestyle=(0, (3, 2)), label=words.SHORTCUT),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8)


def _draw_stage(axes: Axes, top: float, height: float, text: str) -> None:
    axes.add_patch(Rectangle((-1, top), 2, height + 0.2, facecolor="#F5F5F5", edgecolor="none"))
    middle = top + height / 2
    axes.text(
        -0.9, middle, text, fontsize=7, color=style.GREY, va="center", ha="center", rotation=90
    )


def _draw_box(axes: Axes, y: float, text: str, kind: str, previous: float | None = None) -> float:
    """A box centred at ``y`` with an arrow from ``previous``, the lower edge of the one above."""
    half = HEIGHT / 2
    axes.add_patch(
        FancyBboxPatch(
            (-0.56, y - half), 1.12, HEIGHT, boxstyle="round,pad=0,rounding_size=0.06",
            mutation_aspect=4, facecolor=FILLS[kind], edgecolor=EDGES[kind], linewidth=0.7,
            linestyle="--" if kind == "option" else "-",
        )
    )  # fmt: skip
    axes.text(0, y, text, ha="center", va="center", fontsize=6.6)
    if previous is not None:
        arrow: dict[str, Any] = {
            "arrowstyle": "-|>",
            "mutation_scale": 4,
            "shrinkA": 0,
            "shrinkB": 0,
        }
        axes.add_patch(
            FancyArrowPatch(
                (0, previous), (0, y - half), color="#444444", linewidth=0.6, linestyle="-", **arrow
            )
        )
    return y + half


def _draw_norm(axes: Axes, y: float) -> None:
    """A small dashed box at a convolution's right: what a switch adds after it."""
    axes.add_patch(
        FancyBboxPatch(
            (0.6, y - HEIGHT * 0.4), 0.24, HEIGHT * 0.8,
            boxstyle="round,pad=0,rounding_size=0.05", mutation_aspect=4, facecolor="white",
            edgecolor=style.GREY, linewidth=0.6, linestyle="--",
        )
    )  # fmt: skip
    axes.text(0.72, y, "BN", ha="center", va="center", fontsize=6, color="#333333")


def _draw_shortcut(axes: Axes, top: float, bottom: float) -> None:
    """The dashed way around a double convolution, at its left, to the sum after it."""
    xs, ys = [0, -0.72, -0.72, 0], [top, top, bottom, bottom]
    axes.plot(xs, ys, color=SHORTCUT, linewidth=0.8, linestyle=(0, (3, 2)), zorder=1)
    axes.plot(
        0, bottom, marker="o", markersize=4.4, markerfacecolor="white", markeredgecolor=SHORTCUT,
        markeredgewidth=0.7, zorder=4,
    )  # fmt: skip
    axes.plot(0, bottom, marker="+", markersize=3.2, color=SHORTCUT, markeredgewidth=0.7, zorder=5)
