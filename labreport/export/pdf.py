"""The report as an A4 page in PDF/A-2b, typeset by Typst."""

import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory

from labreport.export.cells import PICTURES
from labreport.export.document import Document
from labreport.export.errors import ExportError
from labreport.export.exporter import ReportExporter
from labreport.export.fonts import fonts
from labreport.export.pandoc import TEMPLATES, find, plain, write

#: How often the letters that no font has are replaced: Typst doesn't name all of them at once.
REPLACEMENTS = 8
_ESCAPED = re.compile(r"\\u\{([0-9a-f]+)\}")
_NO_GLYPH = re.compile(r'the text `"(.*?)"` could not be displayed')


def render_pdf(document: Document) -> bytes:
    """The file's bytes: the same document gives the same ones.

    Raises
    ------
    ExportError
        A character that no font has: PDF/A forbids the empty boxes that would stand for it. In a
        notebook that isn't ours, its number takes its place.
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
        given = {
            **document.meta,
            "columns": document.columns,
            "fonts": families,
            "alternatives": alternatives,
        }
        texts = {
            "report.json": json.dumps(given, ensure_ascii=False),
            "report.typ": f"{style}\n{write(blocks, 'typst')}",
        }
        for _ in range(1 if document.ours else REPLACEMENTS):
            for name, text in texts.items():
                (folder / name).write_text(text, encoding="utf-8")
            try:
                return typst.compile(
                    folder / "report.typ",
                    font_paths=sorted({font.path.parent for font in fonts().values()}),
                    ignore_system_fonts=True,
                    pdf_standards=["a-2b"],
                    timestamp=document.timestamp,
                )
            except typst.TypstError as error:
                message, missing = _explained(error), _missing(error)
            if not missing:
                break
            for words in missing:
                number = f"〔{' '.join(f'U+{ord(c):04X}' for c in words)}〕"
                texts = {name: text.replace(words, number) for name, text in texts.items()}
    raise ExportError(message)


def _missing(error: Exception) -> list[str]:
    """What no font has, longest first."""
    found = set(_NO_GLYPH.findall(getattr(error, "diagnostic", str(error))))
    found = {_ESCAPED.sub(lambda match: chr(int(match[1], 16)), words) for words in found}
    return sorted(found, key=lambda words: (-len(words), words))


def _explained(error: Exception) -> str:
    if missing := sorted(_missing(error)):
        names = (w if w.isprintable() else f"U+{ord(w[0]):04X}" for w in missing)
        return f"no font has {', '.join(names)}; write it in other characters"
    return f"Typst can't set the report: {str(error).splitlines()[0]}"


class ReportPDFExporter(ReportExporter):
    """``jupyter nbconvert --to report-pdf``."""

    export_from_notebook = "labcnn report (PDF)"
    output_mimetype = "application/pdf"
    extension = ".pdf"

    def render(self, document: Document) -> bytes:
        return render_pdf(document)
