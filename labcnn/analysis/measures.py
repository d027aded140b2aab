"""Measures: what of two variants (or one) is compared, and which statistics its data allow."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from labcnn.analysis import repeated, statistics
from labcnn.analysis.gradients import first_to_last, overall
from labcnn.analysis.statistics import Estimate
from labcnn.analysis.study import Study
from labcnn.runs import RunResult, SplitMetrics


class NotComparableError(Exception):
    """Why a comparison can't be made, in Chinese, for the report."""


@dataclass(frozen=True)
class Measure:
    """How a comparison is made and read.

    Attributes
    ----------
    compare : the estimate of ``first - second`` over their common seeds (``second`` None: of
        ``first`` alone) against a threshold. Ratios are estimated as natural logarithms.
    unit : ``points`` (accuracy, 0-1), ``epochs`` or ``ratio`` (logarithm).
    """

    compare: Callable[[Study, str, str | None, list[int], float], Estimate]
    unit: str


def _correct(metrics: SplitMetrics) -> int:
    return round(metrics.accuracy * metrics.count)


def _matrix(study: Study, first: str, second: str | None, seeds: list[int]) -> np.ndarray:
    """Seeds x test images: correctness of ``first``, minus that of ``second``."""
    rows = []
    for seed in seeds:
        row = study.test_correct(first, seed).astype(float)
        if second is not None:
            labels = study.test_labels(first, seed), study.test_labels(second, seed)
            if not np.array_equal(*labels):
                raise NotComparableError("两者的测试图像不同")
            row -= study.test_correct(second, seed)
        rows.append(row)
    if len({len(row) for row in rows}) > 1:
        raise NotComparableError("各种子的测试图像不同")
    return np.array(rows)


def _test(
    study: Study, first: str, second: str | None, seeds: list[int], threshold: float
) -> Estimate:
    matrix = _matrix(study, first, second, seeds)
    if len(seeds) > 1:
        return repeated.seeds_by_images(matrix, threshold=threshold)
    correct = study.test_correct(first, seeds[0])
    if second is None:
        return statistics.proportion(int(correct.sum()), len(correct), threshold)
    return statistics.paired_difference(correct, study.test_correct(second, seeds[0]))


def _train(
    study: Study, first: str, second: str | None, seeds: list[int], threshold: float
) -> Estimate:
    if second is None:
        raise ValueError("training accuracy is compared between two variants")
    pairs = [(study.results[first, s].train, study.results[second, s].train) for s in seeds]
    if len(seeds) > 1:
        values = np.array([a.accuracy - b.accuracy for a, b in pairs])
        return repeated.over_seeds(values, threshold, resolution=1 / pairs[0][0].count)
    a, b = pairs[0]
    return statistics.unpaired_difference(_correct(a), a.count, _correct(b), b.count, threshold)


def _gap(
    study: Study, first: str, second: str | None, seeds: list[int], threshold: float
) -> Estimate:
    """Training minus test accuracy."""
    if len(seeds) > 1:
        images = -_matrix(study, first, second, seeds)
        names = [first] if second is None else [first, second]
        train = np.array([[study.results[n, s].train.accuracy for n in names] for s in seeds])
        difference = train[:, 0] - (train[:, 1] if second is not None else 0)
        return repeated.seeds_by_images(images, difference + images.mean(axis=1), threshold)
    run = study.results[first, seeds[0]]
    if second is None:
        counts = _correct(run.train), run.train.count, _correct(run.test), run.test.count
        return statistics.unpaired_difference(*counts, threshold)
    return statistics.difference_of(
        _train(study, first, second, seeds, 0), _test(study, first, second, seeds, 0)
    )


def _epochs(
    study: Study, first: str, second: str | None, seeds: list[int], threshold: float
) -> Estimate:
    pairs = [(study.results[first, s], study.results[str(second), s]) for s in seeds]
    if all(a.stopped == b.stopped == "cap" for a, b in pairs):
        raise NotComparableError("两者都训练到轮数上限才停，轮数无从比较")
    values = np.array([float(a.epochs_run - b.epochs_run) for a, b in pairs])
    return repeated.over_seeds(values, threshold, resolution=1)


def _same_machine(runs: list[RunResult]) -> None:
    if (
        len(
            {(r.provenance.device_name, r.provenance.precision, r.provenance.threads) for r in runs}
        )
        > 1
    ):
        raise NotComparableError("各运行的设备、精度或线程数不同，用时无从比较")


def _seconds_per_epoch(
    study: Study, first: str, second: str | None, seeds: list[int], threshold: float
) -> Estimate:
    names = [first, str(second)]
    _same_machine([study.results[n, s] for n in names for s in seeds])
    if len(seeds) > 1:
        seconds = np.array(
            [[study.results[n, s].timing.seconds_per_epoch for n in names] for s in seeds]
        )
        return repeated.over_seeds(np.log(seconds[:, 0] / seconds[:, 1]), threshold)
    series = [study.history(n, seeds[0])["seconds"].to_numpy() for n in names]
    common = min(map(len, series))
    return repeated.over_epochs(np.log(series[0][:common] / series[1][:common]), threshold)


def _effort(study: Study, variant: str, seed: int, target: float, column: str) -> float:
    """Epochs or seconds until validation accuracy reaches ``target``; never: more than all."""
    history = study.history(variant, seed)
    reached = np.flatnonzero(history["val_accuracy"].to_numpy() >= target)
    if column == "epochs":
        return float(history["epoch"].iloc[reached[0]] if len(reached) else len(history) + 1)
    seconds = history["seconds"].cumsum().to_numpy()
    return float(seconds[reached[0]] if len(reached) else seconds[-1] + history["seconds"].mean())


def _to_reach(column: str) -> Callable[[Study, str, str | None, list[int], float], Estimate]:
    """Effort until ``second``'s best validation accuracy is reached, first minus second."""

    def compare(
        study: Study, first: str, second: str | None, seeds: list[int], threshold: float
    ) -> Estimate:
        values = []
        for seed in seeds:
            target = float(study.history(str(second), seed)["val_accuracy"].max())
            pair = [_effort(study, n, seed, target, column) for n in (first, str(second))]
            values.append(pair[0] - pair[1] if column == "epochs" else np.log(pair[0] / pair[1]))
        if column == "seconds":
            _same_machine([study.results[n, s] for n in (first, str(second)) for s in seeds])
        return repeated.over_seeds(
            np.array(values), threshold, resolution=float(column == "epochs")
        )

    return compare


def _gradient(
    series: Callable[[Study, str, int], np.ndarray],
) -> Callable[[Study, str, str | None, list[int], float], Estimate]:
    """Mean over epochs of a logarithm that ``series`` gives for each."""

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
            raise NotComparableError("梯度范数不是有限值")
        if len(seeds) > 1:
            return repeated.over_seeds(np.array([v.mean() for v in per_seed]), threshold)
        return repeated.over_epochs(per_seed[0], threshold)

    return compare


MEASURES: dict[str, Measure] = {
    "test": Measure(_test, "points"),
    "train": Measure(_train, "points"),
    "gap": Measure(_gap, "points"),
    "epochs": Measure(_epochs, "epochs"),
    "epochs_to_reach": Measure(_to_reach("epochs"), "epochs"),
    "seconds_to_reach": Measure(_to_reach("seconds"), "ratio"),
    "seconds_per_epoch": Measure(_seconds_per_epoch, "ratio"),
    "fading": Measure(_gradient(first_to_last), "ratio"),
    "gradient": Measure(_gradient(overall), "ratio"),
}
