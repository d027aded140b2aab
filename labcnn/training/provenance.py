"""What a result was made with: code, versions, machine. Never a path, a user or a host name."""

import importlib.metadata
import platform
import subprocess
import time
from datetime import UTC, datetime
from typing import Any, NamedTuple

from labcnn import __version__
from labcnn.paths import project_root
from labcnn.runs import NUMERICS, Machine, Provenance
from labcnn.training.hardware import Hardware

PACKAGES = ("torch", "torchvision", "numpy", "papermill")


def _git(*arguments: str) -> str | None:
    """A git command's output in the checkout; None without git or without a checkout."""
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=project_root(),
            capture_output=True,
            encoding="utf-8",
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


class Code(NamedTuple):
    """The commit, whether files differ from it (both None without one), and versions."""

    commit: str | None
    dirty: bool | None
    versions: dict[str, str]


def inspect_code() -> Code:
    """The commit and versions now: call it before training, as commits made later aren't what ran.

    A commit counts only if it holds this package: a plain install, or a copy that lies in
    somebody's own repository, has none.
    """
    tracked = _git("ls-files", "--error-unmatch", "--", "labcnn/__init__.py") is not None
    changes = _git("status", "--porcelain", "--untracked-files=no", "--", "labcnn", "notebooks")
    return Code(
        _git("rev-parse", "HEAD") if tracked else None,
        bool(changes) if tracked and changes is not None else None,
        {"labcnn": __version__, "python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in PACKAGES},
    )


def describe_machine(hardware: Hardware, compiled: bool) -> Machine:
    """What this process computes on."""
    return Machine(
        device=hardware.device.type,
        device_name=hardware.name,
        precision=hardware.precision,
        threads=hardware.threads,
        compiled=compiled,
    )


def describe_maker(machine: Machine, code: Code) -> dict[str, Any]:
    """What isn't in the recipe and may change a run; resuming under another one is said."""
    return {
        "commit": code.commit,
        "torch": code.versions["torch"],
        "device": machine.device_name,
        "precision": machine.precision,
        "threads": machine.threads,
        "compile": machine.compiled,
    }


class Clock:
    """Counts over all the processes that an interrupted run took.

    ``started`` is the beginning of the first, in ISO 8601; ``seconds`` leaves out the time between
    them, and what one of them did after its last checkpoint. ``interruptions`` is how many there
    were before this one; ``earlier`` what they ran on, where it isn't ``machine``.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.earlier: list[Machine] = []
        self.started = now()
        self.interruptions = 0
        self._begin = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._begin

    def state_dict(self) -> dict[str, Any]:
        return {
            "started": self.started,
            "seconds": self.seconds,
            "interruptions": self.interruptions,
            "machines": [each.model_dump() for each in (*self.earlier, self.machine)],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.started, self.interruptions = state["started"], state["interruptions"]
        self._begin -= state["seconds"]
        before = [Machine(**each) for each in state["machines"]]
        self.earlier = [each for each in before if each != self.machine]


def now() -> str:
    """The time in ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def describe(fingerprint: str, code: Code, clock: Clock) -> Provenance:
    """Provenance of a run with the data of ``fingerprint``, finished now."""
    return Provenance(
        **clock.machine.model_dump(),
        data_fingerprint=fingerprint,
        numerics=NUMERICS,
        git_commit=code.commit,
        git_dirty=code.dirty,
        versions=code.versions,
        started=clock.started,
        finished=now(),
        interruptions=clock.interruptions,
        earlier=tuple(clock.earlier),
    )
