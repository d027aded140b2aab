"""The network as a diagram: its stages at the left, one double convolution at the right."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from labcnn.data.splits import IMAGE_SHAPE
from labcnn.variants import BLOCKS_PER_STAGE
from labreport import style, words
from labreport.style import WIDTH

STAGES = 4
FILLS = {"conv": "#DCE8F4", "end": "#EDEDED", "option": "white"}
EDGES = {"conv": "#004488", "end": style.GREY, "option": style.GREY}
SHORTCUT = "#8C2D5A"
DASHES = (0, (3, 2))
#: From one box of a column to the next; half a box.
STEP, HALF = 1.15, 0.34
#: Of the circle where the shortcut is added, in points.
RADIUS = 7.0


def plot_network(width: int, size: int = IMAGE_SHAPE[0]) -> Figure:
    """The path of an image (left), and what one double convolution is made of (right).

    Parameters
    ----------
    width : channels of the first stage; every later stage has twice the one before.
    size : height and width of the images.

    Notes
    -----
    Solid boxes are in every variant; dashed ones only where a switch is on.
    """
    figure = Figure(figsize=(WIDTH, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.25, 1])
    for axes, title in ((left, words.WHOLE_NETWORK), (right, words.ONE_BLOCK)):
        axes.set_axis_off()
        axes.set(title=title, xlim=(0, 10), ylim=(10.6, -0.5))
    _draw_path(left, width, size)
    _draw_block(right)
    return figure


def _draw_path(axes: Axes, width: int, size: int) -> None:
    rows = [
        (words.INPUT.format(size=size), "end"), (words.STRIDED.format(channels=width), "conv"),
    ]  # fmt: skip
    for stage in range(STAGES):
        size = -(-size // 2)
        note = words.STAGE.format(number=stage + 1, size=size)
        axes.text(7.4, STEP * len(rows), note, va="center", fontsize=7.5)
        rows.append((words.STAGE_BLOCKS.format(channels=width * 2**stage), "conv"))
    rows += [(words.GLOBAL_POOLING, "end"), (words.DROPOUT, "option"), (words.LINEAR, "end")]
    _draw_column(axes, 4.4, 0, 5.6, rows)
    blocks = words.GAP.join(
        words.TIMES.format(depth=d, count=n) for d, n in BLOCKS_PER_STAGE.items()
    )
    axes.text(4.4, 10.3, blocks, fontsize=7.5, va="center", ha="center")


def _draw_block(axes: Axes) -> None:
    x, rows = 6.4, [
        (words.BLOCK_CONVOLUTION, "conv"), (words.BLOCK_NORM, "option"), ("ReLU", "end"),
        (words.BLOCK_CONVOLUTION, "conv"), (words.BLOCK_NORM, "option"),
    ]  # fmt: skip
    axes.text(x, 0, "$x$", ha="center", va="center", fontsize=9)
    plus = _draw_column(axes, x, STEP, 4.2, rows)
    circle: dict[str, Any] = {
        "markersize": 2 * RADIUS,
        "markerfacecolor": "white",
        "markeredgecolor": SHORTCUT,
    }
    axes.plot(x, plus, marker="o", **circle)
    axes.plot(x, plus, marker="+", markersize=RADIUS, color="black")
    _draw_arrow(axes, (x, plus - STEP + HALF), (x, plus), end=RADIUS)
    _draw_column(axes, x, plus + STEP, 4.2, [("ReLU", "end")])
    look: dict[str, Any] = {"color": SHORTCUT, "linewidth": 1.0, "linestyle": DASHES}
    _draw_arrow(axes, (x - 0.3, 0), (2.0, 0), (2.0, 2.5), **look)
    _draw_arrow(axes, (2.0, 4.5), (2.0, plus), (x, plus), end=RADIUS, **look)
    _draw_box(axes, 2.0, 3.5, words.PROJECTION, "option", 3.7, 2.0)


def _draw_column(
    axes: Axes, x: float, y: float, width: float, rows: Sequence[tuple[str, str]]
) -> float:
    """Boxes of a text and a kind below each other, from y on; where the next would be.

    An arrow leads to each from what is above, if there is anything.
    """
    for text, kind in rows:
        if y > 0:
            _draw_arrow(axes, (x, y - STEP + HALF), (x, y - HALF))
        _draw_box(axes, x, y, text, kind, width)
        y += STEP
    return y


def _draw_box(
    axes: Axes, x: float, y: float, text: str, kind: str, width: float, height: float = 2 * HALF
) -> None:
    """A box centred at a place; dashed where only a switch brings it."""
    axes.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - height / 2), width, height,
            boxstyle="round,pad=0,rounding_size=0.12", facecolor=FILLS[kind],
            edgecolor=EDGES[kind], linewidth=0.8, linestyle="--" if kind == "option" else "-",
        )
    )  # fmt: skip
    axes.text(x, y, text, ha="center", va="center", fontsize=7, linespacing=1.25)


def _draw_arrow(
    axes: Axes, *corners: tuple[float, float], start: float = 0, end: float = 0, **look: Any
) -> None:
    """From the first corner to the last; ``start`` and ``end`` are what is left out, in points."""
    look = {"color": "#444444", "linewidth": 0.7, **look}
    *_, before, last = corners
    if len(corners) > 2:
        axes.plot(*zip(*corners[:-1], strict=True), solid_joinstyle="miter", **look)
    arrow = {"arrowstyle": "-|>", "mutation_scale": 6, "shrinkA": start, "shrinkB": end, **look}
    axes.annotate("", last, before, arrowprops=arrow)
