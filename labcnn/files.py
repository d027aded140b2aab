"""Where files are, and writing them so that a reader sees the old or the new one, never a part."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the command line needs this file, and not numpy
    import numpy as np

DATA_VARIABLE = "LABCNN_DATA"
LOGS_VARIABLE = "LABCNN_LOGS"
#: How the names of half-written files begin.
TEMPORARY = ".writing-"


def project_root() -> Path:
    """The checkout this package stands in, or the current directory for a plain install."""
    checkout = Path(__file__).resolve().parents[1]
    return checkout if (checkout / "notebooks" / "train.ipynb").exists() else Path.cwd()


def data_folder() -> Path:
    """Folder of downloads and decoded caches: ``$LABCNN_DATA``, else ``data/`` of the checkout."""
    given = os.environ.get(DATA_VARIABLE)
    return Path(given).expanduser().resolve() if given else project_root() / "data"


def logs_folder(given: str | Path | None = None) -> Path:
    """Folder of results: ``given``, else ``$LABCNN_LOGS``, else ``report/logs`` of the checkout."""
    chosen = given or os.environ.get(LOGS_VARIABLE)
    return Path(chosen).expanduser().resolve() if chosen else project_root() / "report" / "logs"


def fix_folders() -> None:
    """Make the folders that the environment names absolute: child processes work elsewhere."""
    for variable in (DATA_VARIABLE, LOGS_VARIABLE):
        if given := os.environ.get(variable):
            os.environ[variable] = str(Path(given).expanduser().resolve())


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


def write_arrays(path: Path, arrays: "dict[str, np.ndarray]", *, compressed: bool) -> None:
    """Write arrays by name as one ``.npz``, atomically."""
    import numpy as np

    save = np.savez_compressed if compressed else np.savez

    def write(to: Path) -> None:
        with to.open("wb") as file:  # given a name without .npz, numpy would add it
            save(file, allow_pickle=False, **arrays)

    write_atomically(path, write)
