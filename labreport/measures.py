"""What of two variants (or one) is compared, and which estimate their data allow."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from math import log, sqrt

import numpy as np
import pandas as pd

from labcnn.runs import RunResult, SplitMetrics
from labreport import estimates
from labreport.estimates import Estimate
from labreport.study import Study

#: Of a study: first and second variant, their common seeds, the threshold.
Compare = Callable[[Study, str, str | None, list[int], float], Estimate]
#: A run's epochs: a table, or arrays by the names of its columns.
History = pd.DataFrame | Mapping[str, np.ndarray]


#: Stage 0 is the stem, 1 to 4 the stages, 5 the head.
FIRST, LAST = 1, 4
#: Differences of accuracies within one point are of no substance.
MARGIN = 0.01
#: A training loss of more than this share of guessing's, ln(classes), is a plateau.
PLATEAU = 0.98


class Why(Enum):
    """Why a comparison can't be made, or a claim isn't decided."""

    MISSING = auto()  # some variants have no finished run
    NO_COMMON_SEED = auto()
    IDENTICAL = auto()  # one training twice: the switch did nothing
    OTHER_MACHINES = auto()
    CAPPED = auto()  # all runs ended at the cap on epochs
    NOT_FINITE_ACCURACY = auto()
    NOT_FINITE_GRADIENT = auto()
    PLATEAU = auto()  # a net that has not begun to learn: its gradients tell nothing of depth
    GAP_OUT_OF_REACH = auto()  # the training accuracy is below the gap that is asked for
    ONE_SEED = auto()  # there is an effect, but no interval without more seeds
    NOT_SIGNIFICANT = auto()
    NOT_ALL_PARTS = auto()  # some parts are decided
    ONLY_BEFORE_HOLM = auto()


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
    compare : the estimate of ``first - second`` over their common seeds (``second`` None: of
        ``first`` alone) against a threshold. Ratios are estimated as natural logarithms.
    unit : ``points`` (accuracy, 0-1), ``epochs`` or ``ratio`` (logarithm).
    margin : a difference of two variants that is smaller matters to nobody; None: there is no size
        of which that could be said.
    """

    compare: Compare
    unit: str
    margin: float | None = None


def _counts(metrics: SplitMetrics) -> tuple[int, int]:
    """Correct images, and all."""
    return round(metrics.accuracy * metrics.count), metrics.count


def _read_correctness(study: Study, first: str, second: str | None, seeds: list[int]) -> np.ndarray:
    """Seeds x test images: correctness of ``first``, minus that of ``second``."""
    rows = []
    for seed in seeds:
        row = study.test_correct(first, seed).astype(float)
        if second is not None:
            row -= study.test_correct(second, seed)
        rows.append(row)
    return np.array(rows)


def _compare_test(
    study: Study, first: str, second: str | None, seeds: list[int], threshold: float
) -> Estimate:
    matrix = _read_correctness(study, first, second, seeds)
    if len(seeds) > 1:
        return estimates.seeds_by_images(matrix, threshold=threshold)
    correct = study.test_correct(first, seeds[0])
    if second is None:
        return estimates.proportion(int(correct.sum()), len(correct), threshold)
    return estimates.paired_difference(correct, study.test_correct(second, seeds[0]))


def _compare_train(
    study: Study, first: str, second: str | None, seeds: list[int], threshold: float
) -> Estimate:
    if second is None:
        raise ValueError("training accuracy is compared between two variants")
    pairs = [(study.results[first, s].train, study.results[second, s].train) for s in seeds]
    if len(seeds) > 1:
        values = np.array([a.accuracy - b.accuracy for a, b in pairs])
        return estimates.over_seeds(values, threshold, resolution=1 / pairs[0][0].count)
    a, b = pairs[0]
    return estimates.unpaired_difference(*_counts(a), *_counts(b), threshold)


def _compare_gaps(
    study: Study, first: str, second: str | None, seeds: list[int], threshold: float
) -> Estimate:
    """Training minus test accuracy."""
    highest = max(study.results[first, s].train.accuracy for s in seeds)
    if second is None and highest <= threshold:
        raise NotComparableError(Why.GAP_OUT_OF_REACH, accuracy=highest, limit=threshold)
    if len(seeds) > 1:
        images = -_read_correctness(study, first, second, seeds)
        names = [first] if second is None else [first, second]
        train = np.array([[study.results[n, s].train.accuracy for n in names] for s in seeds])
        difference = train[:, 0] - (train[:, 1] if second is not None else 0)
        return estimates.seeds_by_images(images, difference + images.mean(axis=1), threshold)
    run = study.results[first, seeds[0]]
    if second is None:
        return estimates.unpaired_difference(*_counts(run.train), *_counts(run.test), threshold)
    return estimates.difference_of(
        _compare_train(study, first, second, seeds, 0),
        _compare_test(study, first, second, seeds, 0),
    )


def _compare_epochs(
    study: Study, first: str, second: str | None, seeds: list[int], threshold: float
) -> Estimate:
    pairs = [(study.results[first, s], study.results[str(second), s]) for s in seeds]
    if all(a.stopped == b.stopped == "cap" for a, b in pairs):
        raise NotComparableError(Why.CAPPED)
    values = np.array([float(a.epochs_run - b.epochs_run) for a, b in pairs])
    return estimates.over_seeds(values, threshold, resolution=1)


def _require_one_machine(runs: list[RunResult]) -> None:
    if len({machine for run in runs for machine in run.provenance.machines}) > 1:
        raise NotComparableError(Why.OTHER_MACHINES)


def _compare_seconds(
    study: Study, first: str, second: str | None, seeds: list[int], threshold: float
) -> Estimate:
    names = [first, str(second)]
    _require_one_machine([study.results[n, s] for n in names for s in seeds])
    seconds = np.array(
        [[study.results[n, s].timing.seconds_per_epoch for n in names] for s in seeds]
    )
    return estimates.over_seeds(np.log(seconds[:, 0] / seconds[:, 1]), threshold)


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


def _compare_efforts(column: str) -> Compare:
    def compare(
        study: Study, first: str, second: str | None, seeds: list[int], threshold: float
    ) -> Estimate:
        names = [first, str(second)]
        if column == "seconds":
            _require_one_machine([study.results[n, s] for n in names for s in seeds])
        runs = [[study.history(n, s) for n in names] for s in seeds]
        pairs = np.array([measure_efforts(one, other, column) for one, other in runs])
        if column == "epochs":
            return estimates.over_seeds(pairs[:, 0] - pairs[:, 1], threshold, resolution=1)
        return estimates.over_seeds(np.log(pairs[:, 0] / pairs[:, 1]), threshold)

    return compare


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


def is_on_plateau(study: Study, variant: str, seed: int) -> bool:
    """Whether a run's training loss, at its best epoch, is still close to that of guessing."""
    best = study.results[variant, seed].best_epoch
    if best is None:
        return False
    loss = study.history(variant, seed).set_index("epoch")["train_loss"][best]
    return bool(loss > PLATEAU * log(1 / study.chance))


def average_over_epochs(
    series: Callable[[Study, str, int], np.ndarray],
) -> Compare:
    """Mean over a run's epochs of a logarithm that ``series`` gives for each.

    One run gives one value: its epochs follow from each other, they aren't a sample of anything.
    """

    def compare(
        study: Study, first: str, second: str | None, seeds: list[int], threshold: float
    ) -> Estimate:
        per_seed = []
        for seed in seeds:
            values = series(study, first, seed)
            if second is not None:
                other = series(study, second, seed)
                common = min(len(values), len(other))
                values = values[:common] - other[:common]
            per_seed.append(values[np.isfinite(values)])
        if not all(len(values) for values in per_seed):
            raise NotComparableError(Why.NOT_FINITE_GRADIENT)
        return estimates.over_seeds(np.array([v.mean() for v in per_seed]), threshold)

    return compare


def _compare_fading(
    study: Study, first: str, second: str | None, seeds: list[int], threshold: float
) -> Estimate:
    """Of seeds whose nets left the plateau: on it all gradients are tiny, whatever the depth."""
    names = [first] if second is None else [first, second]
    learning = [s for s in seeds if not any(is_on_plateau(study, n, s) for n in names)]
    if not learning:
        raise NotComparableError(Why.PLATEAU)
    return average_over_epochs(first_to_last)(study, first, second, learning, threshold)


MEASURES: dict[str, Measure] = {
    "test": Measure(_compare_test, "points", MARGIN),
    "train": Measure(_compare_train, "points", MARGIN),
    "gap": Measure(_compare_gaps, "points", MARGIN),
    "epochs": Measure(_compare_epochs, "epochs"),
    "epochs_to_reach": Measure(_compare_efforts("epochs"), "epochs"),
    "seconds_to_reach": Measure(_compare_efforts("seconds"), "ratio"),
    "seconds_per_epoch": Measure(_compare_seconds, "ratio"),
    "fading": Measure(_compare_fading, "ratio"),
    "gradient": Measure(average_over_epochs(overall_norm), "ratio"),
}


def accuracy_interval(study: Study, variant: str) -> tuple[float, float, float]:
    """Test accuracy and its 95 % interval: over images, and over seeds where there are several."""
    correct = [study.test_correct(variant, seed) for seed in study.seeds(variant)]
    if len(correct) == 1:
        right, count = int(correct[0].sum()), len(correct[0])
        return right / count, *estimates.wilson(right, count)
    estimate = estimates.seeds_by_images(np.array(correct, float))
    return estimate.effect, max(0.0, estimate.low), min(1.0, estimate.high)


def seed_deviation(study: Study, variant: str) -> float:
    """Standard deviation of the test accuracy over the seeds; NaN with one."""
    return float(study.table.loc[study.table["variant"] == variant, "test_accuracy"].std())


def sampling_deviation(study: Study, variant: str) -> float:
    """Standard deviation of a test accuracy that the choice of test images alone would cause."""
    mean, count = study.mean(variant, "test_accuracy"), study.runs(variant)[0].test.count
    return sqrt(mean * (1 - mean) / count)
