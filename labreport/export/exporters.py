"""The exporters that nbconvert's command line and JupyterLab's menu offer.

Each has two names. ``--to report-html`` is for the command line; ``report_html`` is for JupyterLab,
whose server accepts no hyphen in a format's name.
"""

import sys
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from nbconvert.exporters import Exporter
from traitlets import Enum, default

from labreport.export import ExportError
from labreport.export.document import Document, read_document


class ReportExporter(Exporter):
    """Reads a notebook into a :class:`Document` and returns what ``write`` makes of it."""

    #: The file's extension, with its dot.
    extension: ClassVar[str]
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
            return self.write(read_document(nb, name, folder, self.columns)), resources
        except ExportError as error:
            from nbconvert.nbconvertapp import NbConvertApp  # it imports the exporters itself

            if NbConvertApp.initialized():  # on the command line: one line, no traceback
                raise SystemExit(f"ExportError: {error}") from None
            raise

    @abstractmethod
    def write(self, document: Document) -> str | bytes:
        """The document in the exporter's format."""

    @default("file_extension")
    def _file_extension_default(self) -> str:
        return self.extension

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
    extension = ".html"

    def write(self, document: Document) -> str:
        from labreport.export.to_html import to_html

        return to_html(document).decode()


class ReportPDFExporter(ReportExporter):
    """``report_pdf``."""

    export_from_notebook = "labcnn report (PDF)"
    output_mimetype = "application/pdf"
    extension = ".pdf"

    def write(self, document: Document) -> bytes:
        from labreport.export.to_pdf import to_pdf

        return to_pdf(document)


class ReportDocxExporter(ReportExporter):
    """``report_docx``."""

    export_from_notebook = "labcnn report (Word)"
    output_mimetype = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    extension = ".docx"

    def write(self, document: Document) -> bytes:
        from labreport.export.to_docx import to_docx

        return to_docx(document)


class HyphenatedHTML(ReportHTMLExporter):
    """``report-html``."""

    hyphenated = True


class HyphenatedPDF(ReportPDFExporter):
    """``report-pdf``."""

    hyphenated = True


class HyphenatedDocx(ReportDocxExporter):
    """``report-docx``."""

    hyphenated = True
