"""What the exporters for nbconvert share."""

from abc import abstractmethod
from pathlib import Path
from typing import Any

from nbconvert.exporters import Exporter
from traitlets import default

from labcnn.errors import ReportError
from labcnn.export.document import Document, build


class ReportExporter(Exporter):
    """Turns a notebook into a :class:`Document` and that into what ``render`` returns."""

    def from_notebook_node(  # type: ignore[override]
        self, nb: Any, resources: Any = None, **keywords: Any
    ) -> tuple[str | bytes, Any]:
        nb, resources = super().from_notebook_node(nb, resources, **keywords)
        given = resources.get("metadata", {})
        try:
            document = build(nb, given.get("name") or "report", Path(given.get("path") or "."))
            return self.render(document), resources
        except ReportError as error:
            from nbconvert.nbconvertapp import NbConvertApp  # it imports the exporters itself

            if NbConvertApp.initialized():  # the command line: one line, no traceback
                raise SystemExit(f"ReportError: {error}") from None
            raise

    @abstractmethod
    def render(self, document: Document) -> str | bytes:
        """The document in the exporter's format."""

    @default("file_extension")
    def _file_extension_default(self) -> str:
        return f".{self.output_mimetype.rpartition('/')[2]}"
