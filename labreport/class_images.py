"""The data set's images, where the report can show them."""

from dataclasses import dataclass

import numpy as np

from labcnn.data import ImageData, load_dataset
from labcnn.errors import DataError
from labreport import words
from labreport.study import Study

#: Classes of which an image is shown.
SAMPLES = 30


@dataclass(frozen=True)
class ClassImages:
    """The data set's images, with the names of its classes.

    Attributes
    ----------
    data : None where they can't be shown; ``wanted`` says whether they should have been.
    names : of the classes; none where they aren't known.
    """

    data: ImageData | None = None
    names: tuple[str, ...] = ()
    wanted: bool = False

    def name(self, label: int) -> str:
        """A class's first name, as ``goldfish``; where none is known its number, from 1."""
        if not self.names:
            return words.CLASS.format(number=label + 1)
        return " ".join(self.names[label].split(",")[0].split())


def find_images(study: Study, wanted: bool = True) -> ClassImages:
    """Images whose fingerprint and test labels are those of the study's runs.

    Parameters
    ----------
    wanted : False leaves them out, for a report that is made public.
    """
    absent = ClassImages(None, study.class_names, wanted)
    if not wanted:
        return absent
    try:
        data = load_dataset(study.recipe.dataset, study.recipe.fraction)
    except DataError:
        return absent
    labels = study.test_labels(study.recipe.variant, study.recipe.seed)
    if data.fingerprint != study.data_fingerprint or not np.array_equal(data.test.labels, labels):
        return absent
    return ClassImages(data, tuple(data.class_names), wanted)
