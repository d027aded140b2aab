from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from labcnn.analysis import repeated, statistics


def _pairs(both: int, first: int, second: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    a = [True] * both + [True] * first + [False] * second + [False] * neither
    b = [True] * both + [False] * first + [True] * second + [False] * neither
    return np.array(a), np.array(b)


def test_wilson_by_hand() -> None:
    # (k + z²/2) / (n + z²) ± z / (n + z²) · sqrt(k (n - k) / n + z²/4), z = 1.95996
    assert statistics.wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert statistics.wilson(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)


def test_paired_difference_of_a_published_example() -> None:
    # Airway reactivity before and after transplantation, Fagerland, Lydersen, Laake (2014).
    found = statistics.paired_difference(*_pairs(1, 1, 7, 12))
    assert found.effect == pytest.approx(-6 / 21)
    assert (found.low, found.high) == pytest.approx((-0.507, -0.026), abs=1e-3)
    # mid-p: 2 · P(X ≤ 1) - P(X = 1) for X ~ Binomial(8, 1/2) = 2 · 9/256 - 8/256
    assert found.p == pytest.approx(10 / 256)


def test_nets_that_agree_on_every_image_do_not_differ() -> None:
    found = statistics.paired_difference(*_pairs(600, 0, 0, 400))
    assert (found.effect, found.p) == (0, 1)
    assert -0.005 < found.low < 0 < found.high < 0.005


def test_paired_interval_agrees_with_the_bootstrap() -> None:
    first, second = _pairs(300, 80, 50, 570)
    found = statistics.paired_difference(first, second)
    differences = first.astype(int) - second.astype(int)
    result = stats.bootstrap((differences,), np.mean, n_resamples=4000, rng=1)
    interval = result.confidence_interval
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=3e-3)


def test_pairing_narrows_the_interval() -> None:
    first, second = _pairs(400, 60, 40, 500)
    paired = statistics.paired_difference(first, second)
    unpaired = statistics.unpaired_difference(460, 1000, 440, 1000)
    assert paired.high - paired.low < 0.6 * (unpaired.high - unpaired.low)


def test_unpaired_difference_of_a_published_example() -> None:
    # Newcombe (1998), method 10: 56/70 - 48/80 gives 0.0524 to 0.3339.
    found = statistics.unpaired_difference(56, 70, 48, 80)
    assert (found.effect, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    assert 0.001 < found.p < 0.02


def test_a_gap_is_tested_against_its_threshold() -> None:
    above = statistics.unpaired_difference(900, 1000, 800, 1000, threshold=0.05)
    assert above.p_beyond(above=True) < 0.01 < 0.9 < above.p_beyond(above=False)


def test_difference_of_two_estimates_adds_their_uncertainty() -> None:
    first = statistics.Estimate(0.30, 0.27, 0.33, 0.0, "")
    second = statistics.Estimate(0.10, 0.06, 0.14, 0.0, "")
    found = statistics.difference_of(first, second)
    assert (found.effect, found.low, found.high) == pytest.approx((0.2, 0.15, 0.25))
    # half-width 0.05 is 1.96 standard errors, so z = 0.2 / 0.05 · 1.96 = 7.84
    assert found.p == pytest.approx(2 * stats.norm.sf(7.84), rel=1e-2)


def test_proportion_at_chance() -> None:
    found = statistics.proportion(50, 10_000, threshold=0.01)
    assert found.p_beyond(above=False) == pytest.approx(stats.binom.cdf(50, 10_000, 0.01))
    assert statistics.proportion(250, 10_000, threshold=0.01).p_beyond(above=True) < 1e-6


def test_holm_by_hand() -> None:
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert statistics.holm([]) == []


def test_over_seeds_is_students_t() -> None:
    values = np.array([1.0, 2.0, 3.0])
    found = repeated.over_seeds(values)
    # mean 2, standard error 1/sqrt(3), t(0.975, 2) = 4.3027
    assert (found.low, found.high) == pytest.approx((2 - 2.4841, 2 + 2.4841), abs=1e-4)
    assert found.p == pytest.approx(stats.ttest_1samp(values, 0).pvalue)


def test_one_seed_gives_no_interval_and_no_evidence() -> None:
    found = repeated.over_seeds(np.array([3.0]))
    assert found.effect == 3
    assert np.isnan([found.low, found.high, found.p]).all()
    assert found.p_beyond(above=True) == 1 == found.p_beyond(above=False)


def test_equal_counts_are_not_certainty() -> None:
    found = repeated.over_seeds(np.array([2.0, 2.0]), resolution=1)
    assert found.low < 2 < found.high
    assert 0.01 < found.p < 0.2


def test_seeds_by_images_with_two_seeds_by_hand() -> None:
    # Rows' means 0.5 and 0, columns' means 1, 0, 0, 0.
    images = np.array([[1.0, 1.0, 0.0, 0.0], [1.0, -1.0, 0.0, 0.0]])
    found = repeated.seeds_by_images(images)
    mean = 0.25
    squares = 4 - 8 * mean**2
    seeds, columns = 4 * ((0.5 - mean) ** 2 + (0 - mean) ** 2), 2 * (0.75**2 + 3 * 0.25**2)
    rest = (squares - seeds - columns) / 3
    ms_seeds, ms_images = seeds / 1, columns / 3
    variance = max(ms_seeds + ms_images - rest, ms_seeds, ms_images) / 8
    df = (8 * variance) ** 2 / (ms_seeds**2 + ms_images**2 / 3 + rest**2 / 3)
    half = stats.t.ppf(0.975, df) * np.sqrt(variance)
    assert (found.effect, found.low, found.high) == pytest.approx((mean, mean - half, mean + half))


def _covers(
    draw: Callable[[np.random.Generator], statistics.Estimate], truth: float, repeats: int = 400
) -> float:
    rng = np.random.default_rng(7)
    intervals = [draw(rng) for _ in range(repeats)]
    return float(np.mean([found.low <= truth <= found.high for found in intervals]))


def test_seeds_by_images_covers_both_sources() -> None:
    def draw(rng: np.random.Generator) -> statistics.Estimate:
        seeds, images = rng.normal(0, 0.02, (4, 1)), rng.normal(0, 0.3, (1, 200))
        return repeated.seeds_by_images(0.1 + seeds + images + rng.normal(0, 0.4, (4, 200)))

    assert _covers(draw, 0.1) > 0.92


def test_over_epochs_allows_for_autocorrelation() -> None:
    def draw(rng: np.random.Generator) -> statistics.Estimate:
        noise, series = rng.normal(size=60), np.zeros(60)
        series[0] = noise[0] / np.sqrt(1 - 0.7**2)
        for k in range(1, 60):
            series[k] = 0.7 * series[k - 1] + noise[k]
        return repeated.over_epochs(series)

    assert _covers(draw, 0) > 0.90  # a plain t interval covers about 0.6


def test_few_epochs_give_no_interval() -> None:
    assert np.isnan(repeated.over_epochs(np.array([1.0, 2.0, 3.0])).p)
