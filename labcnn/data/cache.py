"""The decoded data set on disk: memory-mapped uint8 arrays, and a file that proves them whole."""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from labcnn.data.splits import IMAGE_SHAPE, OfficialData, Split
from labcnn.errors import FULL, DataError, is_out_of_memory, name_unreadable
from labcnn.files import data_folder, write_text

FORMAT = 1
#: Written last: its presence proves that the arrays beside it are whole.
META = "meta.json"
#: The arrays' sizes and times of change when all of their content was last checked.
CHECKED = "verified.json"
ARRAYS = ("train_images.npy", "train_labels.npy", "test_images.npy", "test_labels.npy")
#: What prepares the data sets that can be fetched; one's own pictures are prepared when used.
COMMANDS = {"tiny-imagenet-200": "labcnn data fetch", "cifar10": "labcnn data fetch cifar10"}
#: More zeros in a row than an image of one colour has (192 blocks at 2 bits each, and a byte before
#: them): no encoder writes them; a download or a disk that lost something does.
HOLE = bytes(50)
#: Images that are decoded before they are written.
BLOCK = 1000


class Meta(BaseModel):
    """What ``meta.json`` says of the arrays beside it.

    Attributes
    ----------
    val_count : of the training images, the last so many were given as validation images.
    source : a digest of the files that the images were decoded from; empty: it isn't looked at.
    place : a digest of their folder's path. Another folder's images don't take the place of these.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: int
    wnids: tuple[str, ...]
    class_names: tuple[str, ...]
    fingerprint: str
    val_count: int = 0
    source: str = ""
    place: str = ""


class ImageFiles(NamedTuple):
    """A data set to decode: ``train`` and ``test`` map the images' names to labels.

    ``read`` gives the image of a name, 64 x 64 x 3, uint8, or raises :class:`BrokenImage`; it is
    called by several threads. The last three are as in :class:`Meta`.
    """

    read: Callable[[str], np.ndarray]
    wnids: tuple[str, ...]
    class_names: tuple[str, ...]
    train: dict[str, int]
    test: dict[str, int]
    val_count: int = 0
    source: str = ""
    place: str = ""


class BrokenImage(Exception):
    """Why a file isn't an image of the data set."""


def folder_of(name: str) -> Path:
    """Where a data set's decoded arrays are, or will be."""
    return data_folder() / name


def list_prepared() -> list[str]:
    """The names of all data sets whose decoded arrays are there."""
    return sorted(path.parent.name for path in data_folder().glob(f"*/{META}"))


def is_prepared(name: str) -> bool:
    """Whether the decoded arrays are there; a :class:`DataError` where that can't be seen."""
    with name_unreadable(folder_of(name)):
        return find(folder_of(name) / META) is not None


def find(path: Path) -> os.stat_result | None:
    """What the system says of ``path``; None where nothing is, an OSError where it won't say."""
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def load(name: str) -> OfficialData:
    """A prepared data set, memory-mapped; a :class:`DataError` says what to do if there is none."""
    folder = folder_of(name)
    if not is_prepared(name):
        remedy = "give the folder of its pictures: dataset=FOLDER"
        if command := COMMANDS.get(name):
            remedy = (
                f"run `{command}` to download it, or `{command} --from PATH_OR_URL` with an "
                "archive or folder you have"
            )
        raise DataError(f"{name} isn't prepared in {folder}: {remedy}")
    with name_unreadable(folder):
        return read_arrays(folder)


def prepare(
    name: str,
    source: str,
    find_images: Callable[[Path], ImageFiles],
    is_done: Callable[[], bool],
) -> bool:
    """Decode a data set into its folder, unless that is done: returns and raises as ``fetch``.

    ``find_images`` may write into the empty folder that it is given; ``is_done`` is asked again
    once this process alone prepares the set; ``source`` is what errors name.
    """
    if is_done():
        return False
    folder = folder_of(name)
    work = folder.with_name(f"{name}.new")
    try:
        with _hold_lock(name):
            if is_done():
                return False
            shutil.rmtree(work, ignore_errors=True)  # left by a process that was killed
            fresh = work / "arrays"
            fresh.mkdir(parents=True)
            try:
                build(find_images(work), fresh, folder)
            except DataError as error:
                raise DataError(f"{source}: {error}") from None
            finally:
                shutil.rmtree(work, ignore_errors=True)
            return True
    except (OSError, MemoryError) as error:
        if isinstance(error, MemoryError) or is_out_of_memory(error):
            raise DataError(
                f"{source}: out of memory; free some, or raise the limit (ulimit -v)"
            ) from None
        remedy = "make room" if error.errno in FULL else "make it writable"
        raise DataError(
            f"{error.filename or work}: {error.strerror or error}; {remedy}, or set LABCNN_DATA to "
            "a folder elsewhere"
        ) from None


@contextmanager
def _hold_lock(name: str) -> Iterator[None]:
    """Of two that prepare a data set at once, the second waits, then finds the work done."""
    from filelock import FileLock, Timeout

    data_folder().mkdir(parents=True, exist_ok=True)
    lock = FileLock(data_folder() / f"{name}.lock")
    try:
        lock.acquire(timeout=1)
    except Timeout:
        print(f"{name}: another process prepares it; waiting for that", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _redo(folder: Path) -> str:
    command = COMMANDS.get(folder.name)
    return f"run `{command} --force`" if command else "give its folder again: dataset=FOLDER"


def read_meta(folder: Path) -> Meta:
    """The ``meta.json`` of ``folder``, which must be there."""
    try:
        meta = Meta.model_validate_json((folder / META).read_bytes())
    except ValidationError:
        raise DataError(f"{folder / META}: cut or foreign; {_redo(folder)}") from None
    if meta.format != FORMAT:
        raise DataError(
            f"{folder}: format {meta.format}, this labcnn needs {FORMAT}; {_redo(folder)}"
        )
    return meta


def read_arrays(folder: Path) -> OfficialData:
    """The prepared data set of ``folder``, memory-mapped.

    All of its content is checked (seconds) if a file was changed since the last time, by its size
    or time of change. A :class:`DataError` names a file that is missing, cut or changed.
    """
    meta = read_meta(folder)
    train, test = _open_arrays(folder)
    if not _is_checked(folder):
        if compute_fingerprint(train, test, meta.wnids) != meta.fingerprint:
            raise DataError(f"{folder}: the images or labels were changed; {_redo(folder)}")
        _note_checked(folder)
    return OfficialData(train, test, meta.class_names, meta.fingerprint, meta.val_count)


def compute_fingerprint(train: Split, test: Split, wnids: tuple[str, ...]) -> str:
    """Hexadecimal SHA-256 over images, labels and class order."""
    digest = hashlib.sha256(json.dumps(wnids).encode())
    for array in (train.images, train.labels, test.images, test.labels):
        digest.update(repr((array.shape, array.dtype.str)).encode())
        digest.update(np.ascontiguousarray(array).data.cast("B"))
    return digest.hexdigest()


def _open_arrays(folder: Path) -> tuple[Split, Split]:
    arrays = []
    for name in ARRAYS:
        try:
            # "c": torch wants arrays it could write to, and a write must not reach the disk
            arrays.append(np.load(folder / name, mmap_mode="c"))
        except FileNotFoundError:
            raise DataError(f"{folder / name}: missing; {_redo(folder)}") from None
        except (ValueError, EOFError):
            raise DataError(f"{folder / name}: cut or changed; {_redo(folder)}") from None
    return Split(*arrays[:2]), Split(*arrays[2:])


def _stamps(folder: Path) -> dict[str, list[int]]:
    """Size in bytes and time of change in ns of each array."""
    found = {name: (folder / name).stat() for name in ARRAYS}
    return {name: [stat.st_size, stat.st_mtime_ns] for name, stat in found.items()}


def _is_checked(folder: Path) -> bool:
    try:
        return bool(json.loads((folder / CHECKED).read_bytes()) == _stamps(folder))
    except (OSError, ValueError):
        return False


def _note_checked(folder: Path) -> None:
    with suppress(OSError):  # a data folder that others own: the next process checks again
        write_text(folder / CHECKED, json.dumps(_stamps(folder)) + "\n")


def build(files: ImageFiles, fresh: Path, folder: Path) -> None:
    """Check and decode ``files`` into ``fresh``, an empty folder, then move all to ``folder``.

    What stood in ``folder`` before stays until the new arrays are complete. A :class:`DataError`
    names up to five broken images and counts them all; or in ``folder`` are those of another place.
    """
    broken: list[str] = []
    for split, labels in (("train", files.train), ("test", files.test)):
        np.save(fresh / f"{split}_labels.npy", np.array(list(labels.values()), np.int64))
        broken += _write_images(list(labels), files.read, fresh / f"{split}_images.npy")
    if broken:
        count = len(files.train) + len(files.test)
        raise DataError(f"{len(broken)} of {count} images broken: {list_some(broken)}")
    meta = Meta(
        format=FORMAT,
        wnids=files.wnids,
        class_names=files.class_names,
        fingerprint=compute_fingerprint(*_open_arrays(fresh), files.wnids),
        val_count=files.val_count,
        source=files.source,
        place=files.place,
    )
    _require_same_place(meta, folder)
    folder.mkdir(exist_ok=True)
    (folder / META).unlink(missing_ok=True)
    for name in ARRAYS:
        (fresh / name).replace(folder / name)
    _note_checked(folder)
    write_text(folder / META, meta.model_dump_json(indent=1, exclude_defaults=True))


def _require_same_place(new: Meta, folder: Path) -> None:
    try:
        old = read_meta(folder)
    except (DataError, OSError):  # there is none, or none that can be used
        return
    if old.place != new.place and old.fingerprint != new.fingerprint:
        raise DataError(
            f"{folder.name} is prepared from other pictures, of another folder of this name; "
            f"rename this one, or delete {folder}"
        )


def _write_images(names: list[str], read: Callable[[str], np.ndarray], path: Path) -> list[str]:
    """Decode images into one array; return the names of those that are broken."""
    from tqdm import tqdm  # needs what `labcnn[train]` installs

    broken = []
    progress = tqdm(
        desc=f"decode {path.stem}",
        total=len(names),
        unit="image",
        file=sys.stderr,
        delay=0.3,  # nothing to see of what fails or ends at once
        mininterval=0.2 if sys.stderr.isatty() else 10,
    )
    # not through a map: on a full disk, writing to one kills the process without a word
    with path.open("wb") as file, ThreadPoolExecutor(os.cpu_count()) as pool, progress:
        shape = (len(names), *IMAGE_SHAPE)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(names), BLOCK):
            block = names[start : start + BLOCK]
            images = [pool.submit(read, name) for name in block]
            for name, image in zip(block, images, strict=True):
                try:
                    file.write(image.result().data)
                except BrokenImage as error:
                    broken.append(f"{name} ({error})")
            progress.update(len(block))
        file.flush()
        os.fsync(file.fileno())  # on the disk before the proof is
    return broken


def decode_image(content: bytes) -> np.ndarray:
    """Decode one JPEG file to a 64 x 64 x 3 uint8 array; gray becomes RGB.

    A :class:`BrokenImage` is empty, cut, corrupt, no JPEG, or of another size. Whatever libjpeg
    warns of is refused: it would fill what is lost with gray. Damage that leaves as many blocks in
    the stream as before shows no sign; only the fingerprint tells it.
    """
    import simplejpeg  # needs what `labcnn[train]` installs

    height, width, _ = IMAGE_SHAPE
    if not content:
        raise BrokenImage("empty")
    if not content.startswith(b"\xff\xd8"):
        raise BrokenImage("no JPEG image")
    try:
        found_height, found_width, *_ = simplejpeg.decode_jpeg_header(content)
    except ValueError:
        raise BrokenImage("cut or corrupt: its header can't be read") from None
    if (found_height, found_width) != (height, width):
        raise BrokenImage(f"{found_width}x{found_height} pixels instead of {width}x{height}")
    try:
        image = simplejpeg.decode_jpeg(content, "RGB")
    except ValueError as error:
        raise BrokenImage(str(error)) from None
    stream = content[content.rindex(b"\xff\xda") : content.rindex(b"\xff\xd9")]
    if HOLE in stream:
        raise BrokenImage(f"corrupt: {len(HOLE)} or more zero bytes in a row")
    return image


def list_some(things: list[str], most: int = 5) -> str:
    """``a, b, c, d, e and 3 more``; one line, whatever their names hold."""
    more = f" and {len(things) - most} more" if len(things) > most else ""
    return ", ".join(repr(thing)[1:-1] for thing in things[:most]) + more
