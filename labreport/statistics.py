"""Estimates with intervals and p-values: one seed's accuracies, over the images they count."""

import math
from functools import cache
from typing import NamedTuple

import numpy as np
from scipy import special, stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import (
    confint_proportions_2indep,
    proportion_confint,
    test_proportions_2indep,
)

ALPHA = 0.05
Z = float(stats.norm.ppf(1 - ALPHA / 2))


class Estimate(NamedTuple):
    """An effect, its 95 % interval and the two-sided p-value against a threshold.

    ``low``, ``high`` and ``p`` are NaN where the data say nothing of the uncertainty.
    """

    effect: float
    low: float
    high: float
    p: float
    method: str
    threshold: float = 0.0

    def p_beyond(self, *, above: bool) -> float:
        """One-sided p-value for the effect lying above (or below) the threshold; 1 if unknown."""
        if math.isnan(self.p):
            return 1.0
        agrees = (self.effect > self.threshold) == above
        return self.p / 2 if agrees else 1 - self.p / 2


@cache
def wilson(successes: int, count: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of one proportion (Wilson 1927)."""
    low, high = proportion_confint(successes, count, alpha=ALPHA, method="wilson")
    return float(low), float(high)


def proportion(successes: int, count: int, threshold: float) -> Estimate:
    """One proportion against a threshold: Wilson's interval, exact binomial test."""
    tails = (
        stats.binom.cdf(successes, count, threshold),
        stats.binom.sf(successes - 1, count, threshold),
    )
    p = min(1.0, 2 * float(min(tails)))
    return Estimate(
        successes / count, *wilson(successes, count), p, "Wilson 区间，精确二项检验", threshold
    )


def paired_difference(first: np.ndarray, second: np.ndarray) -> Estimate:
    """Difference of two nets' accuracies on the same images.

    Newcombe's square-and-add interval for paired proportions (Newcombe 1998, Statistics in
    Medicine 17, 2635-2650, method 10) and McNemar's mid-p test (Fagerland,
    Lydersen, Laake 2013, BMC Medical Research Methodology 13:91).

    Parameters
    ----------
    first, second : booleans, one per image: was it classified correctly?
    """
    count = len(first)
    both = int(np.count_nonzero(first & second))
    only_first, only_second = (int(np.count_nonzero(x)) - both for x in (first, second))
    neither = count - both - only_first - only_second
    a, b = (both + only_first) / count, (both + only_second) / count
    (a_low, a_high), (b_low, b_high) = (
        wilson(both + only_first, count),
        wilson(both + only_second, count),
    )
    margins = a * (1 - a) * b * (1 - b)
    association: float = both * neither - only_first * only_second
    if association > 0:  # Newcombe's correction for continuity
        association = max(association - count / 2, 0.0)
    phi = association / count**2 / math.sqrt(margins) if margins > 0 else 0.0

    def spread(x: float, y: float) -> float:
        return math.sqrt(max(0.0, x**2 - 2 * phi * x * y + y**2))

    effect = (only_first - only_second) / count
    low = effect - spread(a - a_low, b_high - b)
    high = effect + spread(a_high - a, b - b_low)
    p = _mcnemar_mid_p(only_first, only_second)
    return Estimate(effect, low, high, p, "Newcombe 配对区间，McNemar mid-p 检验")


def _mcnemar_mid_p(only_first: int, only_second: int) -> float:
    discordant, smaller = only_first + only_second, min(only_first, only_second)
    if discordant == 0:
        return 1.0
    # The exact p-value, 2 P(X <= smaller), less P(X = smaller).
    below = special.bdtr(smaller - 1, discordant, 0.5) if smaller else 0.0
    return float(min(1.0, special.bdtr(smaller, discordant, 0.5) + below))


def unpaired_difference(
    first: int, first_count: int, second: int, second_count: int, threshold: float = 0.0
) -> Estimate:
    """Difference of two independent proportions: Newcombe's interval, score test."""
    counts = first, first_count, second, second_count
    low, high = confint_proportions_2indep(*counts, compare="diff", method="newcomb", alpha=ALPHA)
    effect = first / first_count - second / second_count
    p = 1.0
    if effect != threshold:
        with np.errstate(divide="ignore", invalid="ignore"):
            test = test_proportions_2indep(
                *counts, value=threshold, compare="diff", method="score", return_results=False
            )
        p = float(np.nan_to_num(test[1], nan=1.0))
    return Estimate(effect, float(low), float(high), p, "Newcombe 区间，得分检验", threshold)


def difference_of(first: Estimate, second: Estimate) -> Estimate:
    """``first - second`` of two independent estimates, their intervals combined by MOVER.

    Method of variance estimates recovery (Donner, Zou 2012, Statistical Methods in Medical
    Research 21, 347-359); the p-value is the normal one that goes with the interval.
    """
    effect = first.effect - second.effect
    below = float(np.hypot(first.effect - first.low, second.high - second.effect))
    above = float(np.hypot(first.high - first.effect, second.effect - second.low))
    toward_zero = below if effect > 0 else above
    p = 1.0 if effect == 0 else float(2 * stats.norm.sf(abs(effect) / toward_zero * Z))
    return Estimate(effect, effect - below, effect + above, p, "MOVER 合成区间，正态近似")


def holm(p_values: list[float]) -> list[float]:
    """Holm's step-down adjustment (Holm 1979): keeps the chance of any false verdict at 5 %."""
    return [float(p) for p in multipletests(p_values, method="holm")[1]] if p_values else []
