"""What a user asks for: a recipe, where and how to run it; and whether it may be run there.

A run is trained by one process, and an experiment holds comparable runs only.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, Literal

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field

from labcnn.data import resolve_dataset
from labcnn.errors import LockedError, RunError
from labcnn.files import logs_folder, remove_leftovers, write_text
from labcnn.recipe import Recipe, Switch, refuse_unknown, validate
from labcnn.runs import (
    EXPERIMENT,
    HISTORY,
    RESULT,
    RunFolder,
    find_runs,
    learn_variant,
    lock_path,
    new_path,
)
from labcnn.variants import VARIANTS, register_file

#: Seconds to wait for a run's lock, which a sweep's job may hold for a moment, to see who has it;
#: and for an experiment's, which nobody holds for longer.
MOMENT, LONG = 1, 60


class RunRequest(BaseModel):
    """A recipe, and how and where to run it: provenance, which the result lists.

    Attributes
    ----------
    precision : of the forward pass: ``bf16``, ``fp32``, or ``auto``: bf16 where the device is
        faster in it. In ``fp64`` all is float64: slow, and the same on any CPU to 1e-8.
    device : ``auto`` takes CUDA, then Apple's MPS, then the CPU.
    threads : CPU threads; None takes what torch takes, usually all cores. (Different numbers of
        threads give results that differ in the last bits, so they are recorded.)
    compile : run the training steps through ``torch.compile``: minutes of preparation, faster steps
        on a GPU; the last bits differ.
    experiment : folder name of the runs to compare with; None derives it from the recipe.
    overwrite : train anew even if the run is finished.
    logs : folder of all experiments; None is ``report/logs``.
    language : of what the notebook shows.
    variants_file : a Python file that registers one's own variants.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    recipe: Recipe
    precision: Literal["auto", "bf16", "fp32", "fp64"] = "auto"
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    compile: Switch = False
    #: (papermill passes a name of digits on as a number.)
    experiment: (
        Annotated[
            str,
            Field(pattern=r"^[\w][\w.+-]*$", strict=False, coerce_numbers_to_str=True),
        ]
        | None
    ) = None
    overwrite: Switch = False
    logs: str | None = None
    language: Literal["zh", "en"] = "zh"
    variants_file: str | None = None

    @classmethod
    def parameters(cls) -> list[str]:
        """All names a user may set, the recipe's first."""
        return [*Recipe.model_fields, *(name for name in cls.model_fields if name != "recipe")]

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> "RunRequest":
        """A request from what a user gave; returns and raises as :meth:`Recipe.from_parameters`."""
        refuse_unknown(parameters, cls.parameters())
        given = {name: value for name, value in parameters.items() if value is not None}
        if isinstance(file := given.get("variants_file"), str):
            register_file(file)
        elif isinstance(name := given.get("variant"), str) and name not in VARIANTS:
            learn_variant(name, logs_folder(given.get("logs")))
        given["dataset"] = resolve_dataset(given.get("dataset", "auto"))
        recipe = {name: given.pop(name) for name in Recipe.model_fields if name in given}
        return validate(cls, {**given, "recipe": Recipe.from_parameters(recipe)})

    @property
    def experiment_name(self) -> str:
        return self.experiment or self.recipe.experiment

    @property
    def folder(self) -> RunFolder:
        return RunFolder.of(Path(logs_folder(self.logs)), self.experiment_name, self.recipe)


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
