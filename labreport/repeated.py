"""Estimates from repeated runs: over seeds, and over seeds and test images together."""

import math

import numpy as np
from scipy import special
from scipy.optimize import brentq

from labreport.statistics import ALPHA, Estimate

SEEDS = "按种子配对的 t 区间"
SEEDS_AND_IMAGES = "种子 × 图像的两因素随机效应区间"
ONE_SEED = "单个种子，无区间"
#: Logarithms of the smallest tail that is told from none, and of what rounding may do to one.
SMALLEST, ROUNDING = -200.0, 1e-6


def over_seeds(values: np.ndarray, threshold: float = 0.0, resolution: float = 0.0) -> Estimate:
    """Mean over seeds with Student's t interval; of one seed no interval, p is NaN.

    Parameters
    ----------
    values : one per seed, already paired.
    resolution : step of a counted quantity (1 for epochs, 1 / N for accuracy): equal counts don't
        mean certainty, so the variance is at least that of rounding, ``resolution**2 / 12``.
    """
    seeds, unknown = len(values), float("nan")
    if seeds < 2:
        return Estimate(float(values[0]), unknown, unknown, unknown, ONE_SEED, threshold)
    effect, spread = _mean_and_variance(values)
    variance = max(spread, resolution**2 / 12) / seeds
    half = -float(special.stdtrit(seeds - 1, ALPHA / 2)) * variance**0.5
    p = p_of_sum(effect - threshold, variance, 0.0, seeds - 1)
    return Estimate(effect, effect - half, effect + half, p, SEEDS, threshold)


def seeds_by_images(
    images: np.ndarray, effects: np.ndarray | None = None, threshold: float = 0.0
) -> Estimate:
    """Mean over seeds and images, both drawn at random, crossed.

    The mean's variance has two parts: what differs between seeds (the rows' means tell it, with
    one degree of freedom less than seeds) and what the images do to all seeds alike (by analysis of
    variance, (MS_images - MS_rest) / (S N); Searle, Casella, McCulloch 1992, Variance Components,
    chapter 4; its thousands of degrees of freedom count as infinite). How the two become an
    interval and a p-value: :func:`margin` and :func:`p_of_sum`; how well: docs/statistics.md.

    Parameters
    ----------
    images : seeds x images: each image's contribution to the effect (-1, 0 or 1 for a paired
        difference of correctness).
    effects : the effect per seed where it is more than the row's mean (a gap to the training
        accuracy); None: the rows' means.
    """
    seeds, count = images.shape
    rows, columns = images.sum(axis=1) / count, images.sum(axis=0) / seeds
    mean = float(rows.sum()) / seeds
    effects = rows if effects is None else effects
    # Sums of squares around the mean: of all entries, the rows, the columns, and what is left.
    total = np.vdot(images, images) - seeds * count * mean**2
    by_seeds = count * (np.vdot(rows, rows) - seeds * mean**2)
    by_images = seeds * (np.vdot(columns, columns) - count * mean**2)
    rest = total - by_seeds - by_images
    common = by_images / (count - 1) - rest / ((seeds - 1) * (count - 1))
    of_images = max(float(common), 0.0) / (seeds * count)
    # All seeds alike is no certainty: as in over_seeds, at least the variance of rounding.
    effect, spread = _mean_and_variance(effects)
    of_seeds, df = max(spread, 1 / (12 * count**2)) / seeds, seeds - 1
    half = float(margin(ALPHA, of_seeds, of_images, df))
    p = p_of_sum(effect - threshold, of_seeds, of_images, df)
    return Estimate(effect, effect - half, effect + half, p, SEEDS_AND_IMAGES, threshold)


def _mean_and_variance(values: np.ndarray) -> tuple[float, float]:
    mean = float(values.sum()) / len(values)
    apart = values - mean
    return mean, float(apart @ apart) / (len(values) - 1)


def margin(
    level: float, estimated: np.ndarray | float, known: np.ndarray | float, df: int
) -> float:
    """Half the width of a 1 - ``level`` interval around a mean of two independent errors.

    Of the first error the variance is ``estimated`` with ``df`` degrees of freedom, of the second
    it is ``known``. t is right for the first alone and z for the second alone; between them Welch's
    series (Welch 1947, Biometrika 34, 28-35; Aspin 1948) to its first order. For two seeds that is
    too rough: there the squares of both margins are added, which covers 95 % or more. How that
    compares with Satterthwaite's degrees of freedom, the usual way: docs/statistics.md.
    """
    t, z = -special.stdtrit(df, level / 2), -special.ndtri(level / 2)
    between = 1.0 if df == 1 else (z / t) ** 2
    weight = (estimated + between * known) / (estimated + known)
    return np.sqrt(t**2 * estimated * weight + z**2 * known)


def p_of_sum(distance: float, estimated: float, known: float, df: int) -> float:
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
