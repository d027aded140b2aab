"""Tiny ImageNet-200: got as an archive or a folder, checked by content, decoded once."""

import os
import stat
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple, Self
from urllib.parse import urlsplit
from urllib.request import url2pathname

from labcnn.data import cache
from labcnn.data.cache import ImageFiles, list_some
from labcnn.data.splits import OfficialData
from labcnn.errors import UNREADABLE, DataError
from labcnn.files import data_folder

NAME = "tiny-imagenet-200"
OFFICIAL_URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
OFFICIAL_MD5 = "90528d7ca1a48142e341f4ef8d21d0de"
#: Classes, and images per class in train and in val, of the official data.
OFFICIAL_COUNTS = (200, 500, 50)
#: Of the decoded images, labels and classes of the official data (:func:`cache.fingerprint`).
OFFICIAL_FINGERPRINT = "a705bd291f6963f187de9b6204c833214e3375c4ea6dbed458e5b31b17030120"
#: Of a zip: how Python can unpack; flags of patches and of strong encryption, which it can't.
ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
ZIP_EXTENSIONS = 0x60
OTHER_WAY = "a mirror or a copy you have does as well: `labcnn data fetch --from PATH_OR_URL`"
EXPECTED = (
    "expected wnids.txt, words.txt, train/<wnid>/images/*.JPEG and "
    "val/images/*.JPEG with val/val_annotations.txt (or val/<wnid>/*.JPEG)"
)
#: No file of the data set is larger, nor are all together, nor are there more: looked at before
#: anything is read.
MOST_BYTES, MOST_BYTES_TOGETHER, MOST_FILES = 2**25, 2**30, 2**19


def downloads_folder() -> Path:
    """Where the official archives are kept."""
    return data_folder() / "downloads"


def describe(data: OfficialData) -> str:
    """``200 classes, 100,000 train and 10,000 test images (official)``, or how they differ."""
    classes, train, test = len(data.class_names), len(data.train), len(data.test)
    text = f"{classes} classes, {train:,} train and {test:,} test images"
    if data.fingerprint == OFFICIAL_FINGERPRINT:
        return f"{text} (official)"
    if (classes, train // classes, test // classes) == OFFICIAL_COUNTS:
        return f"{text} (NOT the official data: as many, but other images, labels or classes)"
    return f"{text} (subset: the official data has 200 classes x 500 train and 50 test images)"


def fetch(source: str | None = None, *, force: bool = False) -> bool:
    """Download, check and decode the data; returns and raises as :func:`cache.prepare`.

    ``source`` is an archive, an extracted folder, or an archive's URL; None downloads the official
    one. ``force``: also if it is prepared.
    """
    if source is not None and not source.strip():
        raise DataError(f"--from {source!r} names nothing; valid: a path or a URL")
    return cache.prepare(
        NAME,
        source or OFFICIAL_URL,
        lambda work: _find_images(_read(source, work)),
        lambda: cache.is_prepared(NAME) and not force,
    )


def _read(source: str | None, work: Path) -> dict[str, bytes]:
    """The files of the folder or archive that ``source`` names."""
    path = locate(source, OFFICIAL_URL, OFFICIAL_MD5, work)
    try:
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
    except OSError as error:
        raise DataError(f"{error.filename or path}: {error.strerror or error}") from None


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


class Member(NamedTuple):
    """A file of a folder or an archive; ``size`` in bytes, as it is stated before any is read."""

    name: str
    size: int
    is_regular: bool
    read: Callable[[], bytes]


def _read_members(members: Iterable[Member]) -> dict[str, bytes]:
    """The files by name, in memory: nothing is written anywhere.

    A :class:`DataError` for an archive that is cut or damaged, or a member that is no part of a
    data set.
    """
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
            if member.flag_bits & 1:
                raise DataError(
                    f"member {member.filename!r} is encrypted; pack it anew without a password"
                )
            if member.compress_type not in ZIP_METHODS or member.flag_bits & ZIP_EXTENSIONS:
                raise DataError(
                    f"can't be unpacked (compression method {member.compress_type} of "
                    f"{member.filename!r}); pack it anew as zip or tar.gz"
                )
            if not member.is_dir():
                is_regular = stat.S_IFMT(member.external_attr >> 16) in (0, stat.S_IFREG)
                read = partial(file.read, member)
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


#: Images by class and file name: one that lies in two places counts once.
Found = dict[tuple[str, str], str]


def _find_images(contents: dict[str, bytes]) -> ImageFiles:
    """Find classes, images and labels, in every layout that people have.

    Classes are those of ``wnids.txt`` that have images, in the order of ``wnids.txt``; images are
    ordered by class, then file name. A :class:`DataError` says what was expected where.
    """
    root = _find_root(contents)
    inside = [name for name in contents if name.startswith(root)]
    files = {name.removeprefix(root): contents[name] for name in inside}
    wnids = tuple(dict.fromkeys(_decode_text(files, "wnids.txt").split()))
    lines = _decode_text(files, "words.txt").splitlines()
    words = dict(line.split("\t", 1) for line in lines if "\t" in line)
    train, test = _find_in_split(files, "train"), _find_in_split(files, "val")
    present = {wnid for wnid, _ in (*train, *test)}
    if unknown := present - set(wnids):
        raise DataError(f"classes not in wnids.txt: {list_some(sorted(unknown))}")
    wnids = tuple(wnid for wnid in wnids if wnid in present)
    return ImageFiles(
        read=lambda name: cache.decode_image(files[name]),
        wnids=wnids,
        class_names=tuple(words.get(w, w).split(",")[0].strip() for w in wnids),
        train=_label(train, wnids, "train"),
        test=_label(test, wnids, "val"),
    )


def _find_root(names: Iterable[str]) -> str:
    """What the names of the data set's files begin with: nothing, or one or two folders."""
    with_train = {name.split("train/")[0] for name in names if "train/" in name}
    lists = [name for name in names if PurePosixPath(name).name == "wnids.txt"]
    for depth in range(3):
        found = {name.removesuffix("wnids.txt") for name in lists if name.count("/") == depth}
        roots = sorted(found & with_train)
        if len(roots) > 1:
            raise DataError(f"more than one data set ({', '.join(roots)}); name one")
        if roots:
            return roots[0]
    raise DataError(f"no wnids.txt with train/ beside it; {EXPECTED}")


def _decode_text(files: dict[str, bytes], name: str) -> str:
    try:
        return files[name].decode("utf-8-sig")
    except KeyError:
        raise DataError(f"{name} is missing; {EXPECTED}") from None
    except UnicodeDecodeError:
        raise DataError(f"{name} isn't UTF-8 text") from None


def _find_in_split(files: dict[str, bytes], split: str) -> Found:
    """Images at ``<split>/<wnid>/x.JPEG`` and ``<split>/<wnid>/images/x.JPEG``.

    And at ``val/images/x.JPEG``, whose classes ``val/val_annotations.txt`` says.
    """
    found: Found = {}
    annotated: list[str] = []
    for place in files:
        path = PurePosixPath(place)
        is_jpeg = path.suffix.lower() in (".jpeg", ".jpg")
        if not is_jpeg or path.name.startswith("._"):  # macOS leaves ._x.JPEG beside x.JPEG
            continue
        match path.parts:
            case ("val", "images", name) if split == "val":
                annotated.append(name)
            case (first, wnid, name) | (first, wnid, "images", name) if first == split:
                found.setdefault((wnid, name), place)
            case (first, *_) if first == split:
                raise DataError(f"{place} lies in an unknown place; {EXPECTED}")
    if not annotated:
        return found
    text = _decode_text(files, "val/val_annotations.txt")
    lines = [line.split("\t") for line in text.splitlines()]
    wnids = {line[0]: line[1] for line in lines if len(line) > 1}
    if unlabelled := sorted(set(annotated) - set(wnids)):
        raise DataError(
            f"images of val/images/ not in val_annotations.txt: {list_some(unlabelled)}"
        )
    return found | {(wnids[name], name): f"val/images/{name}" for name in annotated}


def _label(found: Found, wnids: tuple[str, ...], split: str) -> dict[str, int]:
    """The images in order, each with its class's number."""
    if not found:
        raise DataError(f"no images in {split}/; {EXPECTED}")
    counts = Counter(wnid for wnid, _ in found)
    usual, _ = Counter(counts.values()).most_common(1)[0]
    if odd := [f"{wnid} has {counts[wnid]}" for wnid in wnids if counts[wnid] != usual]:
        raise DataError(
            f"{split}/ needs as many images in every class; most have {usual}, but {list_some(odd)}"
        )
    number = {wnid: label for label, wnid in enumerate(wnids)}
    labelled = [(number[wnid], name, path) for (wnid, name), path in found.items()]
    return {path: label for label, _, path in sorted(labelled)}
