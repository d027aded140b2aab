"""A network class by class: accuracies, confusions, how sure it is; and the images to show."""

from dataclasses import dataclass

import numpy as np

from labcnn.data import ImageData, load_dataset
from labcnn.errors import DataError
from labreport import words
from labreport.estimates import Z
from labreport.study import Study


@dataclass(frozen=True)
class Confusion:
    """Images of class ``true`` taken for ``predicted``: how many, of how many of the class.

    ``reverse`` counts those of ``predicted`` taken for ``true``.
    """

    true: int
    predicted: int
    count: int
    images: int
    reverse: int


@dataclass(frozen=True)
class Mistake:
    """A test image's row, its class, the class it was taken for, and with what probability."""

    row: int
    true: int
    predicted: int
    probability: float


@dataclass(frozen=True)
class ClassAccuracies:
    """The test accuracy of each class, over all seeds of a variant.

    Attributes
    ----------
    matrix : test images by true (rows) and predicted class (columns), summed over the seeds.
    images : test images of a class, the median.
    """

    variant: str
    matrix: np.ndarray
    images: int

    @property
    def accuracies(self) -> np.ndarray:
        """NaN for a class without a test image."""
        with np.errstate(invalid="ignore"):
            return np.diag(self.matrix) / self.matrix.sum(axis=1)

    @property
    def easiest(self) -> int:
        return int(np.nanargmax(self.accuracies))

    @property
    def hardest(self) -> int:
        return int(np.nanargmin(self.accuracies))

    @property
    def never(self) -> int:
        """How many classes have no image that was recognised."""
        return int((np.diag(self.matrix) == 0).sum())

    def confusions(self, count: int) -> list[Confusion]:
        """The ``count`` pairs confused most often, largest first; equal ones in their order."""
        off = self.matrix.copy()
        np.fill_diagonal(off, 0)
        order = np.argsort(-off.ravel(), kind="stable")[:count]
        pairs = [divmod(int(place), len(off)) for place in order]
        return [
            Confusion(a, b, int(off[a, b]), int(self.matrix[a].sum()), int(off[b, a]))
            for a, b in pairs
            if off[a, b] > 0
        ]


def count_classes(study: Study, variant: str) -> ClassAccuracies:
    """Of a variant's test images, all seeds together."""
    seeds, classes = study.seeds(variant), study.runs(variant)[0].classes
    matrix = np.zeros((classes, classes), int)
    for seed in seeds:
        true, predicted = study.test_labels(variant, seed), study.test_predicted(variant, seed)
        np.add.at(matrix, (true, predicted), 1)
    return ClassAccuracies(variant, matrix, int(np.median(matrix.sum(axis=1)) / len(seeds)))


@dataclass(frozen=True)
class Confidence:
    """How sure a network is of its answers, and how often it is right.

    Attributes
    ----------
    mean : probability of the predicted class, averaged over the test images.
    error : standard error of ``mean - accuracy``.
    sure : images whose prediction has a probability above 1/2; ``sure_mean`` and ``sure_accuracy``
        are of these, NaN where there is none.
    """

    variant: str
    seed: int
    mean: float
    accuracy: float
    error: float
    sure: int
    sure_mean: float
    sure_accuracy: float

    @property
    def differs(self) -> bool:
        """Is confidence farther from accuracy than sampling explains?"""
        return abs(self.mean - self.accuracy) >= Z * self.error


def measure_confidence(study: Study, variant: str) -> Confidence:
    """Of the first seed of a variant."""
    seed = study.seeds(variant)[0]
    right, probability = study.test_correct(variant, seed), study.test_probability(variant, seed)
    error = float((probability - right).std(ddof=1) / np.sqrt(len(right)))
    sure = probability > 0.5
    of_sure = (float(x[sure].mean()) if sure.any() else np.nan for x in (probability, right))
    mean, accuracy = float(probability.mean()), float(right.mean())
    return Confidence(variant, seed, mean, accuracy, error, int(sure.sum()), *of_sure)


def confident_mistakes(study: Study, variant: str, seed: int, count: int) -> list[Mistake]:
    """The ``count`` errors with the highest predicted probability."""
    true, predicted = study.test_labels(variant, seed), study.test_predicted(variant, seed)
    probability = study.test_probability(variant, seed)
    wrong = np.flatnonzero(true != predicted)
    order = wrong[np.argsort(-probability[wrong], kind="stable")][:count]
    return [Mistake(int(r), int(true[r]), int(predicted[r]), float(probability[r])) for r in order]


#: Classes of which an image is shown.
SAMPLES = 40


@dataclass(frozen=True)
class Pictures:
    """The data set's images, or None and why there are none.

    ``why``: ``not wanted``, ``not prepared`` (on this machine) or ``other data`` (than the runs').
    """

    data: ImageData | None = None
    why: str = ""

    def name(self, label: int) -> str:
        """A class's first name, as ``goldfish``; without the data its number, counted from 1."""
        if self.data is None:
            return words.CLASS.format(number=label + 1)
        return " ".join(self.data.class_names[label].split(",")[0].split())

    @property
    def samples(self) -> list[int]:
        """Up to 40 classes, evenly spread."""
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


def find_pictures(study: Study, wanted: bool = True) -> Pictures:
    """Images whose fingerprint and test labels are those of the study's runs.

    Parameters
    ----------
    wanted : False leaves them out, for a report that is made public.
    """
    if not wanted:
        return Pictures(why="not wanted")
    recipe = study.recipe
    try:
        data = load_dataset(recipe.dataset, recipe.fraction)
    except DataError:
        return Pictures(why="not prepared")
    run = next(iter(study.results.values()))
    labels = study.test_labels(run.recipe.variant, run.recipe.seed)
    same = data.fingerprint == run.provenance.data_fingerprint
    if not same or not np.array_equal(data.test.labels, labels):
        return Pictures(why="other data")
    return Pictures(data)
