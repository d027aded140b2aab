"""Export an executed notebook, ours or any other, as one HTML, PDF or Word file."""

import logging
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labreport.export.document import Document

#: The kind of a notebook's output that says what the document is: title, lines, notice, columns.
DOCUMENT = "application/vnd.labcnn.document+json"


class ExportError(Exception):
    """What is wrong in a notebook, and what is valid; people see it as one line."""

    def _render_traceback_(self) -> list[str]:
        """IPython calls this instead of printing a traceback."""
        return [f"{type(self).__name__}: {self}"]


def export_report(
    notebook: Path,
    folder: Path,
    formats: Iterable[str] = ("html", "pdf", "docx"),
    stem: str = "report",
) -> list[Path]:
    """Write an executed notebook as ``<stem>.html``, ``<stem>.pdf``, ``<stem>.docx``.

    Each file is written under another name first and then renamed, so that nobody reads half of it.

    Parameters
    ----------
    notebook : the executed notebook.
    folder : where the files go; made if missing.
    formats : ``html``, ``pdf`` and ``docx``.

    Returns
    -------
    The files written, in the order of ``formats``.

    Raises
    ------
    ExportError
        No such notebook or format, no notebook in the file, or what
        :func:`labreport.export.document.read_document` and the formats raise.
    """
    from labreport.export.document import read_document
    from labreport.export.notebook import read_notebook

    writers = format_writers()
    formats = list(formats)
    for kind in formats:
        if kind not in writers:
            raise ExportError(f"format {kind!r} is unknown; valid: {', '.join(writers)}")
    if not notebook.is_file():
        raise ExportError(f"notebook {notebook.name!r} is not there")
    with notebook.open(encoding="utf-8") as stream:
        given = read_notebook(stream)
    document = read_document(given, notebook.stem, notebook.parent)
    for line in document.warnings:
        logging.getLogger("labreport").warning(line)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{stem}.{kind}" for kind in formats]
    with ThreadPoolExecutor(2) as threads:  # pandoc and Typst leave Python to the other format
        contents = threads.map(lambda kind: writers[kind](document), formats)
        for path, content in zip(paths, contents, strict=True):
            write_whole(path, content)
    return paths


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under another name, then rename it; where that fails, nothing is left."""
    partial = path.with_name(f".{os.getpid()}.partial")  # any name that fits in a folder fits
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        with suppress(OSError):
            partial.unlink()


def format_writers() -> dict[str, Callable[["Document"], bytes]]:
    """What turns a document into a file's bytes, by the file's extension."""
    from labreport.export.to_docx import to_docx
    from labreport.export.to_html import to_html
    from labreport.export.to_pdf import to_pdf

    return {"html": to_html, "pdf": to_pdf, "docx": to_docx}
