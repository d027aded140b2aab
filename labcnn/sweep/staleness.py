"""Whether a finished run is still what its recipe, this code and this data would give."""

from functools import cache
from pathlib import Path

from labcnn.data import cache as decoded
from labcnn.data import tiny_imagenet
from labcnn.errors import DataError
from labcnn.recipe import Recipe
from labcnn.runs import NUMERICS, RunResult


def reasons(result: RunResult, wanted: Recipe | None = None) -> list[str]:
    """Why a run would come out differently now; empty for one that is up to date.

    Parameters
    ----------
    result : the finished run.
    wanted : the recipe it should have; None takes the result's own.
    """
    return [*_recipe(result.recipe, wanted), *_numerics(result), *_data(result)]


def _recipe(found: Recipe, wanted: Recipe | None) -> list[str]:
    theirs, mine = found.model_dump(), (wanted or found).model_dump()
    return [
        f"{name} was {theirs[name]!r}, is {value!r}"
        for name, value in mine.items()
        if theirs[name] != value
    ]


def _numerics(result: RunResult) -> list[str]:
    before = result.provenance.numerics
    if before == NUMERICS:
        return []
    return [f"made by code of numerics {before}, this is {NUMERICS}"]


def _data(result: RunResult) -> list[str]:
    now = current_fingerprint(result.recipe.dataset)
    before = result.provenance.data_fingerprint
    if now is None or now == before:
        return []
    return [f"made from other data: {before[:8]}, here is {now[:8]}"]


def current_fingerprint(dataset: str) -> str | None:
    """The fingerprint of the data that is here; None where it isn't known without loading."""
    # The demo set comes from code, which is compared already.
    return _prepared(tiny_imagenet.folder()) if dataset == tiny_imagenet.NAME else None


@cache
def _prepared(folder: Path) -> str | None:
    try:
        return decoded.read_meta(folder).fingerprint if tiny_imagenet.prepared() else None
    except DataError:  # the run itself will say so
        return None
