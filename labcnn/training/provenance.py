"""What a result was made with: code, versions, machine. Never a path, a user or a host name."""

import importlib.metadata
import platform
import subprocess
from typing import Any, NamedTuple

from labcnn import __version__
from labcnn.data import ImageData
from labcnn.paths import project_root
from labcnn.recipe import Recipe
from labcnn.runs import NUMERICS, Machine, Provenance
from labcnn.training.clock import Clock, now
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


def running_code() -> Code:
    """Look before training: what is committed or edited meanwhile isn't what runs.

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


def run_identity(recipe: Recipe, data: ImageData) -> dict[str, Any]:
    """What a checkpoint must agree in, to be of this run."""
    return {
        **recipe.model_dump(mode="json"),
        "data_fingerprint": data.fingerprint,
        "numerics": NUMERICS,
    }


def this_machine(hardware: Hardware, compiled: bool) -> Machine:
    """What this process computes on."""
    return Machine(
        device=hardware.device.type,
        device_name=hardware.name,
        precision=hardware.precision,
        threads=hardware.threads,
        compiled=compiled,
    )


def run_maker(machine: Machine, code: Code) -> dict[str, Any]:
    """What may change the last bits of a run, or by an edit all of it, and isn't in its recipe."""
    return {
        "commit": code.commit,
        "torch": code.versions["torch"],
        "device": machine.device_name,
        "precision": machine.precision,
        "threads": machine.threads,
        "compile": machine.compiled,
    }


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
