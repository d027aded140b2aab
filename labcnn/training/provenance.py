"""What a result was made with: code, versions, machine. Never a path, a user or a host name."""

import importlib.metadata
import platform
import subprocess

from labcnn import __version__
from labcnn.paths import project_root
from labcnn.runs import Provenance
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


def describe(hardware: Hardware, fingerprint: str, started: str, finished: str) -> Provenance:
    """Provenance of a run on ``hardware`` with the data of ``fingerprint``; times in ISO 8601."""
    changes = _git("status", "--porcelain", "--untracked-files=no", "--", "labcnn", "notebooks")
    return Provenance(
        data_fingerprint=fingerprint,
        git_commit=_git("rev-parse", "HEAD"),
        git_dirty=None if changes is None else bool(changes),
        versions={"labcnn": __version__, "python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in PACKAGES},
        device=hardware.device.type,
        device_name=hardware.name,
        precision=hardware.precision,
        threads=hardware.threads,
        started=started,
        finished=finished,
    )
