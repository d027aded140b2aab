"""What a result was made with: code, versions, machine. Never a path, a user or a host name."""

import importlib.metadata
import platform
import subprocess
from typing import Any, NamedTuple

from labcnn import __version__
from labcnn.code import code_digests
from labcnn.data import ImageData
from labcnn.paths import project_root
from labcnn.recipe import Recipe
from labcnn.runs import Provenance
from labcnn.training.clock import Clock, now
from labcnn.training.hardware import Hardware

PACKAGES = ("torch", "torchvision", "numpy", "papermill")

# Now, when the modules are loaded: a file that is edited later isn't what this process runs.
code_digests("short_baseline", "shapes")


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


def run_identity(recipe: Recipe, data: ImageData, hardware: Hardware) -> dict[str, Any]:
    """What a checkpoint must agree in, to be of this run."""
    return {
        **recipe.model_dump(mode="json"),
        "data_fingerprint": data.fingerprint,
        "precision": hardware.precision,
    } | {
        f"code of {name}": digest
        for name, digest in code_digests(recipe.variant, recipe.dataset).items()
    }


def run_maker(hardware: Hardware, code: Code, compiled: bool) -> dict[str, Any]:
    """What may change the last bits of a run, or by an edit all of it, and isn't in its recipe."""
    return {
        "commit": code.commit,
        "torch": code.versions["torch"],
        "device": hardware.name,
        "threads": hardware.threads,
        "compile": compiled,
    }


def describe(
    recipe: Recipe, hardware: Hardware, fingerprint: str, code: Code, clock: Clock, compiled: bool
) -> Provenance:
    """Provenance of a run on ``hardware`` with the data of ``fingerprint``, finished now."""
    return Provenance(
        data_fingerprint=fingerprint,
        git_commit=code.commit,
        git_dirty=code.dirty,
        versions=code.versions,
        device=hardware.device.type,
        device_name=hardware.name,
        precision=hardware.precision,
        threads=hardware.threads,
        started=clock.started,
        finished=now(),
        interruptions=clock.interruptions,
        compiled=compiled,
        code=code_digests(recipe.variant, recipe.dataset),
    )
