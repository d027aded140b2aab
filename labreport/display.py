"""What the notebook's cells display: text, tables, captioned figures, the title block."""

import base64
import html
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote

from matplotlib.figure import Figure

from labreport.export import DOCUMENT
from labreport.title_block import TitleBlock

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|$~^@&\"'])")


def escape(text: str) -> str:
    """Text from outside as plain Markdown: no character of it is markup, no line breaks."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


class Markdown(str):
    """A table's cell that is marked up already."""


def bold(text: str) -> Markdown:
    """A table's cell to be marked, as the best of its column."""
    return Markdown(f"**{escape(text)}**")


def link(text: str, target: str) -> Markdown:
    """A table's cell that leads to a relative target."""
    return Markdown(f"[{escape(text)}]({quote(target)})")


@dataclass(frozen=True)
class Prose:
    """Computed Markdown; the caller escapes what comes from outside."""

    text: str

    def _repr_markdown_(self) -> str:
        return self.text


@dataclass(frozen=True)
class Table:
    """Cells of plain text or of Markdown, shown as a pipe table.

    ``align`` has a letter per column: ``l``, ``c`` or ``r``.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    align: str

    def _repr_markdown_(self) -> str:
        marks = {"l": ":{}-", "c": ":{}:", "r": "-{}:"}
        rule = [marks[a].format("---") for a in self.align]
        lines = [[escape(c) for c in self.columns], rule]
        lines += [
            [cell if isinstance(cell, Markdown) else escape(cell) for cell in row]
            for row in self.rows
        ]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


@dataclass(frozen=True)
class FrontMatter:
    """The title block, and what the exporters must know besides it.

    ``notice`` is what every page says loudly, for a report that isn't the full experiment;
    ``columns`` of the text on paper, 1 or 2.
    """

    block: TitleBlock
    notice: str = ""
    columns: int = 1

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        block = self.block
        lines = [f"{word} {value}" for word, value in block.lines]
        shown = [block.title, block.subtitle, *lines, self.notice]
        return {
            DOCUMENT: {
                "title": block.title,
                "subtitle": block.subtitle,
                "lines": [list(line) for line in block.lines],
                "author": block.author,  # of the file, beside the line that shows it; so the date
                "date": block.date,
                "notice": self.notice,
                "columns": str(self.columns),
            },
            "text/plain": "\n".join(line for line in shown if line),
        }


class CaptionedFigure:
    """A figure with its label and caption, for a cell that may show a sentence instead.

    A cell's ``#| label`` promises a figure in every report; this brings its own.

    Parameters
    ----------
    label : what ``@fig-…`` refers to, with its ``fig-``.
    caption : plain text, also the text for who can't see the figure.
    """

    def __init__(self, figure: Figure, label: str, caption: str) -> None:
        self.figure, self.label, self.caption = figure, label, caption

    def _repr_markdown_(self) -> str:
        return f"![{escape(self.caption)}]({self._address}){{#{self.label}}}"

    def _repr_html_(self) -> str:
        caption = html.escape(self.caption)
        image = f'<img src="{self._address}" alt="{caption}">'
        return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"

    @cached_property  # a figure without a layout has one, of the defaults, once it is saved
    def _address(self) -> str:
        picture = io.BytesIO()
        self.figure.savefig(picture, format="svg", metadata={"Date": None})
        return f"data:image/svg+xml;base64,{base64.b64encode(picture.getvalue()).decode()}"
