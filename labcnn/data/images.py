"""What a data set is in memory: arrays of uint8 images and their labels."""

from dataclasses import dataclass

import numpy as np

from labcnn.data.watch import Stamp

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
        return len(self.labels if self.rows is None else self.rows)


@dataclass(frozen=True)
class ImageData:
    """A data set: train and validation come from the official training images.

    ``class_names`` has one readable name per label; ``fingerprint`` is a hexadecimal digest of the
    content before the split: the same digest means the same images; ``fraction`` is the part of the
    official training images that train and validation were taken from; ``files`` are the mapped
    files, as they were when they were opened.
    """

    name: str
    class_names: tuple[str, ...]
    train: Split
    val: Split
    test: Split
    fingerprint: str
    fraction: float = 1.0
    files: tuple[Stamp, ...] = ()

    @property
    def classes(self) -> int:
        return len(self.class_names)
