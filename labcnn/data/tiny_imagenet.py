"""Tiny ImageNet-200: got as an archive or a folder, checked by content, decoded once."""

import shutil
import stat
import sys
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from lzma import LZMAError
from pathlib import Path, PureWindowsPath
from urllib.parse import urlsplit
from urllib.request import url2pathname

from labcnn.data import cache
from labcnn.data.cache import ImageFiles, list_some
from labcnn.data.images import OfficialData
from labcnn.errors import DataError
from labcnn.paths import data_folder

NAME = "tiny-imagenet-200"
OFFICIAL_URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
OFFICIAL_MD5 = "90528d7ca1a48142e341f4ef8d21d0de"
#: Classes, and images per class in train and in val, of the official data.
OFFICIAL_COUNTS = (200, 500, 50)
OTHER_WAY = "a mirror or a copy you have does as well: `labcnn data fetch --from PATH_OR_URL`"
EXPECTED = (
    "expected wnids.txt, words.txt, train/<wnid>/images/*.JPEG and "
    "val/images/*.JPEG with val/val_annotations.txt (or val/<wnid>/*.JPEG)"
)
#: What reading a cut or damaged archive raises.
DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, LZMAError, EOFError, OSError,
    NotImplementedError, RuntimeError,
)  # fmt: skip


def folder() -> Path:
    """Where the decoded arrays are, or will be."""
    return data_folder() / NAME


def downloads_folder() -> Path:
    """Where the official archive is kept."""
    return data_folder() / "downloads"


def prepared() -> bool:
    """Whether the decoded arrays are there."""
    return (folder() / cache.META).exists()


def load() -> OfficialData:
    """The prepared data, memory-mapped; its test split is the official val data.

    Raises
    ------
    DataError
        It isn't prepared, or a file was cut or changed since; says what to do.
    """
    if not prepared():
        raise DataError(
            f"{NAME} isn't prepared in {folder()}: run `labcnn data fetch` to download it, or "
            "`labcnn data fetch --from PATH_OR_URL` with an archive or folder you have"
        )
    return cache.read_arrays(folder())


def describe(data: OfficialData) -> str:
    """``200 classes, 100,000 train and 10,000 test images``; says so where that is a subset."""
    classes, train, test = len(data.class_names), len(data.train), len(data.test)
    text = f"{classes} classes, {train:,} train and {test:,} test images"
    if (classes, train // classes, test // classes) != OFFICIAL_COUNTS:
        text += " (subset: the official data has 200 classes x 500 train and 50 test images)"
    return text


def fetch(source: str | None = None, *, force: bool = False) -> bool:
    """Download, check and decode the data, unless it is prepared already.

    Parameters
    ----------
    source : an archive, an extracted folder, or the URL of an archive; None downloads the
        official one.
    force : do it all again.

    Returns
    -------
    bool
        False where nothing was to do.

    Raises
    ------
    DataError
        Names the source and what in it isn't as it should be.
    """
    with _hold_lock():
        if prepared() and not force:
            return False
        work = folder().with_name(f"{NAME}.new")
        shutil.rmtree(work, ignore_errors=True)  # left by a fetch that was killed
        fresh = work / "arrays"
        fresh.mkdir(parents=True)
        try:
            cache.build(_find_images(_obtain(source, work)), fresh, folder())
        except DataError as error:
            raise DataError(f"{source or OFFICIAL_URL}: {error}") from None
        except OSError as error:
            if error.filename:
                raise
            raise DataError(
                f"{work}: {error.strerror}; make room, or set LABCNN_DATA to a folder elsewhere"
            ) from None
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return True


@contextmanager
def _hold_lock() -> Iterator[None]:
    """Of two fetches at once, the second waits, then finds the work done."""
    from filelock import FileLock, Timeout

    data_folder().mkdir(parents=True, exist_ok=True)
    lock = FileLock(data_folder() / f"{NAME}.lock")
    try:
        lock.acquire(timeout=1)
    except Timeout:
        print(f"{NAME}: another fetch is at work here; waiting for it", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _obtain(source: str | None, work: Path) -> Path:
    """The folder that ``source`` names, or what its archive holds, unpacked in ``work``."""
    if source is None:
        # kept, as its MD5 proves it; a mirror's archive is judged by its content, each time
        path = _download(OFFICIAL_URL, f"md5:{OFFICIAL_MD5}", downloads_folder())
    elif "://" not in source:
        path = Path(source).expanduser()
    elif source.startswith(("http://", "https://")):
        path = _download(source, None, work)
    elif source.startswith("file://"):
        path = Path(url2pathname(urlsplit(source).path))
    else:
        raise DataError("valid URLs begin with http://, https:// or file://")
    if path.is_dir():
        return path
    if not path.is_file():
        raise DataError("no such file or folder")
    _unpack(path, work / "unpacked")
    return work / "unpacked"


def _download(url: str, known_hash: str | None, into: Path) -> Path:
    """Download ``url`` unless it is there; until it is whole, it bears another name."""
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")
    downloader = pooch.HTTPDownloader(progressbar=True, chunk_size=2**16, timeout=30)
    name = f"{NAME}.zip" if known_hash else None
    try:
        return Path(pooch.retrieve(url, known_hash, name, into, downloader=downloader))
    except requests.RequestException as error:
        status = getattr(error.response, "status_code", None)
        lost = f"no connection, or it was lost ({type(error).__name__})"
        reason = f"the server answers HTTP {status}" if status else lost
    except ValueError as error:  # pooch's word for a wrong hash; it has removed the file
        reason = f"wrong file, {str(error).split('. ', 1)[0]}"
    raise DataError(f"{reason}; {OTHER_WAY}")


def _unpack(archive: Path, into: Path) -> None:
    """Unpack a zip or a tar (also compressed).

    Raises
    ------
    DataError
        It is cut, damaged or of another format, or has a member that would escape ``into``, or
        that is a link or a device.
    """
    with archive.open("rb") as opened:
        is_zip = opened.read(4) == b"PK\x03\x04"
    place = "its list of files"
    try:
        if is_zip:
            with zipfile.ZipFile(archive) as file:
                for member in file.infolist():
                    # orig_filename: ZipFile has already turned the system's separators into "/"
                    place = member.orig_filename
                    kind = stat.S_IFMT(member.external_attr >> 16)
                    _refuse_unsafe(place, kind not in (0, stat.S_IFREG, stat.S_IFDIR))
                    file.extract(member, into)
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive) as tar:
                tar.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.4 on
                for info in tar:
                    place = info.name
                    _refuse_unsafe(place, not (info.isfile() or info.isdir()))
                    tar.extract(info, into, set_attrs=False)
                while tar.fileobj and tar.fileobj.read(2**20):
                    pass  # gzip's checksum stands at the end
        else:
            raise DataError("neither a folder nor a zip, tar or tar.gz archive")
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno:
            raise  # the disk's fault, not the archive's
        raise DataError(
            f"cut or damaged archive, at {place} ({error}); copy or download it again"
        ) from None


def _refuse_unsafe(member: str, special: bool) -> None:
    """Raise a :class:`DataError` for a member that is no part of a data set."""
    path = PureWindowsPath(member)
    if path.drive or path.root or ".." in path.parts:
        raise DataError(f"member {member!r} would escape the folder; refused")
    if special:
        raise DataError(f"member {member!r} is a link or device; refused")


#: Images by class and file name: one that lies in two places counts once.
Found = dict[tuple[str, str], str]


def _find_images(source: Path) -> ImageFiles:
    """Find classes, images and labels, in every layout that people have.

    Classes are those of ``wnids.txt`` that have images, in the order of ``wnids.txt``; images are
    ordered by class, then file name.

    Raises
    ------
    DataError
        Says what was expected where, or names the classes on which the parts disagree.
    """
    root = _find_root(source)
    wnids = tuple(dict.fromkeys(_read_text(root / "wnids.txt").split()))
    lines = _read_text(root / "words.txt").splitlines()
    words = dict(line.split("\t", 1) for line in lines if "\t" in line)
    train = _find_in_class_folders(root, "train")
    test = _find_in_class_folders(root, "val") | _find_in_annotations(root)
    present = {wnid for wnid, _ in (*train, *test)}
    if unknown := present - set(wnids):
        raise DataError(f"classes not in wnids.txt: {list_some(sorted(unknown))}")
    wnids = tuple(wnid for wnid in wnids if wnid in present)
    return ImageFiles(
        folder=root,
        wnids=wnids,
        class_names=tuple(words.get(w, w).split(",")[0].strip() for w in wnids),
        train=_label(train, wnids, "train"),
        test=_label(test, wnids, "val"),
    )


def _find_root(source: Path) -> Path:
    """The folder with the data set in it: ``source``, or one up to two levels below."""
    for place in ("", "*/", "*/*/"):
        found = [path.parent for path in source.glob(f"{place}wnids.txt")]
        roots = sorted(root for root in found if (root / "train").is_dir())
        if len(roots) > 1:
            names = ", ".join(str(root.relative_to(source)) for root in roots)
            raise DataError(f"more than one data set ({names}); name one")
        if roots:
            return roots[0]
    raise DataError(f"no wnids.txt with train/ beside it; {EXPECTED}")


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path.name} is missing; {EXPECTED}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path.name} isn't UTF-8 text") from None


def _list_images(root: Path, place: str) -> Iterator[tuple[str, ...]]:
    """The parts below ``place`` of each JPEG file's path."""
    for path in (root / place).rglob("*"):
        # macOS leaves ._x.JPEG beside x.JPEG
        if path.suffix.lower() in (".jpeg", ".jpg") and not path.name.startswith("._"):
            yield path.relative_to(root / place).parts


def _find_in_class_folders(root: Path, split: str) -> Found:
    """Images at ``<split>/<wnid>/x.JPEG`` and ``<split>/<wnid>/images/x.JPEG``."""
    found: Found = {}
    for parts in _list_images(root, split):
        match parts:
            case ("images", _) if split == "val":
                pass
            case (wnid, name) | (wnid, "images", name):
                found.setdefault((wnid, name), "/".join((split, *parts)))
            case _:
                place = "/".join((split, *parts))
                raise DataError(f"{place} lies in an unknown place; {EXPECTED}")
    return found


def _find_in_annotations(root: Path) -> Found:
    """Images at ``val/images/x.JPEG``, whose classes ``val/val_annotations.txt`` says."""
    names = ["/".join(parts) for parts in _list_images(root, "val/images")]
    if not names:
        return {}
    lines = [line.split("\t") for line in _read_text(root / "val/val_annotations.txt").splitlines()]
    wnids = {line[0]: line[1] for line in lines if len(line) > 1}
    if unlabelled := sorted(set(names) - set(wnids)):
        raise DataError(
            f"images of val/images/ not in val_annotations.txt: {list_some(unlabelled)}"
        )
    return {(wnids[name], name): f"val/images/{name}" for name in names}


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
