"""What a parsed document may hold: no raw passages, no attributes, no reference to elsewhere."""

import base64
import binascii
import re
import unicodedata
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from labreport.export.cells import Cells
from labreport.export.errors import ExportError
from labreport.export.pandoc import Node, link, plain, rewrite, text

#: Control characters, which XML forbids, and the ones that choose between a letter and a picture.
_UNSHOWN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x84\x86-\x9f\ufe0e\ufe0f\ufeff\ufffe\uffff\ud800-\udfff]"
)
_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:")
_DATA = re.compile(r"^data:([a-z]+/[a-z+]+);base64,(.*)$", re.S)
_KINDS = {
    ".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg",
    ".gif": "image/gif",
}  # fmt: skip
_LEFT, _FREE = {"t": "AlignLeft"}, {"t": "ColWidthDefault"}
_REFERRED = re.compile(r"@(fig|tbl|sec)-")
_LABEL = re.compile(r"^(fig|tbl|sec)-[A-Za-z0-9_-]+$")


def clean(blocks: list[Node], cells: Cells, folder: Path) -> list[Node]:
    """Blocks that can be written to any format: pictures all in ``cells``, links that do no harm.

    ``folder`` is the notebook's: a picture file is taken from in there only. A picture on the web
    becomes a link to it, so that the document needs no network.
    """

    def rule(node: Node) -> Node | list[Node]:
        kind = node["t"]
        if kind in {"RawBlock", "RawInline"}:
            return []
        if kind in {"Str", "Code", "CodeBlock"}:
            words = node["c"] if kind == "Str" else node["c"][1]
            shown = _UNSHOWN.sub("", words)
            return {"t": kind, "c": shown if kind == "Str" else [node["c"][0], shown]}
        if kind == "Link" and not _harmless(node["c"][2][0]):
            return node["c"][1]
        if kind == "Image":
            return _picture(node, cells, folder)
        if kind == "Table":  # pandoc guesses widths from the dashes; contents know better
            columns = [[_LEFT if a["t"] == "AlignDefault" else a, _FREE] for a, _ in node["c"][2]]
            return {"t": "Table", "c": [*node["c"][:2], columns, *node["c"][3:]]}
        if kind in {"Para", "Plain", "Header", "Emph", "Strong"}:
            at = 2 if kind == "Header" else None
            inlines = _unspaced(node["c"] if at is None else node["c"][at])
            return {"t": kind, "c": inlines if at is None else [*node["c"][:at], inlines]}
        return node

    return rewrite(_bare(blocks), rule)


def _bare(tree: Any) -> Any:
    """The tree without attributes: an id stays if it is a label, for the rest see pandoc's Attr."""
    if isinstance(tree, dict):
        return {key: _bare(value) for key, value in tree.items()}
    if not isinstance(tree, list):
        return tree
    if len(tree) == 3 and isinstance(tree[0], str) and all(isinstance(x, list) for x in tree[1:]):
        return [tree[0] if _LABEL.match(tree[0]) else "", [], []]
    return [_bare(item) for item in tree]


def _harmless(target: str) -> bool:
    return not _SCHEME.match(target) or target.lower().startswith(
        ("http://", "https://", "mailto:")
    )


def _picture(node: Node, cells: Cells, folder: Path) -> Node:
    (attributes, alt, (target, title)) = node["c"]
    if target in cells.pictures:
        return node
    if target.startswith(("http://", "https://", "//")):
        return link(alt or [text(target)], target)
    name = f"image-{len(cells.pictures) + 1}"
    embedded = _DATA.match(target)
    if embedded and embedded[1] in _KINDS.values():
        try:
            cells.pictures[name] = {embedded[1]: base64.b64decode(unquote(embedded[2]))}
        except binascii.Error:
            return text(plain(alt))
    else:
        path = (folder / unquote(target)).resolve()
        inside = path.is_relative_to(folder.resolve()) and path.suffix.lower() in _KINDS
        if not inside or not path.is_file():
            raise ExportError(f"picture {target[:80]!r} is no image file beside the notebook")
        cells.pictures[name] = {_KINDS[path.suffix.lower()]: path.read_bytes()}
    return {"t": "Image", "c": [attributes, alt, [name, title]]}


def _unspaced(inlines: list[Node]) -> list[Node]:
    """Without line breaks between Chinese characters, which would show as spaces, and without
    the space that Markdown likes before a reference: 如 @fig-curve 所示 is 如图 1 所示.
    """

    def wide(neighbours: list[Node], end: int) -> bool:
        words = plain(neighbours[end]) if neighbours else ""
        return bool(words) and unicodedata.east_asian_width(words[end]) in "WF"

    def superfluous(k: int) -> bool:
        if inlines[k]["t"] not in {"Space", "SoftBreak"} or not wide(inlines[:k], -1):
            return False
        following = plain(inlines[k + 1 : k + 2])
        is_break = inlines[k]["t"] == "SoftBreak"
        return bool(_REFERRED.match(following)) or (is_break and wide(inlines[k + 1 :], 0))

    return [node for k, node in enumerate(inlines) if not superfluous(k)]
