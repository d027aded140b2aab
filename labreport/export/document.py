"""From an executed notebook to one document that every format is written from."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from labreport.export.cells import read_cells
from labreport.export.errors import ExportError
from labreport.export.pandoc import Node, parse, plain, rewrite
from labreport.export.references import number, resolve
from labreport.export.safety import clean

#: Lines of the title block, as a notebook may give them; an empty one is left out.
TITLE_BLOCK = ("title", "subtitle", "author", "student_number", "course", "date", "notice")


@dataclass
class Document:
    """A report without its format.

    Attributes
    ----------
    meta : the strings named in :data:`TITLE_BLOCK`; ``""`` where not given.
    blocks : pandoc's tree; the highest heading is level 1, the title isn't among the headings.
    headings : level, id and words of each heading.
    pictures : by the name that images in ``blocks`` have: each form of the picture by media type.
    columns : of the text on paper, 1 or 2.
    ours : the notebook has a title block; one that hasn't is shown as well as it can be.
    """

    meta: dict[str, str]
    blocks: list[Node]
    headings: list[tuple[int, str, str]]
    pictures: dict[str, dict[str, bytes]]
    columns: int = 1
    ours: bool = True

    @property
    def timestamp(self) -> int:
        """Of the report's own date if it is an ISO one; not the clock's, or builds would differ."""
        try:
            day = date.fromisoformat(self.meta["date"])
        except ValueError:
            return 0
        return max(0, int(datetime.combine(day, datetime.min.time(), UTC).timestamp()))

    def with_targets(self, targets: dict[str, str]) -> list[Node]:
        """The blocks with each picture's name replaced by what the format calls it."""

        def rule(node: Node) -> Node:
            if node["t"] == "Image":
                node["c"][2][0] = targets[node["c"][2][0]]
            return node

        return rewrite(self.blocks, rule)


def build(
    notebook: Any, name: str = "report", folder: Path | None = None, columns: int | None = None
) -> Document:
    """Read a notebook.

    Parameters
    ----------
    notebook : executed notebook (``nbformat`` node, version 4).
    name : stands for a title where the notebook has none.
    folder : where the notebook lies, for the picture files that its text shows.
    columns : of the text on paper, 1 or 2; None: as the notebook says (``columns`` beside the
        lines of the title block), else 1.

    Raises
    ------
    ExportError
        ``columns`` isn't 1 or 2.
        A reference to nothing, a label given twice or without its figure, a missing picture.
    """
    cells = read_cells(notebook)
    blocks = clean(parse(cells.blocks), cells, folder or Path.cwd())
    meta = {key: cells.meta.get(key, "").strip() for key in TITLE_BLOCK}
    blocks = _untitled(blocks, meta)
    meta["title"] = meta["title"] or name
    blocks, labels = number(_raised(blocks))
    resolved = resolve(blocks, labels)
    columns = _columns(columns, cells.meta)
    return Document(meta, resolved, labels.headings, cells.pictures, columns, cells.ours)


def _columns(given: int | None, meta: dict[str, str]) -> int:
    columns = str(given or meta.get("columns", "").strip() or 1)
    if columns not in {"1", "2"}:
        raise ExportError(f"columns={columns!r}: 1 or 2")
    return int(columns)


def _untitled(blocks: list[Node], meta: dict[str, str]) -> list[Node]:
    """Without an opening heading that is the title: the only one of its level."""
    top = [b for b in blocks if b["t"] == "Header" and b["c"][0] == 1]
    if len(top) == 1 and blocks[0] is top[0]:
        meta["title"] = meta["title"] or plain(top[0]["c"][2])
        return blocks[1:]
    return blocks


def _raised(blocks: list[Node]) -> list[Node]:
    """With the highest heading at level 1."""
    levels = [b["c"][0] for b in blocks if b["t"] == "Header"]

    def rule(node: Node) -> Node:
        if node["t"] == "Header":
            node["c"][0] = max(1, node["c"][0] - min(levels) + 1)
        return node

    return rewrite(blocks, rule) if levels else blocks
