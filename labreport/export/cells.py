"""A notebook's cells as blocks of a document: code left out, outputs in their best form."""

import html
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unicodedata import east_asian_width

import panflute as pf
from nbconvert.preprocessors import CoalesceStreamsPreprocessor

from labreport.export import DOCUMENT
from labreport.export.pandoc import (
    Notices,
    Passages,
    Pictures,
    add_picture,
    printable,
    without_paths,
)
from labreport.export.pictures import PICTURES, read_forms
from labreport.export.shorten import (
    OUTPUTS,
    ROWS,
    count_rows,
    left_out,
    share_rows,
    shorten,
    shorten_html,
)

#: Marked-up text, best first, and what reads it.
_MARKUP = {"text/markdown": "markdown", "text/latex": "latex", "text/html": "html"}
DROPPED_TAGS = {"remove-cell", "parameters", "injected-parameters"}
_OPTION = re.compile(r"#\|\s*([\w-]+)\s*:\s*(.*?)\s*$")
#: A formula that Jupyter shows without dollars; what is code or has them is passed over.
_BARE = re.compile(
    r"^ {0,3}(?P<fence>```+|~~~+).*?^ {0,3}(?P=fence)|`[^`\n]+`|\$\$.*?\$\$|\$[^$\n]+\$"
    r"|\\begin\{(?P<name>equation|align|alignat|aligned|flalign|gather|gathered|multline|eqnarray"
    r"|split|[bBpvV]?matrix|smallmatrix|cases|array|CD)(?P<star>\*?)\}(?P<inner>.*?)"
    r"\\end\{(?P=name)(?P=star)\}"
    r"|^[ \t]*\\\[(?P<display>.+?)\\\][ \t]*$"
    r"|\\(?P<reference>eqref|ref)\{(?P<label>[^{}]*)\}",
    re.M | re.S,
)
#: Those that number their lines, as what pandoc has in their place.
_NUMBERED = {"gather": "gathered", "multline": "gathered", "alignat": "alignedat"} | dict.fromkeys(
    ("equation", "align", "flalign", "eqnarray", "split"), "aligned"
)
#: What a terminal obeys instead of showing it.
_ESCAPES = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b[\\]PX^_].*?(?:\x07|\x1b\\\\)|\x1b[ -/]*[0-~]"
)
_SCRIPT = re.compile(r"<(script|style)\b.*?</\1\s*>|<!--.*?-->", re.S | re.I)
_TAG = re.compile(r"<[^>]*>")
_WIDGET = "application/vnd.jupyter.widget-view+json"


@dataclass
class Cells:
    """What a notebook shows.

    Attributes
    ----------
    blocks : in their order. A ``Div`` holds what pandoc has read in one text; a ``Figure`` of class
        ``fig`` or ``tbl`` holds what a captioned cell shows.
    pictures : that images in ``blocks`` name.
    meta : what the notebook says of itself: title, author, date, number of columns and so on.
    lines : of the title block, each a word and a value.
    ours : whether it says so; then its text outputs are remarks for its author.
    notices : what of it isn't shown as it was meant.
    room : printed lines that each output may fill.
    """

    blocks: list[pf.Block] = field(default_factory=list)
    pictures: Pictures = field(default_factory=dict)
    meta: dict[str, str] = field(default_factory=dict)
    lines: list[tuple[str, str]] = field(default_factory=list)
    ours: bool = False
    notices: Notices = field(default_factory=Notices)
    room: int = 0


def read_cells(notebook: Any, folder: Path) -> Cells:
    """All that a notebook (``nbformat`` node, in ``folder``) shows."""
    cells = Cells()
    passages = Passages(cells.pictures, folder, cells.notices)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    given = [notebook.metadata.get("labcnn", {})]
    given += [o.data[DOCUMENT] for o in outputs if DOCUMENT in o.get("data", {})]
    for meta in given:  # the last one wins
        cells.ours = cells.ours or bool(meta)
        cells.lines = [(_clean(word), _clean(value)) for word, value in meta.get("lines", [])]
        cells.meta |= {key: _clean(value) for key, value in meta.items() if key != "lines"}
    _warn_if_never_run(notebook, cells)
    cells.room = share_rows([count_rows(text) for o in outputs for text in _texts(o)])
    for position, cell in enumerate(notebook.cells, 1):
        count = cell.get("execution_count")
        cells.notices.cell = f"{position} [{count}]" if count else str(position)
        if DROPPED_TAGS & set(cell.metadata.get("tags", [])):
            continue
        if cell.cell_type == "markdown":
            cells.blocks.append(passages.add(_markdown(cell, cells)))
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


def _warn_if_never_run(notebook: Any, cells: Cells) -> None:
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    if code and not any(cell.outputs or cell.execution_count for cell in code):
        cells.notices.lines.append("the notebook was never run, so it has no outputs: run it first")
        cells.meta["notice"] = (
            cells.meta.get("notice") or "笔记本尚未运行，没有输出：请先运行，再导出"
        )


def _texts(output: Any) -> Iterator[str]:
    """What of an output is text that may be long."""
    yield output.get("text", "")
    yield from output.get("traceback", [])
    yield from (
        text for kind, text in output.get("data", {}).items() if kind in {*_MARKUP, "text/plain"}
    )


def _markdown(cell: Any, cells: Cells) -> str:
    text = _BARE.sub(_display, cell.source)
    for name, data in cell.get("attachments", {}).items():
        if forms := read_forms(data):
            picture = add_picture(cells.pictures, forms)
            text = text.replace(f"(attachment:{name})", f"({picture})")
    return text


def _display(match: re.Match[str]) -> str:
    """Jupyter shows a bare environment as a formula; pandoc wants the dollars."""
    if match["reference"]:
        return f"({match['label']})" if match["reference"] == "eqref" else match["label"]
    inner = match["display"]
    if name := match["name"]:
        name = _NUMBERED.get(name, name)
        inner = f"\\begin{{{name}}}{match['inner']}\\end{{{name}}}"
    return "$$" + re.sub(r"\n\s*\n", "\n", inner.strip()) + "$$" if inner else match[0]


def _code(cell: Any, cells: Cells, passages: Passages) -> list[pf.Block]:
    options, tags = read_options(cell.source), set(cell.metadata.get("tags", []))
    code: list[pf.Block] = []
    if "show-code" in tags:
        lines = [line for line in cell.source.splitlines() if not line.startswith("#|")]
        code.append(pf.CodeBlock(printable("\n".join(lines))))
    if "remove-output" in tags:
        return code
    CoalesceStreamsPreprocessor().preprocess_cell(cell, {}, 0)
    outputs = cell.outputs
    middle = len(outputs) - OUTPUTS
    shown = []
    for k, output in enumerate(outputs):
        if not 0 <= k - OUTPUTS // 2 < middle:
            shown += _output(output, cells, passages)
        elif k == OUTPUTS // 2:
            shown.append(pf.CodeBlock(left_out(middle, "项输出")))
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
    """Blocks of one output: nothing for (in our notebooks) remarks for the author."""
    if output.output_type == "error":
        line = f"{output.ename}: {output.evalue}"
        lines = [] if cells.ours else list(output.traceback)
        note = cells.notices.block("it failed", "运行出错", line)
        return [note, _verbatim("\n".join(lines) or line, cells.room)]
    if output.output_type == "stream":
        seen = re.sub(r"[ \r]+$", "", output.text.rstrip("\n"), flags=re.M)
        return [] if cells.ours else [_verbatim(seen, cells.room)]
    data = output.data
    if DOCUMENT in data:
        return []
    if forms := read_forms(data):
        return [pf.Para(pf.Image(pf.Str("图"), url=add_picture(cells.pictures, forms)))]
    notes: list[pf.Block] = []
    if any(kind in data for kind in PICTURES):
        notes.append(cells.notices.block("its picture is broken", "图片已损坏"))
    for kind, markup in _MARKUP.items():
        if kind in data:
            plain = partial(_plain, data, cells)
            return [*notes, *_marked_up(data[kind], markup, cells.room, passages, plain)]
    return notes + _plain(data, cells)


def _plain(data: dict[str, Any], cells: Cells) -> list[pf.Block]:
    """An output as plain text; for one that has none, a notice."""
    if cells.ours or not data:
        return []
    plain_text = data.get("text/plain", "")
    if plain_text and not plain_text.startswith("<IPython.core.display."):
        return [_verbatim(plain_text, cells.room)]
    for kind, value in data.items():
        if kind.endswith("json") and kind != _WIDGET:
            words = json.dumps(value, ensure_ascii=False, indent=1)
            return [_verbatim(words, cells.room)]
    kinds = ", ".join(kind for kind in data if kind not in PICTURES)
    return (
        [cells.notices.block("an output can't be shown", "有输出无法显示", kinds)] if kinds else []
    )


def _verbatim(words: str, room: int = ROWS) -> pf.CodeBlock:
    lines = without_paths(shorten(_ESCAPES.sub("", words), room)).split("\n")
    return pf.CodeBlock(printable("\n".join(map(_expand_tabs, lines))))


def _expand_tabs(line: str) -> str:
    """A line whose tabs are spaces, in a font whose Chinese letters are 5/3 as wide as others."""
    *cells, last = line.split("\t")
    made, width, stop = "", 0.0, 0
    for cell in cells:
        wide = sum(east_asian_width(letter) in "WF" for letter in cell)
        width += len(cell) + wide * 2 / 3
        stop += 8 * (int(max(width - stop, 0)) // 8 + 1)
        spaces = round(stop - width)
        made, width = made + cell + " " * spaces, width + spaces
    return made + last


def _marked_up(
    words: str, markup: str, room: int, passages: Passages, plain: Callable[[], list[pf.Block]]
) -> list[pf.Block]:
    """Of LaTeX, formulas are Markdown's; the rest is pandoc's to read."""
    words = passages.embed(words)
    if markup == "html":
        words = shorten_html(_SCRIPT.sub("", words), room)
        text = html.unescape(_TAG.sub("", words))
        if count_rows(text) > 4 * room:
            return plain() or [_verbatim(text, room)]
    elif markup == "latex" and not re.search(r"\\begin\{(tabular|itemize|enumerate)", words):
        words = re.sub(r"\\\((.+?)\\\)", r"$\1$", _BARE.sub(_display, words))
        markup = "markdown"
    if markup == "markdown":
        words = shorten(words, room)
    return [passages.add(words, markup, from_output=True, instead=plain)]
