"""A data set so small that tests and killed runs train on it in a moment; needs no torch."""

import numpy as np

from labcnn.data.splits import ImageData, Split


def small_data(noise: float) -> ImageData:
    """Four classes that differ in brightness: 120 train, 40 val and 30 test images of 64 x 64.

    ``noise`` is the pixels' standard deviation, of 0-255; neighbouring classes are 40 apart.
    """
    rng = np.random.default_rng(0)

    def split(count: int) -> Split:
        labels = np.arange(count, dtype=np.int64) % 4
        images = rng.normal(60 + 40 * labels[:, None, None, None], noise, (count, 64, 64, 3))
        return Split(np.clip(images, 0, 255).astype(np.uint8), labels)

    names = ("black", "dark", "light", "white")
    return ImageData("shapes", names, split(120), split(40), split(30), "0" * 64)
