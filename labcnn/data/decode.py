"""JPEG files to uint8 arrays: in parallel, each image checked."""

import io
import os
import struct
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from labcnn.data.archive import DAMAGE, Tree
from labcnn.data.images import IMAGE_SHAPE
from labcnn.data.layout import listed
from labcnn.data.progress import progress_bar
from labcnn.errors import DataError

CHUNK = 64
#: What Pillow raises at damaged files.
DAMAGED = (
    OSError, SyntaxError, ValueError, LookupError, struct.error, Image.DecompressionBombError,
)  # fmt: skip
START_OF_IMAGE, END_OF_IMAGE = b"\xff\xd8", b"\xff\xd9"


class Job(NamedTuple):
    """Decode the file ``name`` into ``images[row]``."""

    name: str
    images: np.memmap
    row: int


class BrokenImage(Exception):
    """Why one file isn't an image of the data set."""


def decode_image(content: bytes) -> np.ndarray:
    """Decode one JPEG file to a 64 x 64 x 3 uint8 array; gray becomes RGB.

    Raises
    ------
    BrokenImage
        It is empty, cut, no JPEG, or of another size.
    """
    height, width, _ = IMAGE_SHAPE
    if not content:
        raise BrokenImage("empty")
    # libjpeg fills what a cut file lacks with gray; zeros may follow the end
    if content[:2] == START_OF_IMAGE and END_OF_IMAGE not in content[-64:]:
        raise BrokenImage("cut: its end is missing")
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
            if image.size != (width, height):
                raise BrokenImage(
                    "{}x{} pixels instead of {}x{}".format(*image.size, width, height)
                )
            rgb = image if image.mode == "RGB" else image.convert("RGB")
            return np.frombuffer(rgb.tobytes(), np.uint8).reshape(IMAGE_SHAPE)
    except UnidentifiedImageError:
        raise BrokenImage("no JPEG image") from None
    except DAMAGED as error:
        raise BrokenImage(str(error)) from None


def decode_images(tree: Tree, jobs: Iterable[Job]) -> None:
    """Do every job, with a progress bar.

    One thread at a time reads a chunk in the tree's order, so that a compressed tar is never
    sought backwards; decoding, which frees the interpreter, runs side by side.

    Raises
    ------
    DataError
        Names up to five broken images and counts them all.
    """
    place = {name: number for number, name in enumerate(tree.names)}
    jobs = sorted(jobs, key=lambda job: place[job.name])
    chunks = iter([jobs[start : start + CHUNK] for start in range(0, len(jobs), CHUNK)])
    progress = progress_bar("decode", "image", len(jobs))
    broken: list[str] = []
    turn, stop = threading.Lock(), threading.Event()

    def work() -> None:
        while not stop.is_set():
            with turn:
                chunk = next(chunks, [])
                contents = [_read(tree, job.name) for job in chunk]
            if not chunk:
                return
            for job, content in zip(chunk, contents, strict=True):
                try:
                    if isinstance(content, BrokenImage):
                        raise content
                    job.images[job.row] = decode_image(content)
                except BrokenImage as error:
                    broken.append(f"{job.name} ({error})")
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


def _read(tree: Tree, name: str) -> bytes | BrokenImage:
    try:
        return tree.read(name)
    except DAMAGE as error:
        return BrokenImage(f"can't be read: {error}")
