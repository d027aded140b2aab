"""Folders and archives read alike, as a tree of names and bytes; nothing is ever extracted."""

import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Protocol

from labcnn.errors import DataError

#: What reading a cut or damaged archive raises.
DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError,
    NotImplementedError, RuntimeError,
)  # fmt: skip
JUNK_NAMES = {".DS_Store", "__MACOSX", "Thumbs.db", "desktop.ini"}
#: The file that marks a data set's own folder, and how deep in the given one that may be.
MARKER, NESTED = "wnids.txt", 2


class Tree(Protocol):
    """Files by their ``/``-separated names; reading in the order of ``names`` is fastest."""

    path: Path
    names: tuple[str, ...]

    def read(self, name: str) -> bytes: ...


def is_junk(name: str) -> bool:
    """Whether an operating system left this file among the data."""
    parts = name.split("/")
    return parts[-1].startswith("._") or not JUNK_NAMES.isdisjoint(parts)


class Folder:
    """An extracted data set: only what stands beside a marker, so that a home folder is no trap."""

    def __init__(self, path: Path) -> None:
        self.path = path
        roots = {
            found.parent for deep in range(NESTED + 1) for found in path.glob("*/" * deep + MARKER)
        }
        names = (name for root in roots for name in self._walk(root))
        self.names = tuple(sorted(set(names)))

    def _walk(self, root: Path) -> Iterator[str]:
        for pattern in ("*.txt", "train/*/*", "train/*/*/*", "val/*", "val/*/*", "val/*/*/*"):
            for path in root.glob(pattern):
                yield path.relative_to(self.path).as_posix()

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()


class Zip:
    """A zip archive, read in place."""

    def __init__(self, path: Path, file: zipfile.ZipFile) -> None:
        self.path, self._file = path, file
        for info in file.infolist():
            # orig_filename: ZipFile has already turned the system's separators into "/"
            refuse_escape(path, info.orig_filename)
            if stat.S_ISLNK(info.external_attr >> 16):
                raise DataError(f"{path}: member {info.filename!r} is a link; refused")
        self.names = tuple(info.filename for info in file.infolist() if not info.is_dir())

    def read(self, name: str) -> bytes:
        return self._file.read(name)


class Tar:
    """A tar archive, compressed or not: reading in another order seeks back, which is slow."""

    def __init__(self, path: Path, file: tarfile.TarFile) -> None:
        self.path, self._file = path, file
        with name_faults(path):
            members = file.getmembers()
        for member in members:
            refuse_escape(path, member.name)
            if not (member.isfile() or member.isdir()):
                raise DataError(f"{path}: member {member.name!r} is a link or device; refused")
        self._members = {str(PurePosixPath(m.name)): m for m in members if m.isfile()}
        self.names = tuple(self._members)

    def read(self, name: str) -> bytes:
        content = self._file.extractfile(self._members[name])
        return content.read() if content else b""


def refuse_escape(archive: Path, member: str) -> None:
    """Raise a :class:`DataError` for a member that would be written outside the folder."""
    windows = PureWindowsPath(member)
    if windows.drive or windows.root or ".." in windows.parts:
        raise DataError(f"{archive}: member {member!r} would escape the folder; refused")


@contextmanager
def name_faults(path: Path) -> Iterator[None]:
    """Turn what a damaged archive raises into one line."""
    try:
        yield
    except DAMAGE as error:
        raise DataError(
            f"{path}: cut or damaged archive ({error}); copy or download it again"
        ) from None


@contextmanager
def open_tree(path: Path) -> Iterator[Tree]:
    """Open a folder, a zip or a tar (also compressed).

    Raises
    ------
    DataError
        ``path`` isn't there, is cut or of another format, or a member would escape the folder.
    """
    if path.is_dir():
        yield Folder(path)
        return
    with name_faults(path):
        archive = _open(path)
    with archive:
        yield Zip(path, archive) if isinstance(archive, zipfile.ZipFile) else Tar(path, archive)


def _open(path: Path) -> zipfile.ZipFile | tarfile.TarFile:
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    if zipfile.is_zipfile(path):
        return zipfile.ZipFile(path)
    with path.open("rb") as file:
        start = file.read(4)
    if start == b"PK\x03\x04":
        raise DataError(f"{path}: cut zip archive, its end is missing; copy or download it again")
    if start[:2] == b"\x1f\x8b" or tarfile.is_tarfile(path):
        return tarfile.open(path)
    raise DataError(f"{path}: neither a folder nor a zip, tar or tar.gz archive")
