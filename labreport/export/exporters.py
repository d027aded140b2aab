"""The exporters that nbconvert's command line and JupyterLab's menu offer.

Each has two names. ``--to report-html`` is for the command line; ``report_html`` is for JupyterLab,
whose server accepts no hyphen in a format's name.
"""

import sys
from pathlib import Path
from typing import Any, ClassVar

from nbconvert.exporters import Exporter
from traitlets import Enum, default

from labreport.export import ExportError, format_writers
from labreport.export.document import read_document


class ReportExporter(Exporter):
    """Reads a notebook into a document, and writes that."""

    #: The format, as the file's extension names it.
    kind: ClassVar[str]
    #: Whether the entry point's name has a hyphen.
    hyphenated: ClassVar[bool] = False

    columns = Enum(
        (1, 2),
        default_value=None,
        allow_none=True,
        help="Columns of the text on paper; None: as the notebook says, else 1.",
    ).tag(config=True)

    def from_notebook_node(  # type: ignore[override]
        self, nb: Any, resources: Any = None, **keywords: Any
    ) -> tuple[str | bytes, Any]:
        nb, resources = super().from_notebook_node(nb, resources, **keywords)
        given = resources.get("metadata", {})
        name, folder = given.get("name") or "report", Path(given.get("path") or ".")
        try:
            content = format_writers()[self.kind](read_document(nb, name, folder, self.columns))
        except ExportError as error:
            from nbconvert.nbconvertapp import NbConvertApp  # it imports the exporters itself

            if NbConvertApp.initialized():  # on the command line: one line, no traceback
                raise SystemExit(f"ExportError: {error}") from None
            raise
        return content.decode() if self.kind == "html" else content, resources

    @default("file_extension")
    def _file_extension_default(self) -> str:
        return f".{self.kind}"

    @default("enabled")
    def _enabled_default(self) -> bool:
        """JupyterLab's menu lists what is enabled in its server: not the names with a hyphen."""
        return not (self.hyphenated and _in_a_server())


def _in_a_server() -> bool:
    serving = sys.modules.get("jupyter_server.serverapp")
    return serving is not None and serving.ServerApp.initialized()


class ReportHTMLExporter(ReportExporter):
    """``report_html``."""

    export_from_notebook = "labcnn report (HTML)"
    output_mimetype = "text/html"
    kind = "html"


class ReportPDFExporter(ReportExporter):
    """``report_pdf``."""

    export_from_notebook = "labcnn report (PDF)"
    output_mimetype = "application/pdf"
    kind = "pdf"


class ReportDocxExporter(ReportExporter):
    """``report_docx``."""

    export_from_notebook = "labcnn report (Word)"
    output_mimetype = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    kind = "docx"


class HyphenatedHTML(ReportHTMLExporter):
    """``report-html``."""

    hyphenated = True


class HyphenatedPDF(ReportPDFExporter):
    """``report-pdf``."""

    hyphenated = True


class HyphenatedDocx(ReportDocxExporter):
    """``report-docx``."""

    hyphenated = True
