"""A notebook, damaged or not, as one of which every part has the type that the format promises."""

import json
from typing import Any, TextIO

import nbformat
from nbformat import NotebookNode

from labreport.export import ExportError

#: What a notebook's metadata is kept of, if it has these words; what a preprocessor may need.
_REQUIRED = {"kernelspec": ("name", "display_name"), "language_info": ("name",)}


def read_notebook(stream: TextIO) -> NotebookNode:
    """A notebook of any version from an open file.

    Raises
    ------
    ExportError
        There is no notebook in it.
    """
    try:
        text = stream.read().removeprefix("\ufeff")
        given = _mapping(json.loads(text))
        version = given.get("nbformat", 4 if "cells" in given else None)
        if version in {1, 2, 3}:
            given, version = nbformat.reads(text, as_version=4), 4
    except Exception as error:  # what converts old versions raises all kinds
        raise ExportError(f"no notebook can be read from this file: {_first_line(error)}") from None
    if version != 4 or not isinstance(given.get("cells"), list):
        raise ExportError(f"no notebook of version 1 to 4 is in this file (nbformat {version!r})")
    return mend(given)


def mend(given: dict[str, Any]) -> NotebookNode:
    """A copy in which missing parts are empty; what can't be a cell or an output is its text."""
    metadata = _mapping(given.get("metadata"))
    for key, needed in _REQUIRED.items():
        if any(not isinstance(_mapping(metadata.get(key)).get(name), str) for name in needed):
            metadata.pop(key, None)
    metadata = {key: metadata[key] for key in ("labcnn", *_REQUIRED) if key in metadata}
    cells = [_cell(cell) for cell in _list(given.get("cells"))]
    made = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 4}
    return nbformat.from_dict(made)


def _cell(given: Any) -> dict[str, Any]:
    cell = given if isinstance(given, dict) else {"source": given}
    kind = cell.get("cell_type")
    given_metadata = _mapping(cell.get("metadata"))
    formats = {key: _text(given_metadata.get(key)) for key in ("format", "raw_mimetype")}
    metadata = {key: word for key, word in formats.items() if word}
    metadata["tags"] = sorted({_text(tag) for tag in _list(given_metadata.get("tags"))})
    made = {
        "cell_type": kind if kind in ("markdown", "code", "raw") else "raw",
        "source": _text(cell.get("source")),
        "metadata": metadata,
    }
    if kind == "markdown":
        attached = _mapping(cell.get("attachments")).items()
        made["attachments"] = {name: _data(data) for name, data in attached}
    if kind == "code":
        made["outputs"] = [_output(output) for output in _list(cell.get("outputs"))]
        count = cell.get("execution_count")
        made["execution_count"] = count if isinstance(count, int) and count >= 0 else None
    return made


def _output(given: Any) -> dict[str, Any]:
    output = given if isinstance(given, dict) else {"text": given}
    if output.get("output_type") == "error":
        traceback = [_text(line) for line in _list(output.get("traceback"))]
        words = {key: _text(output.get(key)) for key in ("ename", "evalue")}
        return {"output_type": "error", "traceback": traceback, **words}
    if isinstance(output.get("data"), dict):
        return {"output_type": "display_data", "metadata": {}, "data": _data(output["data"])}
    if "text" in output:
        name = "stderr" if output.get("name") == "stderr" else "stdout"
        return {"output_type": "stream", "name": name, "text": _text(output["text"])}
    return {"output_type": "display_data", "metadata": {}, "data": {"application/json": output}}


def _data(given: Any) -> dict[str, Any]:
    return {
        kind: value if kind.endswith("json") else _text(value)
        for kind, value in _mapping(given).items()
    }


def _text(given: Any) -> str:
    if isinstance(given, list):
        return "".join(map(_text, given))
    if not isinstance(given, str):
        given = "" if given is None else json.dumps(given, ensure_ascii=False, default=str)
    return given.encode("utf-8", "replace").decode()  # half a character is none


def _mapping(given: Any) -> dict[str, Any]:
    return dict(given) if isinstance(given, dict) else {}


def _list(given: Any) -> list[Any]:
    return given if isinstance(given, list) else []


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
