"""Paths in what a program said: they would tell whose machine it ran on."""

import re

from labreport.export.pandoc import Node

_NAME = r"[^\s/\\:*?\"'<>|(),;]+"
#: Python's own messages quote a path with each backslash doubled.
_BACK = r"\\{1,2}"
_HOME = re.compile(rf"(?<![\w/])(?:/(?:home|Users)/{_NAME}|[A-Za-z]:{_BACK}Users{_BACK}{_NAME})")
#: ``/a/b/name``, ``~/a/name``, ``C:\\a\\name``; in an address on the web, a letter is before it.
_POSIX = re.compile(rf"(?<![\w/:.~-])(?:~/|/(?={_NAME}/))(?:{_NAME}/)*({_NAME})?")
_WINDOWS = re.compile(rf"(?<!\w)(?:~|[A-Za-z]:){_BACK}(?:{_NAME}{_BACK})*({_NAME})?")


def without_paths(text: str) -> str:
    """``text`` with each absolute path cut down to its last name, and a home folder to ``~``."""
    for pattern in (_POSIX, _WINDOWS):
        text = pattern.sub(lambda match: match[1] or "~", _HOME.sub("~", text))
    return text


def rule(node: Node) -> Node:
    """A node of an output that is marked up, its words :func:`without_paths`."""
    kind = node["t"]
    if kind == "Str":
        return {"t": kind, "c": without_paths(node["c"])}
    if kind in {"Code", "CodeBlock"}:
        return {"t": kind, "c": [node["c"][0], without_paths(node["c"][1])]}
    return node
