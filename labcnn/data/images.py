"""What a data set is in memory: arrays of uint8 images and their labels."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

#: Every image is 64 x 64 RGB, stored height, width, channel.
IMAGE_SHAPE = (64, 64, 3)


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
    """A data set as it is published: ``train`` isn't yet split into train and validation."""

    train: Split
    test: Split
    class_names: tuple[str, ...]
    fingerprint: str


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
