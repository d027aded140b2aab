"""Column widths for a format whose readers don't find them from the contents, as Word's."""

import re
import unicodedata
from typing import Any

from labreport.export.pandoc import Node, plain, rewrite, text

#: In widths of a digit: the text of an A4 page at 9 pt, and the room at both sides of a cell.
PAGE_UNITS, PADDING = 99, 2.4
#: A cell as short as this stays on one line.
SHORT = 8
_PIECE = re.compile(r"[^\s+\u2e80-\uffff]+\+?|\S")
_PLUS = re.compile(r"(?<=[a-z])\+(?=[a-z])")


def set_widths(blocks: list[Node]) -> list[Node]:
    """The blocks with each table's columns as wide as their contents, within the page."""

    def rule(node: Node) -> Node:
        if node["t"] != "Table":
            return node
        attributes, caption, columns, head, bodies, foot = node["c"]
        rows = [*head[1], *(row for body in bodies for row in body[3]), *foot[1]]
        shares = share([[plain(cell[4]) for cell in row[1]] for row in rows], len(columns))
        columns = [
            [align, {"t": "ColWidth", "c": width}]
            for (align, _), width in zip(columns, shares, strict=True)
        ]
        return {"t": "Table", "c": [attributes, caption, columns, *breakable([head, bodies, foot])]}

    return rewrite(blocks, rule)


def share(rows: list[list[str]], count: int) -> list[float]:
    """Each column's part of the page: as wide as its longest line where that fits.

    Where it doesn't, each is at least as wide as its longest word and gets of the rest in
    proportion to what it lacks.
    """
    wanted, least = [PADDING + 1.0] * count, [PADDING + 1.0] * count
    for row in rows:
        for k, cell in enumerate(row[:count]):
            wanted[k] = max(wanted[k], PADDING + units(cell))
            pieces = [cell] if units(cell) <= SHORT else _PIECE.findall(cell)
            least[k] = max(least[k], PADDING + max(map(units, pieces), default=0))
    if sum(wanted) <= PAGE_UNITS:
        return [width / PAGE_UNITS for width in wanted]
    room = PAGE_UNITS - sum(least)
    lacking = [w - m for w, m in zip(wanted, least, strict=True)]
    if room <= 0:
        return [width / sum(least) for width in least]
    scale = room / sum(lacking)
    return [(m + scale * lack) / PAGE_UNITS for m, lack in zip(least, lacking, strict=True)]


def units(words: str) -> float:
    """How wide ``words`` are, in digits: a Chinese character is two."""
    return sum(2.0 if unicodedata.east_asian_width(c) in "WF" else 1.0 for c in words)


def breakable(tree: Any) -> Any:
    """Labels such as Shortbaseline+all may go on in the next line after their plus sign."""

    def rule(node: Node) -> Node:
        return text(_PLUS.sub("+\u200b", node["c"])) if node["t"] == "Str" else node

    return rewrite(tree, rule)
