"""The report as one HTML file that needs nothing else: no script, no network, no font installed."""

import base64
import html
import io
import re

from labcnn.analysis.style import fonts
from labcnn.export.cells import PICTURES
from labcnn.export.document import Document
from labcnn.export.exporter import ReportExporter
from labcnn.export.pandoc import TEMPLATES, Node, rewrite, write

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
        attributes = ["", ["table"], [["tabindex", "0"]]]
        return {"t": "Div", "c": [attributes, [node]]}
    return node


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
