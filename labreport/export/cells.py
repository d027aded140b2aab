"""A notebook's cells as blocks of a document: code left out, outputs in their best form."""

import base64
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import panflute as pf
from nbconvert.filters import strip_ansi

from labreport.export import DOCUMENT
from labreport.export.pandoc import Passages, Pictures, add_picture, printable, without_paths

#: What an output may be shown as, best first; PNG is kept beside SVG for formats without SVG.
PICTURES = ("image/svg+xml", "image/png", "image/jpeg", "image/gif")
#: Marked-up text, best first, and what reads it.
_MARKUP = {"text/markdown": "markdown", "text/latex": "latex", "text/html": "html"}
DROPPED_TAGS = {"remove-cell", "parameters", "injected-parameters"}
_OPTION = re.compile(r"#\|\s*([\w-]+)\s*:\s*(.*?)\s*$")
_ENVIRONMENT = re.compile(
    r"^[ \t]*\\begin\{(equation|align|gather|multline|eqnarray)(\*?)\}(.*?)\\end\{\1\2\}",
    re.M | re.S,
)


@dataclass
class Cells:
    """What a notebook shows.

    Attributes
    ----------
    blocks : in their order. A ``Div`` holds what pandoc has read in one text; a ``Figure`` of class
        ``fig`` or ``tbl`` holds what a captioned cell shows.
    pictures : that images in ``blocks`` name.
    meta : what the notebook says of itself: title, author, date, number of columns and so on.
    lines : of the title block, each a word and a value; None: not given, they are in ``meta``.
    ours : whether it says so; then its text outputs are remarks for its author.
    """

    blocks: list[pf.Block] = field(default_factory=list)
    pictures: Pictures = field(default_factory=dict)
    meta: dict[str, str] = field(default_factory=dict)
    lines: list[tuple[str, str]] | None = None
    ours: bool = False


def read_cells(notebook: Any, folder: Path) -> Cells:
    """All that a notebook (``nbformat`` node, in ``folder``) shows."""
    cells = Cells()
    passages = Passages(cells.pictures, folder)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    given = [dict(notebook.metadata.get("labcnn", {}))]
    given += [o.data[DOCUMENT] for o in outputs if DOCUMENT in o.get("data", {})]
    cells.ours = any(given)
    for meta in given:  # the last one wins
        if "lines" in meta:
            cells.lines = [(_clean(word), _clean(value)) for word, value in meta["lines"]]
        cells.meta |= {key: _clean(value) for key, value in meta.items() if key != "lines"}
    for cell in notebook.cells:
        if DROPPED_TAGS & set(cell.metadata.get("tags", [])):
            continue
        if cell.cell_type == "markdown":
            cells.blocks.append(passages.add(_markdown(cell, cells.pictures)))
        elif cell.cell_type == "code":
            cells.blocks += _code(cell, cells, passages)
        elif not cells.ours:
            cells.blocks += _raw(cell, passages)
    passages.read()
    return cells


def _clean(value: Any) -> str:
    return printable(str(value)).strip()


def read_options(source: str) -> dict[str, str]:
    """The ``#| key: value`` lines at the top of a code cell, as Quarto writes them."""
    found = {}
    for line in source.splitlines():
        match = _OPTION.match(line)
        if not match:
            break
        value = match[2]
        quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
        found[match[1]] = value[1:-1] if quoted else value
    return found


def _markdown(cell: Any, pictures: Pictures) -> str:
    text = _ENVIRONMENT.sub(_display, cell.source)
    for name, data in cell.get("attachments", {}).items():
        text = text.replace(f"(attachment:{name})", f"({add_picture(pictures, _forms(data))})")
    return text


def _display(match: re.Match[str]) -> str:
    """Jupyter shows a bare environment as a formula; pandoc wants the dollars."""
    aligned = match[1] in {"equation", "eqnarray", "align"}
    inner = "aligned" if aligned else "gathered"
    return f"$$\\begin{{{inner}}}{match[3]}\\end{{{inner}}}$$"


def _forms(data: dict[str, Any]) -> dict[str, bytes]:
    """Each form of a picture that an output or an attachment has."""
    return {
        kind: data[kind].encode() if kind.endswith("xml") else base64.b64decode(data[kind])
        for kind in PICTURES
        if kind in data
    }


def _code(cell: Any, cells: Cells, passages: Passages) -> list[pf.Block]:
    options, tags = read_options(cell.source), set(cell.metadata.get("tags", []))
    code: list[pf.Block] = []
    if "show-code" in tags:
        lines = [line for line in cell.source.splitlines() if not line.startswith("#|")]
        code.append(pf.CodeBlock(printable("\n".join(lines))))
    if "remove-output" in tags:
        return code
    shown = [block for output in cell.outputs for block in _output(output, cells, passages)]
    return code + _caption(shown, options, passages)


def _caption(shown: list[pf.Block], options: dict[str, str], passages: Passages) -> list[pf.Block]:
    """A cell's blocks, those that its caption is about (pictures or texts) in one figure."""
    label = options.get("label", "")
    for kind, holder in (("fig", pf.Para), ("tbl", pf.Div)):
        if not label.startswith(f"{kind}-") and f"{kind}-cap" not in options:
            continue
        about = [block for block in shown if isinstance(block, holder)]
        others = [block for block in shown if not isinstance(block, holder)]
        figure = pf.Figure(
            *about,
            caption=pf.Caption(passages.add(options.get(f"{kind}-cap", ""))),
            identifier=label,
            classes=[kind],
            attributes={"alt": printable(options.get(f"{kind}-alt", ""))},
        )
        place = shown.index(about[0]) if about else 0
        return [*others[:place], figure, *others[place:]]
    return shown


def _raw(cell: Any, passages: Passages) -> list[pf.Block]:
    """A raw cell by its format; one without is shown as it is, unless it is settings for Quarto."""
    kind = cell.metadata.get("format") or cell.metadata.get("raw_mimetype")
    if kind in _MARKUP:
        return [passages.add(cell.source, _MARKUP[kind])]
    settings = cell.source.lstrip().startswith("---")
    return [] if kind or settings or not cell.source.strip() else [_verbatim(cell.source)]


def _output(output: Any, cells: Cells, passages: Passages) -> list[pf.Block]:
    """Blocks of one output: nothing for warnings, scripts and (in our notebooks) remarks."""
    if output.output_type == "error":
        line = f"{output.ename}: {output.evalue}"
        lines = [] if cells.ours else list(output.get("traceback", []))
        return [_verbatim("\n".join(lines) if lines else line)]
    if output.output_type == "stream":
        if cells.ours or output.name != "stdout":
            return []
        lines = output.text.rstrip("\n").split("\n")
        return [_verbatim("\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines))]
    data = output.data
    if DOCUMENT in data or any("javascript" in kind for kind in data):
        return []
    if forms := _forms(data):
        return [pf.Para(pf.Image(pf.Str("图"), url=add_picture(cells.pictures, forms)))]
    for kind, markup in _MARKUP.items():
        if kind in data:
            return [_marked_up(data[kind], markup, passages)]
    plain_text = "" if cells.ours else data.get("text/plain", "")  # of a widget too
    return [_verbatim(plain_text)] if plain_text else []


def _verbatim(words: str) -> pf.CodeBlock:
    return pf.CodeBlock(printable(without_paths(strip_ansi(words))))


def _marked_up(words: str, markup: str, passages: Passages) -> pf.Div:
    """Of LaTeX, formulas are Markdown's; the rest is pandoc's to read."""
    if markup == "latex" and not re.search(r"\\begin\{(tabular|itemize|enumerate)", words):
        words, markup = _ENVIRONMENT.sub(_display, words), "markdown"
    return passages.add(words, markup, from_output=True)
