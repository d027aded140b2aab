"""All runs below a folder of logs: the state of each, and why."""

import glob
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from filelock import FileLock, Timeout

from labcnn.errors import RunError
from labcnn.failure import FAILURE, read
from labcnn.runs import CHECKPOINT, HISTORY, RESULT, RunFolder, lock_path, read_result
from labcnn.sweep.staleness import reasons

Kind = Literal["done", "stale", "running", "failed", "unfinished", "damaged"]


class Listed(NamedTuple):
    """One run's folder; ``text`` says what came out, or why it is in this state."""

    experiment: str
    variant: str
    seed: int
    kind: Kind
    text: str


def list_runs(logs: Path, experiment: str | None = None) -> list[Listed]:
    """Every run that was begun below ``logs``, by experiment, variant and seed."""
    names = (RESULT, HISTORY, FAILURE, CHECKPOINT)
    chosen = "*" if experiment is None else glob.escape(experiment)
    found = {path.parent for name in names for path in logs.glob(f"{chosen}/*/seed*/{name}")}
    return sorted(_listed(found))


def _listed(folders: set[Path]) -> Iterator[Listed]:
    for folder in folders:
        seed = folder.name.removeprefix("seed")
        if seed.isdecimal():
            kind, text = state(folder)
            yield Listed(folder.parts[-3], folder.parts[-2], int(seed), kind, text)


def state(folder: Path) -> tuple[Kind, str]:
    """The state of one run by what its folder holds."""
    if is_locked(folder):
        return "running", "a process trains it now"
    if (folder / RESULT).exists():
        try:
            result = read_result(folder / RESULT)
        except RunError as error:
            return "damaged", str(error)
        if lacks := RunFolder(folder).lacks:
            return "damaged", lacks
        shown = f"test accuracy {result.test.accuracy:.2%} ({result.status})"
        why = reasons(result)
        return ("stale", f"{shown}; {'; '.join(why)}") if why else ("done", shown)
    if failure := read(folder):
        return "failed", f"{failure} (attempt {failure.attempt}, {failure.when})"
    return "unfinished", "was stopped; the same command goes on from its checkpoint"


def is_locked(folder: Path) -> bool:
    """Whether a process holds the run's lock now."""
    path = lock_path(folder)
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True
