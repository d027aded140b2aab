"""What a run computes on, and the record of it: never a path, a user or a host name."""

import importlib.metadata
import math
import platform
import subprocess
import time
from datetime import UTC, datetime
from functools import cache
from typing import Any, Literal, NamedTuple, cast

import torch

from labcnn import __version__
from labcnn.errors import ParameterError
from labcnn.files import project_root
from labcnn.runs import NUMERICS, Machine, Provenance

PACKAGES = ("torch", "torchvision", "numpy", "papermill")


class Hardware(NamedTuple):
    """Device, its name, the precision of the forward pass, and the CPU threads."""

    device: torch.device
    name: str
    precision: Literal["bf16", "fp32", "fp64"]
    threads: int

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights and the images: float32 also where the forward pass is in bfloat16."""
        return torch.float64 if self.precision == "fp64" else torch.float32

    def autocast(self) -> torch.autocast:
        """The context in which a forward pass runs."""
        enabled = self.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    def describe(self, *, compiled: bool) -> Machine:
        """The record of it; ``compiled``: whether steps go through ``torch.compile``."""
        return Machine(
            device=self.device.type,
            device_name=self.name,
            precision=self.precision,
            threads=self.threads,
            compiled=compiled,
        )

    def synchronise(self) -> None:
        """Wait for the device, so that a clock read afterwards is right."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        elif self.device.type == "mps":
            torch.mps.synchronize()


def choose_hardware(
    device: str = "auto", precision: str = "auto", threads: int | None = None
) -> Hardware:
    """Turn what was asked for into what is here; set torch's threads and, for CUDA, its kernels.

    Raises
    ------
    ParameterError
        The device isn't on this machine, or can't do float64.
    """
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.mps.is_available()}
    order = ("cuda", "cpu") if precision == "fp64" else ("cuda", "mps", "cpu")
    chosen = next(d for d in order if there[d]) if device == "auto" else device
    if not there.get(chosen):
        valid = ", ".join(["auto", *(name for name in there if there[name])])
        raise ParameterError(f"device={device!r} isn't on this machine; valid here: {valid}")
    if threads is not None:
        torch.set_num_threads(threads)
    if chosen == "cuda":  # the same seed gives the same bits, and float32 is float32
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    if precision == "fp64" and chosen == "mps":
        raise ParameterError("precision='fp64' isn't on device mps; valid: auto, bf16, fp32")
    if precision == "auto":
        precision = "bf16" if fast_bf16(chosen) else "fp32"
    return Hardware(
        torch.device(chosen),
        torch.cuda.get_device_name()
        if chosen == "cuda"
        else str(torch.cpu.get_capabilities().get("cpu_name") or platform.machine()),
        cast(Literal["bf16", "fp32", "fp64"], precision),
        torch.get_num_threads(),
    )


@cache
def fast_bf16(device: str) -> bool:
    """Whether a device multiplies in bfloat16 faster than in float32: a CPU is timed, in 0.1 s.

    Its flags don't tell: with avx512_bf16 an AMD EPYC takes half the time of float32, an Intel Xeon
    without AMX 1.7 times as long.
    """
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device != "cpu":
        return False
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds = dict.fromkeys((torch.float32, torch.bfloat16), math.inf)
        for _ in range(4):
            for dtype in seconds:
                matrix = torch.ones(384, 384, dtype=dtype)
                begin = time.perf_counter()
                matrix @ matrix
                seconds[dtype] = min(seconds[dtype], time.perf_counter() - begin)
    finally:
        torch.set_num_threads(threads)
    return seconds[torch.bfloat16] < 0.8 * seconds[torch.float32]


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
    """The commit and versions now, before training: commits made later aren't what ran.

    A plain install, or a copy that lies in somebody's own repository, has no commit.
    """
    tracked = _git("ls-files", "--error-unmatch", "--", "labcnn/__init__.py") is not None
    changes = _git("status", "--porcelain", "--untracked-files=no", "--", "labcnn", "notebooks")
    return Code(
        _git("rev-parse", "HEAD") if tracked else None,
        bool(changes) if tracked and changes is not None else None,
        {"labcnn": __version__, "python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in PACKAGES},
    )


class Clock:
    """Counts over all the processes that an interrupted run took.

    ``started`` is the beginning of the first; ``seconds`` leaves out the time between them, and
    what one did after its last checkpoint; ``earlier`` is what they ran on, where it isn't
    ``machine``.
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


def make_provenance(fingerprint: str, code: Code, clock: Clock) -> Provenance:
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
