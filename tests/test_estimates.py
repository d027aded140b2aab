import json

import numpy as np
import pytest
from coverage_study import BEGIN, END, PAGE, RECORD, family, tables, worlds
from scipy import stats
from simulated_intervals import beyond, intervals, sum_of_squares
from simulated_study import World

from labreport import estimates
from labreport.estimates import Estimate
from labreport.measures import measure_efforts


def _pairs(both: int, first: int, second: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    a = [True] * both + [True] * first + [False] * second + [False] * neither
    b = [True] * both + [False] * first + [True] * second + [False] * neither
    return np.array(a), np.array(b)


def _crossed(images: np.ndarray, threshold: float = 0.0) -> Estimate:
    step = 1 / images.shape[1]
    return estimates.over_seeds(images.mean(axis=1), threshold, step, images)


def test_proportions_of_published_examples() -> None:
    # (k + z²/2) / (n + z²) ± z / (n + z²) · sqrt(k (n - k) / n + z²/4), z = 1.95996
    assert estimates.wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    found = estimates.proportion(50, 10_000, threshold=0.01)
    assert found.p_beyond(above=False) == pytest.approx(stats.binom.cdf(50, 10_000, 0.01))
    assert estimates.proportion(250, 10_000, threshold=0.01).p_beyond(above=True) < 1e-6
    # Newcombe (1998), method 10: 56/70 - 48/80 gives 0.0524 to 0.3339.
    found = estimates.unpaired_difference(56, 70, 48, 80)
    assert (found.effect, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    assert 0.001 < found.p < 0.02
    gap = estimates.unpaired_difference(900, 1000, 800, 1000, threshold=0.05)
    assert gap.p_beyond(above=True) < 0.01 < 0.9 < gap.p_beyond(above=False)


def test_paired_difference_is_the_published_one_and_agrees_with_the_bootstrap() -> None:
    # Airway reactivity before and after transplantation, Fagerland, Lydersen, Laake (2014).
    found = estimates.paired_difference(*_pairs(1, 1, 7, 12))
    assert found.effect == pytest.approx(-6 / 21)
    assert (found.low, found.high) == pytest.approx((-0.507, -0.026), abs=1e-3)
    # mid-p: 2 · P(X ≤ 1) - P(X = 1) for X ~ Binomial(8, 1/2) = 2 · 9/256 - 8/256
    assert found.p == pytest.approx(10 / 256)
    # 2 P(X <= 2) - P(X = 2) for X ~ Binomial(12, 1/2) = (2 (1 + 12 + 66) - 66) / 4096
    assert estimates.paired_difference(*_pairs(30, 10, 2, 58)).p == pytest.approx(92 / 4096)
    assert estimates.paired_difference(*_pairs(30, 0, 5, 65)).p == pytest.approx(1 / 32)
    alike = estimates.paired_difference(*_pairs(600, 0, 0, 400))
    assert (alike.effect, alike.p) == (0, 1)
    assert -0.005 < alike.low < 0 < alike.high < 0.005

    first, second = _pairs(300, 80, 50, 570)
    found = estimates.paired_difference(first, second)
    differences = first.astype(int) - second.astype(int)
    result = stats.bootstrap((differences,), np.mean, n_resamples=4000, rng=1)
    interval = result.confidence_interval
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=3e-3)


def test_difference_of_two_estimates_adds_their_uncertainty() -> None:
    found = estimates.difference_of(Estimate(0.30, 0.27, 0.36, 0.0), Estimate(0.10, 0.02, 0.14, 0))
    # below, 3 and 4 points make 5; above, 6 and 8 make 10
    assert (found.effect, found.low, found.high) == pytest.approx((0.2, 0.15, 0.30))
    # toward zero, 0.05 is 1.96 standard errors, so z = 0.2 / 0.05 · 1.96 = 7.84
    assert found.p == pytest.approx(2 * stats.norm.sf(7.84), rel=1e-2)


def test_holm_and_hochberg_by_hand() -> None:
    # 4 * 0.005, 3 * 0.01, 2 * 0.02, 1 * 0.4
    assert estimates.holm(0.005, [0.02, 0.4, 0.01]) == pytest.approx(0.02)
    assert estimates.holm(0.02, [0.005, 0.4, 0.01]) == pytest.approx(0.04)
    assert estimates.holm(0.03, [0.01, 0.04]) == pytest.approx(0.06)
    assert estimates.holm(0.03, []) == 0.03
    # from the largest: 1 * 0.04, 2 * 0.03 and so 0.04, 3 * 0.01; all of them up to the largest
    assert estimates.hochberg([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.04, 0.04])


def test_over_seeds_is_students_t_and_one_seed_is_no_evidence() -> None:
    values = np.array([1.0, 2.0, 3.0])
    found = estimates.over_seeds(values)
    # mean 2, standard error 1/sqrt(3), t(0.975, 2) = 4.3027
    assert (found.low, found.high) == pytest.approx((2 - 2.4841, 2 + 2.4841), abs=1e-4)
    assert found.p == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    found = estimates.over_seeds(np.array([3.0]))
    assert found.effect == 3
    assert np.isnan([found.low, found.high, found.p]).all()
    assert found.p_beyond(above=True) == 1 == found.p_beyond(above=False)


def test_spread_is_moderated_as_in_limma() -> None:
    # fitFDist of R's limma: e = log s2 - digamma(d/2) + log(d/2), with digamma(1) = -0.577216 at
    # d = 2. log s2 = 0, 1, 2, 5: mean e 2.577216, variance 14/3 less trigamma(1) = 1.644934 is
    # 3.021733 = trigamma(d0/2) at d0/2 = 0.672443; s0^2 = exp(2.577216 + digamma(0.672443)
    # - log(0.672443)), where digamma = -1.300658: 5.33024.
    prior = estimates.fit_prior(np.exp([0.0, 1.0, 2.0, 5.0]), np.full(4, 2.0), 100)
    assert prior
    assert prior.df / 2 == pytest.approx(0.672443, rel=1e-4)
    assert prior.variance == pytest.approx(5.33024, rel=1e-3)
    # Alike up to chance: the mean, with half the degrees of freedom of the runs behind it, or 8.
    for total, df in ((6, 3), (100, 8)):
        assert estimates.fit_prior(np.array([1.0, 1.5, 2.0]), np.full(3, 2.0), total) == (1.5, df)

    assert estimates.fit_prior(np.array([1e-9, 1.0, 1e9]), np.full(3, 2.0), 6) is None

    # Posterior: (d0 s0^2 + d s^2) / (d0 + d) = (4 * 3 + 2 * 1) / 6 = 7/3, t(0.975, 6) = 2.446912.
    values, prior = np.array([1.0, 2.0, 3.0]), estimates.Prior(3.0, 4.0)
    found = estimates.over_seeds(values, prior=prior)
    assert found.high - found.effect == pytest.approx(2.446912 * (7 / 9) ** 0.5, rel=1e-5)
    assert found.p == pytest.approx(2 * stats.t.sf(2 / (7 / 9) ** 0.5, 6))
    # One seed borrows the prior's: variance 3 with 4 degrees of freedom; t(0.975, 4) = 2.776445.
    found = estimates.over_seeds(values[:1], prior=prior)
    assert found.variance and found.variance.borrowed
    assert found.high - 1 == pytest.approx(2.776445 * 3**0.5, rel=1e-5)


def test_equivalence_is_two_one_sided_tests() -> None:
    # t of the nearer margin: (0.01 - 0.004) / 0.002 = 3 with 4 degrees of freedom.
    found = Estimate(0.004, 0, 0.01, 0.1, variance=estimates.Variance(0.002**2, 0.0, 4))
    assert found.p_within(0.01) == pytest.approx(stats.t.sf(3, 4))
    assert found.p_within(0.004) == 1 == found.p_within(0.003)
    # 5 % where an end of the 90 % interval is the margin; known variance: normal.
    half = stats.t.isf(0.05, 2) * 0.5
    assert estimates.Estimate(-1.0, -9, 9, 1.0, variance=estimates.Variance(0.25, 0.0, 2)).p_within(
        1 + half
    ) == pytest.approx(0.05, abs=1e-4)
    assert Estimate(0.0, -1.96, 1.96, 1.0).p_within(1.645) == pytest.approx(0.05, abs=1e-4)
    assert Estimate(0.0, np.nan, np.nan, np.nan).p_within(1.0) == 1


def test_equal_values_are_not_certainty() -> None:
    epochs = estimates.over_seeds(np.array([2.0, 2.0]), resolution=1)
    assert epochs.low < 2 < epochs.high
    assert 0.01 < epochs.p < 0.2
    # Nets that answer one class each are right on 1 of 20 images, whichever class that is.
    found = _crossed(np.eye(20)[:3], threshold=0.1)
    assert found.low < 0.05 < found.high
    assert 0 < found.p < 1
    found = _crossed(np.ones((2, 20)), threshold=0.5)
    assert found.low < 1 < found.high
    assert 0 < found.p < 1


def test_seeds_by_images_by_hand() -> None:
    # Rows' means 0.5 and 0: variance of their mean 0.125 / 2. Columns' means 1, 0, 0, 0: their mean
    # square 2 * 0.25 is the rest's, 1.5 / 3, so that images have no part. t(0.975, 1) = 12.706.
    found = _crossed(np.array([[1.0, 1.0, 0.0, 0.0], [1.0, -1.0, 0.0, 0.0]]))
    half = 12.7062 * 0.25
    assert (found.effect, found.low, found.high) == pytest.approx((0.25, 0.25 - half, 0.25 + half))
    # of t with one degree of freedom (Cauchy): P(|T| > 1) = 1/2
    assert found.p == pytest.approx(0.5)
    # Rows' means 1/2, 1/2, 1/4: variance of the mean 3/144 / 3. Mean squares of images 2.25 / 3 and
    # rest 0.5 / 6: images' part (0.75 - 1/12) / 12. t = 4.302653, z = 1.959964 make of 0.0069444
    # and 0.0555556: 18.512821 * 0.0069444 * (0.0069444 + 0.2075027 * 0.0555556) / 0.0625
    # + 3.841459 * 0.0555556 = 0.251412, whose root is 0.501410.
    found = _crossed(np.array([[1.0, 0.0, 1.0, 0.0], [1.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0]]))
    assert found.effect == pytest.approx(5 / 12)
    assert found.high - found.effect == pytest.approx(0.501410, abs=1e-5)
    assert found.effect - found.low == pytest.approx(0.501410, abs=1e-5)


def test_p_of_two_errors_solves_its_equation() -> None:
    for df, distance in ((1, 3.0), (9, 40.0)):
        p = estimates.p_of_sum(distance, 1.5, 0.5, df)
        squares = stats.t.isf(p / 2, df) ** 2 * 1.5 + stats.norm.isf(p / 2) ** 2 * 0.5
        assert squares == pytest.approx(distance**2, rel=1e-3)
    # One error alone is Student's or the normal one.
    assert estimates.margin(0.05, 4.0, 0.0, 3) == pytest.approx(2 * 3.1824, abs=1e-3)
    assert estimates.margin(0.05, 1e-12, 4.0, 3) == pytest.approx(2 * 1.95996, abs=1e-3)
    assert estimates.p_of_sum(4.303, 1.0, 0.0, 2) == pytest.approx(0.05, abs=1e-5)
    assert estimates.p_of_sum(1.96, 1e-15, 1.0, 2) == pytest.approx(0.05, abs=1e-4)
    assert estimates.p_of_sum(0.0, 1.0, 1.0, 2) == 1
    assert estimates.p_of_sum(1e9, 1e-4, 1e-4, 9) < 1e-80
    assert np.isnan(estimates.p_of_sum(1.0, 0.0, 0.0, 2))


def test_accuracy_intervals_cover_and_p_is_no_smaller_than_it_should_be() -> None:
    """Whatever part of the variance is what the seeds tell; at the level that Holm asks for too."""
    for seeds, lowest, highest in ((2, 0.949, 0.99), (3, 0.94, 0.96)):
        covered = 1 - beyond(lambda *error: np.asarray(estimates.margin(*error)), 0.05, seeds - 1)
        assert lowest < covered.min() <= covered.max() < highest
        for level in (0.05, 0.05 / 15):
            assert beyond(sum_of_squares, level, seeds - 1).max() < level * 1.02


def test_exchanged_runs_exchange_their_efforts() -> None:
    first = {"val_accuracy": np.array([0.1, 0.3, 0.2, 0.5]), "seconds": np.array([1, 1, 2, 2])}
    second = {"val_accuracy": np.array([0.2, 0.25, 0.3]), "seconds": np.array([3, 3, 3])}
    assert measure_efforts(first, second, "epochs") == (2, 3)  # 0.3, which is the second's best
    assert measure_efforts(second, first, "epochs") == (3, 2)
    assert measure_efforts(first, second, "seconds") == (3, 9)  # epochs of 1.5 and 3 s
    worse = second | {"val_accuracy": np.array([0.2, 0.25, 0.05])}
    assert measure_efforts(worse, first, "epochs") == (
        2,
        2,
    )  # it never reaches 0.5, but both reach 0.25


def test_simulated_studies_of_equal_variants_say_nothing_false() -> None:
    false = family(World("no difference", 3), 40)["false"]
    assert false <= stats.binom.ppf(0.9999, 40, 0.05)


def test_one_seed_of_a_simulated_study_says_nothing_of_the_variants() -> None:
    found = family(World("seeds differ", 1, spread=0.05), 20)
    assert found["false"] <= stats.binom.ppf(0.9999, 20, 0.05)
    assert found["false_of_variants"] > 10


def test_page_shows_the_record() -> None:
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    page = PAGE.read_text(encoding="utf-8")
    assert page.split(BEGIN)[1].split(END)[0].strip() == tables(record)
    drawn = [world.name for world in worlds()]
    assert [one["name"] for one in record["families"]] == drawn
    assert [one["name"] for one in record["intervals"]] == [name for name, _ in intervals()]
    assert all(one["studies"] >= 400 for one in record["families"])
