"""Paths in what a program said: they would tell whose machine it ran on."""

import re

from labcnn.export.pandoc import Node

_NAME = r"[^\s/\\:*?\"'<>|(),;]+"
_HOME = re.compile(rf"(?<![\w/])(?:/(?:home|Users)/{_NAME}|[A-Za-z]:\\Users\\{_NAME})")
#: ``/a/b/name``, ``~/a/name``, ``C:\\a\\name``; in an address on the web, a letter is before it.
_POSIX = re.compile(rf"(?<![\w/:.~-])(?:~/|/(?={_NAME}/))(?:{_NAME}/)*({_NAME})?")
_WINDOWS = re.compile(rf"(?<!\w)(?:~|[A-Za-z]:)\\(?:{_NAME}\\)*({_NAME})?")


def without_paths(text: str) -> str:
    """``text`` with each absolute path cut down to its last name, and a home folder to ``~``."""
    for pattern in (_POSIX, _WINDOWS):
        text = pattern.sub(lambda match: match[1] or "~", _HOME.sub("~", text))
    return text


def rule(node: Node) -> Node:
    """The same for the words of an output that is marked up."""
    kind = node["t"]
    if kind == "Str":
        return {"t": kind, "c": without_paths(node["c"])}
    if kind in {"Code", "CodeBlock"}:
        return {"t": kind, "c": [node["c"][0], without_paths(node["c"][1])]}
    return node
