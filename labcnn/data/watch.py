"""Has a file changed since it was read? Size and time of change tell, without reading it again."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from labcnn.errors import DataError
from labcnn.files import write_text


class Stamp(NamedTuple):
    """A file as it was: its size in bytes and its time of change in ns."""

    path: Path
    size: int
    changed: int


def stamps_of(paths: Iterable[Path]) -> tuple[Stamp, ...]:
    """The stamps of files that are there."""
    found = [(path, path.stat()) for path in paths]
    return tuple(Stamp(path, stat.st_size, stat.st_mtime_ns) for path, stat in found)


def require_unchanged(stamps: Iterable[Stamp]) -> None:
    """Raise a :class:`DataError` for the first file that isn't what it was."""
    for stamp in stamps:
        try:
            (now,) = stamps_of([stamp.path])
        except OSError:
            raise DataError(f"{stamp.path}: gone while it was in use") from None
        if now != stamp:
            raise DataError(f"{stamp.path}: changed while it was in use")


def known(record: Path, stamps: Iterable[Stamp]) -> bool:
    """Whether ``record`` says that the content under these very stamps was verified."""
    try:
        return bool(json.loads(record.read_bytes()) == _plain(stamps))
    except (OSError, ValueError):
        return False


def remember(record: Path, stamps: Iterable[Stamp]) -> None:
    """Write that the content under these stamps is verified; not where nothing can be written."""
    try:
        write_text(record, json.dumps(_plain(stamps)) + "\n")
    except OSError:
        pass  # a data folder that others own: the next process verifies again


def _plain(stamps: Iterable[Stamp]) -> dict[str, list[int]]:
    return {stamp.path.name: [stamp.size, stamp.changed] for stamp in stamps}
