"""JPEG files to uint8 arrays: in parallel, each image checked."""

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from labcnn.data.archive import DAMAGE, Tree
from labcnn.data.images import IMAGE_SHAPE
from labcnn.data.layout import Item, listed
from labcnn.data.progress import progress_bar
from labcnn.errors import DataError

CHUNK = 64
END_OF_IMAGE = b"\xff\xd9"


class BrokenImage(Exception):
    """Why one file isn't an image of the data set."""


def decode_image(content: bytes) -> np.ndarray:
    """Decode one JPEG file to a 64 x 64 x 3 uint8 array; gray becomes RGB.

    Raises
    ------
    BrokenImage
        It is empty, cut, no JPEG, or of another size.
    """
    import torch  # slow to import: `labcnn data status` does without
    from torchvision.io import ImageReadMode, decode_jpeg

    if not content:
        raise BrokenImage("empty")
    # libjpeg fills what a cut file lacks with gray and says nothing
    if content[:2] == b"\xff\xd8" and END_OF_IMAGE not in content[-64:]:
        raise BrokenImage("cut: its end is missing")
    try:
        image = decode_jpeg(
            torch.frombuffer(bytearray(content), dtype=torch.uint8), ImageReadMode.RGB
        )
    except RuntimeError as error:
        raise BrokenImage(f"no JPEG image: {str(error).splitlines()[0]}") from None
    height, width = image.shape[1:]
    if (height, width) != IMAGE_SHAPE[:2]:
        raise BrokenImage(f"{width}x{height} pixels instead of 64x64")
    return image.permute(1, 2, 0).numpy()


def decode_images(tree: Tree, jobs: Sequence[tuple[Item, np.ndarray, int]]) -> None:
    """Decode every item into its row of its array: jobs are (item, array, row).

    One thread at a time reads a chunk in the tree's order, so that a compressed tar is never
    sought backwards; decoding, which frees the interpreter, runs side by side.

    Raises
    ------
    DataError
        Names up to five broken images and counts them all.
    """
    place = {name: number for number, name in enumerate(tree.names)}
    jobs = sorted(jobs, key=lambda job: place[job[0].name])
    chunks = iter([jobs[start : start + CHUNK] for start in range(0, len(jobs), CHUNK)])
    broken: list[str] = []
    turn, stop = threading.Lock(), threading.Event()
    progress = progress_bar("decode", "image", len(jobs))

    def read() -> Iterator[tuple[tuple[Item, np.ndarray, int], bytes | BrokenImage]]:
        for job in next(chunks, ()):
            try:
                yield job, tree.read(job[0].name)
            except DAMAGE as error:
                yield job, BrokenImage(f"can't be read: {error}")

    def work() -> None:
        while not stop.is_set():
            with turn:
                chunk = list(read())
            if not chunk:
                return
            for (item, images, row), content in chunk:
                try:
                    if isinstance(content, BrokenImage):
                        raise content
                    images[row] = decode_image(content)
                except BrokenImage as error:
                    broken.append(f"{item.name} ({error})")
            with turn:
                progress.update(len(chunk))

    workers = os.cpu_count() or 1
    with progress, ThreadPoolExecutor(workers) as pool:
        try:
            for future in [pool.submit(work) for _ in range(workers)]:
                future.result()
        finally:
            stop.set()  # an error or Ctrl-C ends the other threads too
    if broken:
        raise DataError(
            f"{tree.path}: {len(broken)} of {len(jobs)} images broken: {listed(sorted(broken))}"
        )
