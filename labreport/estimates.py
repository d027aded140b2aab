"""Estimates with 95 % intervals and p-values: from one seed's images, or over several seeds."""

import math
from functools import cache
from typing import NamedTuple

import numpy as np
from scipy import special, stats
from scipy.optimize import brentq
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import (
    confint_proportions_2indep,
    proportion_confint,
    test_proportions_2indep,
)

ALPHA = 0.05
Z = float(stats.norm.ppf(1 - ALPHA / 2))
#: Degrees of freedom up to which a variance is borrowed from others: docs/statistics.md.
MOST = 8.0
#: Logarithm of the smallest tail probability that is computed; relative error left by rounding.
SMALLEST, ROUNDING = -200.0, 1e-6


class Variance(NamedTuple):
    """Of an effect: what seeds make, known with ``df`` degrees of freedom, and what images make.

    ``borrowed``: the effect has one seed; how far seeds differ is told by other pairs only.
    """

    of_seeds: float
    of_images: float
    df: float
    borrowed: bool = False


class Estimate(NamedTuple):
    """An effect, its 95 % interval and the two-sided p-value against a threshold.

    ``low``, ``high`` and ``p`` are NaN, and ``variance`` None, where the data say nothing of the
    uncertainty.
    """

    effect: float
    low: float
    high: float
    p: float
    threshold: float = 0.0
    variance: Variance | None = None

    def p_within(self, margin: float) -> float:
        """p-value for the effect lying between ``-margin`` and ``margin``; 1 if unknown.

        Two one-sided tests (Schuirmann 1987): up to 0.05 where the 90 % interval lies within.
        """
        room = margin - abs(self.effect)
        if room <= 0 or math.isnan(self.p):
            return 1.0
        if self.variance is None:  # a published interval: the normal one that is as wide
            return float(special.ndtr(-room / (self.high - self.low) * 2 * Z))
        of_seeds, of_images, df, _ = self.variance
        return p_of_sum(room, of_seeds, of_images, df) / 2

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
    return Estimate(successes / count, *wilson(successes, count), p, threshold)


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
    return Estimate(effect, low, high, p)


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
    return Estimate(effect, float(low), float(high), p, threshold)


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
    return Estimate(effect, effect - below, effect + above, p)


class Prior(NamedTuple):
    """The variance between seeds that the pairs of an experiment suggest for any of them.

    It counts as much as one measured with ``df`` degrees of freedom.
    """

    variance: float
    df: float


def fit_prior(variances: np.ndarray, df: np.ndarray, total: float) -> Prior | None:
    """Empirical Bayes: a scaled inverse chi-squared law of the true variances of several pairs.

    Smyth 2004 (Statistical Applications in Genetics and Molecular Biology 3, 3), section 6.2: mean
    and variance of the logarithms tell scale and degrees of freedom. Where the logarithms vary no
    more than chance makes them, all have one variance: their mean. A dozen variants can't prove
    that, so the degrees of freedom end at :data:`MOST`. None where they would be less than 1: the
    variances are so unlike that none says anything of another.

    Parameters
    ----------
    variances, df : of each pair, above 0, with its degrees of freedom.
    total : degrees of freedom of the runs behind them. A pair's own runs are among these: the prior
        has no more than half.
    """
    logarithms = np.log(variances) - special.digamma(df / 2) + np.log(df / 2)
    excess = logarithms.var(ddof=1) - special.polygamma(1, df / 2).mean()
    most = min(MOST, total / 2)
    if excess <= special.polygamma(1, most / 2):
        return Prior(float(np.average(variances, weights=df)), most)
    if excess > special.polygamma(1, 0.5):
        return None
    half = brentq(lambda x: special.polygamma(1, x) - excess, 0.5, most / 2)
    scale = logarithms.mean() + special.digamma(half) - math.log(half)
    return Prior(math.exp(scale), 2 * half)


def over_seeds(
    values: np.ndarray,
    threshold: float = 0.0,
    resolution: float = 0.0,
    images: np.ndarray | None = None,
    prior: Prior | None = None,
) -> Estimate:
    """Mean over seeds with its t interval; over seeds and images, crossed, where images are given.

    The mean's variance has two parts: what differs between seeds (the values tell it, moderated by
    the prior: Smyth 2004) and what the images do to all seeds alike (by analysis of variance;
    Searle, Casella, McCulloch 1992, Variance Components, chapter 4; its thousands of degrees of
    freedom count as infinite). How the two become an interval and a p-value: :func:`margin` and
    :func:`p_of_sum`; how well: docs/statistics.md.

    Parameters
    ----------
    values : one per seed, already paired. Of one seed the prior alone tells the spread; without it
        there is no interval, and p is NaN.
    resolution : step of a counted quantity (1 for epochs, 1 / N for accuracy): equal counts don't
        mean certainty, so the variance is at least that of rounding, ``resolution**2 / 12``.
    images : seeds x images: each image's contribution to a value, up to what all share (-1, 0 or 1
        for a paired difference of correctness).
    """
    seeds, effect, unknown = len(values), float(np.mean(values)), float("nan")
    df = seeds - 1.0
    spread = float(np.var(values, ddof=1)) if seeds > 1 else 0.0
    if prior is not None:
        spread = (prior.df * prior.variance + df * spread) / (prior.df + df)
        df += prior.df
    elif seeds == 1:
        return Estimate(effect, unknown, unknown, unknown, threshold)
    of_seeds = max(spread, resolution**2 / 12) / seeds
    of_images = 0.0 if images is None else _variance_of_images(images)
    half = float(margin(ALPHA, of_seeds, of_images, df)) if of_seeds else 0.0
    p = p_of_sum(effect - threshold, of_seeds, of_images, df)
    variance = Variance(of_seeds, of_images, df, borrowed=seeds == 1)
    return Estimate(effect, effect - half, effect + half, p, threshold, variance)


def _variance_of_images(images: np.ndarray) -> float:
    """Of a mean over seeds and images, what the images do to all seeds: (MS_images - MS_rest) / SN.

    Of one seed, whose images' common part and rest can't be told apart, both.
    """
    seeds, count = images.shape
    if seeds == 1:
        return float(images.var(ddof=1)) / count
    rows, columns = images.sum(axis=1) / count, images.sum(axis=0) / seeds
    mean = float(rows.sum()) / seeds
    # Sums of squares around the mean: of all entries, the rows, the columns, and what is left.
    total = np.vdot(images, images) - seeds * count * mean**2
    by_seeds = count * (np.vdot(rows, rows) - seeds * mean**2)
    by_images = seeds * (np.vdot(columns, columns) - count * mean**2)
    rest = total - by_seeds - by_images
    common = by_images / (count - 1) - rest / ((seeds - 1) * (count - 1))
    return max(float(common), 0.0) / (seeds * count)


def margin(
    level: float, estimated: np.ndarray | float, known: np.ndarray | float, df: float
) -> float:
    """Half the width of a 1 - ``level`` interval around a mean of two independent errors.

    Of the first error the variance is ``estimated`` with ``df`` degrees of freedom, of the second
    it is ``known``. t is right for the first alone and z for the second alone; between them Welch's
    series (Welch 1947, Biometrika 34, 28-35; Aspin 1948) to its first order. Below two degrees that
    is too rough: there the squares of both margins are added, which covers 95 % or more. How that
    compares with Satterthwaite's degrees of freedom, the usual way: docs/statistics.md.
    """
    t, z = -special.stdtrit(df, level / 2), -special.ndtri(level / 2)
    between = 1.0 if df < 2 else (z / t) ** 2
    weight = (estimated + between * known) / (estimated + known)
    return np.sqrt(t**2 * estimated * weight + z**2 * known)


def p_of_sum(distance: float, estimated: float, known: float, df: float) -> float:
    """Two-sided p-value: the level at which t^2 ``estimated`` + z^2 ``known`` = ``distance``^2.

    Chance goes beyond that no more often than the level says, at every level and whatever the two
    variances are. :func:`margin` is closer to 5 %, but too small far out in the tails, where the
    correction over all claims looks. NaN where there is no variance.
    """
    distance = abs(distance)
    if estimated + known == 0:
        return float("nan") if distance else 1.0
    if distance < ROUNDING * (estimated + known) ** 0.5:
        return 1.0
    if known == 0:
        return 2 * float(special.stdtr(df, -distance / estimated**0.5))

    def excess(log_tail: float) -> float:
        tail = math.exp(log_tail)
        squares = special.stdtrit(df, tail) ** 2 * estimated + special.ndtri(tail) ** 2 * known
        return float(squares) - distance**2

    # It lies between the levels of z alone and of t alone.
    ratio = distance / (estimated + known) ** 0.5
    lowest = max(float(special.log_ndtr(-ratio)), SMALLEST)
    if excess(lowest) <= 0:
        return 2 * math.exp(lowest)
    highest = min(math.log(special.stdtr(df, -ratio)) + ROUNDING, math.log(0.5))
    return 2 * math.exp(brentq(excess, lowest, highest, xtol=1e-3))


def hochberg(p_values: list[float]) -> list[float]:
    """Hochberg's step-up adjustment (Hochberg 1988, Biometrika 75, 800-802).

    If all p-values are at most 5 %, so are the adjusted ones; the smallest grows at most by the
    number of tests.
    """
    return [float(p) for p in multipletests(p_values, method="simes-hochberg")[1]]


def holm(p: float, others: list[float]) -> float:
    """Holm's step-down adjustment (Holm 1979) of one p-value among others."""
    steps = [*sorted(other for other in others if other < p), p]
    tests = len(others) + 1
    return min(1.0, max((tests - place) * step for place, step in enumerate(steps)))
