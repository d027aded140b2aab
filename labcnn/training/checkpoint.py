"""Saving and restoring a run between epochs: tensors and plain values only."""

import pickle
from pathlib import Path
from typing import Any

import torch

from labcnn.files import write_atomically
from labcnn.training.hardware import random_state, set_random_state

#: Changes when an older checkpoint can't be read any more.
FORMAT = 1


def save_checkpoint(path: Path, key: str, state: dict[str, Any], device: torch.device) -> None:
    """Write ``state`` and the random state, atomically; ``key`` says which run it belongs to."""
    content = {"format": FORMAT, "key": key, "state": state, "random": random_state(device)}
    write_atomically(path, lambda to: torch.save(content, to))


def load_checkpoint(path: Path, key: str, device: torch.device) -> dict[str, Any] | None:
    """The saved state of the run ``key``, after restoring the random state; None if there is none.

    A checkpoint that is cut, of another format or of another run is set aside under another name,
    and the run starts from the beginning. Its tensors are on the CPU: a device without memory for
    them must not make a whole checkpoint look like a cut one.
    """
    if not path.exists():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        fits = (content["format"], content["key"]) == (FORMAT, key)
    except (
        RuntimeError,
        EOFError,
        OSError,
        LookupError,
        TypeError,
        ValueError,
        pickle.UnpicklingError,
    ):
        fits = False
    if not fits:
        aside = path.with_name(f"{path.name}.unusable")
        path.replace(aside)
        print(f"{path.name} is cut or of another run: set aside as {aside.name}, starting anew")
        return None
    set_random_state(content["random"], device)
    return content["state"]
