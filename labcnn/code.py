"""Which of the package's files decide a run's result, and a short digest of each."""

import ast
import hashlib
from functools import cache
from pathlib import Path

from labcnn.errors import RunError
from labcnn.variants import get_variant

#: What training computes with. The recipe's values stand in a result themselves, and decoding is in
#: the data's fingerprint; journals, messages, checkpoints and the report change no number.
DECIDING = (
    "network",
    "data/batches",
    "data/shapes",
    "data/splits",
    "training/epoch",
    "training/evaluate",
    "training/hardware",
    "training/loop",
    "training/optimizers",
    "training/probes",
    "training/results",
    "training/schedules",
    "training/verdict",
)


def code_digests(variant: str, dataset: str) -> dict[str, str]:
    """Eight hexadecimal digits by file, and by ``variant`` those of its switches.

    Comments, docstrings and layout don't count. A data set's own code counts for its runs alone.
    """
    kept = [name for name in DECIDING if name != "data/shapes" or dataset == "shapes"]
    own = get_variant(variant)
    built = _short(f"{own.depth} {own.blocks_per_stage} {own.switches}")
    return {**{f"{name}.py": _digest(name) for name in kept}, "variant": built}


@cache
def _digest(name: str) -> str:
    path = Path(__file__).parent / f"{name}.py"
    return source_digest(path.read_text(encoding="utf-8"), f"labcnn/{name}.py")


def source_digest(source: str, name: str = "source") -> str:
    """A digest of what Python source does: two that differ in words for people have the same.

    Raises
    ------
    RunError
        It isn't Python: the line of the file ``name``, and what is wrong with it.
    """
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise RunError(f"{name}, line {error.lineno}: {error.msg}") from None
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [line for line in body if not _is_text(line)]  # type: ignore[attr-defined]
    return _short(ast.unparse(tree))


def _is_text(line: ast.stmt) -> bool:
    """Whether a statement is a text alone: a docstring, or one that stands for a comment."""
    return (
        isinstance(line, ast.Expr)
        and isinstance(line.value, ast.Constant)
        and isinstance(line.value.value, str)
    )


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
