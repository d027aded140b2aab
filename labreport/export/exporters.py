"""The exporters that nbconvert's command line and JupyterLab's menu offer.

Each has two names. ``--to report-html`` is for the command line; ``report_html`` is for JupyterLab,
whose server accepts no hyphen in a format's name.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from nbconvert.exporters import Exporter
from nbconvert.writers import FilesWriter
from traitlets import Enum, default

from labreport.export import ExportError, format_writers, write_whole
from labreport.export.document import read_document
from labreport.export.notebook import check, read_notebook


@contextmanager
def _one_line(name: str = "") -> Iterator[None]:
    """Make what goes wrong an :class:`ExportError`; on the command line, a line on stderr."""
    from nbconvert.nbconvertapp import NbConvertApp  # it imports the exporters itself

    try:
        try:
            yield
        except OSError as error:
            raise ExportError(f"{error.filename or name}: {error.strerror or error}") from None
        except RecursionError:
            raise ExportError("the notebook is nested too deeply") from None
    except ExportError as error:
        if not NbConvertApp.initialized():
            raise
        raise SystemExit(f"ExportError: {name and name + ': '}{error}") from None


class WholeFilesWriter(FilesWriter):
    """Writes a file under another name first, as :func:`labreport.export.write_whole` does."""

    def write(
        self, output: Any, resources: Any, notebook_name: str | None = None, **keywords: Any
    ) -> Path:
        folder = Path(self.build_directory or resources["metadata"]["path"])
        path = folder / f"{notebook_name}{resources['output_extension']}"
        self.log.info("Writing %i bytes to %s", len(output), path)
        with _one_line():
            write_whole(path, output.encode() if isinstance(output, str) else output)
        return path


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
        with _one_line():
            nb, resources = super().from_notebook_node(check(nb), resources, **keywords)
            given = resources.get("metadata", {})
            name, folder = given.get("name") or "report", Path(given.get("path") or ".")
            document = read_document(nb, name, folder, self.columns)
            for line in document.warnings:
                self.log.warning(line)
            content = format_writers()[self.kind](document)
        return content.decode() if self.kind == "html" else content, resources

    def from_filename(self, filename: str, *given: Any, **keywords: Any) -> Any:
        from nbconvert.nbconvertapp import NbConvertApp  # it imports the exporters itself

        if NbConvertApp.initialized():
            app = NbConvertApp.instance()
            if type(app.writer) is FilesWriter:
                app.writer = WholeFilesWriter(parent=app)
        with _one_line(filename):
            return super().from_filename(filename, *given, **keywords)

    def from_file(self, file_stream: Any, *given: Any, **keywords: Any) -> Any:
        return self.from_notebook_node(read_notebook(file_stream), *given, **keywords)

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
