"""What a run writes while it goes: a checkpoint to go on from, history and gradients' norms."""

import copy
import io
import shutil
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from labcnn.errors import UNREADABLE, RunError, is_out_of_memory
from labcnn.files import write_atomically, write_text
from labcnn.runs import (
    GRADIENT_COLUMNS,
    GRADIENTS,
    HISTORY,
    HISTORY_COLUMNS,
    TENSORBOARD,
    RunFolder,
)

if TYPE_CHECKING:
    from labcnn.training.trainer import Trainer

#: Changes when an older checkpoint can't be read any more.
FORMAT = 4
#: Between two checkpoints of one epoch; with a step and the writing it stays under a minute.
SECONDS_BETWEEN = 40.0
#: Images of the batch on which the layers' gradients are measured.
PROBE_SIZE = 128
#: Columns are apart by tabs, as a browser's Chinese letters aren't as wide as two others; cells of
#: the wide columns have 8 to 15 letters, of the others fewer.
HEADERS = {
    "en": "epoch\ttrain loss/acc\tevaluated acc\tval loss/acc\trate\tseconds\timages/s",
    "zh": "轮\t训练损失/准确率\t评估时准确率\t验证损失/准确率\t学习率\t秒\t图像/秒",
}
LINE = (
    "{epoch}\t{train_loss:.4f}  {train_accuracy:<7.2%}\t{train_eval_accuracy:<9.2%}\t"
    "{val_loss:.4f}  {val_accuracy:<7.2%}\t{learning_rate:.3g}\t{seconds:.1f}\t"
    "{images_per_second:.0f}"
)
RESUMES = {
    "en": "Resuming after epoch {} and {} steps.",
    "zh": "从检查点继续：已完成 {} 轮又 {} 步。",
}


class Checkpoint:
    """Everything that decides a run's future, in one file.

    Parameters
    ----------
    run : plain values, the run's recipe, data and numerics; a checkpoint that says otherwise isn't
        used.
    maker : what else decides the last bits (precision, threads, versions, device); a difference is
        said.
    """

    def __init__(self, path: Path, run: Mapping[str, Any], maker: Mapping[str, Any]) -> None:
        self.path, self.run, self.maker = path, dict(run), dict(maker)
        self._saved = time.perf_counter()

    def save(self, trainer: "Trainer") -> None:
        """Write the file, atomically: a process killed meanwhile leaves the one before."""
        content = {
            "format": FORMAT,
            "run": self.run,
            "maker": self.maker,
            "state": trainer.state_dict(),
        }
        # Through memory: torch's own writer hides that a disk is full behind another error.
        buffer = io.BytesIO()
        torch.save(content, buffer)
        write_atomically(self.path, lambda to: to.write_bytes(buffer.getbuffer()))
        self._saved = time.perf_counter()

    def save_if_due(self, trainer: "Trainer") -> None:
        """Save if the last time is :data:`SECONDS_BETWEEN` ago."""
        if time.perf_counter() - self._saved >= SECONDS_BETWEEN:
            self.save(trainer)

    def load(self) -> dict[str, Any] | None:
        """What was saved, its tensors on the CPU; None if there is nothing that can be used.

        A file that can't be used is named and set aside. (Tensors come to the CPU first: a device
        without memory for them must not make a whole checkpoint look like a cut one.)
        """
        if not self.path.exists():
            return None
        try:
            content = read(self.path)
            self._require_same_run(content["run"])
        except RunError as error:
            aside = self.path.with_name(f"{self.path.name}.unusable")
            self.path.replace(aside)
            print(f"{self.path.name} {error}: set aside as {aside.name}, starting anew")
            return None
        for name, value in self.maker.items():
            if (before := content["maker"].get(name)) != value:
                print(
                    f"The checkpoint was made with {name}={before}, the run goes on with {value}: "
                    "its numbers may differ from those of a run that wasn't interrupted."
                )
        return dict(content["state"])

    def _require_same_run(self, other: dict[str, Any]) -> None:
        for name in {**other, **self.run}:
            if other.get(name) != self.run.get(name):
                raise RunError(
                    f"is of another run ({name}={other.get(name)!r} instead of "
                    f"{self.run.get(name)!r})"
                )

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


def read(path: Path) -> dict[str, Any]:
    """A checkpoint's content, compared with its checksums; a :class:`RunError` if it is no good."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        with zipfile.ZipFile(path) as archive:  # torch writes checksums, but doesn't compare them
            damaged = archive.testzip()
        found, whole = content["format"], {"run", "maker", "state"} <= content.keys()
    except UNREADABLE as error:
        # the machine's fault (memory, disk): the file may well be whole, and must stay
        if is_out_of_memory(error) or (isinstance(error, OSError) and error.errno):
            raise
        raise RunError("is cut short or no checkpoint") from None
    if damaged is not None:
        raise RunError(f"is damaged (in {damaged})")
    if found != FORMAT or not whole:
        raise RunError(f"is of format {found}, this labcnn needs {FORMAT}")
    return content


class Journal:
    """Rows of ``history.csv`` and ``gradients.csv``, rewritten whole after each epoch."""

    def __init__(self, folder: RunFolder, language: str = "en") -> None:
        self.folder, self.language = folder, language
        self.history: list[dict[str, Any]] = []
        self.gradients: list[dict[str, Any]] = []

    def state_dict(self) -> dict[str, Any]:
        return {"history": self.history, "gradients": self.gradients}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.history, self.gradients = state["history"], state["gradients"]

    def add(self, row: dict[str, Any], gradients: list[dict[str, Any]]) -> None:
        """Add an epoch's row and its layers' norms, write the files and print a line."""
        if not self.history:
            print(HEADERS[self.language])
        self.history.append(row)
        self.gradients.extend(gradients)
        self.write()
        self._add_events(row)
        print(LINE.format(**row), flush=True)

    def print_history(self, steps: int) -> None:
        """Of a run that goes on: how far it is, and the lines of all epochs so far."""
        print(RESUMES[self.language].format(len(self.history), steps))
        if self.history:
            lines = [LINE.format(**row) for row in self.history]
            print("\n".join([HEADERS[self.language], *lines]), flush=True)

    def write(self) -> None:
        for name, columns, rows in (
            (HISTORY, HISTORY_COLUMNS, self.history),
            (GRADIENTS, GRADIENT_COLUMNS, self.gradients),
        ):
            table = pd.DataFrame(rows, columns=list(columns))
            write_text(self.folder.path / name, table.to_csv(index=False, lineterminator="\n"))

    def open_events(self) -> None:
        """Start TensorBoard's event file anew, with the epochs there are: none, or resumed ones."""
        target = self.folder.path / TENSORBOARD
        shutil.rmtree(target, ignore_errors=True)
        self.events = SummaryWriter(str(target))
        for row in self.history:
            self._add_events(row)

    def close(self) -> None:
        self.events.close()

    def _add_events(self, row: dict[str, Any]) -> None:
        for column in HISTORY_COLUMNS[1:]:
            self.events.add_scalar(tag(column), row[column], row["epoch"])
        self.events.flush()


def tag(column: str) -> str:
    """``val_loss`` -> ``loss/val``, so that TensorBoard draws the losses in one group."""
    split, _, measure = column.rpartition("_")
    return f"{measure}/{split}" if measure in ("loss", "accuracy") else column


def gradient_norms(model: nn.Module, x: Tensor, y: Tensor, epoch: int) -> list[dict[str, Any]]:
    """Euclidean norms of each convolution's and the head's weights and their gradients.

    A row per layer from the stem to the head, with :data:`labcnn.runs.GRADIENT_COLUMNS`, of the
    probe batch N x 3 x H x W and N. Works in the weights' own type, on a copy in training mode:
    neither the model's statistics nor the random state of the training moves.
    """
    model = copy.deepcopy(model).train()
    with keep_random_state(x.device), torch.enable_grad():
        torch.manual_seed(0)
        F.cross_entropy(model(x), y).backward()
    return [
        {
            "epoch": epoch,
            "layer": name,
            "stage": stage_of(name),
            "gradient_norm": module.weight.grad.norm().item(),
            "weight_norm": module.weight.detach().norm().item(),
        }
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and module.weight.grad is not None
    ]


def stage_of(name: str) -> int:
    """0 for the stem, 1 to 4 for the stages, 5 for the head and what else there is, by name."""
    top, *rest = name.split(".")
    return int(rest[0]) + 1 if top == "stages" else 0 if top == "stem" else 5


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """The state of the CPU's random generator and of ``device``'s, by the device's type."""
    state = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        state[device.type] = getattr(torch, device.type).get_rng_state()
    return state


def set_random_state(state: dict[str, torch.Tensor], device: torch.device) -> None:
    """Restore what :func:`random_state` gave; a device that isn't in it keeps its state."""
    torch.set_rng_state(state["cpu"])
    if device.type != "cpu" and device.type in state:
        getattr(torch, device.type).set_rng_state(state[device.type])


@contextmanager
def keep_random_state(device: torch.device) -> Iterator[None]:
    """Draw inside as you like: afterwards the random state is the one before.

    (``torch.random.fork_rng`` knows CUDA, but not Apple's MPS.)
    """
    state = random_state(device)
    try:
        yield
    finally:
        set_random_state(state, device)
