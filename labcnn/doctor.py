"""``labcnn doctor``: what this machine and this installation have, a line each."""

import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

from labcnn.data import tiny_imagenet
from labcnn.paths import data_folder

LEAST_DISK = 5e9


class Finding(NamedTuple):
    """One thing that was looked at; ``good`` is False where something will be missing."""

    name: str
    good: bool
    text: str


def findings() -> Iterator[Finding]:
    """Look at everything; what can't be looked at is a finding too."""
    checks: dict[str, Callable[[], tuple[bool, str]]] = {
        "python": _python,
        "torch": _torch,
        "device": _device,
        "fonts": _fonts,
        "data": _data,
        "disk": _disk,
    }
    for name, check in checks.items():
        try:
            yield Finding(name, *check())
        except Exception as error:
            yield Finding(name, False, f"{type(error).__name__}: {error}".splitlines()[0])


def _python() -> tuple[bool, str]:
    return sys.version_info >= (3, 11), f"{platform.python_version()} on {platform.platform()}"


def _torch() -> tuple[bool, str]:
    import torch
    import torchvision

    return True, f"{torch.__version__}, torchvision {torchvision.__version__}"


def _device() -> tuple[bool, str]:
    from labcnn.training.hardware import choose_hardware

    found = choose_hardware()
    native = found.precision == "bf16"
    bf16 = "trains in bf16" if native else "bf16 is no faster here: trains in fp32"
    return native, f"{found.device} ({found.name}), {found.threads} threads, {bf16}"


def _fonts() -> tuple[bool, str]:
    import importlib.metadata

    version = importlib.metadata.version("pylopdf-fonts-zh-cn")
    return True, f"Noto Sans SC and Noto Serif SC (pylopdf-fonts-zh-cn {version})"


def _data() -> tuple[bool, str]:
    if tiny_imagenet.prepared():
        return True, f"tiny-imagenet-200 is prepared in {tiny_imagenet.folder()}"
    return False, "tiny-imagenet-200 isn't prepared (`labcnn data fetch`); shapes needs nothing"


def _disk() -> tuple[bool, str]:
    folder = data_folder()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    return free > LEAST_DISK, f"{free / 1e9:.0f} GB free at {there}"
