"""Where a data set's files come from: a folder, an archive, an archive's URL; read into memory."""

import os
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple, Self
from urllib.parse import urlsplit
from urllib.request import url2pathname

from labcnn.data import cache
from labcnn.errors import UNREADABLE, DataError, name_unreadable
from labcnn.files import data_folder

OTHER_WAY = "a mirror or a copy you have does as well: `labcnn data fetch --from PATH_OR_URL`"
#: No file of the data set is larger, nor are all together, nor are there more: looked at before
#: anything is read.
MOST_BYTES, MOST_BYTES_TOGETHER, MOST_FILES = 2**25, 2**30, 2**19


def downloads_folder() -> Path:
    """Where the official archives are kept."""
    return data_folder() / "downloads"


def locate(source: str | None, official_url: str, official_md5: str, work: Path) -> Path:
    """The folder or archive that ``source`` names; a mirror's archive is put into ``work``."""
    if source is None:
        # kept, as its MD5 proves it; a mirror's archive is judged by its content, each time
        return _download(official_url, f"md5:{official_md5}", downloads_folder())
    if "://" not in source:
        return Path(source).expanduser()
    if source.startswith(("http://", "https://")):
        return _download(source, None, work)
    if source.startswith("file://"):
        return Path(url2pathname(urlsplit(source).path))
    raise DataError("valid URLs begin with http://, https:// or file://")


def _download(url: str, known_hash: str | None, into: Path) -> Path:
    """Download ``url`` unless it is there; until it is whole, it bears another name."""
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")
    downloader = pooch.HTTPDownloader(progressbar=True, chunk_size=2**16, timeout=30)
    name = PurePosixPath(urlsplit(url).path).name if known_hash else None
    try:
        return Path(pooch.retrieve(url, known_hash, name, into, downloader=downloader))
    except requests.RequestException as error:
        status = getattr(error.response, "status_code", None)
        reason = f"no network or server, or the connection was lost ({type(error).__name__})"
        if status:
            reason = f"the server answers HTTP {status}"
        elif isinstance(error, ValueError):
            reason = "no valid URL"
    except ValueError as error:
        reason = "no valid URL"
        if known_hash:  # pooch's word for a wrong one; it has removed the file
            reason = f"wrong file, {str(error).split('. ', 1)[0]}"
    raise DataError(f"{reason}; {OTHER_WAY}")


def read_files(path: Path) -> dict[str, bytes]:
    """The files of a folder or an archive by name; nothing is written anywhere.

    A :class:`DataError` says why it can't be read.
    """
    with name_unreadable(path):
        found = cache.find(path)
        if found is None:
            raise DataError("no such file or folder")
        if stat.S_ISDIR(found.st_mode):
            return _read_members(_list_folder(path))
        if not stat.S_ISREG(found.st_mode):
            raise DataError("a pipe, socket or device; valid: an archive or a folder")
        with path.open("rb") as file:
            is_zip = file.read(4) == b"PK\x03\x04"
        return _read_members(_list_zip(path) if is_zip else _list_tar(path))


class Member(NamedTuple):
    """A file of a folder or an archive; ``size`` in bytes, as it is stated before any is read."""

    name: str
    size: int
    is_regular: bool
    read: Callable[[], bytes]


def _read_members(members: Iterable[Member]) -> dict[str, bytes]:
    """The files' contents by name; a member that is no part of a data set is refused."""
    contents: dict[str, bytes] = {}
    place, together = "its list of files", 0
    try:
        for place, size, is_regular, read in members:
            path = PureWindowsPath(place)
            if path.drive or path.root or ".." in path.parts:
                raise DataError(f"member {place!r} would escape the folder; refused")
            if not is_regular:
                raise DataError(f"member {place!r} is a link, pipe, socket or device; refused")
            _require_small(place, size)
            together += size
            if len(contents) >= MOST_FILES or together > MOST_BYTES_TOGETHER:
                raise DataError(
                    f"{len(contents) + 1:,} files with {together:,} bytes or more; refused: no "
                    f"data set has over {MOST_FILES:,} files or {MOST_BYTES_TOGETHER:,} bytes"
                )
            contents[place] = read()
    except NotImplementedError as error:  # zipfile's words for what it can't unpack
        raise DataError(f"member {place!r}: {error}; pack it anew as zip or tar.gz") from None
    except RuntimeError as error:
        raise DataError(f"{error}; pack it anew without a password") from None
    except UNREADABLE as error:
        if isinstance(error, OSError) and error.errno:
            raise  # the disk's fault, not the archive's
        raise DataError(
            f"cut or damaged archive, at {place} ({error}); copy or download it again"
        ) from None
    return contents


def _require_small(name: str, size: int) -> None:
    if size > MOST_BYTES:
        raise DataError(f"member {name!r} has {size:,} bytes; refused")


def _list_folder(folder: Path) -> Iterator[Member]:
    """The files beside each ``wnids.txt``, two folders down at most.

    So a home folder isn't read whole.
    """
    roots, errors = list[Path](), list[OSError]()
    for place, folders, names in os.walk(folder, onerror=errors.append, followlinks=True):
        is_root = "wnids.txt" in names and "train" in folders
        if is_root:
            roots.append(Path(place))
        if is_root or len(Path(place).relative_to(folder).parts) == 2:
            folders.clear()
    if not roots and errors:
        raise errors[0]
    for root in roots:
        for path in (*root.glob("*.txt"), *_walk(root / "train"), *_walk(root / "val")):
            found, name = path.stat(), path.relative_to(folder).as_posix()
            yield Member(name, found.st_size, stat.S_ISREG(found.st_mode), path.read_bytes)


def _walk(folder: Path) -> Iterator[Path]:
    """All files below ``folder``, which may be missing, but not unreadable."""

    def stop(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    for place, _, names in os.walk(folder, onerror=stop):
        yield from (Path(place, name) for name in names)


def _list_zip(archive: Path) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as file:
        for member in file.infolist():
            if not member.is_dir():
                is_regular = stat.S_IFMT(member.external_attr >> 16) in (0, stat.S_IFREG)
                read = partial(file.read, member.filename)
                yield Member(member.filename, member.file_size, is_regular, read)


class Header(tarfile.TarInfo):
    """A tar's header; refused where it is too large: tarfile reads a long name at once."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        header = super().frombuf(buf, encoding, errors)
        _require_small(header.name, header.size)
        return header


def _list_tar(archive: Path) -> Iterator[Member]:
    """A tar's files, also of a compressed one; at the end, its checksums are read."""
    try:
        tar = tarfile.open(archive, "r:*", tarinfo=Header)  # noqa: SIM115
    except tarfile.ReadError:
        raise DataError("neither a folder nor a zip, tar or tar.gz archive") from None
    with tar:
        for info in tar:
            if not info.isdir():
                name = info.name.removeprefix("./")
                content = tar.extractfile(info) if info.isfile() else None
                yield Member(name, info.size, info.isfile(), content.read if content else bytes)
        # a damaged header ends a tar as its end does
        rest = tar.fileobj
        if rest and (rest.read(MOST_BYTES).strip(b"\0") or rest.read(1)):
            raise tarfile.ReadError("its end is followed by more")
