"""What a data set is in memory: arrays of uint8 images and their labels."""

from dataclasses import dataclass

import numpy as np

#: Every image is 64 x 64 RGB, stored height, width, channel.
IMAGE_SHAPE = (64, 64, 3)


@dataclass(frozen=True)
class Split:
    """``images``: uint8, N x 64 x 64 x 3, may be memory-mapped; ``labels``: int64, N, 0 to C-1."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class ImageData:
    """A data set: train and validation come from the official training images.

    ``class_names`` has one readable name per label; ``fingerprint`` is a hexadecimal digest of the
    content (images, labels, class order): the same digest means the same data.
    """

    name: str
    class_names: tuple[str, ...]
    train: Split
    val: Split
    test: Split
    fingerprint: str

    @property
    def classes(self) -> int:
        return len(self.class_names)
