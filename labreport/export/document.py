"""From an executed notebook to one document that every format is written from."""

import copy
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import panflute as pf

from labreport.export import ExportError
from labreport.export.cells import read_cells
from labreport.export.pandoc import BOX, Pictures, find, join_numbers, plain, printable

#: What a notebook says of itself; ``author`` and ``date`` are the file's.
META = ("title", "subtitle", "author", "date", "notice")
#: Letters of the longest heading; Word takes no longer title.
LONGEST_HEADING = 250
_REFERENCE = re.compile(r"@((?:fig|tbl|sec|ref)-[A-Za-z0-9_-]*[A-Za-z0-9])")
_WORDS = {"fig": ("图", "figure"), "tbl": ("表", "table")}


@dataclass(frozen=True)
class Heading:
    """A heading: its level (1 is the highest), what links lead to, its words."""

    level: int
    identifier: str
    words: str


@dataclass
class Document:
    """A report without its format.

    Attributes
    ----------
    meta : the strings named in :data:`META`; ``""`` where not given.
    lines : of the title block, below title and subtitle: each a word and a value, none is empty.
    tree : pandoc's; the highest heading is level 1, the title isn't among the headings.
    headings : all of them, in their order.
    pictures : that images in ``tree`` name.
    columns : of the text on paper, 1 or 2.
    ours : the notebook has a title block; one that hasn't is shown as well as it can be.
    warnings : what isn't shown as it was meant, a line each, for who exports it.
    """

    meta: dict[str, str]
    lines: list[tuple[str, str]]
    tree: pf.Doc
    headings: list[Heading]
    pictures: Pictures
    columns: int = 1
    ours: bool = True
    warnings: list[str] = field(default_factory=list)

    @property
    def day(self) -> datetime | None:
        """The report's own date; None where it isn't an ISO one. A clock's would differ."""
        try:
            return datetime.combine(date.fromisoformat(self.meta["date"]), datetime.min.time(), UTC)
        except ValueError:
            return None

    def with_targets(self, targets: dict[str, str]) -> pf.Doc:
        """A copy of the tree with each picture's name replaced by what the format calls it."""
        tree = copy.deepcopy(self.tree)
        for image in find(tree, pf.Image):
            image.url = targets[image.url]
        return tree


def read_document(
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
        In a notebook that has a title block: a reference to nothing, a label given twice or
        without its figure.
    """
    cells = read_cells(notebook, folder or Path.cwd())
    columns_given = str(columns or cells.meta.get("columns") or 1)
    if columns_given not in {"1", "2"}:
        raise ExportError(f"columns={columns_given!r}: 1 or 2")
    meta = {key: cells.meta.get(key, "") for key in META}
    lines = [(word, value) for word, value in cells.lines if value]
    tree = pf.Doc(*cells.blocks).walk(_unwrap).walk(_demote_long_headings)
    heading = _pop_title(tree)
    meta["title"] = (meta["title"] or heading or printable(name))[:LONGEST_HEADING]
    labels = Labels(strict=cells.ours)
    _number_headings(tree, labels)
    _number_captions(tree, labels)
    for span in find(tree, pf.Span):
        if span.identifier:  # a source of the literature: [[1]]{#ref-he2016}
            count = f"ref-number-{len(labels.names)}"
            span.identifier = labels.add(span.identifier, plain(span), count)
    _link_references(tree, labels)
    join_numbers(tree)
    return Document(
        meta,
        lines,
        tree,
        labels.headings,
        cells.pictures,
        int(columns_given),
        cells.ours,
        cells.notices.lines,
    )


def count_sections(levels: Iterable[int]) -> Iterator[list[int]]:
    """The number of each heading from its level: 1, 2, 2, 1 gives [1], [1, 1], [1, 2], [2]."""
    counts: list[int] = []
    for level in levels:
        counts = (counts + [0] * level)[:level]
        counts[-1] += 1
        yield list(counts)


@dataclass
class Labels:
    """What each label is called in the text; the headings. ``strict``: a fault is an error."""

    strict: bool
    names: dict[str, str] = field(default_factory=dict)
    headings: list[Heading] = field(default_factory=list)

    def add(self, label: str, name: str, otherwise: str) -> str:
        """The label, or another where there is none or it is taken."""
        if label in self.names:
            self.refuse(f"label {label!r} is given twice: {self.names[label]} and {name}")
            label = ""
        self.names[label or otherwise] = name
        return label or otherwise

    def refuse(self, fault: str) -> None:
        if self.strict:
            raise ExportError(fault)


def _unwrap(element: Any, _: Any) -> Any:
    is_box = BOX in getattr(element, "classes", [])
    return list(element.content) if isinstance(element, pf.Div) and not is_box else None


def _pop_title(tree: pf.Doc) -> str:
    """The words of an opening heading that is the only one of the highest level; it is removed."""
    highest = [b for b in tree.content if isinstance(b, pf.Header) and b.level == 1]
    if len(highest) != 1 or tree.content[0] is not highest[0]:
        return ""
    return plain(tree.content.pop(0))


def _demote_long_headings(element: Any, _: Any) -> Any:
    """No table of contents has room for them, nor has a bookmark in a PDF."""
    if isinstance(element, pf.Header) and len(plain(element)) > LONGEST_HEADING:
        return pf.Para(pf.Strong(*element.content))
    return None


def _number_headings(tree: pf.Doc, labels: Labels) -> None:
    """Make the highest heading level 1, and give each without a label an id by its position."""
    headings = find(tree, pf.Header)
    highest = min((heading.level for heading in headings), default=1)
    for heading in headings:
        heading.level -= highest - 1
    places = count_sections(heading.level for heading in headings)
    for heading, place in zip(headings, places, strict=True):
        words = plain(heading)
        leading = re.match(r"\d+(\.\d+)*", words)
        name = f"第 {leading[0]} 节" if leading else f"“{words}”"
        number = "section-" + "-".join(map(str, place))
        heading.identifier = labels.add(heading.identifier, name, number)
        labels.headings.append(Heading(heading.level, heading.identifier, words))


def _number_captions(tree: pf.Doc, labels: Labels) -> None:
    """Put 图 1, 表 1, … before the captions, and an id on what they stand at."""
    counts = Counter[str]()

    def number(element: Any, kind: str, caption: pf.Caption, label: str) -> None:
        counts[kind] += 1
        name = f"{_WORDS[kind][0]} {counts[kind]}"
        element.identifier = labels.add(label, name, f"{kind}-number-{counts[kind]}")
        texts = [block for block in caption.content if isinstance(block, pf.Para | pf.Plain)]
        words = [inline for block in texts for inline in block.content]
        numbered = pf.Plain(pf.Strong(pf.Str(name)), pf.Str("\u3000"), *words)
        element.caption = pf.Caption(numbered)

    def rule(element: Any, _: Any) -> Any:
        if isinstance(element, pf.Table) and element.caption.content:
            number(element, "tbl", element.caption, element.identifier)
        if not isinstance(element, pf.Figure):
            return None
        label = element.identifier
        (kind,) = element.classes or (["fig"] if label.startswith("fig-") else [""])
        if not kind:  # a picture that Markdown shows without a label
            return list(element.content)
        shown = find(element, pf.Image if kind == "fig" else pf.Table)
        if not shown:
            labels.refuse(f"the cell labelled {label!r} shows no {_WORDS[kind][1]}")
            return list(element.content)
        if kind == "tbl":
            number(shown[0], "tbl", element.caption, label)
            return list(element.content)
        alt = element.attributes.get("alt") or plain(element.caption)
        for image in shown:
            image.content = [pf.Str(alt)]
        figure = pf.Figure(pf.Plain(*shown))
        number(figure, "fig", element.caption, label)
        return figure

    tree.walk(rule)


def _link_references(tree: pf.Doc, labels: Labels) -> None:
    """Make ``@fig-curve`` a link 图 3; of a link to nothing inside, keep the words."""

    def rule(element: Any, _: Any) -> Any:
        if isinstance(element, pf.Link) and element.url.startswith("#"):
            return None if element.url[1:] in labels.names else list(element.content)
        if not isinstance(element, pf.Str) or "@" not in element.text:
            return None
        parts: list[pf.Inline] = []
        for k, part in enumerate(_REFERENCE.split(element.text)):
            if k % 2 and part not in labels.names:
                known = ", ".join(name for name in labels.names if not name.startswith("section-"))
                labels.refuse(f"@{part} refers to nothing; labels: {known or 'none'}")
                parts.append(pf.Str(f"@{part}"))
            elif k % 2:
                parts.append(pf.Link(pf.Str(labels.names[part]), url=f"#{part}"))
            elif part:
                parts.append(pf.Str(part))
        return parts

    tree.walk(rule)
