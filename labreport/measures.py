"""What of two variants (or one) is compared, and which estimate their data allow."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache, partial
from itertools import combinations
from math import log
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from labcnn.runs import RunResult, SplitMetrics
from labreport import estimates
from labreport.estimates import Estimate, Prior, fit_prior
from labreport.study import Study

#: Of a study: the effect in each seed, of the first variant or of the first less the second.
PerSeed = Callable[[Study, str, str | None, list[int]], np.ndarray]
#: The estimate of a single seed, from its images, against a threshold.
OfOneSeed = Callable[[Study, str, str | None, int, float], Estimate]
#: A run's epochs: a table, or arrays by the names of its columns.
History = pd.DataFrame | Mapping[str, np.ndarray]


#: Stage 0 is the stem, 1 to 4 the stages, 5 the head.
FIRST, LAST = 1, 4
#: Differences of accuracies within one point are of no substance.
MARGIN = 0.01
#: A training loss of more than this share of guessing's, ln(classes), is a plateau.
PLATEAU = 0.98
#: Seconds of the same arithmetic that differ by more than this are the machine's load.
BUSY = 1.25
#: Variants with several seeds that it takes to say how far the seeds of another one differ.
FEWEST = 3


class Why(Enum):
    """Why a comparison can't be made, or isn't tested."""

    MISSING = auto()  # some variants have no finished run
    NO_COMMON_SEED = auto()
    IDENTICAL = auto()  # one training twice: the switch did nothing
    OTHER_MACHINES = auto()
    BUSY_MACHINE = auto()  # one arithmetic took very different times
    CAPPED = auto()  # all runs ended at the cap on epochs
    NOT_FINITE_ACCURACY = auto()
    NOT_FINITE_GRADIENT = auto()
    PLATEAU = auto()  # a net that has not begun to learn: its gradients tell nothing of depth
    GAP_OUT_OF_REACH = auto()  # the training accuracy is below the gap that is asked for
    ONE_SEED = auto()  # there is an effect, but no interval without more seeds


@dataclass(frozen=True)
class Reason:
    """Why, and what belongs to it.

    Attributes
    ----------
    variants : the missing ones of ``MISSING``.
    accuracy, limit : of ``GAP_OUT_OF_REACH``, 0-1.
    """

    why: Why
    variants: tuple[str, ...] = ()
    accuracy: float = 0.0
    limit: float = 0.0


class NotComparableError(Exception):
    """A comparison can't be made; ``reason`` says why."""

    def __init__(self, why: Why, **data: float) -> None:
        super().__init__(why.name)
        self.reason = Reason(why, **data)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Measure:
    """How a comparison is made and read.

    Attributes
    ----------
    per_seed : the effect of each seed. Ratios are natural logarithms.
    unit : ``points`` (accuracy, 0-1), ``epochs`` or ``ratio`` (logarithm).
    margin : a difference of two variants that is smaller matters to nobody; None: there is no size
        of which that could be said.
    step : of a counted quantity, in a run.
    of_one_seed : what one seed's images allow where nothing tells how far seeds differ.
    of_test_images : whether the test images' choice adds to what the seeds make.
    pooled : whether pairs of variants are enough alike for one to tell how far another's seeds
        differ.
    usable : the runs of which the measure says something.
    """

    per_seed: PerSeed
    unit: str
    margin: float | None = None
    step: Callable[[RunResult], float] = lambda run: 0.0
    of_one_seed: OfOneSeed | None = None
    of_test_images: bool = False
    pooled: bool = True
    usable: Callable[[Study, str, int], bool] = lambda study, variant, seed: True


def _counts(metrics: SplitMetrics) -> tuple[int, int]:
    """Correct images, and all."""
    return round(metrics.accuracy * metrics.count), metrics.count


def _subtract(
    value: Callable[[RunResult], float],
    study: Study,
    first: str,
    second: str | None,
    seeds: list[int],
) -> np.ndarray:
    """A number of a run's result in each seed, of the first or of the first less the second."""
    names = [first] if second is None else [first, second]
    values = np.array([[value(study.results[n, s]) for n in names] for s in seeds])
    return values[:, 0] - (values[:, 1] if second is not None else 0.0)


def _read_correctness(study: Study, first: str, second: str | None, seeds: list[int]) -> np.ndarray:
    """Seeds x test images: correctness of ``first``, minus that of ``second``."""
    rows = []
    for seed in seeds:
        row = study.test_correct(first, seed).astype(float)
        if second is not None:
            row -= study.test_correct(second, seed)
        rows.append(row)
    return np.array(rows)


def _estimate_test(
    study: Study, first: str, second: str | None, seed: int, threshold: float
) -> Estimate:
    correct = study.test_correct(first, seed)
    if second is None:
        return estimates.proportion(int(correct.sum()), len(correct), threshold)
    return estimates.paired_difference(correct, study.test_correct(second, seed))


def _estimate_train(
    study: Study, first: str, second: str | None, seed: int, threshold: float
) -> Estimate:
    a, b = (_counts(study.results[v, seed].train) for v in (first, str(second)))
    return estimates.unpaired_difference(*a, *b, threshold)


def _estimate_gap(
    study: Study, first: str, second: str | None, seed: int, threshold: float
) -> Estimate:
    if second is None:
        run = study.results[first, seed]
        return estimates.unpaired_difference(*_counts(run.train), *_counts(run.test), threshold)
    return estimates.difference_of(
        _estimate_train(study, first, second, seed, 0),
        _estimate_test(study, first, second, seed, 0),
    )


def _compare_epochs(study: Study, first: str, second: str | None, seeds: list[int]) -> np.ndarray:
    runs = [study.results[v, s] for v in (first, str(second)) for s in seeds]
    if all(run.stopped == "cap" for run in runs):
        raise NotComparableError(Why.CAPPED)
    return _subtract(lambda run: run.epochs_run, study, first, second, seeds)


def _require_one_machine(runs: list[RunResult]) -> None:
    if len({machine for run in runs for machine in run.provenance.machines}) > 1:
        raise NotComparableError(Why.OTHER_MACHINES)


def _require_quiet_machine(study: Study) -> None:
    """Of a depth, baseline and lrdecay compute the same: their seconds tell the machine's load."""
    for variant, seed in study.results:
        depth, _, switch = variant.partition("_")
        twin = study.results.get((f"{depth}_baseline", seed))
        if switch == "lrdecay" and twin is not None:
            seconds = study.results[variant, seed].timing.seconds_per_epoch
            ratio = seconds / twin.timing.seconds_per_epoch
            if max(ratio, 1 / ratio) > BUSY:
                raise NotComparableError(Why.BUSY_MACHINE, limit=max(ratio, 1 / ratio) - 1)


def _compare_seconds(study: Study, first: str, second: str | None, seeds: list[int]) -> np.ndarray:
    _require_one_machine([study.results[v, s] for v in (first, str(second)) for s in seeds])
    _require_quiet_machine(study)
    return _subtract(lambda run: log(run.timing.seconds_per_epoch), study, first, second, seeds)


def measure_efforts(first: History, second: History, column: str) -> tuple[float, float]:
    """Epochs or seconds that two runs took to the best validation accuracy that both reached.

    That is the second's (the baseline's) best if the first comes so far. Taken as the target always
    it would favour the second, which reaches it by definition: of two runs of the same variant the
    first would then seem slower. An epoch's seconds are the run's median: one in which the computer
    slept doesn't count for more.

    Parameters
    ----------
    first, second : with columns ``val_accuracy`` and ``seconds``.
    column : ``epochs`` or ``seconds``.
    """
    accuracies = [np.asarray(history["val_accuracy"]) for history in (first, second)]
    target = min(float(np.max(a, where=np.isfinite(a), initial=-np.inf)) for a in accuracies)
    if not np.isfinite(target):
        raise NotComparableError(Why.NOT_FINITE_ACCURACY)
    epochs = [int(np.flatnonzero(a >= target)[0]) + 1 for a in accuracies]
    if column == "epochs":
        return float(epochs[0]), float(epochs[1])
    one, other = (float(np.median(history["seconds"])) for history in (first, second))
    return epochs[0] * one, epochs[1] * other


def _compare_efforts(column: str) -> PerSeed:
    def per_seed(study: Study, first: str, second: str | None, seeds: list[int]) -> np.ndarray:
        names = [first, str(second)]
        if column == "seconds":
            _require_one_machine([study.results[n, s] for n in names for s in seeds])
            _require_quiet_machine(study)
        runs = [[study.history(n, s) for n in names] for s in seeds]
        pairs = np.array([measure_efforts(one, other, column) for one, other in runs])
        if column == "epochs":
            return pairs[:, 0] - pairs[:, 1]
        return np.log(pairs[:, 0] / pairs[:, 1])

    return per_seed


@lru_cache(maxsize=256)
def stage_norms(study: Study, variant: str, seed: int) -> pd.DataFrame:
    """Gradient norm of each stage (columns) in each epoch (rows): root mean square of its layers.

    The mean, not the sum, so that a stage of more layers has no larger norm for that alone.
    """
    table = study.gradients(variant, seed)
    squares = table.assign(square=table["gradient_norm"] ** 2)
    mean = squares.groupby(["epoch", "stage"])["square"].agg(lambda s: s.mean(skipna=False))
    return mean.unstack("stage").pow(0.5)


def first_to_last(study: Study, variant: str, seed: int) -> np.ndarray:
    """Logarithm of first over last stage's norm, one per epoch; below 0: fading on the way back."""
    norms = stage_norms(study, variant, seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(norms[FIRST].to_numpy() / norms[LAST].to_numpy())


def overall_norm(study: Study, variant: str, seed: int) -> np.ndarray:
    """Logarithm of the norm over all stages, one per epoch."""
    norms = stage_norms(study, variant, seed)[[*range(FIRST, LAST + 1)]]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(np.sqrt((norms.to_numpy() ** 2).sum(axis=1)))


def left_plateau(study: Study, variant: str, seed: int) -> bool:
    """Whether a run's training loss, by its best epoch, is well below that of guessing.

    On the plateau before, all gradients are tiny, whatever the depth.
    """
    best = study.results[variant, seed].best_epoch
    if best is None:
        return True
    loss = study.history(variant, seed).set_index("epoch")["train_loss"][best]
    return bool(loss <= PLATEAU * log(1 / study.chance))


def average_over_epochs(series: Callable[[Study, str, int], np.ndarray]) -> PerSeed:
    """Mean over a run's epochs of a logarithm that ``series`` gives for each.

    One run gives one value: its epochs follow from each other, they aren't a sample of anything.
    """

    def per_seed(study: Study, first: str, second: str | None, seeds: list[int]) -> np.ndarray:
        found = []
        for seed in seeds:
            values = series(study, first, seed)
            if second is not None:
                other = series(study, second, seed)
                common = min(len(values), len(other))
                values = values[:common] - other[:common]
            found.append(values[np.isfinite(values)])
        if not all(len(values) for values in found):
            raise NotComparableError(Why.NOT_FINITE_GRADIENT)
        return np.array([values.mean() for values in found])

    return per_seed


def _only_first(series: Callable[[Study, str, int], np.ndarray]) -> Any:
    """Of a series by epochs what it was before training."""
    return lambda study, variant, seed: series(study, variant, seed)[:1]


MEASURES: dict[str, Measure] = {
    "test": Measure(
        partial(_subtract, lambda run: run.test.accuracy), "points", MARGIN,
        lambda run: 1 / run.test.count, _estimate_test, of_test_images=True,
    ),
    "train": Measure(
        partial(_subtract, lambda run: run.train.accuracy), "points", MARGIN,
        lambda run: 1 / run.train.count, _estimate_train,
    ),
    "gap": Measure(
        partial(_subtract, lambda run: run.train.accuracy - run.test.accuracy), "points", MARGIN,
        lambda run: 1 / run.test.count, _estimate_gap, of_test_images=True,
    ),
    "epochs": Measure(_compare_epochs, "epochs", step=lambda run: 1.0),
    "epochs_to_reach": Measure(
        _compare_efforts("epochs"), "epochs", step=lambda run: 1.0, pooled=False
    ),
    "seconds_to_reach": Measure(_compare_efforts("seconds"), "ratio", pooled=False),
    "seconds_per_epoch": Measure(_compare_seconds, "ratio"),
    "fading": Measure(average_over_epochs(first_to_last), "ratio", usable=left_plateau),
    "gradient": Measure(average_over_epochs(overall_norm), "ratio"),
    "fading_at_start": Measure(average_over_epochs(_only_first(first_to_last)), "ratio"),
    "gradient_at_start": Measure(average_over_epochs(_only_first(overall_norm)), "ratio"),
}  # fmt: skip


def estimate_effect(
    study: Study,
    name: str,
    first: str,
    second: str | None,
    seeds: list[int],
    threshold: float = 0.0,
) -> Estimate:
    """A measure's effect over seeds, its spread moderated by the experiment's other pairs.

    Parameters
    ----------
    name : key of :data:`MEASURES`.
    first, second, seeds : ``first - second`` over the seeds that both have; ``second`` None: of
        ``first`` alone.

    Raises
    ------
    NotComparableError
        Which says why these runs can't be compared.
    """
    measure = MEASURES[name]
    if name == "gap" and second is None:
        highest = max(study.results[first, s].train.accuracy for s in seeds)
        if highest <= threshold:
            raise NotComparableError(Why.GAP_OUT_OF_REACH, accuracy=highest, limit=threshold)
    values = measure.per_seed(study, first, second, seeds)
    # Nets that all failed answer one class each: those that learn say nothing of how they differ.
    learned = any(study.results[v, seeds[0]].status == "ok" for v in (first, second) if v)
    prior = find_prior(study, name, second is not None) if learned else None
    if len(seeds) == 1 and prior is None and measure.of_one_seed:
        return measure.of_one_seed(study, first, second, seeds[0], threshold)
    images = _read_correctness(study, first, second, seeds) if measure.of_test_images else None
    step = measure.step(study.results[first, seeds[0]])
    return estimates.over_seeds(values, threshold, step, images, prior)


@lru_cache(maxsize=32)
def find_prior(study: Study, name: str, paired: bool) -> Prior | None:
    """How far seeds differ, from all pairs (or variants) of the experiment; None: it can't tell.

    Variants a run of which failed say nothing of those that learn, nor does a training that stands
    there twice.
    """
    measure, steady = MEASURES[name], _find_steady(study)
    if not measure.pooled or len(steady) < FEWEST:
        return None
    variances, freedom = [], []
    for first, second in combinations(steady, 2) if paired else ((v, None) for v in steady):
        names = [first] if second is None else [first, second]
        common = sorted(set.intersection(*(set(study.seeds(n)) for n in names)))
        seeds = [s for s in common if all(measure.usable(study, n, s) for n in names)]
        if len(seeds) < 2:
            continue
        try:
            values = measure.per_seed(study, first, second, seeds)
        except NotComparableError:
            continue
        step = measure.step(study.results[first, seeds[0]])
        variances.append(max(float(np.var(values, ddof=1)), step**2 / 12))
        freedom.append(len(seeds) - 1)
    positive = np.array(variances) > 0
    if positive.sum() < FEWEST:
        return None
    total = sum(len(study.seeds(v)) - 1 for v in steady)
    return fit_prior(np.array(variances)[positive], np.array(freedom)[positive], total)


@lru_cache(maxsize=4)
def _find_steady(study: Study) -> list[str]:
    """The variants with several seeds, all of which learned; each training once."""
    found: list[str] = []
    for variant in study.present:
        seeds = study.seeds(variant)
        if len(seeds) < 2 or any(study.results[variant, s].status != "ok" for s in seeds):
            continue
        twins = [v for v in found if study.seeds(v) == seeds]
        if not any(study.identical(variant, v, seeds) for v in twins):
            found.append(variant)
    return found


def accuracy_interval(study: Study, variant: str) -> tuple[float, float, float]:
    """Test accuracy and its 95 % interval: over images, and over seeds where they tell a spread.

    Of the runs that learned, where some did. Symmetric as a logit, so that it stays within 0 and 1.
    """
    seeds = study.learned(variant)
    found = estimate_effect(study, "test", variant, None, seeds)
    accuracy = found.effect
    if found.variance is None or not 0 < accuracy < 1:
        counts = [_counts(study.results[variant, s].test) for s in seeds]
        right, total = map(sum, zip(*counts, strict=True))
        return accuracy, *estimates.wilson(right, total)
    half = (found.high - accuracy) / (accuracy * (1 - accuracy))
    low, high = expit(logit(accuracy) + half * np.array([-1, 1]))
    return accuracy, float(low), float(high)


def seed_deviation(study: Study, variant: str) -> float:
    """Standard deviation of the test accuracy over the seeds that learned; NaN with one."""
    found = [study.results[variant, seed].test.accuracy for seed in study.learned(variant)]
    return float(np.std(found, ddof=1)) if len(found) > 1 else float("nan")
