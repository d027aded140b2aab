"""Which GPU a run gets: one run per GPU, or as many as asked for.

A run holds a file lock in a folder of this machine and user, so that sweeps side by side share the
GPUs too. The operating system frees it however the process ends.
"""

import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, Timeout

from labcnn.errors import ParameterError

VISIBLE, PER_GPU = "CUDA_VISIBLE_DEVICES", "LABCNN_RUNS_PER_GPU"
#: Set inside a scheduler's job; devices are numbered for that job alone there.
SCHEDULERS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID")
POLL_SECONDS = 0.2


def find_gpus() -> tuple[str, ...]:
    """The GPUs that runs may use, as ``CUDA_VISIBLE_DEVICES`` names them: by its list, else all."""
    given = os.environ.get(VISIBLE)
    if given is not None:
        return tuple(name.strip() for name in given.split(",") if name.strip() not in ("", "-1"))
    query = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, encoding="utf-8", timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(done.stdout.split()) if done.returncode == 0 else ()


def runs_per_gpu() -> int:
    """How many runs share a GPU: ``$LABCNN_RUNS_PER_GPU``, else one."""
    given = os.environ.get(PER_GPU, "1")
    if not given.isdecimal() or int(given) < 1:
        raise ParameterError(f"{PER_GPU}={given!r} must be a whole number of at least 1")
    return int(given)


def uses_gpus(parameters: Mapping[str, Any]) -> bool:
    """Whether runs with these parameters are to have a GPU where there is one."""
    return parameters.get("device", "auto") in ("auto", "cuda")


def default_jobs(parameters: Mapping[str, Any]) -> int:
    """How many runs this machine has room for side by side: by its GPUs, else one to a core."""
    if uses_gpus(parameters) and (found := find_gpus()):
        return len(found) * runs_per_gpu()
    device = parameters.get("device", "auto")
    return 1 if device == "mps" or (is_apple() and device == "auto") else cores()


def is_apple() -> bool:
    """Whether this machine has the GPU that torch calls ``mps``."""
    return platform.system() == "Darwin" and platform.machine() == "arm64"


def cores() -> int:
    """Cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def lock_folder() -> Path:
    """Where this machine's locks of GPUs are, or those of this scheduler's job."""
    user = str(os.getuid()) if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    job = next((os.environ[name] for name in SCHEDULERS if os.environ.get(name)), "machine")
    return Path(tempfile.gettempdir()) / f"labcnn-gpus-{user}" / job


@contextmanager
def reserve_gpu(parameters: Mapping[str, Any]) -> Iterator[str | None]:
    """Wait for a free GPU, hold it, and make it the only one that child processes see.

    Gives its name; None, at once, where the run has no GPU to get.
    """
    found = find_gpus() if uses_gpus(parameters) else ()
    if not found:
        yield None
        return
    gpu, lock = _lock_one(found)
    before = os.environ.get(VISIBLE)
    os.environ[VISIBLE] = gpu
    try:
        yield gpu
    finally:
        lock.release()
        if before is None:
            del os.environ[VISIBLE]
        else:
            os.environ[VISIBLE] = before


def _lock_one(gpus: Sequence[str]) -> tuple[str, BaseFileLock]:
    """The first GPU that has room for a run, and the lock that is held for it."""
    folder = lock_folder()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    while True:
        # The first run of every GPU comes before the second of any.
        for number in range(runs_per_gpu()):
            for gpu in gpus:
                lock = FileLock(folder / f"{gpu.replace('/', '-')}.{number}.lock")
                try:
                    lock.acquire(timeout=0)
                except Timeout:
                    continue
                return gpu, lock
        time.sleep(POLL_SECONDS)
