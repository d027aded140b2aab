"""How sure a network is of its answers: on average, and where it is wrong."""

from dataclasses import dataclass

import numpy as np

from labreport.estimates import Z
from labreport.study import Study


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
    return Confidence(seed, mean, accuracy, error, int(sure.sum()), *of_sure)


def find_confident_mistakes(study: Study, variant: str, seed: int, count: int) -> np.ndarray:
    """The test images of the ``count`` errors with the highest predicted probability."""
    wrong = np.flatnonzero(~study.test_correct(variant, seed))
    probability = study.test_probability(variant, seed)[wrong]
    return wrong[np.argsort(-probability, kind="stable")][:count]
