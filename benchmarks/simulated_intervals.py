"""Intervals by themselves, where they are easy and where they are hard: simulated, integrated."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from scipy import special

from labreport import estimates
from labreport.estimates import Estimate

Drawing = Callable[[np.random.Generator], tuple[Estimate, float]]


def crossed(rng: np.random.Generator, seeds: int, share: float) -> tuple[Estimate, float]:
    """Seeds x images where ``share`` of the mean's variance is what the seeds tell."""
    images, rest, common = 1000, 0.4, 0.3
    of_images = common**2 / images
    between = max(0.0, share / (1 - share) * of_images * seeds - rest**2 / images)
    effects = between**0.5 * rng.standard_normal((seeds, 1))
    shared = common * rng.standard_normal(images)
    noise = rest * rng.standard_normal((seeds, images))
    matrix = effects + shared + noise
    return estimates.over_seeds(matrix.mean(axis=1), images=matrix), 0.0


def pair(
    rng: np.random.Generator, first: float, second: float, alike: float, images: int
) -> tuple[Estimate, float]:
    """Two nets on the same images, each right with its probability, in part on the same ones."""
    ease = alike**0.5 * rng.standard_normal(images)
    right = [
        ease + (1 - alike) ** 0.5 * rng.standard_normal(images) < special.ndtri(p)
        for p in (first, second)
    ]
    return estimates.paired_difference(*right), first - second


def unpaired(rng: np.random.Generator, alike: float) -> tuple[Estimate, float]:
    """Training accuracies of two nets: their images are the same, but only counts are kept."""
    ease = alike**0.5 * rng.standard_normal(2000)
    right = [
        int(np.sum(ease + (1 - alike) ** 0.5 * rng.standard_normal(2000) < special.ndtri(p)))
        for p in (0.5, 0.55)
    ]
    return estimates.unpaired_difference(right[0], 2000, right[1], 2000), 0.5 - 0.55


def gap(rng: np.random.Generator, train: float, test: float) -> tuple[Estimate, float]:
    right, seen = int(rng.binomial(9000, train)), int(rng.binomial(1000, test))
    return estimates.unpaired_difference(right, 9000, seen, 1000, 0.05), train - test


def alone(rng: np.random.Generator, accuracy: float, images: int) -> tuple[Estimate, float]:
    right = int(rng.binomial(images, accuracy))
    return estimates.proportion(right, images, 0.01), accuracy


def counted(rng: np.random.Generator, seeds: int, spread: float) -> tuple[Estimate, float]:
    """Differences of counts of epochs."""
    values = np.round(spread * rng.standard_normal((2, seeds)))
    return estimates.over_seeds(values[0] - values[1], resolution=1), 0.0


def intervals() -> Iterator[tuple[str, Drawing]]:
    """Each kind of interval by itself, where it is easy and where it is hard."""
    for images, alike in ((1000, 0.0), (1000, 0.6), (10_000, 0.6)):
        text = f"accuracies of two nets on {images:,} images, {'alike' if alike else 'independent'}"
        yield f"1 seed: {text}", partial(pair, first=0.3, second=0.33, alike=alike, images=images)
    rare = partial(pair, first=0.005, second=0.008, alike=0.3, images=10_000)
    yield "1 seed: two nets near chance, 10,000 images", rare
    yield "1 seed: one net at chance, 10,000 images", partial(alone, accuracy=0.005, images=10_000)
    yield "1 seed: gap of training to test accuracy", partial(gap, train=0.4, test=0.35)
    for alike in (0.0, 0.6):
        text = f"training accuracies of two nets, {'alike' if alike else 'independent'}"
        yield f"1 seed: {text}", partial(unpaired, alike=alike)
    for seeds in (2, 3, 5, 10):
        for share in (0.5, 0.8, 0.95):
            text = f"{seeds} seeds x images, seeds {share:.0%} of the variance"
            yield text, partial(crossed, seeds=seeds, share=share)
    for seeds in (2, 3, 5, 10):
        yield f"{seeds} seeds: epochs, spread 4", partial(counted, seeds=seeds, spread=4.0)
    yield "3 seeds: epochs, spread 0.5", partial(counted, seeds=3, spread=0.5)


def covering(name: str, drawing: Drawing, repeats: int) -> dict[str, Any]:
    rng = np.random.default_rng(list(name.encode()))
    hits = 0
    for _ in range(repeats):
        estimate, value = drawing(rng)
        hits += estimate.low <= value <= estimate.high
    return {"name": name, "repeats": repeats, "covered": hits}


#: Half widths by level, estimated variance, known variance and its degrees of freedom.
HalfWidth = Callable[[float, np.ndarray, np.ndarray, int], np.ndarray]


def satterthwaite(level: float, estimated: np.ndarray, known: np.ndarray, df: int) -> np.ndarray:
    """The usual way, for comparison: one t interval, its degrees of freedom by Satterthwaite."""
    total = estimated + known
    freedom = np.minimum(df * (total / np.maximum(estimated, 1e-12)) ** 2, 1e6)
    return np.asarray(-special.stdtrit(freedom, level / 2) * total**0.5)


def sum_of_squares(level: float, estimated: np.ndarray, known: np.ndarray, df: int) -> np.ndarray:
    """What :func:`estimates.p_of_sum` inverts."""
    t, z = -special.stdtrit(df, level / 2), -special.ndtri(level / 2)
    return np.asarray((t**2 * estimated + z**2 * known) ** 0.5)


METHODS: dict[str, HalfWidth] = {
    "Satterthwaite's degrees of freedom": satterthwaite,
    "the project's interval": lambda *error: np.asarray(estimates.margin(*error)),
    "the project's p-value": sum_of_squares,
}
#: Levels of a single interval, and of a one-sided test that the correction over 16 claims asks for.
LEVELS = (0.05, 2 * 0.05 / 32)


def beyond(method: HalfWidth, level: float, df: int) -> np.ndarray:
    """How often a mean is farther from the truth than its half width, by integration.

    An entry for each share that the estimated variance has in the whole, from 0 to 1.
    """
    shares = np.linspace(0, 1, 101)[:, None]
    chi = special.gammaincinv(df / 2, (np.arange(1000) + 0.5) / 1000) * 2 / df
    half = method(level, shares * chi + 1e-12, 1 - shares + 0 * chi, df)
    return np.asarray(2 * special.ndtr(-half).mean(axis=1))
