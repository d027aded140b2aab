"""Batches as whole tensors on the compute device: indexed, normalised and augmented there."""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from labcnn.data.splits import IMAGE_SHAPE, Split

#: Augmentation shifts an image of 64 x 64 by at most this many pixels.
MAX_SHIFT = 6
#: A batch is shifted in this many parts, each by a draw of its own.
GROUPS = 8
#: Training images that the channels' mean and standard deviation are taken from, at most.
STATISTICS_IMAGES = 5000


def channel_statistics(split: Split) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel, 3 and 3, on the scale 0-255.

    Taken from at most :data:`STATISTICS_IMAGES` images, evenly spaced over the split.
    """
    # counts how often each of the 256 values occurs: a tenth of the time and memory of float64
    rows = split.indices
    rows = rows[:: max(1, -(-len(rows) // STATISTICS_IMAGES))]
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

    On a CPU the images stay where they are, an accelerator gets a copy as uint8. ``mean`` and
    ``std`` are per channel, on the scale 0-255.
    """

    def __init__(self, split: Split, mean: Tensor, std: Tensor, device: torch.device) -> None:
        rows = split.indices
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

    def take(
        self,
        rows: Tensor,
        size: int = IMAGE_SHAPE[0],
        mirrored: Tensor | None = None,
        shifts: list[list[int]] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Images N x 3 x ``size`` x ``size`` and labels N.

        Normalised, of the mean's type, channels-last.

        Parameters
        ----------
        mirrored : which of the N are mirrored, boolean.
        shifts : the batch in as many parts, each moved by (down, right) pixels; what comes in from
            outside has the mean colour. Slices instead of one gather per image: as varied over the
            epochs, at a fraction of the cost.
        """
        images = self.images.index_select(0, rows)
        if mirrored is not None:  # as bytes: a quarter of the memory that floats would move
            images = torch.where(mirrored.view(-1, 1, 1, 1), images.flip(2), images)
        images = images.permute(0, 3, 1, 2)
        if size != images.shape[2]:
            images = resize(images, size)
        x = images.sub(self.mean) if shifts is None else self._shift(images, shifts)
        return x.mul_(self.scale), self.labels.index_select(0, rows)

    def _shift(self, images: Tensor, shifts: list[list[int]]) -> Tensor:
        """Images less their mean, moved; both in one pass over memory."""
        kind = self.mean.dtype
        x = torch.empty_like(images, dtype=kind, memory_format=torch.channels_last).zero_()
        height, width = images.shape[2:]
        parts = zip(images.chunk(len(shifts)), x.chunk(len(shifts)), shifts, strict=False)
        for source, out, (down, right) in parts:
            to_rows, from_rows = _overlap(height, down)
            to_columns, from_columns = _overlap(width, right)
            torch.sub(
                source[:, :, from_rows, from_columns],
                self.mean,
                out=out[:, :, to_rows, to_columns],
            )
        return x

    def in_order(
        self, batch_size: int, size: int = IMAGE_SHAPE[0]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """All images in the split's order; the last batch may be short."""
        for rows in self.rows.to(self.device).split(batch_size):
            yield self.take(rows, size)

    def shuffled(
        self,
        batch_size: int,
        seed: int,
        epoch: int,
        augment: bool = False,
        size: int = IMAGE_SHAPE[0],
        start: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """All images once, in an order that ``seed`` and ``epoch`` alone decide.

        With ``augment``, each image is mirrored in every other epoch (which ones begin is drawn by
        ``seed``; Jordan 2024, arXiv:2404.00498), and groups of a batch's images are shifted by up
        to :data:`MAX_SHIFT` of 64 pixels; a shift fills with the mean colour.

        Everything random is drawn before the first batch, so that the batches from ``start`` on
        are those of an epoch that began at 0, and no step waits for the device. ``size`` is the
        height and width of the images given.
        """
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        order = torch.randperm(len(self.rows), generator=generator)
        batches = self.rows[order].to(self.device).split(batch_size)[start:]
        if not augment:
            for rows in batches:
                yield self.take(rows, size)
            return
        most = max(1, round(MAX_SHIFT * size / IMAGE_SHAPE[0]))
        shape = (-(-len(order) // batch_size), GROUPS, 2)
        shifts = torch.randint(-most, most + 1, shape, generator=generator)[start:].tolist()
        first = torch.randint(2, (len(order),), generator=torch.Generator().manual_seed(seed))
        mirror = (first + epoch).remainder_(2).bool()[order]
        mirrors = mirror.to(self.device).split(batch_size)[start:]
        for rows, mirrored, shift in zip(batches, mirrors, shifts, strict=True):
            yield self.take(rows, size, mirrored, shift)


def resize(images: Tensor, size: int) -> Tensor:
    """Images N x 3 x H x W of uint8 as N x 3 x ``size`` x ``size``, bilinear and antialiased."""
    x = images if images.device.type == "cpu" else images.float()  # only the CPU can do bytes
    return F.interpolate(x, size=(size, size), mode="bilinear", antialias=True)


def _overlap(size: int, shift: int) -> tuple[slice, slice]:
    """Where the kept part of a line of ``size`` pixels goes to, and where it comes from."""
    ahead, back = max(shift, 0), max(-shift, 0)
    return slice(ahead, size - back), slice(back, size - ahead)
