"""What Typst sets: the report as A4 pages in PDF/A-2b, and a vector picture as pixels."""

import json
import re
from collections.abc import Iterator
from itertools import filterfalse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import panflute as pf
import typst

from labreport.export import ExportError
from labreport.export.document import Document
from labreport.export.fonts import font_folders, fonts
from labreport.export.pandoc import (
    BREAK,
    TEMPLATES,
    TOGETHER,
    break_words,
    change_sources,
    find,
    frame_boxes,
    plain,
    write_text,
)
from labreport.export.pictures import PICTURES
from labreport.export.shorten import break_line

#: How often the letters that no font has are replaced: Typst doesn't name all of them at once.
REPLACEMENTS = 8
#: Digits in a line of a listing, by the page's columns.
LISTING_WIDTH = {1: 80, 2: 36}
#: Letters of a cell that may be taller than a page, and of the longest words for a picture.
TALL, LONGEST = 1000, 2000
#: Where Unicode lets a line end, but no line of Chinese may: between what is in one piece and a
#: semicolon or colon, and before the number of a source.
_NO_BREAK = re.compile(r"(?<=\];)(?=[；：])|(?<=[^\s(\[])(?=#link\(<ref-)")
#: Rows of the longest group that a page keeps together; it has no more letters than a tall cell.
GROUP = 12
#: Points of a page's text height that may stay empty before a figure, and before a table or box is
#: split for them; the page's lower edge, the space above a figure.
EMPTY, EMPTIER, BOTTOM, SPACING = 90.0, 139.0, 771.0, 24.0
#: How small a figure may be made to fit, how high a table is whose rows are closer, how often the
#: report is laid out to find a place.
SMALLEST, TIGHT, ARRANGEMENTS = 0.75, 0.89, 10
#: Points of the shorter part of a table over two pages; a third of it where more would stay empty.
PART, WASTE = 90.0, 300.0
_WHERE = """(
  marks: query(<mark>).map(it => (
    it.value + (page: it.location().page(), y: it.location().position().y.pt())
  )),
  landings: query(<landing>).map(it => {
    let place = it.location().position()
    (it.value, (place.page, place.y.pt()))
  }) + query(heading).filter(it => it.has("label")).map(it => {
    let place = it.location().position()
    (str(it.label), (place.page, place.y.pt()))
  }),
)"""
#: What is changed at once: names, each with how it is placed.
Choice = tuple[tuple[str, str | float], ...]
_ESCAPED = re.compile(r"\\u\{([0-9a-f]+)\}")
_NO_GLYPH = re.compile(r'the text `"(.*?)"` could not be displayed')


def to_pdf(document: Document) -> bytes:
    """The file's bytes: the same document gives the same ones.

    Raises
    ------
    ExportError
        A character that no font has: PDF/A forbids the empty boxes that would stand for it. In a
        notebook that isn't ours, its number takes its place.
    """
    timestamp = max(0, int(document.day.timestamp())) if document.day else 0
    with TemporaryDirectory() as name:
        folder = Path(name)
        texts = _write_sources(document, folder)
        for _ in range(1 if document.ours else REPLACEMENTS):
            for name, text in texts.items():
                (folder / name).write_text(text, encoding="utf-8")
            compiler = typst.Compiler(
                folder / "report.typ",
                root=folder,
                font_paths=font_folders(),
                ignore_system_fonts=True,
            )
            try:
                if document.ours and document.columns == 1:
                    arrange(compiler, folder / "arrangement.json")
                content = compiler.compile(pdf_standards=["a-2b"], timestamp=timestamp)
                assert isinstance(content, bytes)
                return content
            except typst.TypstError as error:
                message, missing = _explain(error), _find_missing(error)
            if not missing:
                break
            for words in missing:
                number = f"〔{' '.join(f'U+{ord(c):04X}' for c in words)}〕"
                texts = {name: text.replace(words, number) for name, text in texts.items()}
    raise ExportError(message)


def arrange(compiler: Any, file: Path) -> None:
    """Choose how figures, tables and boxes are placed, so that no page is left much emptier than
    :data:`EMPTY`: each stands where the text has it, unless that leaves a page so empty.

    Parameters
    ----------
    compiler : Typst's, for the report.
    file : that the report reads them from.
    """
    chosen: dict[str, str | float] = {}
    heights: dict[str, float] = {}
    tried: set[Choice] = set()
    for _ in range(ARRANGEMENTS):
        file.write_text(json.dumps({"modes": chosen, "heights": heights}), encoding="utf-8")
        found = json.loads(compiler.eval(_WHERE))
        heights = {m["name"]: m["height"] for m in found["marks"] if m["kind"] == "table"}
        choices = _improve(found["marks"], dict(found["landings"]), chosen)
        fresh = (choice for choice in choices if choice not in tried)
        if (choice := next(fresh, None)) is None:
            return
        tried.add(choice)
        chosen |= choice


def _improve(
    marks: list[dict[str, Any]],
    landings: dict[str, list[float]],
    chosen: dict[str, str | float],
) -> Iterator[Choice]:
    """What may be tried for the first page that is left empty, or for what comes before another."""
    waiting: dict[str, dict[str, Any]] = {}  # the last that was put off, by its kind
    shown: list[dict[str, Any]] = []  # images that stand where the text has them
    for mark in marks:
        name, kind, gap = mark["name"], mark["kind"], BOTTOM - mark["y"]
        page, place = landings.get(name, [mark["page"], mark["y"]])
        earlier = waiting.get(kind)
        if earlier and [page, place] < landings[earlier["name"]]:
            yield ((name, "later"),)
        if chosen.get(name) == "later":
            waiting[kind] = mark
        elif page == mark["page"] and kind == "image":
            shown.append(mark)
        elif page > mark["page"] and gap > EMPTY:
            if kind == "image" and name not in chosen:
                lacking = mark["height"] + mark["rest"] + SPACING - gap
                above = [m for m in shown if m["page"] == mark["page"] and m["name"] not in chosen]
                for images in ([mark], [*above, mark]):
                    smaller = 1 - lacking / sum(image["height"] for image in images)
                    if smaller > SMALLEST:
                        yield tuple((image["name"], min(1.0, smaller)) for image in images)
            if kind == "table" and name not in chosen and TIGHT * mark["height"] < gap - SPACING:
                yield ((name, "tight"),)
            for put_off in [mark, *waiting.values()]:  # a heading waits for those
                least = PART if gap < WASTE else PART / 3
                is_long = min(gap, put_off.get("height", 0) - gap) > least
                is_split = put_off["kind"] == "box" or (put_off["kind"] == "table" and is_long)
                if is_split and gap > EMPTIER:
                    yield ((put_off["name"], "split"),)
            if kind in {"image", "table"}:
                yield ((name, "later"),)


def _write_sources(document: Document, folder: Path) -> dict[str, str]:
    """Write the pictures into ``folder``; the texts that belong there, by their names."""
    targets = {}
    for picture, forms in document.pictures.items():
        kind = next(kind for kind in PICTURES if kind in forms)
        targets[picture] = f"{picture}.{kind.partition('/')[2].partition('+')[0]}"
        (folder / targets[picture]).write_bytes(forms[kind])
    tree = document.with_targets(targets)
    for listing in find(tree, pf.CodeBlock):
        lines = listing.text.split("\n")
        width = LISTING_WIDTH[document.columns]
        listing.text = "\n".join(piece for line in lines for piece in break_line(line, width))
    cells = [len(plain(cell)) for cell in find(tree, pf.TableCell)]
    given = {
        **document.meta,
        "lines": document.lines,
        "columns": document.columns,
        "ours": document.ours,
        "tall": max(cells, default=0) > TALL,
        "fonts": {kind: font.family for kind, font in fonts().items()},
        "alternatives": {image.url: plain(image)[:LONGEST] for image in find(tree, pf.Image)},
    }
    break_words(tree)
    frame_boxes(tree, _frame)
    change_sources(tree, _indent_source)
    for span in find(tree, pf.Span):
        if TOGETHER in span.classes:
            _keep_together(span)
    _keep_listings(tree)
    for table in find(tree, pf.Table):
        _name_head(table)
        _group_rows(table)
    body = write_text(tree, "typst").replace(BREAK, "#box();")  # which leaves no trace in the text
    body = _NO_BREAK.sub("\u2060", body)
    style = (TEMPLATES / "report.typ").read_text(encoding="utf-8")
    return {
        "arrangement.json": '{"modes": {}, "heights": {}}',
        "report.json": json.dumps(given, ensure_ascii=False),
        "report.typ": f"{style}\n{body}",
    }


def _raw(source: str) -> pf.RawInline:
    inline = pf.RawInline(source)
    inline.format = "typst"  # which panflute doesn't know
    return inline


def _wrap(call: str, *content: pf.Inline, end: str = "]") -> list[pf.Inline]:
    """Inlines as what a function of Typst is given: ``#call[…]``."""
    return [_raw(f"#{call}["), *content, _raw(end)]


def _frame(title: str, content: list[pf.Block]) -> list[pf.Block]:
    opening = pf.Para(*_wrap("framed", pf.Str(title), end="]["))
    return [opening, *content, pf.Para(_raw("]"))]


def _indent_source(source: pf.Para) -> pf.Para:
    number, *rest = source.content
    while rest and isinstance(rest[0], pf.Space | pf.SoftBreak):
        del rest[0]
    call = "source(sticky: true)" if isinstance(source.prev, pf.Header) else "source"
    return pf.Para(*_wrap(call, number, end="]["), *rest, _raw("]"))


def _keep_together(span: pf.Span) -> None:
    """Put what stays on one line into a box.

    The lines of a paragraph with an interval are ragged: the line before so long a box would be
    stretched by all of its length.
    """
    paragraph = span.parent
    is_long = isinstance(paragraph, pf.Para) and plain(span).startswith("[")
    if is_long and not isinstance(paragraph.content[0], pf.RawInline):
        paragraph.content = _wrap("ragged", *paragraph.content)
    span.content = _wrap("box", *span.content, end="];")


def _keep_listings(tree: pf.Doc) -> None:
    """Let no page end between a listing and the paragraph that announces it."""
    for listing in find(tree, pf.CodeBlock):
        before = listing.prev
        if isinstance(before, pf.Para) and plain(before).endswith(("：", ":")):
            before.content = _wrap("announcing", *before.content)


def _name_head(table: pf.Table) -> None:
    """Put a table's name into its head, where a page that it goes on to shows it."""
    if table.caption.content and table.head.content:
        name = table.caption.content[0].content[0]
        first = table.head.content[0].content[0]
        words = [inline for block in first.content for inline in block.content]
        first.content = [pf.Plain(*_wrap("continued", pf.Str(plain(name))), *words)]


def _group_rows(table: pf.Table) -> None:
    """Let no page end within a group: rows of which only the first has a word in its first cell.

    Beside the group stands an empty cell of its height and no width, and Typst breaks no cell.
    """
    rows = [row for body in table.content for row in body.content if row.content]
    groups: list[list[pf.TableRow]] = []
    for row in rows:
        if groups and not plain(row.content[0]):
            groups[-1].append(row)
        else:
            groups.append([row])
    kept = [len(g) <= GROUP and len(plain(*g)) <= TALL for g in groups]
    if len(groups) == len(rows) or not any(kept):
        return
    beside = [row for part in (table.head, table.foot) for row in part.content]
    for group, is_kept in zip(groups, kept, strict=True):
        if is_kept:
            group[0].content.append(_empty_cell(len(group)))
        else:
            beside += group
    for row in beside:
        row.content.append(_empty_cell(1))
    table.colspec += [("AlignDefault", "ColWidthDefault")]
    table.cols += 1


def _empty_cell(rows: int) -> pf.TableCell:
    return pf.TableCell(rowspan=rows, attributes={"typst:inset": "0pt"})


def _find_missing(error: Exception) -> list[str]:
    """What no font has, longest first; Typst names the letter before an emoji's colour, too."""
    found = set(_NO_GLYPH.findall(getattr(error, "diagnostic", str(error))))
    found = {_ESCAPED.sub(lambda match: chr(int(match[1], 16)), words) for words in found}
    return sorted(filterfalse(str.isascii, found), key=lambda words: (-len(words), words))


def _explain(error: Exception) -> str:
    if missing := sorted(_find_missing(error)):
        names = (w if w.isprintable() else f"U+{ord(w[0]):04X}" for w in missing)
        return f"no font has {', '.join(names)}; write it in other characters"
    return f"Typst can't set the report: {str(error).splitlines()[0]}"
