"""Tiny ImageNet-200: fetched once, checked by content, read as memory-mapped arrays."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from labcnn.data import cache
from labcnn.data.images import Split
from labcnn.data.watch import Stamp
from labcnn.errors import DataError
from labcnn.paths import data_folder

NAME = "tiny-imagenet-200"
#: Classes, and images per class in train and in val, of the official data.
OFFICIAL = (200, 500, 50)


class Official(NamedTuple):
    """The official train data, and as test split the official val data; labels 0 to C-1."""

    train: Split
    test: Split
    class_names: tuple[str, ...]
    fingerprint: str
    files: tuple[Stamp, ...]


def folder() -> Path:
    """Where the decoded arrays are, or will be."""
    return data_folder() / NAME


def prepared() -> bool:
    """Whether the decoded arrays are there."""
    return (folder() / cache.META).exists()


def load() -> Official:
    """The prepared data, memory-mapped and read-only.

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
    meta, train, test, files = cache.read_arrays(folder())
    return Official(train, test, meta.class_names, meta.fingerprint, files)


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
    """
    from labcnn.data.archive import open_tree
    from labcnn.data.download import obtain

    with _alone():
        if prepared() and not force:
            return False
        with obtain(source) as path, open_tree(path) as tree:
            cache.build(tree, folder())
        return True


@contextmanager
def _alone() -> Iterator[None]:
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


def describe(meta: cache.Meta) -> str:
    """``200 classes, 100,000 train and 10,000 test images``; says so where that is a subset."""
    classes = len(meta.wnids)
    text = f"{classes} classes, {meta.train_count:,} train and {meta.test_count:,} test images"
    found = (classes, meta.train_count // classes, meta.test_count // classes)
    if found != OFFICIAL:
        text += " (subset: the official data has 200 classes x 500 train and 50 test images)"
    return text
