"""What a data set is in memory, and how its train and validation parts are split."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from labcnn.errors import DataError

#: Every image is 64 x 64 RGB, stored height, width, channel.
IMAGE_SHAPE = (64, 64, 3)
#: The split's own seed: the same images are held out whatever a run's seed is.
SPLIT_SEED = 200


@dataclass(frozen=True)
class Split:
    """Images and labels of one split.

    ``images``: uint8, N x 64 x 64 x 3, may be memory-mapped; ``labels``: int64, N, 0 to C-1;
    ``rows``: which of the N belong to the split, None for all (so no image is copied).
    """

    images: np.ndarray
    labels: np.ndarray
    rows: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def indices(self) -> np.ndarray:
        """The rows of ``images`` that belong to the split."""
        return np.arange(len(self.labels)) if self.rows is None else self.rows


class OfficialData(NamedTuple):
    """A data set as it is published: ``train`` isn't yet split into train and validation.

    Where it has validation images of its own, they are the last ``val_count`` of ``train``.
    """

    train: Split
    test: Split
    class_names: tuple[str, ...]
    fingerprint: str
    val_count: int = 0


@dataclass(frozen=True)
class ImageData:
    """A data set: train and validation come from the official training images.

    ``class_names`` has one readable name per label; ``fingerprint`` is a hexadecimal digest of the
    content before the split: the same digest means the same images; ``fraction`` is the part of the
    official training images that train and validation were taken from.
    """

    name: str
    class_names: tuple[str, ...]
    train: Split
    val: Split
    test: Split
    fingerprint: str
    fraction: float = 1.0

    @property
    def classes(self) -> int:
        return len(self.class_names)


def first_of_each_class(split: Split, count: int) -> Split:
    """The first ``count`` images of each class, or all where a class has fewer; always the same."""
    rows = split.indices
    labels = split.labels[rows]
    kept = [rows[labels == label][:count] for label in np.unique(labels)]
    return Split(split.images, split.labels, np.sort(np.concatenate(kept)))


def split_official(
    official: Split, fraction: float, held_out: float, val_count: int = 0
) -> tuple[Split, Split]:
    """Split into train and validation, stratified.

    Every class is shuffled once; its first images are validation, the next ones train. A fraction
    takes the first of each, so the images of a smaller fraction are among those of a larger one.

    Parameters
    ----------
    official : the official training images.
    fraction : part of both splits that is kept, in (0, 1].
    held_out : part of each class that is validation, in (0, 1).
    val_count : if not 0, validation is the last so many images instead.

    Raises
    ------
    DataError
        A class would have no training or no validation image.
    """
    rng = np.random.default_rng(SPLIT_SEED)
    train: list[np.ndarray] = []
    val: list[np.ndarray] = []
    for label in np.unique(official.labels):
        rows = rng.permutation(np.flatnonzero(official.labels == label))
        if val_count:
            given = rows >= len(official.labels) - val_count
            rows, border = np.concatenate([rows[given], rows[~given]]), int(given.sum())
        else:
            border = round(len(rows) * held_out)
        counts = round(border * fraction), round((len(rows) - border) * fraction)
        if not border:
            raise DataError(
                f"a class has only {len(rows)} official training images, too few to hold one out "
                f"for validation; {math.ceil(1 / held_out)} are enough"
            )
        if 0 in counts:
            raise DataError(
                f"fraction={fraction:g} leaves none of a class's {len(rows)} images in train or "
                f"validation; {1 / border:g} works here"
            )
        val.append(rows[: counts[0]])
        train.append(rows[border : border + counts[1]])

    def split(rows: list[np.ndarray]) -> Split:
        return Split(official.images, official.labels, np.sort(np.concatenate(rows)))

    return split(train), split(val)
