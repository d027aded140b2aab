"""What the falls of the learning rate did, and which of compared nets had any."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import pandas as pd

from labcnn.variants import VARIANTS
from labreport.study import Study


def find_first_fall(study: Study, variant: str, seed: int) -> int | None:
    """The first epoch of a run in which the learning rate was lower than before."""
    history = study.history(variant, seed)
    epochs = history.loc[history["fell"], "epoch"].tolist()
    return epochs[0] if epochs else None


def measure_epoch(study: Study, variant: str, epoch: int) -> tuple[float, float]:
    """Mean validation and evaluated training accuracy (0-1) of the runs that have an epoch."""
    rows = pd.concat([study.history(variant, seed) for seed in study.seeds(variant)])
    rows = rows[rows["epoch"] == epoch]
    return float(rows["val_accuracy"].mean()), float(rows["train_eval_accuracy"].mean())


@dataclass(frozen=True)
class Decay:
    """What the first falls did in a variant's runs; accuracies are means over those that fell.

    Attributes
    ----------
    epochs : of the falls, one per run that fell.
    runs : of the variant that learned, with those whose rate never fell.
    val, train : accuracies (0-1) of the epoch before and of the fall's.
    twin : validation and training accuracy of the baselines of the same seeds in the epochs of the
        falls; None unless each was the same training until then.
    sooner : with such baselines, whether each run was best before its baseline stopped.
    """

    variant: str
    epochs: tuple[int, ...]
    runs: int
    val: tuple[float, float]
    train: tuple[float, float]
    twin: tuple[float, float] | None
    sooner: bool

    @property
    def memorised(self) -> bool:
        """Whether the training images gained far more than those that training doesn't see."""
        val, train = self.twin or (self.val[0], self.train[0])
        return 0 < 3 * (self.val[1] - val) < self.train[1] - train


def measure_decays(study: Study) -> list[Decay]:
    """Of the variants with the decay alone, those of which the rate of a run that learned fell."""
    found = []
    for variant in study.with_runs(("short_lrdecay", "long_lrdecay")):
        seeds = [s for s in study.seeds(variant) if study.results[variant, s].status == "ok"]
        firsts = {s: fall for s in seeds if (fall := find_first_fall(study, variant, s))}
        if not firsts:
            continue
        val, train = (_around(study, variant, firsts, of) for of in ("val", "train_eval"))
        twins = [_find_twin(study, variant, seed, fall) for seed, fall in firsts.items()]
        whole = [twin for twin in twins if twin is not None]
        same = len(whole) == len(twins)
        of_twins = [[accuracies[k] for accuracies, _ in whole] for k in (0, 1)]
        twin = (fmean(of_twins[0]), fmean(of_twins[1])) if same else None
        best = [study.results[variant, seed].best_epoch or 0 for seed in firsts]
        sooner = same and all(b <= last for b, (_, last) in zip(best, whole, strict=True))
        epochs = tuple(firsts.values())
        found.append(Decay(variant, epochs, len(seeds), val, train, twin, sooner))
    return found


def _around(study: Study, variant: str, falls: dict[int, int], split: str) -> tuple[float, float]:
    """Mean accuracy in the epochs before the falls, and in those of the falls."""
    runs = {seed: study.history(variant, seed).set_index("epoch") for seed in falls}
    values = [
        runs[seed][f"{split}_accuracy"][[fall - 1, fall]].tolist() for seed, fall in falls.items()
    ]
    before, after = np.mean(values, axis=0)
    return float(before), float(after)


def _find_twin(
    study: Study, variant: str, seed: int, fall: int
) -> tuple[tuple[float, float], int] | None:
    """Of the baseline of the same seed: accuracies in the epoch of the fall, and its last epoch."""
    baseline = f"{VARIANTS[variant].depth}_baseline"
    if seed not in study.seeds(baseline):
        return None
    mine, other = (study.history(v, seed).set_index("epoch") for v in (variant, baseline))
    before = [table["val_accuracy"].loc[: fall - 1].tolist() for table in (mine, other)]
    if before[0] != before[1] or fall not in other.index:
        return None
    val, train = (float(other[f"{split}_accuracy"][fall]) for split in ("val", "train_eval"))
    return (val, train), int(other.index[-1])


@dataclass(frozen=True)
class Uneven:
    """Compared nets of which some runs had a falling learning rate and others hadn't.

    Attributes
    ----------
    fell : by variant, the epochs of its runs' first falls, None for a run without one.
    tests : by variant, the test accuracies (0-1) of the runs that fell, and of those that didn't.
    epoch : the last one before any of them fell.
    before : by variant, mean validation and evaluated training accuracy (0-1) in that epoch.
    """

    fell: dict[str, list[int | None]]
    tests: dict[str, tuple[list[float], list[float]]]
    epoch: int
    before: dict[str, tuple[float, float]]


def find_uneven(study: Study, variants: Iterable[str]) -> Uneven | None:
    """None where all of the runs, or none, had one."""
    variants = study.with_runs(variants)
    fell = {v: [find_first_fall(study, v, seed) for seed in study.seeds(v)] for v in variants}
    epochs = [epoch for each in fell.values() for epoch in each if epoch]
    if not epochs or all(all(each) for each in fell.values()):
        return None
    tests = {}
    for variant, firsts in fell.items():
        found = [
            (run.test.accuracy, first)
            for run, first in zip(study.runs(variant), firsts, strict=True)
        ]
        tests[variant] = [a for a, first in found if first], [a for a, first in found if not first]
    last = min(epochs) - 1
    before = {variant: measure_epoch(study, variant, last) for variant in variants}
    if any(math.isnan(val) for val, _ in before.values()):  # none of a variant's runs came so far
        return None
    return Uneven(fell, tests, last, before)
