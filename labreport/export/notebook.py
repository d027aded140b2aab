"""A notebook as one of version 4 that keeps to its format, or a line that says why it isn't one."""

import json
from collections.abc import Mapping
from typing import Any, TextIO

import nbformat
from nbformat import NotebookNode

from labreport.export import ExportError


def read_notebook(stream: TextIO) -> NotebookNode:
    """A notebook of any version from an open file.

    Raises
    ------
    ExportError
        There is no notebook in it, or one that isn't as its format wants it.
    """
    try:
        text = stream.read().removeprefix("\ufeff")
        given = json.loads(text)  # whose message says where a file is cut
        version = given.get("nbformat") if isinstance(given, dict) else None
        if version in {1, 2, 3, 4}:
            return check(nbformat.convert(nbformat.reader.reads(text), 4))
    except ExportError:
        raise
    except Exception as error:  # what converts old versions raises all kinds
        raise ExportError(f"no notebook can be read from this file: {_first_line(error)}") from None
    raise ExportError(f"no notebook of version 1 to 4 is in this file (nbformat {version!r})")


def check(given: Mapping[str, Any]) -> NotebookNode:
    """A copy of a notebook, without halves of characters.

    Raises
    ------
    ExportError
        A part is missing or of another type than the format says.
    """
    whole = json.dumps(given, ensure_ascii=False).encode("utf-8", "replace")
    notebook = nbformat.from_dict(json.loads(whole) | {"nbformat_minor": 4})  # no ids are needed
    try:
        nbformat.validate(notebook, relax_add_props=True)
    except nbformat.ValidationError as error:
        raise ExportError(f"no notebook as its format says: {_first_line(error)}") from None
    return notebook


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
