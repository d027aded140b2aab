"""The report as an A4 page in PDF/A-2b, typeset by Typst."""

import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory

from labcnn.analysis.style import fonts
from labcnn.errors import ReportError
from labcnn.export.cells import PICTURES
from labcnn.export.document import Document
from labcnn.export.exporter import ReportExporter
from labcnn.export.pandoc import TEMPLATES, find, plain, write

_NO_GLYPH = re.compile(r'the text `"(.*?)"` could not be displayed')


def render_pdf(document: Document) -> bytes:
    """The file's bytes: the same document gives the same ones.

    Raises
    ------
    ReportError
        A character that no font has: PDF/A forbids the empty boxes that would stand for it.
    """
    import typst

    with TemporaryDirectory() as name:
        folder = Path(name)
        targets = {}
        for picture, forms in document.pictures.items():
            kind = next(kind for kind in PICTURES if kind in forms)
            targets[picture] = f"{picture}.{kind.partition('/')[2].partition('+')[0]}"
            (folder / targets[picture]).write_bytes(forms[kind])
        blocks = document.with_targets(targets)
        alternatives = {node["c"][2][0]: plain(node["c"][1]) for node in find(blocks, "Image")}
        style = (TEMPLATES / "report.typ").read_text(encoding="utf-8")
        families = {kind: font.family for kind, font in fonts().items()}
        given = {**document.meta, "fonts": families, "alternatives": alternatives}
        (folder / "report.json").write_text(json.dumps(given), encoding="utf-8")
        (folder / "report.typ").write_text(f"{style}\n{write(blocks, 'typst')}", encoding="utf-8")
        try:
            return typst.compile(
                folder / "report.typ",
                font_paths=sorted({font.path.parent for font in fonts().values()}),
                ignore_system_fonts=True,
                pdf_standards=["a-2b"],
                timestamp=document.timestamp,
            )
        except typst.TypstError as error:
            raise ReportError(_explained(error)) from None


def _explained(error: Exception) -> str:
    missing = sorted(set(_NO_GLYPH.findall(getattr(error, "diagnostic", str(error)))))
    if missing:
        return f"no font has {', '.join(missing)}; write it in other characters"
    return f"Typst can't set the report: {str(error).splitlines()[0]}"


class ReportPDFExporter(ReportExporter):
    """``jupyter nbconvert --to report-pdf``."""

    export_from_notebook = "labcnn report (PDF)"
    output_mimetype = "application/pdf"
    extension = ".pdf"

    def render(self, document: Document) -> bytes:
        return render_pdf(document)
