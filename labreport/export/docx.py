"""The report as a Word document: pandoc's, with the styles and fields of a Chinese one."""

import base64
import re
from tempfile import TemporaryDirectory
from typing import Any

from labreport.export import widths
from labreport.export.document import Document
from labreport.export.exporter import ReportExporter
from labreport.export.fields import caption, contents, reference
from labreport.export.office import Package, reference_document
from labreport.export.pandoc import TEMPLATES, Node, plain, rewrite, text, write_bytes
from labreport.export.raster import png

_TYPED = re.compile(r"^\d+(\.\d+)*\s+")
#: What Word shows; the others become PNG.
_SHOWN = ("image/png", "image/jpeg", "image/gif")


def render_docx(document: Document) -> bytes:
    """The file's bytes: the same document gives the same ones.

    Headings are numbered by their styles, figures and tables by fields, so that the numbers still
    hold when an author adds one; fields are filled in, so that no reader has to update them.
    """
    pictures = {name: _data_uri(forms) for name, forms in document.pictures.items()}
    numbered = _numbered(document.headings)
    blocks = widths.set_widths(rewrite(document.with_targets(pictures), _for_word(numbered)))
    if document.columns > 1:
        blocks = widths.breakable(blocks)
    package = Package(document)
    blocks = package.in_sections(blocks)
    front = [
        *_title_block(document.meta),
        *(contents(document.headings, depth=2) if len(document.headings) > 6 else []),
        *package.after_front(),
    ]
    known = {
        key: {"t": "MetaInlines", "c": [text(document.meta[key])]}
        for key in ("title", "author")
        if document.meta[key]
    }
    known["section"] = {"t": "MetaBlocks", "c": [package.end()]}
    with TemporaryDirectory() as folder:
        path = reference_document(folder, numbered, document.columns)
        made = write_bytes(
            [*front, *blocks],
            "docx",
            f"--reference-doc={path}",
            f"--template={TEMPLATES / 'docx' / 'document.xml'}",
            meta=known,
        )
    return package.finished(made)


def _data_uri(forms: dict[str, bytes]) -> str:
    kind = next((kind for kind in _SHOWN if kind in forms), None)
    shown = forms[kind] if kind else png(next(iter(forms.values())))
    return f"data:{kind or 'image/png'};base64,{base64.b64encode(shown).decode()}"


def _numbered(headings: list[tuple[int, str, str]]) -> bool:
    """Whether the numbers typed in front of headings are those that Word would count."""
    counts: list[int] = []
    for level, _, words in headings:
        typed = _TYPED.match(words)
        if level > 3 or not typed:
            if typed or level <= 3:
                return False
            continue
        counts = [*(counts + [0] * level)[:level]]
        counts[-1] += 1
        if typed[0].strip() != ".".join(map(str, counts)):
            return False
    return bool(headings)


def _for_word(numbered: bool) -> Any:
    def rule(node: Node) -> Node | list[Node]:
        kind, content = node["t"], node.get("c", [])
        if kind == "Header" and numbered and content[0] <= 3:
            return {"t": kind, "c": [*content[:2], _without_number(content[2])]}
        if kind in {"Figure", "Table"}:
            attributes, (short, words), *rest = content
            if words:
                number = plain(words[0]["c"][0])
                shown = [*caption(number), *words[0]["c"][1:]]
                words = [{"t": "Plain", "c": shown}]
            return {"t": kind, "c": [["", *attributes[1:]], [short, words], *rest]}
        if kind == "Link" and re.match(r"#(fig|tbl)-", content[2][0]):
            return reference(plain(content[1]))
        return node

    return rule


def _without_number(inlines: list[Node]) -> list[Node]:
    rest = _TYPED.sub("", plain(inlines[:1]) + " ")
    kept = inlines[1:] if rest in {"", " "} or _TYPED.match(plain(inlines[:2])) else inlines
    return kept[1:] if kept and kept[0]["t"] == "Space" else kept


def _title_block(meta: dict[str, str]) -> list[Node]:
    lines = [("Title", [text(meta["title"])])]
    if meta["subtitle"]:
        lines.append(("Subtitle", [text(meta["subtitle"])]))
    words = (("课程", "course"), ("姓名", "author"), ("学号", "student_number"), ("日期", "date"))
    given = [f"{word}\u2002{meta[key]}" for word, key in words if meta[key]]
    lines.append(("Author", [text("\u3000\u3000".join(given))]))
    return [
        {"t": "Div", "c": [["", [], [["custom-style", style]]], [{"t": "Para", "c": inlines}]]}
        for style, inlines in lines
    ]


class ReportDocxExporter(ReportExporter):
    """``jupyter nbconvert --to report-docx``."""

    export_from_notebook = "labcnn report (Word)"
    output_mimetype = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    extension = ".docx"

    def render(self, document: Document) -> bytes:
        return render_docx(document)
