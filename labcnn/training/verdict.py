"""A run's status: did it diverge, did it learn anything?"""

from typing import NamedTuple

from scipy.stats import binomtest

from labcnn.runs import Status
from labcnn.training.evaluate import Evaluation

#: A run has learned if so good a test accuracy has at most this probability by chance.
SIGNIFICANCE = 0.001


class Verdict(NamedTuple):
    """Status, the reason in words, and the p-value against chance."""

    status: Status
    reason: str
    p_value: float


def judge(diverged: bool, test: Evaluation, classes: int) -> Verdict:
    """``diverged`` if a loss wasn't finite, else ``no_learning`` or ``ok`` by a test of chance.

    The test is the exact one-sided binomial test of the number of correct test images against
    the rate 1 / ``classes``, that of any constant or blind answer on a balanced test set.
    """
    count = test.metrics.count
    correct = int((test.label == test.predicted).sum())
    p_value = float(binomtest(correct, count, 1 / classes, alternative="greater").pvalue)
    against_chance = f"{correct} of {count} test images right, p = {p_value:.3g} against chance"
    if diverged:
        return Verdict("diverged", f"the training loss wasn't finite; {against_chance}", p_value)
    return Verdict("ok" if p_value <= SIGNIFICANCE else "no_learning", against_chance, p_value)
