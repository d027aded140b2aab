import tracemalloc

import numpy as np
import pytest
import torch

from labcnn.data.batches import MAX_SHIFT, Batches, augmented, channel_statistics
from labcnn.data.images import Split

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
    images = np.random.default_rng(0).integers(0, 256, (2000, 64, 64, 3), dtype=np.uint8)
    split = Split(images, np.zeros(2000, np.int64))
    tracemalloc.start()
    try:
        mean, std = channel_statistics(split)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < images.nbytes
    np.testing.assert_allclose(mean, [127.5] * 3, rtol=0.01)
    np.testing.assert_allclose(std, [(256**2 - 1) ** 0.5 / 12**0.5] * 3, rtol=0.01)


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


def test_augmentation_mirrors_and_shifts_whole_images():
    torch.manual_seed(0)
    x = torch.randn(16, 3, 24, 24)  # two images a group
    out = augmented(x, torch.Generator().manual_seed(1))
    assert out.shape == x.shape
    seen = set()
    for image, result in zip(x, out, strict=True):
        found = [
            (mirrored, down, right)
            for mirrored in (False, True)
            for down in range(-MAX_SHIFT, MAX_SHIFT + 1)
            for right in range(-MAX_SHIFT, MAX_SHIFT + 1)
            if torch.equal(result, shifted(image.flip(2) if mirrored else image, down, right))
        ]
        assert len(found) == 1
        seen.add(found[0])
    assert len({down for _, down, _ in seen}) > 2 and {m for m, _, _ in seen} == {True, False}


def shifted(image, down, right):
    """``image`` moved on a black ground, the slow way."""
    result = torch.zeros_like(image)
    size = image.shape[1]
    rows = [r for r in range(size) if 0 <= r - down < size]
    columns = [c for c in range(size) if 0 <= c - right < size]
    for r in rows:
        result[:, r, columns] = image[:, r - down, [c - right for c in columns]]
    return result
