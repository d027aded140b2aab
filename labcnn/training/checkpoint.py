"""Saving and restoring a run at any step: tensors and plain values only."""

import io
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch

from labcnn.errors import UNREADABLE, RunError, is_out_of_memory
from labcnn.files import write_atomically

#: Changes when an older checkpoint can't be read any more.
FORMAT = 4
#: Between two checkpoints of one epoch; with a step and the writing it stays under a minute.
SECONDS_BETWEEN = 40.0


class Stateful(Protocol):
    """What a checkpoint is made of."""

    def state_dict(self) -> dict[str, Any]: ...


class Checkpoint:
    """Everything that decides a run's future, in one file.

    Parameters
    ----------
    path : the file.
    run : what the run is (its recipe, data and numerics); a checkpoint that says otherwise isn't
        used. Plain values.
    maker : what else decides the last bits (precision, threads, versions, device); a difference is
        said.
    """

    def __init__(self, path: Path, run: Mapping[str, Any], maker: Mapping[str, Any]) -> None:
        self.path, self.run, self.maker = path, dict(run), dict(maker)
        self._saved = time.perf_counter()

    def save(self, trainer: Stateful) -> None:
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

    def save_if_due(self, trainer: Stateful) -> None:
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
    """A checkpoint's content; every byte of it is compared with its checksum.

    Raises
    ------
    RunError
        It is cut short or damaged, isn't a checkpoint, or is of another format.
    """
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
