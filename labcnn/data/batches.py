"""Batches as whole tensors on the compute device: indexed, normalised and augmented there."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from labcnn.data.images import Split

#: Pixels by which augmentation shifts an image, at most.
MAX_SHIFT = 6


def channel_statistics(split: Split, most: int = 5000) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel, 3 and 3, on the scale 0-255.

    Taken from at most ``most`` images, evenly spaced over the split. Counts how often each of the
    256 values occurs, which takes a tenth of the time and memory of pixels as float64.
    """
    rows = np.arange(len(split.labels)) if split.rows is None else split.rows
    rows = rows[:: max(1, -(-len(rows) // most))]
    counts = np.zeros((3, 256), np.int64)
    for some in np.array_split(rows, -(-len(rows) // 250)):
        for count, channel in zip(counts, np.moveaxis(split.images[some], 3, 0), strict=True):
            count += np.bincount(channel.ravel(), minlength=256)
    values, pixels = np.arange(256), counts.sum(1)
    mean = counts @ values / pixels
    std = np.sqrt((counts * (values - mean[:, None]) ** 2).sum(1) / pixels)
    return torch.from_numpy(mean).float(), torch.from_numpy(std).float()


class Batches:
    """One split's images as batches.

    Parameters
    ----------
    split : the images; on a CPU they stay where they are, an accelerator gets a copy as uint8.
    mean, std : per channel, on the scale 0-255.
    device : where batches are made.
    """

    def __init__(self, split: Split, mean: Tensor, std: Tensor, device: torch.device) -> None:
        rows = np.arange(len(split.labels)) if split.rows is None else split.rows
        images, labels = split.images, split.labels
        if device.type != "cpu":
            images, labels, rows = images[rows], labels[rows], np.arange(len(rows))
        self.images = torch.from_numpy(images).to(device)
        self.labels = torch.from_numpy(labels).to(device)
        self.rows = torch.from_numpy(rows)
        self.mean = mean.to(device).view(1, 3, 1, 1)
        self.scale = 1 / std.to(device).view(1, 3, 1, 1)
        self.device = device

    def __len__(self) -> int:
        return len(self.rows)

    def spread(self, count: int) -> Tensor:
        """At most ``count`` rows, evenly spaced over the split, for :meth:`take`."""
        return self.rows[:: -(-len(self.rows) // count)].to(self.device)

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Images N x 3 x 64 x 64 (float32, normalised, channels-last) and labels N of ``rows``."""
        images = self.images.index_select(0, rows).permute(0, 3, 1, 2)
        return images.sub(self.mean).mul_(self.scale), self.labels.index_select(0, rows)

    def in_order(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All images once, in the split's order; the last batch may be short."""
        for rows in self.rows.to(self.device).split(batch_size):
            yield self.take(rows)

    def shuffled(
        self, batch_size: int, seed: int, epoch: int, augment: bool
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """All images once, in an order that ``seed`` and ``epoch`` alone decide.

        With ``augment``, a random half of each batch is mirrored and the batch is shifted by up to
        :data:`MAX_SHIFT` pixels in groups of images; a shift fills with the mean colour.
        """
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        order = self.rows[torch.randperm(len(self.rows), generator=generator)].to(self.device)
        for rows in order.split(batch_size):
            x, y = self.take(rows)
            yield (augmented(x, generator) if augment else x), y


def augmented(x: Tensor, generator: torch.Generator, groups: int = 8) -> Tensor:
    """Mirror and shift a batch, N x C x H x W, each of ``groups`` parts by its own random choice.

    Slices instead of one gather per image: as varied over the epochs, at a fraction of the cost.
    """
    result = torch.zeros_like(x)
    height, width = x.shape[2:]
    shifts = torch.randint(-MAX_SHIFT, MAX_SHIFT + 1, (groups, 2), generator=generator).tolist()
    mirrors = torch.randint(2, (groups,), generator=generator).tolist()
    parts = zip(x.chunk(groups), result.chunk(groups), shifts, mirrors, strict=False)
    for part, out, (down, right), mirror in parts:
        source = part.flip(3) if mirror else part
        to_rows, from_rows = _overlap(height, down)
        to_columns, from_columns = _overlap(width, right)
        out[:, :, to_rows, to_columns] = source[:, :, from_rows, from_columns]
    return result


def _overlap(size: int, shift: int) -> tuple[slice, slice]:
    """Where the kept part of a line of ``size`` pixels goes to, and where it comes from."""
    ahead, back = max(shift, 0), max(-shift, 0)
    return slice(ahead, size - back), slice(back, size - ahead)
