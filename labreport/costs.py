"""What accuracy costs: seconds of training and FLOPs of a forward pass, with the Pareto fronts."""

from collections.abc import Sequence
from dataclasses import dataclass

from labcnn.variants import BLOCKS_PER_STAGE
from labreport.study import Study


@dataclass(frozen=True)
class Point:
    """A network's cost and its test accuracy, means over seeds; ``tuned``: of that protocol."""

    variant: str
    cost: float
    accuracy: float
    tuned: bool = False


@dataclass(frozen=True)
class Costs:
    """What the text says of costs.

    Attributes
    ----------
    by_time, by_flops : the fronts by seconds of training and by FLOPs of a forward pass.
    comparable : all runs were timed on one device, in one precision, with as many threads.
    noise : how far the seconds per epoch of one training differ (0.1: 10 %); None: unknown.
    """

    by_time: list[Point]
    by_flops: list[Point]
    comparable: bool
    noise: float | None


def measure_costs(study: Study, tuned: Study | None = None) -> Costs:
    """The fronts of a study with its tuned net, if that can be compared."""
    tuned = same_size(study, tuned)
    by_time, by_flops = (front(points(study, c, tuned)) for c in ("train_seconds", "flops"))
    machines = study.machines | (tuned.machines if tuned is not None else set())
    return Costs(by_time, by_flops, len(machines) == 1, _timing_noise(study))


def points(study: Study, column: str, tuned: Study | None = None) -> list[Point]:
    """Mean over seeds of a column of the table, beside the mean test accuracy."""
    return [
        Point(v, of.mean(v, column), of.mean(v, "test_accuracy"), tuned=of is tuned)
        for of in (study, tuned)
        if of is not None
        for v in of.present
    ]


def front(found: Sequence[Point]) -> list[Point]:
    """The Pareto front in order of cost: each point beats all that cost no more."""
    kept: list[Point] = []
    for point in sorted(found, key=lambda p: (p.cost, -p.accuracy)):
        if not kept or point.accuracy > kept[-1].accuracy:
            kept.append(point)
    return kept


def same_size(study: Study, tuned: Study | None) -> Study | None:
    """The tuned net's study where it had as many training images; else neither axis compares."""
    if tuned is None or tuned.recipe.fraction != study.recipe.fraction:
        return None
    return tuned


def _timing_noise(study: Study) -> float | None:
    """How much the machine alone changed the times, where two variants are one training."""
    ratios = []
    for depth in BLOCKS_PER_STAGE:
        for seed in study.all_seeds:
            pair = f"{depth}_lrdecay", f"{depth}_baseline"
            if all((v, seed) in study.results for v in pair) and study.identical(*pair, [seed]):
                each = [study.results[v, seed].timing.seconds_per_epoch for v in pair]
                ratios.append(max(each) / min(each) - 1)
    return max(ratios, default=None)
