"""A notebook's cells as blocks of a document: code gone, outputs kept, in their best form."""

import base64
import re
from dataclasses import dataclass, field
from typing import Any

from nbconvert.filters import strip_ansi

from labreport.export.errors import ExportError
from labreport.export.pandoc import Node, chunk, image, verbatim
from labreport.export.privacy import rule, without_paths

DOCUMENT = "application/vnd.labcnn.document+json"
#: What an output may be shown as, best first; PNG is kept beside SVG for formats without SVG.
PICTURES = ("image/svg+xml", "image/png", "image/jpeg", "image/gif")
#: Marked-up text, best first, and what reads it.
_SOURCES = {"text/markdown": "markdown", "text/latex": "latex", "text/html": "html"}
DROPPED_TAGS = {"remove-cell", "parameters", "injected-parameters"}
_OPTION = re.compile(r"#\|\s*([\w-]+)\s*:\s*(.*?)\s*$")
_ENVIRONMENT = re.compile(
    r"^[ \t]*\\begin\{(equation|align|gather|multline|eqnarray)(\*?)\}(.*?)\\end\{\1\2\}",
    re.M | re.S,
)


@dataclass
class Cells:
    """Blocks not yet parsed, the pictures they name (each by media type), the title block."""

    blocks: list[Node] = field(default_factory=list)
    pictures: dict[str, dict[str, bytes]] = field(default_factory=dict)
    meta: dict[str, str] = field(default_factory=dict)
    ours: bool = False  # then text outputs are the author's remarks to herself

    def add_picture(self, data: dict[str, Any]) -> Node:
        """An image node for an output's ``data``, with every form of the picture that it has."""
        name = f"image-{len(self.pictures) + 1}"
        self.pictures[name] = {
            kind: data[kind].encode() if kind.endswith("xml") else base64.b64decode(data[kind])
            for kind in PICTURES
            if kind in data
        }
        return image(name, "图")


def read_cells(notebook: Any) -> Cells:
    """All that the document shows of a notebook (``nbformat`` node), in its order."""
    cells = Cells()
    shown = [c for c in notebook.cells if not DROPPED_TAGS & set(c.metadata.get("tags", []))]
    given = [dict(notebook.metadata.get("labcnn", {}))]
    for cell in notebook.cells:
        given += [
            o.data[DOCUMENT] for o in cell.get("outputs", []) if DOCUMENT in o.get("data", {})
        ]
    cells.ours = any(given)
    for meta in given:  # the last one wins
        cells.meta |= {key: str(value) for key, value in meta.items()}
    for cell in shown:
        if cell.cell_type == "markdown":
            cells.blocks.append(chunk(_markdown(cell, cells)))
        elif cell.cell_type == "code":
            cells.blocks += _code(cell, cells)
        elif not cells.ours:
            cells.blocks += _raw(cell)
    return cells


def options(source: str) -> dict[str, str]:
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


def _markdown(cell: Any, cells: Cells) -> str:
    text = _ENVIRONMENT.sub(_displayed, cell.source)
    for name, data in cell.get("attachments", {}).items():
        picture = cells.add_picture(data)["c"][2][0]
        text = text.replace(f"(attachment:{name})", f"({picture})")
    return text


def _displayed(match: re.Match[str]) -> str:
    """Jupyter shows a bare environment as a formula; pandoc wants the dollars."""
    inner = {"equation": "aligned", "eqnarray": "aligned", "align": "aligned"}.get(
        match[1], "gathered"
    )
    return f"$$\\begin{{{inner}}}{match[3]}\\end{{{inner}}}$$"


def _code(cell: Any, cells: Cells) -> list[Node]:
    chosen, tags = options(cell.source), set(cell.metadata.get("tags", []))
    blocks: list[Node] = []
    if "show-code" in tags:
        lines = cell.source.splitlines()
        blocks.append(verbatim("\n".join(line for line in lines if not line.startswith("#|"))))
    if "remove-output" in tags:
        return blocks
    shown = [node for output in cell.outputs for node in _output(output, cells)]
    label = chosen.get("label", "")
    for kind, node_type, word in (("fig", "Picture", "figure"), ("tbl", "Chunk", "table")):
        if not label.startswith(f"{kind}-") and f"{kind}-cap" not in chosen:
            continue
        mine = [node for node in shown if node["t"] == node_type]
        if not mine:
            raise ExportError(f"the cell labelled {label!r} shows no {word}")
        caption = [chunk(chosen.get(f"{kind}-cap", ""))]
        alt = chosen.get(f"{kind}-alt", "")
        captioned = {"t": "Captioned", "c": [kind, label, alt, caption, mine]}
        shown = [captioned if n is mine[0] else n for n in shown if n is mine[0] or n not in mine]
        break
    return blocks + shown


def _raw(cell: Any) -> list[Node]:
    """A raw cell by its format; one without is shown as it is, unless it is settings for Quarto."""
    kind = cell.metadata.get("format") or cell.metadata.get("raw_mimetype")
    if kind in _SOURCES:
        return [chunk(cell.source, _SOURCES[kind])]
    settings = cell.source.lstrip().startswith("---")
    return [] if kind or settings or not cell.source.strip() else [_said(cell.source)]


def _output(output: Any, cells: Cells) -> list[Node]:
    """Blocks of one output: nothing for warnings, scripts and (in our notebooks) remarks."""
    if output.output_type == "error":
        line = f"{output.ename}: {output.evalue}"
        lines = [] if cells.ours else list(output.get("traceback", []))
        return [_said("\n".join(lines) if lines else line)]
    if output.output_type == "stream":
        if cells.ours or output.name != "stdout":
            return []
        lines = output.text.rstrip("\n").split("\n")
        return [_said("\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines))]
    data = output.data
    if DOCUMENT in data or any("javascript" in kind for kind in data):
        return []
    if any(kind in data for kind in PICTURES):
        return [{"t": "Picture", "c": [cells.add_picture(data)]}]
    for kind, source in _SOURCES.items():
        if kind in data:
            return [_marked_up(data[kind], source)]
    plain_text = "" if cells.ours else data.get("text/plain", "")  # of a widget too
    return [_said(plain_text)] if plain_text else []


def _said(words: str) -> Node:
    return verbatim(without_paths(strip_ansi(words)))


def _marked_up(words: str, source: str) -> Node:
    """Of LaTeX, formulas are Markdown's; the rest is pandoc's to read."""
    if source == "latex" and not re.search(r"\\begin\{(tabular|itemize|enumerate)", words):
        words, source = _ENVIRONMENT.sub(_displayed, words), "markdown"
    return chunk(words, source, rule)
