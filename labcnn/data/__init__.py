"""Data sets: found by name, split the same way for every seed, never copied."""

from enum import StrEnum

from labcnn.data import cache, shapes, tiny_imagenet
from labcnn.data.splits import ImageData, Split, split_official
from labcnn.errors import DataError, ParameterError
from labcnn.recipe import DATASETS

#: Part of each class's official training images that is validation.
HELD_OUT = {"tiny-imagenet-200": 0.1, "shapes": 0.2}

__all__ = [
    "ImageData", "Origin", "Split", "load_dataset", "origin", "prepared_fingerprint",
    "resolve_dataset",
]  # fmt: skip


def resolve_dataset(name: str) -> str:
    """``auto`` becomes Tiny ImageNet where it is prepared, else ``shapes``; others stay.

    Raises
    ------
    ParameterError
        Names the valid data sets.
    """
    if name in DATASETS:
        return name
    if name != "auto":
        raise ParameterError(f"dataset={name!r} is unknown; valid: auto, {', '.join(DATASETS)}")
    return tiny_imagenet.NAME if tiny_imagenet.prepared() else "shapes"


def load_dataset(name: str, fraction: float = 1.0) -> ImageData:
    """A data set with its three splits.

    Parameters
    ----------
    name : ``tiny-imagenet-200`` or ``shapes``.
    fraction : the part of the official training images that is used, in (0, 1]; train and
        validation shrink alike, the test set stays whole.

    Raises
    ------
    DataError
        The data set isn't prepared or is damaged, or the fraction leaves a class without images.
    """
    official = shapes.load() if name == "shapes" else tiny_imagenet.load()
    train, val = split_official(official.train, fraction, HELD_OUT[name])
    return ImageData(
        name, official.class_names, train, val, official.test, official.fingerprint, fraction
    )


def prepared_fingerprint(name: str) -> str | None:
    """The fingerprint of the data that is here; None where it isn't known without loading."""
    if name != tiny_imagenet.NAME:
        return None  # the demo set comes from code
    try:
        if tiny_imagenet.prepared():
            return cache.read_meta(tiny_imagenet.folder()).fingerprint
    except (DataError, OSError):  # the run itself will say so
        pass
    return None


class Origin(StrEnum):
    """Where a data set's images come from, by their fingerprint."""

    OFFICIAL = "official data"
    OTHER = "not the official data"
    DEMO = "demo data"


def origin(name: str, fingerprint: str) -> Origin:
    """The origin of the data that a result, or this machine, has."""
    if name != tiny_imagenet.NAME:
        return Origin.DEMO
    same = fingerprint == tiny_imagenet.OFFICIAL_FINGERPRINT
    return Origin.OFFICIAL if same else Origin.OTHER
