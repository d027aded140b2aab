"""The device a run uses and what it can do."""

import math
import platform
import time
from functools import cache
from typing import Literal, NamedTuple, cast

import torch

from labcnn.errors import ParameterError


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


def at_least_float32(x: torch.Tensor) -> torch.Tensor:
    """Logits as a loss needs them: bfloat16 becomes float32, float64 stays."""
    return x if x.dtype == torch.float64 else x.float()


@cache
def fast_bf16(device: str) -> bool:
    """Whether a device multiplies in bfloat16 faster than in float32: a CPU is timed, in 0.1 s.

    Its flags don't tell: with avx512_bf16 an AMD EPYC takes half the time of float32, an Intel Xeon
    without AMX 1.7 times as long. The ratios met lie far from the limit, so noise decides nothing.
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
