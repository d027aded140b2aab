"""Whether a run may be trained here and now: by one process, in an experiment of its like."""

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from labcnn.errors import LockedError, RunError
from labcnn.files import remove_leftovers, write_text
from labcnn.recipe import Recipe
from labcnn.request import RunRequest
from labcnn.runs import EXPERIMENT, HISTORY, RESULT, RunFolder, find_runs, lock_path, new_path

#: Seconds to wait for a run's lock, which a sweep's job may hold for a moment, to see who has it;
#: and for an experiment's, which nobody holds for longer.
MOMENT, LONG = 1, 60


@contextmanager
def start_run(request: RunRequest, fingerprint: str) -> Iterator[None]:
    """Hold the run's lock, and let the run join its experiment if it is to be trained.

    Both happen while the experiment's lock is held: so the next run sees this one before it has
    trained anything. The operating system frees a lock however its process ends.

    Raises
    ------
    RunError
        Another process trains this run, it can't join, or a stopped process holds the experiment's
        lock.
    """
    run = request.folder
    lock = run.path.parents[1] / ".experiment.lock"
    slow = RunError(f"{lock}: another process has held it for {LONG} s; is one stopped?")
    busy = LockedError(
        f"variant={run.variant} seed={run.seed} of experiment {run.experiment} is being trained by "
        "another process; wait for it or stop it"
    )
    with hold_lock(lock, LONG, slow), ExitStack() as stack:
        stack.enter_context(hold_lock(lock_path(run.path), MOMENT, busy))
        if not run.finished and RunFolder(new_path(run.path)).finished:
            publish(run.path)  # a process was killed while it did
        if request.overwrite or not run.finished:
            join_experiment(request, fingerprint)
        held = stack.pop_all()
    with held:
        yield


@contextmanager
def hold_lock(lock: Path, seconds: int, error: RunError) -> Iterator[None]:
    """Hold a lock; raise the error if another process still has it after so many seconds."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=seconds):
            yield
    except Timeout:
        raise error from None


def join_experiment(request: RunRequest, fingerprint: str) -> None:
    """Record what the experiment's runs share, or check that this run shares it.

    A run that is alone in its experiment may change what is shared, and one that is trained anew
    may have other data: the results of the others are stale then (``labcnn runs`` says so). A
    :class:`RunError` names a field that differs, with both values.
    """
    run = request.folder
    record = run.path.parents[1] / EXPERIMENT
    mine: dict[str, Any] = {**request.recipe.shared, "data_fingerprint": fingerprint}
    remove_leftovers(record.parent)
    if has_others(run):
        theirs = read_record(record) or shared_by_results(run.path.parents[2], run.experiment)
        if request.overwrite:
            theirs["data_fingerprint"] = fingerprint
        require_equal(run.experiment, {**mine, **theirs}, mine)
    write_text(record, json.dumps(mine, indent=2, ensure_ascii=False) + "\n")


def read_record(path: Path) -> dict[str, Any]:
    """What an experiment's runs share, by its record; empty where there is none.

    A field that is younger than the record has its default, as in a saved recipe.
    """
    fields = Recipe.model_fields.items()
    try:
        known = {name: field.default for name, field in fields if not field.is_required()}
        return known | json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError):
        raise RunError(f"{path}: cut or foreign; delete it, the next run writes it anew") from None


def shared_by_results(logs: Path, experiment: str) -> dict[str, Any]:
    """What a finished run of an experiment says that all share; empty where none can be read."""
    for folder in find_runs(logs, experiment):
        with suppress(RunError):
            return folder.result().recipe.shared
    return {}


def has_others(mine: RunFolder) -> bool:
    """Whether the experiment has another run: one that is trained now, or that has an epoch.

    One that ended before its first epoch has trained nothing that could be compared; it is refused
    itself, if others have another recipe by the time it goes on.
    """
    trained = find_runs(mine.path.parents[2], mine.experiment, (RESULT, HISTORY))
    locks = mine.path.parents[1].glob("*/.seed*.lock")
    locked = (RunFolder(lock.with_name(lock.name[1:].removesuffix(".lock"))) for lock in locks)
    return any(run != mine for run in trained) or any(
        run != mine and run.is_locked() for run in locked
    )


def require_equal(experiment: str, theirs: dict[str, Any], mine: dict[str, Any]) -> None:
    """Raise a :class:`RunError` for the first field of ``mine`` that differs from ``theirs``."""
    for name, value in mine.items():
        if theirs.get(name) != value:
            raise RunError(
                f"{name}={value!r} can't join experiment {experiment!r}, which has "
                f"{name}={theirs.get(name)!r}; give that value, or another name by experiment=..."
            )


def working_folder(run: RunFolder) -> RunFolder:
    """Where a run writes: its folder, or one beside it if that holds a finished run."""
    if not run.finished:
        return run
    work = RunFolder(new_path(run.path))
    (work.path / RESULT).unlink(missing_ok=True)  # of a process that was killed before `publish`
    return work


def publish(path: Path) -> None:
    """Put the new run beside ``path``, which is whole, in the place of what is there.

    The result goes first: without it, the next process knows that this one was killed here.
    """
    (path / RESULT).unlink(missing_ok=True)
    shutil.rmtree(path, ignore_errors=True)
    new_path(path).replace(path)
