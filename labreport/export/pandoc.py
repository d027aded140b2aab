"""Pandoc, which parses and writes; between the two, a document is its JSON tree.

https://hackage.haskell.org/package/pandoc-types/docs/Text-Pandoc-Definition.html names the nodes:
``{"t": type, "c": contents}``, and lists of them. What comes from a notebook enters the tree as
text nodes or through a reader whose raw passages are off, so that it can't become markup.
"""

import json
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from labreport.export.errors import ExportError

Node = dict[str, Any]
TEMPLATES = Path(__file__).parent / "templates"

#: As Jupyter reads a cell (no blank line needed before a list), and nothing raw.
MARKDOWN = (
    "markdown-raw_html-raw_tex-raw_attribute-native_divs-native_spans-markdown_in_html_blocks"
    "-smart-citations-example_lists-fancy_lists-yaml_metadata_block-pandoc_title_block"
    "-subscript-superscript-simple_tables-multiline_tables-grid_tables-line_blocks"
    "-auto_identifiers-implicit_header_references-blank_before_header-blank_before_blockquote"
    "+lists_without_preceding_blankline"
)
_FORMATS = {
    "markdown": MARKDOWN,
    "html": "html-native_divs-native_spans",
    "latex": "latex-raw_tex",
}
Rule = Callable[[Node], Node | list[Node]]


def chunk(text: str, source: str = "markdown", rule: Rule | None = None) -> Node:
    """A passage that :func:`parse` turns into blocks, to which it applies ``rule``.

    ``source`` is ``markdown``, ``html`` or ``latex``.
    """
    return {"t": "Chunk", "c": [_FORMATS[source], text], "rule": rule}


def parse(blocks: list[Node]) -> list[Node]:
    """``blocks`` with every chunk replaced by what pandoc reads in it, each read on its own."""
    chunks = [node["c"] for node in find(blocks, "Chunk")]
    read = _decoded(_run(json.dumps(chunks), "-f", str(TEMPLATES / "reader.lua"), "-t", "json"))
    parsed = iter(json.loads(read)["blocks"])

    def replaced(node: Node) -> Node | list[Node]:
        if node["t"] != "Chunk":
            return node
        inside = next(parsed)["c"][1]
        return rewrite(inside, node["rule"]) if node["rule"] else inside

    return rewrite(blocks, replaced)


def write(blocks: list[Node], target: str, *arguments: str) -> str:
    """The blocks in a text format that pandoc writes, e.g. ``html5`` or ``typst``."""
    return _decoded(write_bytes(blocks, target, "--wrap=none", *arguments))


def write_bytes(
    blocks: list[Node],
    target: str,
    *arguments: str,
    meta: dict[str, Node] | None = None,
) -> bytes:
    """The blocks in any format that pandoc writes, ``docx`` too."""
    tree = {"pandoc-api-version": _api_version(), "meta": meta or {}, "blocks": blocks}
    options = ("-f", "json", "-t", target, "-o", "-", *arguments)
    return _run(json.dumps(tree), *options)


def rewrite(tree: Any, rule: Rule) -> Any:
    """A copy of the tree in which ``rule`` has replaced each node, inner ones first, in order.

    A rule may answer with a list, which takes the node's place among its neighbours.
    """
    if isinstance(tree, list):
        result: list[Any] = []
        for item in tree:
            new = rewrite(item, rule)
            result.extend(new) if isinstance(item, dict) and isinstance(new, list) else (
                result.append(new)
            )
        return result
    if isinstance(tree, dict) and "t" in tree:
        return rule({key: rewrite(value, rule) for key, value in tree.items()})
    return tree


def find(tree: Any, kind: str) -> list[Node]:
    """Copies of all nodes of a type, in their order."""
    found: list[Node] = []

    def collect(node: Node) -> Node:
        if node["t"] == kind:
            found.append(node)
        return node

    rewrite(tree, collect)
    return found


def plain(tree: Any) -> str:
    """The text of a node or of a list of nodes, without its markup."""
    if isinstance(tree, list):
        return "".join(plain(item) for item in tree)
    if not isinstance(tree, dict):
        return ""
    if tree["t"] in {"Space", "SoftBreak", "LineBreak"}:
        return " "
    if tree["t"] in {"Str", "Code", "Math"}:
        return tree["c"] if tree["t"] == "Str" else tree["c"][1]
    return "" if tree["t"] == "Note" else plain(tree.get("c"))


def text(words: str) -> Node:
    return {"t": "Str", "c": words}


def verbatim(words: str) -> Node:
    return {"t": "CodeBlock", "c": [["", [], []], words]}


def image(name: str, alt: str = "") -> Node:
    return {"t": "Image", "c": [["", [], []], [text(alt)] if alt else [], [name, ""]]}


def link(inlines: list[Node], target: str) -> Node:
    return {"t": "Link", "c": [["", [], []], inlines, [target, ""]]}


@cache
def _api_version() -> list[int]:
    return json.loads(_decoded(_run("", "-f", "markdown", "-t", "json")))["pandoc-api-version"]


def _run(source: str, *arguments: str) -> bytes:
    import pypandoc

    command = [pypandoc.get_pandoc_path(), "--sandbox", *arguments]
    done = subprocess.run(command, input=source.encode(), capture_output=True, check=False)
    if done.returncode:
        message = done.stderr.decode(errors="replace").strip().replace("\n", " ")
        raise ExportError(f"pandoc can't make {arguments[3]}: {message}")
    return done.stdout


def _decoded(output: bytes) -> str:
    return output.decode().replace("\r\n", "\n")
