"""A run is trained by one process, and an experiment holds comparable runs only."""

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from labcnn.errors import LockedError, RunError
from labcnn.files import remove_leftovers, write_text
from labcnn.recipe import complete
from labcnn.request import RunRequest
from labcnn.runs import EXPERIMENT, HISTORY, RESULT, RunFolder, find_runs, lock_path, new_path

#: Seconds to wait for a run's lock, which a sweep's job may hold for a moment, to see who has it;
#: and for an experiment's, which nobody holds for longer.
MOMENT, LONG = 1, 60


@contextmanager
def start_run(request: RunRequest, fingerprint: str) -> Iterator[None]:
    """Hold the run's lock, and let the run join its experiment if it is to be trained.

    Both happen while the experiment's lock is held: whoever holds a run's lock has joined, so that
    the next run sees it before it has trained anything.

    Raises
    ------
    RunError
        Another process trains this run, or it can't join.
    """
    with experiment_lock(request), ExitStack() as stack:
        stack.enter_context(lock_run(request))
        restore(request)
        if request.overwrite or not request.folder.finished:
            join_experiment(request, fingerprint)
        held = stack.pop_all()
    with held:
        yield


@contextmanager
def lock_run(request: RunRequest) -> Iterator[None]:
    """Hold the run's lock; the operating system frees it however the process ends.

    Raises
    ------
    RunError
        Another process trains this run.
    """
    lock = lock_path(request.folder.path)
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=MOMENT):
            yield
    except Timeout:
        recipe = request.recipe
        raise LockedError(
            f"variant={recipe.variant} seed={recipe.seed} of experiment "
            f"{request.experiment_name} is being trained by another process; wait for it or stop it"
        ) from None


def join_experiment(request: RunRequest, fingerprint: str) -> None:
    """Record what the experiment's runs share, or check that this run shares it.

    A run that is alone in its experiment may change what is shared, and one that is trained anew
    may have other data: what the others have is out of date then (``labcnn runs`` says so).

    Raises
    ------
    RunError
        A shared field differs: names it with both values. Or the record is cut or foreign.
    """
    path = record_path(request)
    mine: dict[str, Any] = {**request.recipe.shared, "data_fingerprint": fingerprint}
    remove_leftovers(path.parent)
    if has_others(request):
        theirs = read_record(path) or {
            **mine,
            **shared_by_results(request.folder.path.parents[2], request.experiment_name),
        }
        if request.overwrite:
            theirs["data_fingerprint"] = fingerprint
        require_equal(request.experiment_name, theirs, mine)
    write_text(path, json.dumps(mine, indent=2, ensure_ascii=False) + "\n")


def record_path(request: RunRequest) -> Path:
    """The file that says what an experiment's runs share."""
    return request.folder.path.parents[1] / EXPERIMENT


def read_record(path: Path) -> dict[str, Any] | None:
    """What an experiment's runs share, by its record; None where there is none."""
    try:
        return complete(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        raise RunError(f"{path}: cut or foreign; delete it, the next run writes it anew") from None


def shared_by_results(logs: Path, experiment: str) -> dict[str, Any]:
    """What a finished run of an experiment says that all share; empty where none can be read."""
    for folder in find_runs(logs, experiment):
        with suppress(RunError):
            return folder.result().recipe.shared
    return {}


@contextmanager
def experiment_lock(request: RunRequest) -> Iterator[None]:
    """Hold the lock on an experiment's record.

    Raises
    ------
    RunError
        A process that was stopped in the middle of writing it, say, doesn't let it go.
    """
    lock = record_path(request).with_name(".experiment.lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=LONG):
            yield
    except Timeout:
        raise RunError(
            f"{lock}: another process has held it for {LONG} s; is one stopped?"
        ) from None


def has_others(request: RunRequest) -> bool:
    """Whether the experiment has another run: one that is trained now, or that has an epoch.

    One that ended before its first epoch has trained nothing that could be compared; it is refused
    itself, if others have another recipe by the time it goes on.
    """
    mine = request.folder
    trained = find_runs(mine.path.parents[2], mine.experiment, (RESULT, HISTORY))
    locks = mine.path.parents[1].glob("*/.seed*.lock")
    held = (RunFolder(lock.with_name(lock.name[1:].removesuffix(".lock"))) for lock in locks)
    return any(run != mine for run in trained) or any(
        run != mine and run.is_locked() for run in held
    )


def require_equal(experiment: str, theirs: dict[str, Any], mine: dict[str, Any]) -> None:
    """Raise a :class:`RunError` for the first field of ``mine`` that differs from ``theirs``."""
    for name, value in mine.items():
        if theirs.get(name) != value:
            raise RunError(
                f"{name}={value!r} can't join experiment {experiment!r}, which has "
                f"{name}={theirs.get(name)!r}; give that value, or another name by experiment=..."
            )


def restore(request: RunRequest) -> None:
    """Finish a :func:`publish` that was stopped between its two renames; the lock is held.

    The run's folder gets the new run's files if that run is whole, else those of the old one.
    """
    path = request.folder.path
    if request.folder.finished:
        shutil.rmtree(_old(path), ignore_errors=True)  # what a process killed in `publish` left
        return
    if not _old(path).exists():
        return
    source = new_path(path) if RunFolder(new_path(path)).finished else _old(path)
    path.mkdir(exist_ok=True)  # it may be there: a workflow puts the executed notebook into it
    for item in sorted(source.iterdir(), key=lambda item: item.name == RESULT):
        if not (path / item.name).exists():
            item.replace(path / item.name)
    for left in (source, _old(path)):
        shutil.rmtree(left, ignore_errors=True)


def working_folder(request: RunRequest) -> RunFolder:
    """Where this run writes: its folder, or one beside it if that holds a finished run."""
    if not request.folder.finished:
        return request.folder
    work = RunFolder(new_path(request.folder.path))
    (work.path / RESULT).unlink(missing_ok=True)  # of a run that was stopped before `publish`
    return work


def publish(work: RunFolder, request: RunRequest) -> None:
    """Put a complete new run in the place of the finished one that it overwrites."""
    path = request.folder.path
    if work.path == path:
        return
    shutil.rmtree(_old(path), ignore_errors=True)
    path.replace(_old(path))
    work.path.replace(path)
    shutil.rmtree(_old(path))


def _old(path: Path) -> Path:
    return path.with_name(f".{path.name}.old")
