"""A network class by class: accuracy of each, and which are taken for which."""

from dataclasses import dataclass

import numpy as np

from labreport.study import Study


@dataclass(frozen=True)
class Confusion:
    """Images of class ``true`` taken for ``predicted``: how many, of how many of the class."""

    true: int
    predicted: int
    count: int
    images: int


def best_variant(study: Study) -> str:
    """The variant with the highest mean test accuracy."""
    return max(study.present, key=lambda v: study.mean(v, "test_accuracy"))


def confusion_matrix(study: Study, variant: str) -> np.ndarray:
    """Test images by true (rows) and predicted class (columns), summed over the seeds."""
    classes = study.runs(variant)[0].classes
    matrix = np.zeros((classes, classes), int)
    for seed in study.seeds(variant):
        true, predicted = study.test_labels(variant, seed), study.test_predicted(variant, seed)
        np.add.at(matrix, (true, predicted), 1)
    return matrix


def accuracies(matrix: np.ndarray) -> np.ndarray:
    """Accuracy of each class; NaN for one without a test image."""
    with np.errstate(invalid="ignore"):
        return np.diag(matrix) / matrix.sum(axis=1)


def most_confused(matrix: np.ndarray, count: int) -> list[Confusion]:
    """The ``count`` largest entries off the diagonal, largest first; equal ones in their order."""
    off = matrix.copy()
    np.fill_diagonal(off, 0)
    order = np.argsort(-off.ravel(), kind="stable")[:count]
    pairs = [divmod(int(place), len(off)) for place in order]
    return [
        Confusion(a, b, int(off[a, b]), int(matrix[a].sum())) for a, b in pairs if off[a, b] > 0
    ]


def various(pairs: list[Confusion], count: int) -> list[Confusion]:
    """The first ``count`` of the pairs that are taken for different classes."""
    kept: dict[int, Confusion] = {}
    for pair in pairs:
        kept.setdefault(pair.predicted, pair)
    return list(kept.values())[:count]
