"""Measures: what of two variants (or one) is compared, and which statistics its data allow."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from labcnn.runs import RunResult, SplitMetrics
from labreport import repeated, statistics
from labreport.formats import percent
from labreport.gradients import first_to_last, overall
from labreport.statistics import Estimate
from labreport.study import Study

#: A run's epochs: a table, or arrays by the names of its columns.
History = pd.DataFrame | Mapping[str, np.ndarray]


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
    highest = max(study.results[first, s].train.accuracy for s in seeds)
    if second is None and highest <= threshold:
        raise NotComparableError(
            f"训练集准确率只有 {percent(highest)}%，差值本就不可能超过判定界限 "
            f"{percent(threshold)} 个百分点"
        )
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
    if len({machine for run in runs for machine in run.provenance.machines}) > 1:
        raise NotComparableError("各运行的设备、精度或线程数不同，用时无从比较")


def _seconds_per_epoch(
    study: Study, first: str, second: str | None, seeds: list[int], threshold: float
) -> Estimate:
    names = [first, str(second)]
    _same_machine([study.results[n, s] for n in names for s in seeds])
    seconds = np.array(
        [[study.results[n, s].timing.seconds_per_epoch for n in names] for s in seeds]
    )
    return repeated.over_seeds(np.log(seconds[:, 0] / seconds[:, 1]), threshold)


def efforts(first: History, second: History, column: str) -> tuple[float, float]:
    """Epochs or seconds that two runs took to the best validation accuracy that both reached.

    That is the second's (the baseline's) best if the first comes so far. Taken as the target always
    it would favour the second, which reaches it by definition: of two runs of the same variant the
    first would then seem slower.

    Parameters
    ----------
    first, second : with columns ``val_accuracy`` and ``seconds``.
    column : ``epochs`` or ``seconds``.
    """
    accuracies = [np.asarray(history["val_accuracy"]) for history in (first, second)]
    target = min(float(np.max(a, where=np.isfinite(a), initial=-np.inf)) for a in accuracies)
    if not np.isfinite(target):
        raise NotComparableError("验证集准确率不是有限值")
    places = [int(np.flatnonzero(a >= target)[0]) for a in accuracies]
    if column == "epochs":
        return float(places[0] + 1), float(places[1] + 1)
    one, other = (
        float(np.asarray(history["seconds"])[: place + 1].sum())
        for history, place in zip((first, second), places, strict=True)
    )
    return one, other


def _to_reach(column: str) -> Callable[[Study, str, str | None, list[int], float], Estimate]:
    def compare(
        study: Study, first: str, second: str | None, seeds: list[int], threshold: float
    ) -> Estimate:
        names = [first, str(second)]
        if column == "seconds":
            _same_machine([study.results[n, s] for n in names for s in seeds])
        runs = [[study.history(n, s) for n in names] for s in seeds]
        pairs = np.array([efforts(one, other, column) for one, other in runs])
        if column == "epochs":
            return repeated.over_seeds(pairs[:, 0] - pairs[:, 1], threshold, resolution=1)
        return repeated.over_seeds(np.log(pairs[:, 0] / pairs[:, 1]), threshold)

    return compare


def over_training(
    series: Callable[[Study, str, int], np.ndarray],
) -> Callable[[Study, str, str | None, list[int], float], Estimate]:
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
            raise NotComparableError("梯度范数不是有限值")
        return repeated.over_seeds(np.array([v.mean() for v in per_seed]), threshold)

    return compare


MEASURES: dict[str, Measure] = {
    "test": Measure(_test, "points"),
    "train": Measure(_train, "points"),
    "gap": Measure(_gap, "points"),
    "epochs": Measure(_epochs, "epochs"),
    "epochs_to_reach": Measure(_to_reach("epochs"), "epochs"),
    "seconds_to_reach": Measure(_to_reach("seconds"), "ratio"),
    "seconds_per_epoch": Measure(_seconds_per_epoch, "ratio"),
    "fading": Measure(over_training(first_to_last), "ratio"),
    "gradient": Measure(over_training(overall), "ratio"),
}
