"""The report as one HTML file that needs nothing else: no script, no network, no font installed."""

import base64
import html
import io
import math
import re
from itertools import count
from typing import Any

import panflute as pf

from labreport.export.document import Document
from labreport.export.drawings import colours_in_the_dark, draw_inline
from labreport.export.fonts import fonts, text_width
from labreport.export.pandoc import (
    BREAK,
    TEMPLATES,
    Pictures,
    bolden_chinese,
    break_words,
    change_sources,
    find,
    frame_boxes,
    plain,
    write_text,
)
from labreport.export.pictures import PICTURES

#: In place of the fonts until the rest of the page is known, for they hold its letters only.
_FACES = {"sans": "REGULAR-GOES-HERE", "bold": "BOLD-GOES-HERE"}
_WEIGHTS = {"sans": 400, "bold": 700}
#: In widths of a digit: the cells of a table whose rows are lines on a phone too.
SHORT = 30
_PICTURE = re.compile(r'<img src="(image-\d+)"(?: alt="([^"]*)")?([^>]*)>')
#: In place of the drawings' colours, until those are known.
_DARK = "/* DARK COLOURS */"


def to_html(document: Document) -> bytes:
    """The page, with styles, pictures, formulas (MathML) and the letters it uses inside."""
    from jinja2 import Environment, FileSystemLoader

    tree = document.with_targets({name: name for name in document.pictures}).walk(_adapt)
    bolden_chinese(tree)
    frame_boxes(tree, _frame)
    change_sources(tree, lambda source: pf.Div(source, classes=["source"]))
    page = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True)
    filled = page.get_template("report.html").render(
        meta=document.meta,
        lines=document.lines,
        columns=document.columns,
        letters=math.ceil(text_width(document.meta["title"]) / 2),
        headings=[heading for heading in document.headings if heading.level <= 2],
        body=_write(tree),
        style=(TEMPLATES / "report.css").read_text(encoding="utf-8"),
        faces={_WEIGHTS[kind]: place for kind, place in _FACES.items()},
    )
    words = {"sans": html.unescape(filled), "bold": _bold_words(document, tree)}
    for kind, place in _FACES.items():
        letters = base64.b64encode(_subset_font(kind, words[kind])).decode()
        filled = filled.replace(place, letters, 1)
    shown = _show_pictures(filled, document.pictures)
    return shown.replace(_DARK, colours_in_the_dark(shown), 1).encode()


def _frame(title: str, content: list[pf.Block]) -> list[pf.Block]:
    above = [pf.Div(pf.Plain(pf.Str(title)), classes=["box-title"])] if title else []
    named = {"role": "group", "aria-label": title} if title else {}
    return [pf.Div(*above, *content, classes=["box"], attributes=named)]


def _write(tree: pf.Doc) -> str:
    options = ("--mathml", "--syntax-highlighting=none")
    return write_text(tree, "html5-task_lists", *options).replace(BREAK, "<wbr>")


def _show_pictures(page: str, pictures: Pictures) -> str:
    """The page with drawings among its elements, and the other pictures' data in it."""
    number = count()

    def show(match: re.Match[str]) -> str:
        forms, words = pictures[match[1]], html.unescape(match[2] or "")
        drawing = forms.get("image/svg+xml")
        if drawing and (made := draw_inline(drawing, words, f"drawing{next(number)}")):
            return made
        alternative = f' alt="{html.escape(words)}"'
        return f'<img src="{_data_uri(forms)}"{alternative}{match[3]}>'

    return _PICTURE.sub(show, page)


def _data_uri(forms: dict[str, bytes]) -> str:
    kind = next(kind for kind in PICTURES if kind in forms)
    return f"data:{kind};base64,{base64.b64encode(forms[kind]).decode()}"


def _adapt(element: Any, _: Any) -> Any:
    """Headings are below the title's; what is wide scrolls by itself, by keyboard too."""
    if isinstance(element, pf.Header):
        element.level = min(6, element.level + 1)
    if isinstance(element, pf.Figure):
        element.attributes = {"tabindex": "0"}
    if isinstance(element, pf.Table):
        _align_by_class(element)
        break_words(element)
        widths = [text_width(plain(cell)) for cell in find(element, pf.TableCell)]
        if element.cols > 2 and max(widths) <= SHORT:
            element.classes = ["even"]
        name = plain(element.caption) or "表格"
        keys = {"tabindex": "0", "role": "group", "aria-label": name}
        return pf.Div(element, classes=["table"], attributes=keys)
    return None


def _align_by_class(table: pf.Table) -> None:
    """Give cells classes for what pandoc would write as a style into every one."""
    classes = {"AlignRight": ["right"], "AlignCenter": ["center"]}
    bodies = [row for body in table.content for row in [*body.head, *body.content]]
    for row in [*table.head.content, *bodies, *table.foot.content]:
        for cell, (column, _) in zip(row.content, table.colspec, strict=False):
            own = cell.alignment
            cell.classes = classes.get(column if own == "AlignDefault" else own, [])
            cell.alignment = "AlignDefault"
    table.colspec = [("AlignDefault", width) for _, width in table.colspec]


def _bold_words(document: Document, tree: pf.Doc) -> str:
    """All that the style sheet sets bold."""
    bold = find(tree, pf.Header | pf.Strong | pf.TableHead)
    titles = [div for div in find(tree, pf.Div) if "box-title" in div.classes]
    return document.meta["title"] + document.meta["notice"] + "目录" + plain(*bold, *titles)


def _subset_font(kind: str, words: str) -> bytes:
    """One of the report's fonts cut down to the characters of ``words``, as WOFF2."""
    from fontTools import subset
    from fontTools.ttLib import TTFont

    chosen = subset.Options(
        flavor="woff2", hinting=False, layout_features=["kern", "locl", "ccmp", "halt"]
    )
    with TTFont(
        fonts()[kind].path, fontNumber=0, lazy=True, recalcTimestamp=False, recalcBBoxes=False
    ) as font:
        cutter = subset.Subsetter(chosen)
        cutter.populate(text=words + "".join(map(chr, range(32, 127))))
        cutter.subset(font)
        result = io.BytesIO()
        subset.save_font(font, result, chosen)
    return result.getvalue()
