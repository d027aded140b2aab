"""Writing files so that a reader sees the old one or the new one, never a part."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

#: How the names of half-written files begin.
TEMPORARY = ".writing-"


def write_atomically(path: Path, write: Callable[[Path], Any]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then rename it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f"{TEMPORARY}{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        if error.errno and error.filename is None:  # of a write that found the disk full, say
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Delete what processes that were killed while writing into ``folder`` left there."""
    for path in folder.glob(f"{TEMPORARY}*"):
        path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, atomically."""
    write_atomically(path, lambda to: to.write_text(text, encoding="utf-8"))


def write_arrays(path: Path, arrays: dict[str, np.ndarray], *, compressed: bool) -> None:
    """Write arrays by name as one ``.npz``, atomically."""
    save = np.savez_compressed if compressed else np.savez

    def write(to: Path) -> None:
        with to.open("wb") as file:  # given a name without .npz, numpy would add it
            save(file, allow_pickle=False, **arrays)

    write_atomically(path, write)
