"""What the notebook's cells display: text, tables and the report's front matter."""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

DOCUMENT = "application/vnd.labcnn.document+json"
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|$~^@&\"'])")


def escape(text: str) -> str:
    """Text from outside as plain Markdown: no character of it is markup, no line breaks."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


class Strong(str):
    """A table's cell to be marked, as the best of its column."""


class Links(str):
    """A table's cell of links: each entry is a text and a relative target."""

    entries: tuple[tuple[str, str], ...]

    def __new__(cls, entries: Sequence[tuple[str, str]]) -> "Links":
        made = super().__new__(cls, "、".join(text for text, _ in entries))
        made.entries = tuple(entries)
        return made


@dataclass(frozen=True)
class Prose:
    """Computed Markdown; the caller escapes what comes from outside."""

    text: str

    def _repr_markdown_(self) -> str:
        return self.text


@dataclass(frozen=True)
class Table:
    """Plain-text cells, shown as a pipe table (the report) and as HTML (JupyterLab).

    ``align`` has a letter per column: ``l``, ``c`` or ``r``.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    align: str

    def _repr_markdown_(self) -> str:
        marks = {"l": ":{}-", "c": ":{}:", "r": "-{}:"}
        rule = [marks[a].format("---") for a in self.align]
        lines = [[escape(c) for c in self.columns], rule]
        lines += [[_markdown(cell) for cell in row] for row in self.rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def _repr_html_(self) -> str:
        sides = {"l": "left", "c": "center", "r": "right"}
        styles = [f' style="text-align: {sides[a]}"' for a in self.align]

        def line(tag: str, cells: Sequence[str]) -> str:
            shown = (f"<{tag}{s}>{_html(c)}</{tag}>" for c, s in zip(cells, styles, strict=True))
            return f"<tr>{''.join(shown)}</tr>"

        body = "\n".join(line("td", row) for row in self.rows)
        head = line("th", self.columns)
        return f"<table>\n<thead>{head}</thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def _markdown(cell: str) -> str:
    if isinstance(cell, Links):
        return "、".join(f"[{escape(text)}]({quote(target)})" for text, target in cell.entries)
    return f"**{escape(cell)}**" if isinstance(cell, Strong) and cell else escape(cell)


def _html(cell: str) -> str:
    if isinstance(cell, Links):
        return "、".join(
            f'<a href="{quote(target)}">{html.escape(text)}</a>' for text, target in cell.entries
        )
    shown = html.escape(cell)
    return f"<strong>{shown}</strong>" if isinstance(cell, Strong) else shown


@dataclass(frozen=True)
class FrontMatter:
    """Title block of the report; empty lines are left out by the exporters.

    ``notice`` is what every page says loudly, for a report that isn't the full experiment;
    ``columns`` of the text on paper, 1 or 2.
    """

    title: str
    subtitle: str = ""
    author: str = ""
    student_number: str = ""
    course: str = ""
    date: str = ""
    notice: str = ""
    columns: str = "1"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        # papermill turns `-p student_number 2024001` into a number: text again here.
        values = {name: str(value) for name, value in vars(self).items()}
        return {
            DOCUMENT: values,
            "text/plain": "\n".join(v for k, v in values.items() if v and k != "columns"),
        }
