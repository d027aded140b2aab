"""Data sets: found by name, split the same way for every seed, never copied.

What is published is read from its files (``archive``, ``tiny_imagenet``, ``cifar10``), own pictures
from their ``folder``; both are decoded once (``cache``), and ``shapes`` is drawn by code. All give
:class:`~labcnn.data.splits.OfficialData`, which :func:`load_dataset` splits into train and
validation (``splits``); ``batches`` gives it to training.
"""

from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from labcnn.data import cache, cifar10, shapes, tiny_imagenet
from labcnn.data.archive import locate
from labcnn.data.folder import A_FIFTH, prepare_folder
from labcnn.data.splits import ImageData, OfficialData, Split, split_official
from labcnn.errors import DataError, ParameterError
from labcnn.recipe import DATASETS, is_own, require_dataset

#: Part of each class's official training images that is validation; of other sets a fifth.
HELD_OUT = {"tiny-imagenet-200": 0.1, "shapes": 0.2}

__all__ = [
    "ImageData", "Origin", "Split", "describe", "fetch", "load_dataset", "origin",
    "prepared_fingerprint", "resolve_dataset",
]  # fmt: skip
#: The data sets that can be fetched.
PUBLISHED = {tiny_imagenet.NAME: tiny_imagenet, cifar10.NAME: cifar10}


def fetch(name: str, source: str | None = None, *, force: bool = False) -> bool:
    """Download, check and decode a published data set, unless it is prepared.

    Parameters
    ----------
    source : an archive, an extracted folder, or an archive's URL; None downloads the official one.
    force : do it even if it is prepared.

    Returns
    -------
    bool
        False where nothing was to do.

    Raises
    ------
    ParameterError
        The data set can't be fetched.
    DataError
        Names the source and what in it isn't as it should be, or the file that can't be read or
        written.
    """
    if name not in PUBLISHED:
        raise ParameterError(
            f"{name!r} can't be fetched; valid: {', '.join(PUBLISHED)} (one's own pictures: "
            "dataset=FOLDER)"
        )
    if source is not None and not source.strip():
        raise DataError(f"--from {source!r} names nothing; valid: a path or a URL")
    module = PUBLISHED[name]
    url, md5 = module.OFFICIAL_URL, module.OFFICIAL_MD5
    return cache.prepare(
        name,
        source or url,
        lambda work: module.find_images(locate(source, url, md5, work), work),
        lambda: cache.is_prepared(name) and not force,
    )


def describe(name: str, data: OfficialData) -> str:
    """``4 classes, 160 train and 40 test images``, of Tiny ImageNet also whether it is whole."""
    train, val = len(data.train) - data.val_count, data.val_count
    parts = f"{train:,} train{f', {val:,} validation' if val else ''} and {len(data.test):,} test"
    note = f" ({tiny_imagenet.describe_difference(data)})" if name == tiny_imagenet.NAME else ""
    return f"{len(data.class_names)} classes, {parts} images{note}"


def resolve_dataset(given: str | float) -> str:
    """The name of the data set that a user means.

    ``auto`` is Tiny ImageNet where it is prepared, else ``shapes``; a folder of pictures is
    prepared, unless it is unchanged since (``own-<its name>``); a name stays. A number is the name
    of a folder, as papermill passes it on.

    Raises
    ------
    ParameterError
        Names the valid data sets.
    DataError
        The folder's pictures can't be used; says why.
    """
    name = str(given)
    if name == "auto":
        return tiny_imagenet.NAME if cache.is_prepared(tiny_imagenet.NAME) else "shapes"
    path = Path(name)
    with suppress(RuntimeError):  # there is no home folder
        path = path.expanduser()
    if name not in DATASETS and not (is_own(name) and cache.is_prepared(name)):
        if path.is_dir():
            return prepare_folder(path)
        if path.is_file() or len(path.parts) > 1:
            raise ParameterError(f"dataset={name!r}: no such folder; valid: a folder of pictures")
    return require_dataset(name)


def load_dataset(name: str, fraction: float = 1.0) -> ImageData:
    """A data set with its three splits.

    Parameters
    ----------
    fraction : the part of the official training images that is used, in (0, 1]; train and
        validation shrink alike, the test set stays whole.

    Raises
    ------
    DataError
        The data set isn't prepared or is damaged, or the fraction leaves a class without images.
    """
    official = shapes.load() if name == "shapes" else cache.load(name)
    held_out = HELD_OUT.get(name, A_FIFTH)
    train, val = split_official(official.train, fraction, held_out, official.val_count)
    return ImageData(
        name, official.class_names, train, val, official.test, official.fingerprint, fraction
    )


def prepared_fingerprint(name: str) -> str | None:
    """The fingerprint of the data that is here; None where it isn't known without loading."""
    with suppress(DataError, OSError):  # the run itself will say so
        if cache.is_prepared(name):
            return cache.read_meta(cache.folder_of(name)).fingerprint
    return None


class Origin(StrEnum):
    """Where a data set's images come from, by their fingerprint."""

    OFFICIAL = "official data"
    OTHER = "not the official data"
    DEMO = "demo data"
    OWN = "own pictures"


def origin(name: str, fingerprint: str) -> Origin:
    """The origin of the data that a result, or this machine, has."""
    if name == "shapes":
        return Origin.DEMO
    if is_own(name):
        return Origin.OWN
    # CIFAR-10 is prepared from files with the official MD5 only
    official = name != tiny_imagenet.NAME or fingerprint == tiny_imagenet.OFFICIAL_FINGERPRINT
    return Origin.OFFICIAL if official else Origin.OTHER
