"""Estimates from repeated runs (seeds) and from series of epochs."""

import numpy as np
from scipy import stats

from labcnn.analysis.statistics import ALPHA, Estimate

SEEDS = "按种子配对的 t 区间"
SEEDS_AND_IMAGES = "种子 × 图像的两因素随机效应 t 区间"
EPOCHS = "逐轮配对的 t 区间，按一阶自相关折减样本数"
ONE_SEED = "单个种子，无区间"


def single(value: float, threshold: float = 0.0, why: str = ONE_SEED) -> Estimate:
    """A value about whose uncertainty the data say nothing."""
    return Estimate(value, float("nan"), float("nan"), float("nan"), why, threshold)


def over_seeds(values: np.ndarray, threshold: float = 0.0, resolution: float = 0.0) -> Estimate:
    """Mean over seeds with Student's t interval.

    Parameters
    ----------
    values : one per seed, already paired.
    resolution : step of a counted quantity (1 for epochs, 1 / N for accuracy): equal counts don't
        mean certainty, so the variance is at least that of rounding, ``resolution**2 / 12``.
    """
    if len(values) < 2:
        return single(float(np.mean(values)), threshold)
    variance = max(float(np.var(values, ddof=1)), resolution**2 / 12)
    return _t(float(np.mean(values)), variance / len(values), len(values) - 1, threshold, SEEDS)


def seeds_by_images(
    images: np.ndarray, effects: np.ndarray | None = None, threshold: float = 0.0
) -> Estimate:
    """Mean over seeds and images, both drawn at random, crossed.

    Variance of the mean of a two-way random-effects layout without replicates,
    (MS_seeds + MS_images - MS_rest) / (S N), degrees of freedom by Satterthwaite (Searle, Casella,
    McCulloch 1992, Variance Components, chapter 4).

    Parameters
    ----------
    images : seeds x images: each image's contribution to the effect (-1, 0 or 1 for a paired
        difference of correctness).
    effects : the effect per seed where it is more than the row's mean (a gap to the training
        accuracy); None: the rows' means.
    """
    seeds, count = images.shape
    rows, columns, mean = images.mean(axis=1), images.mean(axis=0), images.mean()
    effects = rows if effects is None else effects
    rest = images - rows[:, None] - columns[None, :] + mean
    rest_df = (seeds - 1) * (count - 1)
    ms_seeds = count * float(np.var(effects, ddof=1))
    ms_images = seeds * float(np.var(columns, ddof=1))
    ms_rest = float(np.sum(rest**2)) / rest_df
    # A negative component is estimated as none: the sum is never below its larger part.
    total = max(ms_seeds + ms_images - ms_rest, ms_seeds, ms_images)
    parts = ms_seeds**2 / (seeds - 1) + ms_images**2 / (count - 1) + ms_rest**2 / rest_df
    df = total**2 / parts if parts > 0 else seeds - 1
    variance = total / (seeds * count)
    return _t(float(np.mean(effects)), variance, df, threshold, SEEDS_AND_IMAGES)


def over_epochs(values: np.ndarray, threshold: float = 0.0) -> Estimate:
    """Mean of one run's series of epochs; covers its fluctuation, not other seeds.

    Neighbouring epochs are alike, so that n of them count as n (1 - r) / (1 + r), with r the
    first-order autocorrelation, corrected for its small-sample bias (Kendall 1954).
    """
    count = len(values)
    if count < 4:
        return single(
            float(np.mean(values)) if count else float("nan"), threshold, "轮数太少，无区间"
        )
    centred = values - np.mean(values)
    total = float(np.sum(centred**2))
    raw = float(np.sum(centred[1:] * centred[:-1])) / total if total > 0 else 0.0
    correlation = min(max((count * raw + 1) / (count - 3), 0.0), 0.99)
    effective = max(2.0, count * (1 - correlation) / (1 + correlation))
    variance = total / count * effective / (effective - 1) / effective
    return _t(float(np.mean(values)), variance, effective - 1, threshold, EPOCHS)


def _t(effect: float, variance: float, df: float, threshold: float, method: str) -> Estimate:
    error = float(np.sqrt(variance))
    half = float(stats.t.ppf(1 - ALPHA / 2, df)) * error
    if error == 0:  # all the same: no test can tell how sure that is
        p = 1.0 if effect == threshold else float("nan")
    else:
        p = float(2 * stats.t.sf(abs(effect - threshold) / error, df))
    return Estimate(effect, effect - half, effect + half, p, method, threshold)
