"""A network class by class: the accuracy of each, and which are taken for which."""

from dataclasses import dataclass

import numpy as np

from labreport.study import Study

#: Pairs of classes that the report lists.
PAIRS = 10


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
class ClassAccuracies:
    """The test accuracy of each class, over all seeds of a variant.

    Attributes
    ----------
    matrix : test images by true (rows) and predicted class (columns), summed over the seeds.
    images : test images of a class, the fewest and the most.
    """

    variant: str
    matrix: np.ndarray
    images: tuple[int, int]

    @property
    def accuracies(self) -> np.ndarray:
        """NaN for a class without a test image."""
        with np.errstate(invalid="ignore"):
            return np.diag(self.matrix) / self.matrix.sum(axis=1)

    @property
    def share_of_pairs(self) -> float:
        """Of all errors, the part that the listed pairs make up."""
        errors = int(self.matrix.sum() - np.trace(self.matrix))
        return sum(pair.count for pair in self.confusions(PAIRS)) / errors if errors else 0.0

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
        """The ``count`` pairs confused most often, as :func:`find_confusions` gives them."""
        return find_confusions(self.matrix, count)


def find_confusions(matrix: np.ndarray, count: int) -> list[Confusion]:
    """The ``count`` pairs confused most often, largest first; equal ones in their order.

    Parameters
    ----------
    matrix : test images by true (rows) and predicted class (columns).
    """
    off = matrix.copy()
    np.fill_diagonal(off, 0)
    order = np.argsort(-off.ravel(), kind="stable")[:count]
    pairs = [divmod(int(place), len(off)) for place in order]
    return [
        Confusion(a, b, int(off[a, b]), int(matrix[a].sum()), int(off[b, a]))
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
    each = matrix.sum(axis=1) // len(seeds)
    return ClassAccuracies(variant, matrix, (int(each.min()), int(each.max())))
