"""No path of the machine in what a notebook's outputs say."""

from labcnn.export.pandoc import Node
from labcnn.privacy import without_paths


def rule(node: Node) -> Node:
    """A node of an output that is marked up, its words :func:`labcnn.privacy.without_paths`."""
    kind = node["t"]
    if kind == "Str":
        return {"t": kind, "c": without_paths(node["c"])}
    if kind in {"Code", "CodeBlock"}:
        return {"t": kind, "c": [node["c"][0], without_paths(node["c"][1])]}
    return node
