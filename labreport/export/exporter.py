"""What the exporters for nbconvert share."""

import sys
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from nbconvert.exporters import Exporter
from traitlets import Enum, default

from labreport.export.document import Document, build
from labreport.export.errors import ExportError


class ReportExporter(Exporter):
    """Turns a notebook into a :class:`Document` and that into what ``render`` returns."""

    #: What follows the file's name.
    extension: ClassVar[str]
    #: A name with a hyphen, which a Jupyter server's addresses can't hold.
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
            document = build(nb, name, folder, self.columns)
            return self.render(document), resources
        except ExportError as error:
            from nbconvert.nbconvertapp import NbConvertApp  # it imports the exporters itself

            if NbConvertApp.initialized():  # the command line: one line, no traceback
                raise SystemExit(f"ExportError: {error}") from None
            raise

    @abstractmethod
    def render(self, document: Document) -> str | bytes:
        """The document in the exporter's format."""

    @default("file_extension")
    def _file_extension_default(self) -> str:
        return self.extension

    @default("enabled")
    def _enabled_default(self) -> bool:
        """JupyterLab's menu shows what is enabled in its server: names that don't work are not."""
        return not (self.hyphenated and _in_a_server())


def _in_a_server() -> bool:
    serving = sys.modules.get("jupyter_server.serverapp")
    return serving is not None and serving.ServerApp.initialized()
