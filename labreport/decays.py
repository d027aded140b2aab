"""What the falls of the learning rate did, and which of compared nets had any."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from labcnn.variants import VARIANTS
from labreport.study import Study


@dataclass(frozen=True)
class Fall:
    """An epoch in which a run's learning rate was lower than in the one before.

    Attributes
    ----------
    val, train : accuracies (0-1) of the epoch before and of this one; ``train`` is evaluated.
    """

    epoch: int
    val: tuple[float, float]
    train: tuple[float, float]


def find_falls(study: Study, variant: str, seed: int) -> list[Fall]:
    """Of one run, in order."""
    table = study.history(variant, seed).set_index("epoch")
    rates = table["learning_rate"]
    accuracies = {name: table[f"{name}_accuracy"] for name in ("val", "train_eval")}
    return [
        Fall(int(epoch), *((float(a[epoch - 1]), float(a[epoch])) for a in accuracies.values()))
        for epoch in rates.index[rates < rates.shift()]
    ]


@dataclass(frozen=True)
class Decay:
    """What the first falls did in a variant's runs; accuracies are means over those that fell.

    Attributes
    ----------
    epochs : of the falls, one per run that fell.
    runs : of the variant that learned, with those whose rate never fell.
    val, train : accuracies (0-1) of the epoch before and of the fall's.
    twin : validation accuracy of the baselines of the same seeds in the epochs of the falls; None
        unless each was the same training until then.
    sooner : with such baselines, whether each run was best before its baseline stopped.
    """

    variant: str
    epochs: tuple[int, ...]
    runs: int
    val: tuple[float, float]
    train: tuple[float, float]
    twin: float | None
    sooner: bool

    @property
    def memorised(self) -> bool:
        """Whether the training images gained far more than those that training doesn't see."""
        return self.train[1] - self.train[0] > 3 * (self.val[1] - self.val[0])


def measure_decays(study: Study) -> list[Decay]:
    """Of the variants with the decay alone, those of which the rate of a run that learned fell."""
    found = []
    for variant in study.with_runs(("short_lrdecay", "long_lrdecay")):
        seeds = [s for s in study.seeds(variant) if study.results[variant, s].status == "ok"]
        firsts = {s: falls[0] for s in seeds if (falls := find_falls(study, variant, s))}
        if not firsts:
            continue
        twins = [_find_twin(study, variant, seed, fall.epoch) for seed, fall in firsts.items()]
        whole = [twin for twin in twins if twin is not None]
        best = [study.results[variant, seed].best_epoch or 0 for seed in firsts]
        same = len(whole) == len(twins)
        found.append(
            Decay(
                variant,
                tuple(fall.epoch for fall in firsts.values()),
                len(seeds),
                _means([fall.val for fall in firsts.values()]),
                _means([fall.train for fall in firsts.values()]),
                float(np.mean([accuracy for accuracy, _ in whole])) if same else None,
                same and all(b <= last for b, (_, last) in zip(best, whole, strict=True)),
            )
        )
    return found


def _means(pairs: Iterable[tuple[float, float]]) -> tuple[float, float]:
    before, after = np.mean(list(pairs), axis=0)
    return float(before), float(after)


def _find_twin(study: Study, variant: str, seed: int, fall: int) -> tuple[float, int] | None:
    """Of the baseline of the same seed: accuracy in the epoch of the fall, and its last epoch."""
    baseline = f"{VARIANTS[variant].depth}_baseline"
    if seed not in study.seeds(baseline):
        return None
    mine, other = (study.history(v, seed).set_index("epoch") for v in (variant, baseline))
    before = [table["val_accuracy"].loc[: fall - 1].tolist() for table in (mine, other)]
    if before[0] != before[1] or fall not in other.index:
        return None
    return float(other["val_accuracy"][fall]), int(other.index[-1])


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


def compare_falls(study: Study, variants: Iterable[str]) -> Uneven | None:
    """None where all of the runs, or none, had one."""
    fell: dict[str, list[int | None]] = {}
    tests: dict[str, tuple[list[float], list[float]]] = {}
    for variant in study.with_runs(variants):
        fell[variant], tests[variant] = [], ([], [])
        for seed in study.seeds(variant):
            falls = find_falls(study, variant, seed)
            fell[variant].append(falls[0].epoch if falls else None)
            accuracy = study.results[variant, seed].test.accuracy
            tests[variant][0 if falls else 1].append(accuracy)
    epochs = [epoch for each in fell.values() for epoch in each]
    known = [epoch for epoch in epochs if epoch is not None]
    if not known or len(known) == len(epochs):
        return None
    last = min(known) - 1
    before = {}
    for variant in fell:
        tables = [study.history(variant, seed) for seed in study.seeds(variant)]
        rows = pd.concat([table[table["epoch"] == last] for table in tables])
        if rows.empty:
            return None
        before[variant] = (
            float(rows["val_accuracy"].mean()),
            float(rows["train_eval_accuracy"].mean()),
        )
    return Uneven(fell, tests, last, before)
