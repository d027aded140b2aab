"""CIFAR-10 (Krizhevsky 2009) by torchvision: official train and test images, 32 x 32 pixels."""

import tarfile
from pathlib import Path

import numpy as np

from labcnn.data import cache
from labcnn.data.cache import ImageFiles
from labcnn.data.folder import fit_picture
from labcnn.data.tiny_imagenet import locate
from labcnn.errors import UNREADABLE, DataError

NAME = "cifar10"
FOLDER = "cifar-10-batches-py"


def fetch(source: str | None = None, *, force: bool = False) -> bool:
    """Download, check and decode the data; returns and raises as :func:`cache.prepare`.

    Only the official data is taken: torchvision knows each file's MD5. ``source`` is the archive of
    the Python version, the extracted folder, or an archive's URL; None downloads the official one.
    """
    from torchvision.datasets import CIFAR10

    return cache.prepare(
        NAME,
        source or CIFAR10.url,
        lambda work: _find_images(locate(source, CIFAR10.url, CIFAR10.tgz_md5, work), work),
        lambda: cache.is_prepared(NAME) and not force,
    )


def _find_images(path: Path, work: Path) -> ImageFiles:
    from PIL import Image
    from torchvision.datasets import CIFAR10

    if path.is_file():
        try:
            with tarfile.open(path) as tar:
                tar.extractall(work, filter="data")
        except UNREADABLE as error:
            raise DataError(f"cut, damaged or no tar archive ({error})") from None
        path = work
    root = path.parent if path.name == FOLDER else path
    try:
        train, test = (CIFAR10(root, train=each) for each in (True, False))
    except RuntimeError:  # torchvision checks each file's MD5 before it reads any
        raise DataError(f"expected {FOLDER}/ with the official files, as their MD5 says") from None
    parts = {"train": train, "test": test}
    labels = {
        name: {f"{name} image {k}": int(label) for k, label in enumerate(part.targets)}
        for name, part in parts.items()
    }

    def read(name: str) -> np.ndarray:
        part, _, number = name.split()
        return fit_picture(Image.fromarray(parts[part].data[int(number)]))

    names = tuple(train.classes)
    return ImageFiles(read, names, names, labels["train"], labels["test"])
