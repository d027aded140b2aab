"""The data set's images, where the report can show them."""

from dataclasses import dataclass
from enum import Enum, auto

import numpy as np

from labcnn.data import ImageData, load_dataset
from labcnn.errors import DataError
from labreport import words
from labreport.study import Study

#: Classes of which an image is shown.
SAMPLES = 30


class Absence(Enum):
    """Why there are no images to show."""

    NOT_WANTED = auto()
    NOT_PREPARED = auto()  # on this machine
    OTHER_DATA = auto()  # than the runs'


@dataclass(frozen=True)
class ClassImages:
    """The data set's images by class; where they can't be shown, ``data`` is None.

    ``absence`` then says why. ``names`` are the classes' as they are kept with the logs.
    """

    data: ImageData | None = None
    absence: Absence | None = None
    names: tuple[str, ...] = ()

    def name(self, label: int) -> str:
        """A class's first name, as ``goldfish``; where none is known its number, from 1."""
        names = self.names if self.data is None else self.data.class_names
        if not names:
            return words.CLASS.format(number=label + 1)
        return " ".join(names[label].split(",")[0].split())

    @property
    def samples(self) -> list[int]:
        """Up to 30 classes, evenly spread."""
        assert self.data is not None
        count = min(SAMPLES, self.data.classes)
        return [int(k) for k in np.linspace(0, self.data.classes - 1, count).round()]

    @property
    def test(self) -> np.ndarray:
        """The test images in the order of the predictions, uint8, N x 64 x 64 x 3."""
        assert self.data is not None
        return self.data.test.images

    def training(self, label: int, count: int) -> list[np.ndarray]:
        """The first ``count`` training images of a class."""
        assert self.data is not None
        split = self.data.train
        rows = np.arange(len(split.labels)) if split.rows is None else split.rows
        return [split.images[row] for row in rows[split.labels[rows] == label][:count]]


#: For a report without images.
NO_IMAGES = ClassImages(absence=Absence.NOT_WANTED)


def find_images(study: Study, wanted: bool = True) -> ClassImages:
    """Images whose fingerprint and test labels are those of the study's runs.

    Parameters
    ----------
    wanted : False leaves them out, for a report that is made public.
    """
    if not wanted:
        return ClassImages(None, Absence.NOT_WANTED, study.class_names)
    recipe = study.recipe
    try:
        data = load_dataset(recipe.dataset, recipe.fraction)
    except DataError:
        return ClassImages(None, Absence.NOT_PREPARED, study.class_names)
    labels = study.test_labels(study.recipe.variant, study.recipe.seed)
    if data.fingerprint != study.data_fingerprint or not np.array_equal(data.test.labels, labels):
        return ClassImages(None, Absence.OTHER_DATA, study.class_names)
    return ClassImages(data)
