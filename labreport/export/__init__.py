"""From an executed notebook to the report's files."""

from collections.abc import Callable, Iterable
from pathlib import Path

from labreport.export.errors import ExportError


def export_report(
    notebook: Path,
    folder: Path,
    formats: Iterable[str] = ("html", "pdf", "docx"),
    stem: str = "report",
    columns: int | None = None,
) -> list[Path]:
    """Write an executed notebook as ``<stem>.html``, ``<stem>.pdf``, ``<stem>.docx``.

    Each file is complete or not there: a reader never meets half of one.

    Parameters
    ----------
    notebook : the executed notebook.
    folder : where the files go; made if missing.
    formats : ``html``, ``pdf`` and ``docx``.
    columns : of the text on paper, 1 or 2; None: as the notebook says, else 1.

    Returns
    -------
    The files written, in the order of ``formats``.

    Raises
    ------
    ExportError
        No such notebook or format, or what :func:`labreport.export.document.build` and the formats
        complain about.
    """
    import nbformat

    from labreport.export.document import Document, build
    from labreport.export.docx import render_docx
    from labreport.export.html import render_html
    from labreport.export.pdf import render_pdf

    writers: dict[str, Callable[[Document], str | bytes]] = {
        "html": render_html,
        "pdf": render_pdf,
        "docx": render_docx,
    }
    formats = list(formats)
    for kind in formats:
        if kind not in writers:
            raise ExportError(f"format {kind!r} is unknown; valid: {', '.join(writers)}")
    if not notebook.is_file():
        raise ExportError(f"notebook {notebook.name!r} is not there")
    document = build(nbformat.read(notebook, as_version=4), notebook.stem, notebook.parent, columns)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for kind in formats:
        content = writers[kind](document)
        path, partial = folder / f"{stem}.{kind}", folder / f".{stem}.{kind}.partial"
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        partial.replace(path)
        written.append(path)
    return written
