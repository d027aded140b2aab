"""What all tests share: one thread a process, no results in the checkout, small data."""

import os
import shutil

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported, here and in children

import numpy as np
import pytest

from labcnn.data.images import ImageData, Split


@pytest.fixture(autouse=True)
def logs(tmp_path, monkeypatch):
    """Results of a test go into its own folder."""
    folder = tmp_path / "logs"
    monkeypatch.setenv("LABCNN_LOGS", str(folder))
    return folder


@pytest.fixture
def small_data() -> ImageData:
    """Four classes that differ in brightness: 120 train, 40 val and 30 test images of 64 x 64."""
    rng = np.random.default_rng(0)

    def split(count: int) -> Split:
        labels = np.arange(count, dtype=np.int64) % 4
        images = rng.normal(60 + 40 * labels[:, None, None, None], 20, (count, 64, 64, 3))
        return Split(np.clip(images, 0, 255).astype(np.uint8), labels)

    names = ("black", "dark", "light", "white")
    return ImageData("shapes", names, split(120), split(40), split(30), "0" * 64)


@pytest.fixture
def program():
    """A function that gives a program's path; without it the test is skipped, in CI it fails."""

    def find(name: str) -> str:
        path = shutil.which(name)
        if path is None:
            message = f"the program {name} isn't installed"
            if os.environ.get("LABCNN_REQUIRE_ALL"):
                pytest.fail(message)
            pytest.skip(message)
        return path

    return find
