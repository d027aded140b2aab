"""The decoded data set on disk: memory-mapped uint8 arrays, and a file that proves them whole."""

import hashlib
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from labcnn.data.splits import IMAGE_SHAPE, OfficialData, Split
from labcnn.errors import DataError
from labcnn.files import write_text

FORMAT = 1
#: Written last: its presence proves that the arrays beside it are whole.
META = "meta.json"
#: The arrays' sizes and times of change when all of their content was last checked.
CHECKED = "verified.json"
ARRAYS = ("train_images.npy", "train_labels.npy", "test_images.npy", "test_labels.npy")
REDO = "run `labcnn data fetch --force`"
#: More zeros in a row than an image of one colour has (192 blocks at 2 bits each, and a byte before
#: them): no encoder writes them; a download or a disk that lost something does.
HOLE = bytes(50)
#: Images that are decoded before they are written.
BLOCK = 1000


class Meta(BaseModel):
    """What ``meta.json`` says of the arrays beside it; ``sizes`` in bytes, by file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    wnids: tuple[str, ...]
    class_names: tuple[str, ...]
    train_count: int
    test_count: int
    fingerprint: str
    sizes: dict[str, int]


class ImageFiles(NamedTuple):
    """A data set as JPEG files: ``train`` and ``test`` map names in ``contents`` to labels."""

    contents: dict[str, bytes]
    wnids: tuple[str, ...]
    class_names: tuple[str, ...]
    train: dict[str, int]
    test: dict[str, int]


class BrokenImage(Exception):
    """Why a file isn't an image of the data set."""


def read_meta(folder: Path) -> Meta:
    """The ``meta.json`` of ``folder``, which must be there."""
    try:
        meta = Meta.model_validate_json((folder / META).read_bytes())
    except ValidationError:
        raise DataError(f"{folder / META}: cut or foreign; {REDO}") from None
    if meta.format != FORMAT:
        raise DataError(f"{folder}: format {meta.format}, this labcnn needs {FORMAT}; {REDO}")
    return meta


def read_arrays(folder: Path) -> OfficialData:
    """The prepared data set of ``folder``, memory-mapped.

    All of its content is checked (seconds) if a file was changed since the last time, by its size
    or time of change: after a copy of the folder, say.

    Raises
    ------
    DataError
        Names a file that is missing, cut or changed.
    """
    meta = read_meta(folder)
    for name, size in meta.sizes.items():
        path = folder / name
        if not path.exists():
            raise DataError(f"{path}: missing; {REDO}")
        if (found := path.stat().st_size) != size:
            raise DataError(f"{path}: {found:,} bytes instead of {size:,}; {REDO}")
    train, test = _open_arrays(folder)
    if not _is_checked(folder):
        if compute_fingerprint(train, test, meta.wnids) != meta.fingerprint:
            raise DataError(f"{folder}: the images or labels were changed; {REDO}")
        _note_checked(folder)
    return OfficialData(train, test, meta.class_names, meta.fingerprint)


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
        except (ValueError, EOFError):
            raise DataError(f"{folder / name}: changed, it isn't an array; {REDO}") from None
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

    What stood in ``folder`` before stays until the new arrays are complete, and stays if they
    never are.

    Raises
    ------
    DataError
        Names up to five broken images and counts them all.
    """
    broken: list[str] = []
    for split, labels in (("train", files.train), ("test", files.test)):
        np.save(fresh / f"{split}_labels.npy", np.array(list(labels.values()), np.int64))
        images = {name: files.contents[name] for name in labels}
        broken += _write_images(images, fresh / f"{split}_images.npy")
    if broken:
        count = len(files.train) + len(files.test)
        raise DataError(f"{len(broken)} of {count} images broken: {list_some(broken)}")
    meta = Meta(
        format=FORMAT,
        wnids=files.wnids,
        class_names=files.class_names,
        train_count=len(files.train),
        test_count=len(files.test),
        fingerprint=compute_fingerprint(*_open_arrays(fresh), files.wnids),
        sizes={name: (fresh / name).stat().st_size for name in ARRAYS},
    )
    folder.mkdir(exist_ok=True)
    (folder / META).unlink(missing_ok=True)
    for name in ARRAYS:
        (fresh / name).replace(folder / name)
    _note_checked(folder)
    write_text(folder / META, meta.model_dump_json(indent=1))


def _write_images(files: dict[str, bytes], path: Path) -> list[str]:
    """Decode JPEG files into one array; return the names of those that are broken."""
    from tqdm import tqdm  # needs what `labcnn[train]` installs

    broken, names = [], list(files)
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
            images = [pool.submit(decode_image, files[name]) for name in block]
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

    Whatever libjpeg warns of is refused: it would fill what is lost with gray. Damage that leaves
    as many blocks in the stream as before shows no sign; only the fingerprint tells it.

    Raises
    ------
    BrokenImage
        It is empty, cut, corrupt, no JPEG, or of another size.
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
