"""Errors meant for the person at the keyboard: one line, no traceback."""

import csv
import errno
import lzma
import pickle
import resource
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

#: What torch says where an allocator has no exception of its own, and oneDNN and a thread at its
#: start when memory is used up.
OUT_OF_MEMORY = (
    "can't allocate memory", "out of memory", "bad allocation", "std::bad_alloc",
    "could not create a primitive", "could not execute a primitive", "can't start new thread",
)  # fmt: skip
#: What a kernel with torch needs of addresses, in bytes.
ADDRESS_SPACE = 6 * 2**30
#: What reading a cut, damaged or foreign file raises, here and in numpy and torch.
UNREADABLE = (
    OSError, EOFError, ValueError, TypeError, LookupError, AttributeError, RuntimeError,
    csv.Error, lzma.LZMAError, pickle.UnpicklingError, struct.error, tarfile.TarError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
RESUMES = "the same run again goes on from its last checkpoint, if it has one"


class LabError(Exception):
    """What was wrong, which value, what is valid, what to do; shown as one line."""

    def _render_traceback_(self) -> list[str]:
        """IPython calls this instead of printing a traceback."""
        return [f"{type(self).__name__}: {self}"]


class ParameterError(LabError):
    """A parameter that is unknown, has the wrong type or is out of range."""


class DataError(LabError):
    """A data set that is missing, incomplete or damaged."""


class RunError(LabError):
    """A run that can't start here: it is locked, or would mix what isn't comparable."""


class LockedError(RunError):
    """Another process trains the run."""


class Interrupted(LabError, KeyboardInterrupt):
    """A person stopped a run; it can go on."""


class ReportError(LabError):
    """A report that can't be made from what is there."""


def list_valid(name: str, valid: Iterable[str]) -> str:
    """``did you mean 'seed'? valid: variant, seed``: the end of a line about an unknown name."""
    near = get_close_matches(name, valid, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}valid: {', '.join(valid)}"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, of the machine or of a device, is used up."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    text = str(error).lower() if isinstance(error, RuntimeError) else ""
    return isinstance(error, MemoryError) or any(each in text for each in OUT_OF_MEMORY)


def system_cause(error: BaseException) -> str:
    """What the machine lacks, as a line with path and remedy; empty for an error of the program.

    An error that another one was made from is looked at too: libraries hide the first.
    """
    if is_out_of_memory(error):
        return "out of memory, or of what this process may have of it (ulimit -v)"
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        if error.errno in FULL:
            return f"{where}{error.strerror}; make room"
        if error.errno in (errno.EMFILE, errno.ENFILE):
            return f"{where}{error.strerror}; allow more (ulimit -n)"
        return f"{where}{error.strerror or error}"
    before = error.__cause__ or error.__context__
    return system_cause(before) if before else ""


@contextmanager
def name_unreadable(place: Path) -> Iterator[None]:
    """Turn what the system says of a file that can't be read into a :class:`DataError`."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{error.filename or place}: {error.strerror or error}") from None


@contextmanager
def explain_system_errors(folder: Path, memory_use: str) -> Iterator[None]:
    """Turn what the machine lacks (disk, memory, files) into a :class:`RunError`.

    ``folder`` is written to; ``memory_use`` names what decides how much memory is needed.
    """
    try:
        yield
    except (OSError, MemoryError, RuntimeError) as error:
        cause = system_cause(error)
        if not cause:
            raise
        if not isinstance(error, OSError) or is_out_of_memory(error):
            cause += f", with {memory_use}; free some (fewer runs side by side) or choose smaller"
        elif error.errno not in FULL:
            cause += f"; make {folder} a folder that can be written (logs=... chooses another)"
        raise RunError(f"{cause}; {RESUMES}") from None


def require_addresses() -> None:
    """Raise a :class:`RunError` if this process may have less memory than torch needs.

    Near the limit, a kernel hangs: its threads can't start.
    """
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if 0 <= limit < ADDRESS_SPACE:
        raise RunError(
            f"out of memory: this process may have {limit / 2**30:.1f} GiB of addresses "
            f"(ulimit -v), too few for training: allow {ADDRESS_SPACE >> 30} GiB"
        )
