"""CIFAR-10 (Krizhevsky 2009) by torchvision: official train and test images, 32 x 32 pixels."""

import tarfile
from pathlib import Path

import numpy as np

from labcnn.data.cache import ImageFiles
from labcnn.data.folder import fit_picture
from labcnn.errors import UNREADABLE, DataError

NAME = "cifar10"
OFFICIAL_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
OFFICIAL_MD5 = "c58f30108f718f92721af3b95e74349a"
FOLDER = "cifar-10-batches-py"


def find_images(path: Path, work: Path) -> ImageFiles:
    """The images of the Python version's archive or extracted folder, which ``work`` may hold.

    Only the official data is taken: torchvision knows each file's MD5.
    """
    from PIL import Image
    from torchvision.datasets import CIFAR10

    if path.is_file():
        try:
            with tarfile.open(path) as tar:
                tar.extractall(work, filter="data")
        except UNREADABLE as error:
            reason = str(error).partition("\n")[0]
            raise DataError(f"cut, damaged or no tar archive ({reason})") from None
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
