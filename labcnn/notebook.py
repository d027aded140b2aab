"""What a notebook needs besides the package: its parameters, checked."""

import ast
from collections.abc import Sequence
from typing import Any

from labcnn.errors import ParameterError
from labcnn.recipe import refuse_unknown

#: First line of the cell with a notebook's parameters, and of the cell that papermill injects.
MARKERS = ("# parameters", "# Parameters")


def read_parameters(known: Sequence[str]) -> dict[str, Any]:
    """The values of the parameters, as the cells of this notebook set them.

    papermill only warns of a parameter that the notebook doesn't have, and runs the defaults. So
    the names are read from the source of the cells that ran: the latest one that begins with
    ``# parameters`` and papermill's, which begins with ``# Parameters``.

    Raises
    ------
    ParameterError
        A cell sets a name that isn't among ``known``; or there is no such cell.
    """
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    namespace: dict[str, Any] = shell.user_ns if shell else {"In": []}
    sources: list[str] = namespace["In"]
    latest = {cell.split("\n", 1)[0].strip(): cell for cell in sources}
    names = [n for mark in MARKERS if mark in latest for n in assigned_names(latest[mark])]
    if not names:
        raise ParameterError(f"no parameters: run the cell that begins with {MARKERS[0]!r} first")
    values = {name: namespace[name] for name in names}
    refuse_unknown(values, list(known))
    return values


def check_parameters(known: Sequence[str]) -> None:
    """:func:`read_parameters` for a notebook that uses its variables directly."""
    read_parameters(known)


def assigned_names(source: str) -> list[str]:
    """The names that a cell's top-level assignments set, in order."""
    statements = ast.parse(source).body
    targets = [
        target
        for statement in statements
        for target in (
            statement.targets
            if isinstance(statement, ast.Assign)
            else [statement.target]
            if isinstance(statement, ast.AnnAssign)
            else []
        )
    ]
    return [target.id for target in targets if isinstance(target, ast.Name)]
