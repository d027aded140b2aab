"""The report as one HTML file that needs nothing else: no script, no network, no font installed."""

import base64
import html
import io
import math
import re

from labreport.export.cells import PICTURES
from labreport.export.document import Document
from labreport.export.exporter import ReportExporter
from labreport.export.fonts import fonts
from labreport.export.pandoc import TEMPLATES, Node, plain, rewrite, write
from labreport.export.widths import units

_FONT = "FONT-GOES-HERE"  # what it holds is known once the rest of the page is


def render_html(document: Document) -> str:
    """The page, with styles, pictures, formulas (MathML) and the letters it uses inside."""
    from jinja2 import Environment, FileSystemLoader

    pictures = {name: _data_uri(forms) for name, forms in document.pictures.items()}
    blocks = rewrite(document.with_targets(pictures), _for_the_web)
    body = write(blocks, "html5-task_lists", "--mathml", "--syntax-highlighting=none")
    page = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True)
    filled = page.get_template("report.html").render(
        meta=document.meta,
        columns=document.columns,
        letters=math.ceil(units(document.meta["title"]) / 2),
        headings=[heading for heading in document.headings if heading[0] <= 2],
        body=body,
        style=(TEMPLATES / "report.css").read_text(encoding="utf-8"),
        font=_FONT,
    )
    letters = _letters(html.unescape(re.sub(r'src="data:[^"]*"', "", filled)))
    return filled.replace(_FONT, base64.b64encode(letters).decode(), 1)


def _data_uri(forms: dict[str, bytes]) -> str:
    kind = next(kind for kind in PICTURES if kind in forms)
    return f"data:{kind};base64,{base64.b64encode(forms[kind]).decode()}"


def _for_the_web(node: Node) -> Node:
    """Below the title's heading; wide tables scroll by themselves, by keyboard too."""
    if node["t"] == "Header":
        return {"t": "Header", "c": [min(6, node["c"][0] + 1), *node["c"][1:]]}
    if node["t"] == "Table":
        name = plain(node["c"][1][1]) or "表格"
        keys = [["tabindex", "0"], ["role", "group"], ["aria-label", name]]
        return {"t": "Div", "c": [["", ["table"], keys], [_aligned(node)]]}
    return node


def _aligned(table: Node) -> Node:
    """The table with classes for what pandoc would write as a style into every cell."""
    attributes, caption, columns, head, bodies, foot = table["c"]
    sides = [align["t"] for align, _ in columns]
    classes = {"AlignRight": ["right"], "AlignCenter": ["center"]}
    for row in [*head[1], *(row for body in bodies for row in body[2] + body[3]), *foot[1]]:
        for cell, side in zip(row[1], sides, strict=False):
            own = cell[1]["t"]
            cell[0] = ["", classes.get(side if own == "AlignDefault" else own, []), []]
            cell[1] = {"t": "AlignDefault"}
    columns = [[{"t": "AlignDefault"}, width] for _, width in columns]
    return {"t": "Table", "c": [attributes, caption, columns, head, bodies, foot]}


def _letters(words: str) -> bytes:
    """The report's font cut down to the characters of ``words``, as WOFF2."""
    from fontTools import subset
    from fontTools.ttLib import TTFont

    chosen = subset.Options(
        flavor="woff2", hinting=False, layout_features=["kern", "locl", "ccmp", "halt"]
    )
    with TTFont(fonts()["sans"].path, fontNumber=0, lazy=True, recalcTimestamp=False) as font:
        cutter = subset.Subsetter(chosen)
        cutter.populate(text=words + "".join(map(chr, range(32, 127))))
        cutter.subset(font)
        result = io.BytesIO()
        subset.save_font(font, result, chosen)
    return result.getvalue()


class ReportHTMLExporter(ReportExporter):
    """``jupyter nbconvert --to report-html``."""

    export_from_notebook = "labcnn report (HTML)"
    output_mimetype = "text/html"
    extension = ".html"

    def render(self, document: Document) -> str:
        return render_html(document)
