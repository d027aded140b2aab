"""Rows of small images with a line or two of text below each."""

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labreport.style import WIDTH

#: In sides of a thumbnail: between two, and for one line of text.
GAP, LINE = 0.06, 0.17


def short(name: str, width: int = 13, lines: int = 2) -> str:
    """A name wrapped to a thumbnail's width, cut with an ellipsis where it needs more lines."""
    return "\n".join(textwrap.wrap(name, width, max_lines=lines, placeholder="…"))


def frame(rows: float, columns: float, lines: int, extra: float = 0.0) -> tuple[Figure, Axes]:
    """A figure for ``rows`` x ``columns`` thumbnails with ``lines`` of text below each.

    One unit of its axes is a thumbnail's side; ``extra`` units are left free on the right.
    """
    width = columns * (1 + GAP) - GAP + extra
    height = rows * (1 + GAP + lines * LINE)
    figure = Figure(figsize=(WIDTH, WIDTH * height / width))
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    axes.set_axis_off()
    return figure, axes


def place(
    axes: Axes, image: np.ndarray, row: float, column: float, text: str = "", lines: int = 2
) -> None:
    """Draw one image at a place of the grid, its text below; names are never read as formulas."""
    x, y = column * (1 + GAP), row * (1 + GAP + lines * LINE)
    axes.imshow(
        image, extent=(x, x + 1, y + 1, y), aspect="auto", zorder=2, interpolation="none"
    )  # stored as they are, not resampled: half the file
    axes.text(
        x + 0.5, y + 1.04, text, ha="center", va="top", fontsize=6.5, linespacing=1.05,
        parse_math=False,
    )  # fmt: skip


def grid(images: Sequence[np.ndarray], texts: Sequence[str], columns: int, lines: int) -> Figure:
    """Images in rows of ``columns``."""
    figure, axes = frame(-(-len(images) // columns), columns, lines)
    for k, (image, text) in enumerate(zip(images, texts, strict=True)):
        place(axes, image, *divmod(k, columns), text, lines)
    return figure


def line(axes: Axes, text: str, row: float, column: float, lines: int) -> None:
    """A line below a row of thumbnails, from a column on."""
    x, y = column * (1 + GAP), row * (1 + GAP + lines * LINE) + 1.04
    axes.text(x, y, text, ha="left", va="top", fontsize=7, parse_math=False)
