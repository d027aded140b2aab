"""Numbers of figures and tables, and the links to them, the same for every format."""

import re
from collections import Counter
from dataclasses import dataclass, field

from labreport.export.errors import ExportError
from labreport.export.pandoc import Node, find, link, plain, rewrite, text

_REFERENCE = re.compile(r"@((?:fig|tbl|sec)-[A-Za-z0-9_-]*[A-Za-z0-9])")
_WORDS = {"fig": "图", "tbl": "表"}


@dataclass
class Labels:
    """What each label is called in the text; the headings in their order (level, id, words)."""

    names: dict[str, str] = field(default_factory=dict)
    headings: list[tuple[int, str, str]] = field(default_factory=list)

    def add(self, label: str, name: str) -> None:
        if label in self.names:
            raise ExportError(f"label {label!r} is given twice: {self.names[label]} and {name}")
        self.names[label] = name


def number(blocks: list[Node]) -> tuple[list[Node], Labels]:
    """Blocks with 图 1, 表 1, … in front of the captions and an id on everything to link to."""
    labels, counts = Labels(), Counter[str]()

    def caption(kind: str, label: str, blocks: list[Node]) -> tuple[str, list]:
        counts[kind] += 1
        name = f"{_WORDS[kind]} {counts[kind]}"
        label = label or f"{kind}-number-{counts[kind]}"
        labels.add(label, name)
        inlines = [node for block in blocks for node in block["c"]]
        number = {"t": "Strong", "c": [text(name)]}
        return label, [None, [{"t": "Plain", "c": [number, text("\u3000"), *inlines]}]]

    def figure(label: str, alt: str, blocks: list[Node], images: list[Node]) -> Node:
        label, full = caption("fig", label, blocks)
        words = [text(alt or plain(blocks))]
        for node in images:
            node["c"][1] = words
        return {"t": "Figure", "c": [[label, [], []], full, [{"t": "Plain", "c": images}]]}

    def rule(node: Node) -> Node | list[Node]:
        kind, content = node["t"], node.get("c", [])
        if kind == "Header":
            label = content[1][0]
            content[1][0] = label = label or _section(labels, content[0])
            words = plain(content[2])
            leading = re.match(r"\d+(\.\d+)*", words)
            labels.add(label, f"第 {leading[0]} 节" if leading else f"“{words}”")
            labels.headings.append((content[0], label, words))
        elif kind == "Table" and content[1][1]:  # captioned in markdown itself
            content[0][0], content[1] = caption("tbl", content[0][0], content[1][1])
        elif kind == "Figure":
            if content[0][0].startswith("fig-"):
                return figure(content[0][0], "", content[1][1], find(content[2], "Image"))
            return content[2]
        elif kind == "Picture":
            return {"t": "Para", "c": content}
        elif kind == "Captioned":
            return _captioned(*content)
        return node

    def _captioned(
        kind: str, label: str, alt: str, words: list[Node], shown: list[Node]
    ) -> Node | list[Node]:
        if kind == "fig":
            return figure(label, alt, words, find(shown, "Image"))
        for node in shown:
            if node["t"] == "Table":
                node["c"][0][0], node["c"][1] = caption("tbl", label, words)
                return shown
        raise ExportError(f"the cell labelled {label!r} shows no table")

    return rewrite(blocks, rule), labels


def resolve(blocks: list[Node], labels: Labels) -> list[Node]:
    """Blocks in which ``@fig-curve`` has become a link 图 3; an unknown label is an error."""

    def rule(node: Node) -> Node | list[Node]:
        if node["t"] != "Str" or "@" not in node["c"]:
            return node
        parts: list[Node] = []
        for k, part in enumerate(_REFERENCE.split(node["c"])):
            if k % 2 and part not in labels.names:
                known = ", ".join(name for name in labels.names if not name.startswith("section-"))
                raise ExportError(f"@{part} refers to nothing; labels: {known or 'none'}")
            if part:
                parts.append(link([text(labels.names[part])], f"#{part}") if k % 2 else text(part))
        return parts

    return rewrite(blocks, rule)


def _section(labels: Labels, level: int) -> str:
    """An id by position, e.g. ``section-3-1`` for the first part of the third chapter."""
    counts: list[int] = []
    for above in [*(heading[0] for heading in labels.headings), level]:
        counts = [*(counts + [0] * above)[:above]]
        counts[-1] += 1
    return "section-" + "-".join(str(count) for count in counts)
