"""Which GPU a run gets: one run per GPU, or as many as asked for.

A run holds a file lock in a folder of this machine and user, so that sweeps side by side share the
GPUs too. The operating system frees it however the process ends.
"""

import os
import platform
import re
import stat
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, Timeout

from labcnn.errors import ParameterError, RunError

VISIBLE, PER_GPU = "CUDA_VISIBLE_DEVICES", "LABCNN_RUNS_PER_GPU"
#: Set inside a scheduler's job; devices are numbered for that job alone there.
SCHEDULERS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID")
CONTROL_GROUPS = Path("/sys/fs/cgroup")
POLL_SECONDS = 0.2


def find_gpus() -> tuple[str, ...]:
    """The GPUs that runs may use, as ``CUDA_VISIBLE_DEVICES`` names them: by its list, else all."""
    given = os.environ.get(VISIBLE)
    if given is None:
        return list_gpus()
    names = (name.strip() for name in given.split(","))
    return tuple(dict.fromkeys(name for name in names if name not in ("", "-1")))


def list_gpus() -> tuple[str, ...]:
    """The UUIDs of this machine's GPUs; of one that is cut into MIG slices, those of the slices."""
    try:
        done = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, encoding="utf-8", timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    if done.returncode:
        return ()
    found = re.findall(r"UUID: ((?:GPU|MIG)-[^)\s]+)", done.stdout)
    whole_and_cut = zip(found, [*found[1:], ""], strict=True)
    return tuple(
        name
        for name, following in whole_and_cut
        if name.startswith("MIG-") or not following.startswith("MIG-")
    )


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
    """Cores that this process may keep busy: those it may run on, and its container's quota."""
    affinity = getattr(os, "sched_getaffinity", None)
    found = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, min([found, *(int(quota) for quota in read_quotas())]))


def read_quotas() -> list[float]:
    """The limits, in CPUs, that Linux's control groups (version 1 or 2) set this process."""
    try:
        groups = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    quotas = []
    for line in groups:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        for base in (CONTROL_GROUPS / controllers, CONTROL_GROUPS / "cpu"):
            # Inside a container, the path may be the host's, and its own group is the top.
            own = base / path.lstrip("/")
            quotas += [read_quota(folder) for folder in (own, *own.parents)]
    return [quota for quota in quotas if quota is not None]


def read_quota(group: Path) -> float | None:
    """One control group's limit in CPUs; None where it has none."""
    try:
        if (group / "cpu.max").exists():
            limit, period = (group / "cpu.max").read_text(encoding="utf-8").split()
        else:
            limit = (group / "cpu.cfs_quota_us").read_text(encoding="utf-8")
            period = (group / "cpu.cfs_period_us").read_text(encoding="utf-8")
        return int(limit) / int(period) if int(limit) > 0 else None
    except (OSError, ValueError):  # "max", -1, or no such file
        return None


def lock_folder() -> Path:
    """Where this machine's locks of GPUs are, or those of this scheduler's job.

    The same for all of a user's processes, whatever their TMPDIR is; nobody else may write it.

    Raises
    ------
    RunError
        There is no such folder: names those that were tried.
    """
    job = next((os.environ[name] for name in SCHEDULERS if os.environ.get(name)), "machine")
    # A home may be one for several machines.
    tried = [
        home_cache() / "labcnn" / f"gpus-{platform.node()}",
        Path("/tmp") / f"labcnn-gpus-{os.getuid()}",
    ]
    for folder in tried:
        if is_private(folder):
            (folder / job).mkdir(exist_ok=True)
            return folder / job
    names = " and ".join(map(str, tried))
    raise RunError(f"no folder for the locks of GPUs: {names} can't be written by you alone")


def home_cache() -> Path:
    """The folder of caches in the user's home, which may be missing."""
    try:
        return Path.home() / ".cache"
    except RuntimeError:  # a user without a home
        return Path("/nonexistent")


def is_private(folder: Path) -> bool:
    """Whether a folder, which is made if need be, is one that this user alone can write."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = folder.lstat()
    except OSError:
        return False
    if not stat.S_ISDIR(found.st_mode) or not os.access(folder, os.W_OK | os.X_OK):
        return False
    others_write = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return found.st_uid == os.getuid() and not others_write


@contextmanager
def reserve_gpu(
    parameters: Mapping[str, Any], who: str = "", wait: Callable[[str], object] = print
) -> Iterator[str | None]:
    """Wait for a free GPU, hold it, and make it the only one that child processes see.

    Gives its name; None, at once, where the run has no GPU to get.

    Parameters
    ----------
    who : what the others are told that wait for it.
    wait : is called with a line that names whom this one waits for, when that changes.
    """
    found = find_gpus() if uses_gpus(parameters) else ()
    if not found:
        yield None
        return
    gpu, lock = _lock_one(found, who, wait)
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


def _lock_one(
    gpus: Sequence[str], who: str, wait: Callable[[str], object]
) -> tuple[str, BaseFileLock]:
    """The first GPU that has room for a run, and the lock that is held for it."""
    folder, full_names = lock_folder(), list_gpus()
    names = {gpu: full_name(gpu, full_names) for gpu in gpus}
    told = ""
    while True:
        holders = []
        # The first run of every GPU comes before the second of any.
        for number in range(runs_per_gpu()):
            for gpu, name in names.items():
                path = folder / f"{name.replace('/', '-')}.{number}.lock"
                holder, lock = path.with_suffix(".holder"), FileLock(path)
                try:
                    lock.acquire(timeout=0)
                except Timeout:
                    holders.append(f"{gpu} is held by {read_holder(holder)}")
                    continue
                holder.write_text(f"{who or 'a run'} (process {os.getpid()})", encoding="utf-8")
                return gpu, lock
        if told != (told := f"waiting for a GPU: {', '.join(holders)}"):
            wait(told)
        time.sleep(POLL_SECONDS)


def full_name(gpu: str, uuids: Sequence[str]) -> str:
    """The UUID of a GPU that is given by its number or a UUID's beginning: one GPU, one lock.

    Numbers are nvidia-smi's. CUDA's are the same where all GPUs are of one kind, or with
    ``CUDA_DEVICE_ORDER=PCI_BUS_ID``.
    """
    if gpu.isdecimal() and int(gpu) < len(uuids):
        return uuids[int(gpu)]
    named = (uuid for uuid in uuids if gpu.startswith(("GPU-", "MIG-")) and uuid.startswith(gpu))
    return next(named, gpu)


def read_holder(path: Path) -> str:
    """Who holds a lock, as the holder wrote it down."""
    try:
        return path.read_text(encoding="utf-8") or "another process"
    except OSError:
        return "another process"
