"""What a machine can run out of while training: said in one line, with what to do."""

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch

from labcnn.errors import DataError, RunError
from labcnn.request import RunRequest

#: What torch says on the devices whose allocator has no exception of its own.
OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "bad allocation", "std::bad_alloc")
#: What is said, without the reason, when memory is used up: by oneDNN, and at a thread's start.
UNCLEAR = (
    "could not create a primitive",
    "could not execute a primitive",
    "can't start new thread",
)
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
RESUMES = "and run the same again: it goes on from its last checkpoint, if it has one"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, of the machine or of a device, is used up."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return _says(error, OUT_OF_MEMORY) is not None


def _says(error: BaseException, words: Iterable[str]) -> str | None:
    """The first of ``words`` that a RuntimeError's message has."""
    text = str(error).lower() if isinstance(error, RuntimeError) else ""
    return next((each for each in words if each in text), None)


@contextmanager
def in_one_line(request: RunRequest) -> Iterator[None]:
    """Turn a full or read-only disk, used up memory and changed data into a :class:`RunError`."""
    try:
        yield
    except DataError as error:
        raise RunError(
            f"{error}; nothing trained with it is saved: undo the change or run "
            f"`labcnn data fetch --force`, {RESUMES}"
        ) from None
    except (OSError, MemoryError, RuntimeError) as error:
        unclear = _says(error, UNCLEAR)
        if unclear or is_out_of_memory(error):
            recipe = request.recipe
            raise RunError(
                f"{f'{unclear}, probably ' if unclear else ''}out of memory with "
                f"batch_size={recipe.batch_size} and width={recipe.width}; free some (fewer runs "
                f"side by side) {RESUMES}, or choose smaller ones"
            ) from None
        if not isinstance(error, OSError):
            raise
        where = error.filename or request.folder.path
        if error.errno in FULL:
            raise RunError(f"{where}: {error.strerror}; make room {RESUMES}") from None
        raise RunError(
            f"{where}: {error.strerror}; make {request.folder.path} a folder that can be written "
            f"(logs=... chooses another) {RESUMES}"
        ) from None
