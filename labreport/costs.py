"""What accuracy costs: the arithmetic of a whole training, which no machine changes."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from labreport.study import Study

#: A training step's arithmetic in forward passes: one forward, and about two backward.
PASSES = 3


@dataclass(frozen=True)
class Point:
    """A variant's training in FLOPs and its test accuracy, means over seeds.

    ``epochs`` that it took, as a mean.
    """

    variant: str
    cost: float
    accuracy: float
    epochs: float = 1.0


def training_flops(study: Study, variant: str) -> float:
    """FLOPs of a variant's training, its mean over seeds: images x epochs x three forward passes.

    Each epoch's at the size that its images had. Evaluations aren't counted.
    """
    recipe, runs = study.recipe, study.runs(variant)
    each = [
        PASSES * run.model.flops * run.train.count * recipe.image_size(epoch) ** 2
        for run in runs
        for epoch in range(1, run.epochs_run + 1)
    ]
    return sum(each) / len(runs) / recipe.last_size**2


def find_points(study: Study) -> list[Point]:
    """One per variant of the report that has a run."""
    return [
        Point(v, training_flops(study, v), study.accuracy(v), _mean_epochs(study, v))
        for v in study.present
    ]


def _mean_epochs(study: Study, variant: str) -> float:
    return fmean(study.results[variant, seed].epochs_run for seed in study.learned(variant))


def find_front(found: Sequence[Point]) -> list[Point]:
    """The Pareto front in order of cost: each point beats all that cost no more."""
    kept: list[Point] = []
    for point in sorted(found, key=lambda p: (p.cost, -p.accuracy)):
        if not kept or point.accuracy > kept[-1].accuracy:
            kept.append(point)
    return kept
