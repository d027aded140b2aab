"""The files of a run: their schema, the run's state by them, and all of them as one table.

Known to training and sweeps (which write) and to the report (which reads); needs no torch. In
``<logs>/<experiment>/<variant>/seed<k>`` lie

* ``result.json``: recipe, status, metrics, provenance; written last: it alone proves a run whole.
* ``history.csv``: a row per epoch; ``gradients.csv``: a row per epoch and layer.
* ``predictions.npz``: of each validation and test image the label, the predicted class and both
  probabilities.
* ``model.safetensors``, ``train.ipynb``, ``tensorboard/``: the best net, the notebook, events; not
  in git.
* ``checkpoint.pt``: of a run that isn't finished; ``failure.json``: why the last attempt ended.
"""

import csv
import fcntl
import glob
import json
import re
import zipfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from labcnn.data import prepared_fingerprint
from labcnn.errors import UNREADABLE, ParameterError, RunError
from labcnn.files import write_text
from labcnn.recipe import Recipe
from labcnn.variants import VARIANTS, Variant, register

if TYPE_CHECKING:  # half a second, which each job of a sweep would spend
    import pandas as pd

FORMAT = 1
#: The number of what training computes. A run made under another number is out of date; one made
#: before its code was moved or rewritten isn't. tests/golden.json has the trajectories it stands
#: for, and a change that moves them raises it: 1, dropout after each stage and before the head,
#: weights drawn in float32; 2, dropout before the head only, weights drawn in float64.
NUMERICS = 2
#: A run has learned if so good a test accuracy has at most this probability by chance.
SIGNIFICANCE = 0.001
RESULT, HISTORY, GRADIENTS = "result.json", "history.csv", "gradients.csv"
PREDICTIONS, MODEL, NOTEBOOK = "predictions.npz", "model.safetensors", "train.ipynb"
CHECKPOINT, TENSORBOARD, EXPERIMENT = "checkpoint.pt", "tensorboard", "experiment.json"
FAILURE, CLASS_NAMES = "failure.json", "classes.json"

HISTORY_COLUMNS = (
    "epoch", "train_loss", "train_accuracy", "train_eval_loss", "train_eval_accuracy",
    "val_loss", "val_accuracy", "learning_rate", "seconds", "images_per_second",
)  # fmt: skip
#: ``epoch`` 0 is before training; ``stage`` 0 is the stem, 1-4 the stages, 5 the head.
GRADIENT_COLUMNS = ("epoch", "layer", "stage", "gradient_norm", "weight_norm")

#: In a table; empty is NaN. Python alone would take 1_0 and other alphabets' digits, too.
NUMBER = re.compile(r"(-?[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?|-?inf|nan)?")

Status = Literal["ok", "diverged", "no_learning"]


def _require_time(text: str) -> str:
    """A time in ISO 8601 with its zone, of this century."""
    time = datetime.fromisoformat(text)
    if time.tzinfo is None or not 2000 <= time.year < 2100:
        raise ValueError(f"{text!r} isn't a time of this century with its zone")
    return text


Fraction = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Time = Annotated[str, AfterValidator(_require_time)]


class _Schema(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SplitMetrics(_Schema):
    """Mean loss (nats; None where it isn't finite), top-1 accuracy (0-1) and number of images."""

    loss: Annotated[float, Field(ge=0)] | None
    accuracy: Fraction
    count: Count


class Timing(_Schema):
    """Wall-clock seconds; ``train_seconds`` is the epochs, without set-up and final evaluation."""

    train_seconds: Seconds
    total_seconds: Seconds
    seconds_per_epoch: Seconds
    images_per_second: Annotated[float, Field(ge=0)]


class ModelSize(_Schema):
    """Trainable parameters, and FLOPs (2 per multiply-add) of one image's forward pass."""

    parameters: Count
    flops: Count


class Machine(_Schema):
    """What a process of a run computed on.

    ``precision`` is what ``auto`` became on this device; ``compiled``: whether its steps went
    through ``torch.compile``.
    """

    device: str
    device_name: str
    precision: Literal["bf16", "fp32", "fp64"]
    threads: int
    compiled: bool = False


class Provenance(Machine):
    """What a result was made with; never a path, a user or a host name.

    The fields of :class:`Machine` are those of the process that finished the run; ``earlier`` has
    the others that it was begun or continued on. ``interruptions`` is how often it was stopped and
    resumed; ``numerics`` the :data:`NUMERICS` of the code.
    """

    data_fingerprint: str
    numerics: int
    git_commit: str | None
    git_dirty: bool | None
    versions: dict[str, str]
    started: Time
    finished: Time
    interruptions: int = 0
    earlier: tuple[Machine, ...] = ()

    @property
    def machines(self) -> tuple[Machine, ...]:
        """All that the run was computed on, each once, the last one first."""
        last = Machine(**{name: getattr(self, name) for name in Machine.model_fields})
        return (last, *self.earlier)


class RunResult(_Schema):
    """Everything a finished run says of itself (``result.json``).

    ``network`` is what the recipe's variant stood for; None in results that are older than it.
    """

    format: int = FORMAT
    experiment: str
    recipe: Recipe
    network: Variant | None = None
    status: Status
    reason: str
    train: SplitMetrics
    val: SplitMetrics
    test: SplitMetrics
    classes: Annotated[int, Field(ge=2)]
    best_epoch: Count | None
    epochs_run: Count
    stopped: Literal["cap", "early", "diverged"]
    chance_p_value: Fraction
    timing: Timing
    model: ModelSize
    provenance: Provenance

    @model_validator(mode="before")
    @classmethod
    def _register_an_own_variant(cls, values: Any) -> Any:
        """A network that isn't the project's is known by what its result says of it."""
        with suppress(KeyError, TypeError, ParameterError):
            name = values["recipe"]["variant"]
            if name not in VARIANTS:
                register(name, Variant(**values["network"]))
        return values


FailureKind = Literal["error", "died", "time limit"]


class Failure(_Schema):
    """Why the latest attempt at a run ended without a result (``failure.json``).

    ``kind``: ``error`` (a cell raised, or the notebook can't be executed), ``died`` (its kernel was
    killed, or ran out of memory) or ``time limit``; ``attempt`` counts from 1.
    """

    kind: FailureKind
    message: str
    attempt: int
    when: str

    def __str__(self) -> str:
        return self.message if self.kind == "error" else f"{self.kind}: {self.message}"


@dataclass(frozen=True)
class RunFolder:
    """``<logs>/<experiment>/<variant>/seed<k>``."""

    path: Path

    @classmethod
    def of(cls, logs: Path, experiment: str, recipe: Recipe) -> "RunFolder":
        return cls(logs / experiment / recipe.variant / f"seed{recipe.seed}")

    @property
    def experiment(self) -> str:
        return self.path.parts[-3]

    @property
    def variant(self) -> str:
        return self.path.parts[-2]

    @property
    def seed(self) -> int:
        return int(self.path.name.removeprefix("seed"))

    @property
    def finished(self) -> bool:
        return (self.path / RESULT).exists()

    def result(self) -> RunResult:
        """The saved result; a :class:`RunError` names a file that is cut or foreign."""
        return read_result(self.path / RESULT)

    def history(self) -> "pd.DataFrame":
        import pandas as pd

        return pd.read_csv(self._there(HISTORY), encoding="utf-8")

    def gradients(self) -> "pd.DataFrame":
        import pandas as pd

        return pd.read_csv(self._there(GRADIENTS), encoding="utf-8")

    def predictions(self) -> dict[str, np.ndarray]:
        """``{val,test}_{label,predicted,probability,label_probability}``, an entry per image.

        In the split's order; ``probability`` is that of the predicted class.
        """
        with np.load(self._there(PREDICTIONS), allow_pickle=False) as arrays:
            return dict(arrays)

    def failure(self) -> Failure | None:
        """What the latest attempt failed of; None if it didn't, or nothing readable says so."""
        try:
            return Failure.model_validate_json((self.path / FAILURE).read_bytes())
        except (OSError, ValidationError):
            return None

    def write_failure(self, kind: FailureKind, message: str, attempt: int) -> Failure:
        """Write ``failure.json``."""
        when = datetime.now(UTC).isoformat(timespec="seconds")
        failure = Failure(kind=kind, message=message, attempt=attempt, when=when)
        write_text(self.path / FAILURE, failure.model_dump_json(indent=2) + "\n")
        return failure

    def is_locked(self) -> bool:
        """Whether a process trains the run now: it holds the run's lock. Reads only."""
        try:
            with lock_path(self.path).open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def _there(self, name: str) -> Path:
        path = self.path / name
        if not path.is_file():
            raise RunError(f"{path} is missing; overwrite=True trains the run anew")
        return path


def lock_path(run: Path) -> Path:
    """The lock that keeps a second process off a run; beside its folder, which may be replaced."""
    return run.with_name(f".{run.name}.lock")


def new_path(run: Path) -> Path:
    """Where a finished run is trained anew, beside the result that it will replace."""
    return run.with_name(f".{run.name}.new")


def read_result(path: Path) -> RunResult:
    """Read and check one ``result.json``."""
    try:
        result = RunResult.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise RunError(
            f"{path}: not a labcnn result ({where}: {first['msg']})"
            if where
            else f"{path}: cut off, or not JSON ({first['msg'].removeprefix('Invalid JSON: ')})"
        ) from None
    except ParameterError as error:  # the recipe's: a variant that this labcnn doesn't have
        raise RunError(f"{path}: not a result of this labcnn ({error})") from None
    except OSError as error:
        raise RunError(f"{path}: can't be read ({error.strerror})") from None
    if result.format != FORMAT:
        raise RunError(f"{path}: format {result.format}, this labcnn reads format {FORMAT}")
    return result


def find_runs(
    logs: Path, experiment: str | None = None, having: Iterable[str] = (RESULT,)
) -> list[RunFolder]:
    """The runs below ``logs``, or of one experiment, whose folders have one of the files."""
    chosen = "*" if experiment is None else glob.escape(experiment)
    found = {path.parent for name in having for path in logs.glob(f"{chosen}/*/seed*/{name}")}
    folders = (path for path in found if path.name.removeprefix("seed").isdecimal())
    return sorted(map(RunFolder, folders), key=lambda run: (run.experiment, run.variant, run.seed))


def write_class_names(experiment: Path, names: Sequence[str]) -> None:
    """Keep the names of the classes beside an experiment's runs: words, which no images need."""
    text = json.dumps(list(names), indent=0, ensure_ascii=False)
    write_text(experiment / CLASS_NAMES, text + "\n")


def read_class_names(experiment: Path, count: int) -> tuple[str, ...]:
    """The names of the ``count`` classes of an experiment; none where they aren't kept whole."""
    with suppress(OSError, ValueError):
        names = json.loads((experiment / CLASS_NAMES).read_bytes())
        if isinstance(names, list) and len(names) == count and all(type(n) is str for n in names):
            return tuple(names)
    return ()


def learn_variant(name: str, logs: Path) -> None:
    """Register one's own variant by the newest of its results below ``logs``, if there is one."""
    found = logs.glob(f"*/{glob.escape(name)}/seed*/{RESULT}")
    for path in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True):
        with suppress(RunError):
            read_result(path)
            return


#: A run that has one of these was begun.
BEGUN = (RESULT, HISTORY, FAILURE, CHECKPOINT)


class State(StrEnum):
    """Where a run is."""

    NOT_BEGUN = "not begun"
    UNFINISHED = "unfinished"
    RUNNING = "running"
    FAILED = "failed"
    DAMAGED = "damaged"
    STALE = "stale"
    DONE = "done"


class RunState(NamedTuple):
    """A run's state: ``reasons`` says why it is failed, damaged or stale, a line each."""

    kind: State
    reasons: tuple[str, ...] = ()
    result: RunResult | None = None


def state(run: RunFolder, *, ask_lock: bool = True) -> RunState:
    """A run's state by what its folder holds and, with ``ask_lock``, whether a process is at it."""
    if ask_lock and run.is_locked():
        return RunState(State.RUNNING)
    if not run.finished:
        if failure := run.failure():
            why = f"{failure} (attempt {failure.attempt}, {failure.when})"
            return RunState(State.FAILED, (why,))
        begun = any((run.path / name).exists() for name in BEGUN)
        return RunState(State.UNFINISHED if begun else State.NOT_BEGUN)
    try:
        result = run.result()
        require_whole(run, result)
    except RunError as error:
        return RunState(State.DAMAGED, (str(error),))
    changed = tuple(changes(result))
    return RunState(State.STALE if changed else State.DONE, changed, result)


def changes(result: RunResult) -> list[str]:
    """Why a finished run would come out differently now: its network, the code or the data."""
    lines, network = [], result.recipe.network
    if result.network not in (None, network):
        lines.append(f"{result.recipe.variant} was {result.network}, is {network}")
    if (made := result.provenance.numerics) != NUMERICS:
        lines.append(f"made by code of numerics {made}, this is {NUMERICS}")
    before, now = result.provenance.data_fingerprint, prepared_fingerprint(result.recipe.dataset)
    if now not in (None, before):
        lines.append(f"made from other data: {before[:8]}, here is {now[:8]}")
    return lines


def require_whole(run: RunFolder, result: RunResult) -> None:
    """Raise a :class:`RunError` with the file that contradicts a run's result, or can't be read.

    They are read without pandas, whose import takes longer than the check of many runs.
    """
    is_of = RunFolder.of(run.path.parents[2], result.experiment, result.recipe)
    if run != is_of:
        run_of = "/".join(is_of.path.parts[-3:])
        raise RunError(f"{run.path / RESULT}: holds the run {run_of}, not the one its folder names")
    checks: dict[str, Callable[[Path, RunResult], str]] = {
        HISTORY: _check_history,
        GRADIENTS: _check_gradients,
        PREDICTIONS: _check_predictions,
    }
    for name, check in checks.items():
        path = run.path / name
        if not path.is_file():
            raise RunError(f"{path}: missing")
        try:
            fault = check(path, result)
        except UNREADABLE:
            fault = "cut or foreign, can't be read"
        if fault:
            raise RunError(f"{path}: {fault}")


def _read_columns(path: Path, columns: Iterable[str]) -> dict[str, np.ndarray]:
    """Columns of numbers of a CSV file; NaN where nothing stands.

    Nothing is taken that pandas, by which the report reads the file, would take for something else.
    """
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    if any(len(row) != len(header) for row in rows) or len(set(header)) != len(header):
        raise ValueError("a row has more or fewer fields than the first")
    texts = {name: [row[header.index(name)] for row in rows] for name in columns}
    if not all(NUMBER.fullmatch(text) for column in texts.values() for text in column):
        raise ValueError("a field isn't a number")
    return {name: np.array([float(text or "nan") for text in texts[name]]) for name in texts}


def _is_outside(values: np.ndarray, most: float = np.inf) -> bool:
    """Whether one of the values is negative or above ``most``; NaN isn't."""
    return bool(((values < 0) | (values > most)).any())


def _check_history(path: Path, result: RunResult) -> str:
    table = _read_columns(path, HISTORY_COLUMNS)
    if table["epoch"].tolist() != list(range(1, result.epochs_run + 1)):
        return f"its epochs aren't 1 to {result.epochs_run}, as {RESULT} says"
    for name, values in table.items():
        if _is_outside(values, 1 if name.endswith("_accuracy") else np.inf):
            return f"{name} out of range"
    accuracy = np.where(np.isnan(table["val_loss"]), -1, table["val_accuracy"])
    if result.best_epoch not in (None, int(accuracy.argmax()) + 1):
        return f"its best epoch isn't {result.best_epoch}, as {RESULT} says"
    return ""


def _check_gradients(path: Path, result: RunResult) -> str:
    """Every layer in every epoch, but perhaps the last of a run that diverged in it."""
    table = _read_columns(path, [name for name in GRADIENT_COLUMNS if name != "layer"])
    epochs = table["epoch"]
    if not set(epochs) <= set(range(result.epochs_run + 1)):
        return f"has other epochs than 0 to {result.epochs_run}"
    counts = np.unique(epochs, return_counts=True)[1]
    if len(set(counts)) != 1 or epochs.max() < result.epochs_run - 1:
        return "cut: a layer or an epoch is missing"
    return "a norm is negative" if any(map(_is_outside, table.values())) else ""


def _check_predictions(path: Path, result: RunResult) -> str:
    most = max(result.val.count, result.test.count)
    with zipfile.ZipFile(path) as archive:
        if any(member.file_size > 8 * most + 1024 for member in archive.infolist()):
            return "an array in it is larger than its split"
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    for name, metrics in (("val", result.val), ("test", result.test)):
        label, predicted = arrays[f"{name}_label"], arrays[f"{name}_predicted"]
        columns = [(label, "i", result.classes - 1), (predicted, "i", result.classes - 1)]
        for column in (f"{name}_probability", f"{name}_label_probability"):
            if column in arrays or not column.endswith("label_probability"):  # numerics 1 lacks it
                columns.append((arrays[column], "f", 1))
        for values, kind, highest in columns:
            if values.shape != (metrics.count,):
                return f"{name} has not the {metrics.count} images that {RESULT} says"
            if values.dtype.kind != kind or _is_outside(values, highest):
                return f"{name} has a class or a probability out of range"
        right = float((label == predicted).mean())
        if abs(right - metrics.accuracy) > 1e-9:
            return f"{name} gives {right:.2%} accuracy, {RESULT} says {metrics.accuracy:.2%}"
    return ""


class Runs(NamedTuple):
    """All finished runs as one tidy table, and one line for each file that was left out."""

    table: "pd.DataFrame"
    problems: list[str]


#: The columns of the table of runs, and where a result has them.
TABLE_COLUMNS = {
    "experiment": "experiment", "variant": "recipe.variant", "seed": "recipe.seed",
    "depth": "recipe.network.depth", "status": "status", "stopped": "stopped",
    "train_accuracy": "train.accuracy", "val_accuracy": "val.accuracy",
    "test_accuracy": "test.accuracy", "train_loss": "train.loss", "val_loss": "val.loss",
    "test_loss": "test.loss", "test_count": "test.count", "classes": "classes",
    "best_epoch": "best_epoch", "epochs_run": "epochs_run",
    "train_seconds": "timing.train_seconds", "seconds_per_epoch": "timing.seconds_per_epoch",
    "images_per_second": "timing.images_per_second", "parameters": "model.parameters",
    "flops": "model.flops", "device": "provenance.device", "precision": "provenance.precision",
    "threads": "provenance.threads", "data_fingerprint": "provenance.data_fingerprint",
}  # fmt: skip


def load_runs(logs: Path, experiment: str | None = None) -> Runs:
    """Read every finished run below ``logs``.

    Returns
    -------
    Runs
        ``table``: a row per run with the columns :data:`TABLE_COLUMNS` and ``folder``, a
        :class:`RunFolder`, sorted by experiment, variant and seed. ``problems``: a line per run
        with the file that is cut, foreign or in the wrong folder.
    """
    import pandas as pd

    rows, problems = [], list[str]()
    for folder in find_runs(logs, experiment):
        found = state(folder, ask_lock=False)
        if found.result is None:
            problems += found.reasons
        else:
            rows.append([*attrgetter(*TABLE_COLUMNS.values())(found.result), folder])
    return Runs(pd.DataFrame(rows, columns=[*TABLE_COLUMNS, "folder"]), problems)
