"""The decoded data set on disk: memory-mapped uint8 arrays, and a file that proves them whole."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from labcnn.data.archive import Tree
from labcnn.data.images import IMAGE_SHAPE, Split
from labcnn.data.layout import Layout, find_layout
from labcnn.data.watch import Stamp, known, remember, stamps_of
from labcnn.errors import DataError
from labcnn.files import write_text

FORMAT = 1
#: Written last: its presence proves that the arrays beside it are whole.
META = "meta.json"
#: Under which sizes and times of change the arrays' content was last compared with ``meta.json``.
VERIFIED = "verified.json"
REDO = "run `labcnn data fetch --force`"
ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


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


def fingerprint(train: Split, test: Split, wnids: tuple[str, ...]) -> str:
    """Hexadecimal SHA-256 over images, labels and class order."""
    digest = hashlib.sha256(json.dumps(wnids).encode())
    for array in (train.images, train.labels, test.images, test.labels):
        digest.update(repr((array.shape, array.dtype.str)).encode())
        digest.update(np.ascontiguousarray(array).data.cast("B"))
    return digest.hexdigest()


def build(tree: Tree, folder: Path) -> Meta:
    """Check and decode the data set in ``tree`` into ``folder``; the caller holds the lock.

    What stood in ``folder`` before stays until the new arrays are complete, and stays if they
    never are.

    Raises
    ------
    DataError
        The layout, the counts or an image isn't as it should be; or the disk is too full.
    """
    layout = find_layout(tree)
    fresh = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    try:
        _refuse_full_disk(fresh, len(layout.train) + len(layout.test))
        meta = _fill(tree, layout, fresh)
        _move(fresh, folder, meta)
        return meta
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _fill(tree: Tree, layout: Layout, folder: Path) -> Meta:
    # a function of its own: its maps are closed at the end, for Windows moves no mapped file
    from labcnn.data.decode import Job, decode_images  # needs what `labcnn[train]` installs

    label = {wnid: number for number, wnid in enumerate(layout.wnids)}
    jobs: list[Job] = []
    splits: list[Split] = []
    for name, items in (("train", layout.train), ("test", layout.test)):
        images = np.lib.format.open_memmap(
            folder / f"{name}_images.npy", "w+", np.uint8, (len(items), *IMAGE_SHAPE)
        )
        labels = np.array([label[item.wnid] for item in items], dtype=np.int64)
        np.save(folder / f"{name}_labels.npy", labels)
        jobs += [Job(item.name, images, row) for row, item in enumerate(items)]
        splits.append(Split(images, labels))
    decode_images(tree, jobs)
    for images in {id(job.images): job.images for job in jobs}.values():
        images.flush()  # on the disk before the proof is
    train, test = splits
    return Meta(
        format=FORMAT,
        wnids=layout.wnids,
        class_names=layout.class_names,
        train_count=len(train),
        test_count=len(test),
        fingerprint=fingerprint(train, test, layout.wnids),
        sizes={f"{name}.npy": (folder / f"{name}.npy").stat().st_size for name in ARRAYS},
    )


def _refuse_full_disk(folder: Path, images: int) -> None:
    # writing to a map on a full disk would kill the process without a word
    needed, free = images * (int(np.prod(IMAGE_SHAPE)) + 8), shutil.disk_usage(folder).free
    if free < needed * 1.02:
        raise DataError(
            f"{folder.parent}: {needed / 1e9:.2f} GB needed, {free / 1e9:.2f} GB free; "
            "make room, or set LABCNN_DATA to a folder on another disk"
        )


def _move(fresh: Path, folder: Path, meta: Meta) -> None:
    """Put the new arrays in the old ones' place; the proof goes first and comes back last."""
    folder.mkdir(exist_ok=True)
    (folder / META).unlink(missing_ok=True)
    for name in meta.sizes:
        (fresh / name).replace(folder / name)
    write_text(folder / META, meta.model_dump_json(indent=1))


def read_meta(folder: Path) -> Meta:
    """The ``meta.json`` of ``folder``, which must be there."""
    try:
        meta = Meta.model_validate_json((folder / META).read_bytes())
    except (ValidationError, OSError):
        raise DataError(f"{folder / META}: cut or foreign; {REDO}") from None
    if meta.format != FORMAT:
        raise DataError(f"{folder}: format {meta.format}, this labcnn needs {FORMAT}; {REDO}")
    return meta


def read_arrays(folder: Path) -> tuple[Meta, Split, Split, tuple[Stamp, ...]]:
    """Train and test split of ``folder``, memory-mapped, and the stamps of the files they lie in.

    Reads all of them once (a second or two) if one's size or time of change isn't that of the last
    time: a copy made of the folder, or a file changed by another hand.

    Raises
    ------
    DataError
        Names a file that is missing, cut or changed.
    """
    meta = read_meta(folder)
    arrays = {}
    for name in ARRAYS:
        path = folder / f"{name}.npy"
        found = path.stat().st_size if path.exists() else None
        if found != meta.sizes[path.name]:
            state = "missing" if found is None else f"{found:,} bytes"
            raise DataError(f"{path}: {state} instead of {meta.sizes[path.name]:,} bytes; {REDO}")
    stamps = stamps_of(folder / f"{name}.npy" for name in ARRAYS)
    for stamp in stamps:
        try:
            # "c": torch wants arrays it could write to, and a write must not reach the disk
            arrays[stamp.path.stem] = np.load(stamp.path, mmap_mode="c")
        except ValueError:
            raise DataError(
                f"{stamp.path}: changed, not the array that was written; {REDO}"
            ) from None
    for split, count in (("train", meta.train_count), ("test", meta.test_count)):
        images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
        if images.shape != (count, *IMAGE_SHAPE) or labels.shape != (count,):
            raise DataError(f"{folder / split}_images.npy: changed, other shape; {REDO}")
    train = Split(arrays["train_images"], arrays["train_labels"])
    test = Split(arrays["test_images"], arrays["test_labels"])
    if not known(folder / VERIFIED, stamps):
        if fingerprint(train, test, meta.wnids) != meta.fingerprint:
            raise DataError(f"{folder}: the images or labels were changed; {REDO}")
        remember(folder / VERIFIED, stamps)
    return meta, train, test, stamps
