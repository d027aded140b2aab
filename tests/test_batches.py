import tracemalloc

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from labcnn.data.batches import MAX_SHIFT, Batches, channel_statistics
from labcnn.data.splits import Split

CPU = torch.device("cpu")


@pytest.fixture
def split():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (50, 64, 64, 3), dtype=np.uint8)
    return Split(images, np.arange(50), rows=np.arange(3, 43))


@pytest.fixture
def batches(split):
    return Batches(split, *channel_statistics(split), CPU)


def test_statistics_are_those_of_the_splits_own_images(split):
    mean, std = channel_statistics(split)
    pixels = split.images[3:43].astype(np.float64)
    np.testing.assert_allclose(mean, pixels.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(std, pixels.std((0, 1, 2)), rtol=1e-6)


def test_statistics_take_less_memory_than_the_images():
    """Pixels as float64 would take eight times as much: half a gigabyte for 5,000 images."""
    split = Split(np.zeros((2000, 64, 64, 3), np.uint8), np.zeros(2000, np.int64))
    tracemalloc.start()
    try:
        channel_statistics(split)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < split.images.nbytes


def test_in_order_gives_each_image_once_normalised_and_channels_last(split, batches):
    parts = list(batches.in_order(16))
    assert [len(y) for _, y in parts] == [16, 16, 8]
    x, y = torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts])
    assert y.tolist() == list(range(3, 43))
    assert parts[0][0].is_contiguous(memory_format=torch.channels_last)
    mean, std = channel_statistics(split)
    expected = (torch.from_numpy(split.images[3:43]).float() - mean) / std
    torch.testing.assert_close(x, expected.permute(0, 3, 1, 2))


def test_shuffled_gives_each_image_once_in_an_order_of_seed_and_epoch(batches):
    def order(seed, epoch):
        return [int(k) for _, y in batches.shuffled(16, seed, epoch, False) for k in y]

    assert sorted(order(0, 1)) == list(range(3, 43))
    torch.manual_seed(7)
    assert order(0, 1) == order(0, 1)
    assert len({tuple(order(s, e)) for s in (0, 1) for e in (1, 2)}) == 4


def test_augmentation_mirrors_and_shifts_whole_images(split, batches):
    """Each image by one of the allowed moves; mirrored in every other epoch."""
    plain = dict(zip(*reversed(batches.take(batches.rows)), strict=True))
    plain = {int(label): image for label, image in plain.items()}
    seen = []
    for epoch in (1, 2, 3):
        moves = {}
        for x, y in batches.shuffled(16, 0, epoch, augment=True):
            assert x.is_contiguous(memory_format=torch.channels_last)
            for image, label in zip(x, y, strict=True):
                moves[int(label)] = move_of(image, plain[int(label)])
        seen.append(moves)
    mirrored = [{label for label, (mirror, *_) in moves.items() if mirror} for moves in seen]
    assert mirrored[0] | mirrored[1] == set(range(3, 43)) and not mirrored[0] & mirrored[1]
    assert mirrored[2] == mirrored[0] and 8 < len(mirrored[0]) < 32
    assert len({move[1] for move in seen[0].values()}) > 2
    assert len({move[2] for move in seen[0].values()}) > 2


def move_of(image, original):
    """(mirrored, down, right) that make ``image`` of ``original``; there is exactly one."""
    found = []
    for mirrored in (False, True):
        ground = F.pad(original.flip(2) if mirrored else original, [MAX_SHIFT] * 4)
        windows = ground.unfold(1, 64, 1).unfold(2, 64, 1)  # all shifts, on a ground of zeros
        patch = slice(30, 34)  # first what a few pixels leave possible
        alike = windows[..., patch, patch] == image[:, None, None, patch, patch]
        for row, column in alike.all(4).all(3).all(0).nonzero().tolist():
            if torch.equal(windows[:, row, column], image):
                found.append((mirrored, MAX_SHIFT - row, MAX_SHIFT - column))
    assert len(found) == 1
    return found[0]


def test_an_epoch_begun_in_the_middle_has_the_same_batches(batches):
    for augment in (False, True):
        whole = list(batches.shuffled(16, 5, 2, augment))
        rest = list(batches.shuffled(16, 5, 2, augment, start=1))
        assert len(rest) == len(whole) - 1
        for (x, y), (x2, y2) in zip(whole[1:], rest, strict=True):
            assert torch.equal(x, x2) and torch.equal(y, y2)


def test_smaller_images_are_the_same_images(split, batches):
    """Bilinear and antialiased, as Pillow does it."""
    x, y = next(batches.shuffled(8, 0, 1, size=40))
    assert x.shape == (8, 3, 40, 40)
    mean, std = channel_statistics(split)
    for image, label in zip(x, y, strict=True):
        small = Image.fromarray(split.images[int(label)]).resize(
            (40, 40), Image.Resampling.BILINEAR
        )
        shown = image.permute(1, 2, 0) * std + mean
        assert (shown - torch.from_numpy(np.array(small))).abs().max() < 1.5
