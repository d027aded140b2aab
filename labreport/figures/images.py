"""Images in rows, each with a text below."""

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from labreport import style
from labreport.style import WIDTH

#: Beside a thumbnail, in its sides; the height of a line of text, in points.
GAP, LINE = 0.06, 7.8


def show_grid(
    images: Sequence[np.ndarray],
    texts: Sequence[str],
    columns: int,
    lines: int,
    title: str = "",
    colours: Sequence[str] | None = None,
) -> Figure:
    """Images in rows of ``columns``, each with its text below, as many ``lines`` as it may have.

    Parameters
    ----------
    images : each H x W x 3, uint8.
    title : above all; nothing is left free for an empty one. Names are never read as formulas.
    colours : of the texts; the usual one where there are none.
    """
    # One unit of the axes is a thumbnail's side.
    rows, width = -(-len(images) // columns), columns * (1 + GAP) + GAP
    line = LINE / (72 * WIDTH / width)
    step = 1 + GAP + (lines + 0.5) * line
    above = 2 * line if title else 0
    with plt.rc_context({"font.family": style.add_fonts()}):
        size = WIDTH, WIDTH * (above + rows * step) / width
        figure = plt.figure(figsize=size, layout="none")
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, width), ylim=(rows * step, -above), autoscale_on=False)
        axes.set_axis_off()
        axes.text(width / 2, -0.8 * line, title, ha="center", fontsize=9, parse_math=False)
        for k, (image, text) in enumerate(zip(images, texts, strict=True)):
            row, column = divmod(k, columns)
            x, y = GAP + column * (1 + GAP), row * step
            axes.imshow(
                image, extent=(x, x + 1, y + 1, y), aspect="auto", zorder=2, interpolation="none"
            )  # stored as they are, not resampled: half the file
            for place, words_of_line in enumerate(text.split("\n"), start=1):
                axes.text(
                    x + 0.5, y + 1 + place * line, words_of_line, ha="center", va="baseline",
                    fontsize=6.5, parse_math=False, color=colours[k] if colours else None,
                )  # fmt: skip
    plt.close(figure)  # a cell shows what it gets; an open one would be shown twice
    return figure


def shorten_name(name: str, width: int = 13, lines: int = 2) -> str:
    """A name wrapped to a thumbnail's width, cut with an ellipsis where it needs more lines."""
    return "\n".join(textwrap.wrap(name, width, max_lines=lines, placeholder="…"))
