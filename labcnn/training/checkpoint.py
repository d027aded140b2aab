"""Saving and restoring a run at any step: tensors and plain values only."""

import io
import pickle
import time
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from labcnn.errors import RunError
from labcnn.files import write_atomically
from labcnn.training.failures import is_out_of_memory
from labcnn.training.hardware import random_state, set_random_state

#: Changes when an older checkpoint can't be read any more.
FORMAT = 3
#: Between two checkpoints of one epoch; with a step and the writing it stays under a minute.
SECONDS_BETWEEN = 40


class Stateful(Protocol):
    """What a checkpoint is made of: the model, the optimiser and so on."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any], /) -> Any: ...


class Checkpoint:
    """Everything that decides a run's future, in one file.

    Parameters
    ----------
    path : the file.
    run : what the run is (its recipe, data and numerics); a checkpoint that says otherwise isn't
        used. Plain values.
    maker : what else decides the last bits (precision, threads, versions, device); a difference is
        said.
    parts : by name, what is saved and restored. The random state comes on top.
    before_saving : raises an error if what was done since the last time must not be kept.
    """

    def __init__(
        self,
        path: Path,
        run: Mapping[str, Any],
        maker: Mapping[str, Any],
        parts: Mapping[str, Stateful],
        device: torch.device,
        before_saving: Callable[[], None] = lambda: None,
    ) -> None:
        self.path, self.run, self.maker = path, dict(run), dict(maker)
        self.parts, self.device, self.before_saving = parts, device, before_saving
        self._saved = time.perf_counter()

    def save(self) -> None:
        """Write the file, atomically: a process killed meanwhile leaves the one before."""
        self.before_saving()
        content = {
            "format": FORMAT,
            "run": self.run,
            "maker": self.maker,
            "state": {name: part.state_dict() for name, part in self.parts.items()},
            "random": random_state(self.device),
        }
        # Through memory: torch's own writer hides that a disk is full behind another error.
        buffer = io.BytesIO()
        torch.save(content, buffer)
        write_atomically(self.path, lambda to: to.write_bytes(buffer.getbuffer()))
        self._saved = time.perf_counter()

    def save_if_due(self) -> None:
        """Save if the last time is :data:`SECONDS_BETWEEN` ago."""
        if time.perf_counter() - self._saved >= SECONDS_BETWEEN:
            self.save()

    def load(self) -> bool:
        """Restore all parts and the random state; whether there was something to restore.

        A file that can't be used is named and set aside, and nothing of it is taken over. Tensors
        come to the CPU first: a device without memory for them must not make a whole checkpoint
        look like a cut one.
        """
        if not self.path.exists():
            return False
        try:
            content = read(self.path)
            self._require_mine(content)
        except RunError as error:
            aside = self.path.with_name(f"{self.path.name}.unusable")
            self.path.replace(aside)
            print(f"{self.path.name} {error}: set aside as {aside.name}, starting anew")
            return False
        for name, part in self.parts.items():
            part.load_state_dict(content["state"][name])
        set_random_state(content["random"], self.device)
        for name, value in self.maker.items():
            if (before := content["maker"].get(name)) != value:
                print(
                    f"The run was begun with {name}={before} and goes on with {value}: "
                    "its numbers may differ from those of a run that wasn't interrupted."
                )
        return True

    def _require_mine(self, content: dict[str, Any]) -> None:
        theirs = content["run"]
        for name in {**theirs, **self.run}:
            if theirs.get(name) != self.run.get(name):
                raise RunError(
                    f"is of another run ({name}={theirs.get(name)!r} instead of "
                    f"{self.run.get(name)!r})"
                )
        if content["state"].keys() != self.parts.keys():
            raise RunError("has other parts than this labcnn's")

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
        found, whole = content["format"], {"run", "maker", "state", "random"} <= content.keys()
    except (
        RuntimeError,
        EOFError,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        pickle.UnpicklingError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        if is_out_of_memory(error):  # then it may well be whole: it must stay
            raise
        raise RunError("is cut short or no checkpoint") from None
    if damaged is not None:
        raise RunError(f"is damaged (in {damaged})")
    if found != FORMAT or not whole:
        raise RunError(f"is of format {found}, this labcnn needs {FORMAT}")
    return content
