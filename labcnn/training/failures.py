"""What a machine can run out of while training: said in one line, with what to do."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from labcnn.errors import DataError, RunError
from labcnn.request import RunRequest

#: What torch says on the devices whose allocator has no exception of its own.
OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "bad allocation", "std::bad_alloc")
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
RESUMES = "and run the same again: it goes on from its last checkpoint"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, of the machine or of a device, is used up."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(
        words in str(error).lower() for words in OUT_OF_MEMORY
    )


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
    except OSError as error:
        where = error.filename or request.folder.path
        if error.errno in FULL:
            raise RunError(f"{where}: {error.strerror}; make room {RESUMES}") from None
        raise RunError(
            f"{where}: {error.strerror}; make {request.folder.path} a folder that can be written "
            f"(logs=... chooses another) {RESUMES}"
        ) from None
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        recipe = request.recipe
        raise RunError(
            f"out of memory with batch_size={recipe.batch_size} and width={recipe.width}; free "
            f"some (fewer runs side by side) {RESUMES}, or choose smaller ones"
        ) from None
