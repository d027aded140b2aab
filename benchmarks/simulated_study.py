"""Studies whose truth is known: runs drawn from a stated law, in the form that verdicts judge."""

from dataclasses import dataclass, field, replace
from functools import cache, partial
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
from scipy import special

from labcnn.variants import REPORT_VARIANTS
from labreport.claims import CLAIMS, Part
from labreport.measures import MEASURES, Measure, average_over_epochs, measure_efforts
from labreport.study import Study
from labreport.verdicts import Outcome, Verdict, judge_claims

#: How alike nets find the images: of the variance of "is it right?" what all nets share, and what a
#: variant's seeds share beyond that.
COMMON, OWN = 0.5, 0.1
#: Of a seed's effect, what all variants share.
SEED_COMMON = 0.3
#: Standard deviations between a variant's runs: epochs, logarithms of seconds and of gradients.
EPOCHS_SPREAD, SECONDS_SPREAD, FADING_SPREAD = 4.0, 0.03, 0.2
#: The validation curve of a run: epochs, noise of an epoch, spread of its level between runs.
CURVE_LENGTH, CURVE_NOISE, CURVE_SPREAD = 12, 0.008, 0.01
TRAINING_IMAGES_EACH = 5
#: What is closer is alike.
SAME = 1e-9
#: Usual mean epochs, logarithm of seconds per epoch, and how fast the validation curve rises.
EPOCHS, SECONDS, SPEED = 30.0, 3.0, 0.3
SAME_IMAGES = np.zeros(1)
MACHINE = SimpleNamespace(machines=("the same for all",))


@dataclass(frozen=True)
class World:
    """The law of a study; what isn't in a dictionary is alike for all variants.

    Attributes
    ----------
    spread : standard deviation of test and training accuracy between the seeds of a variant.
    spreads : that of some variants, where it differs.
    test, train : expected accuracies of single variants; the others' is ``accuracy``, and training
        is better by ``gap``.
    single : variants that have one seed, whatever the others have.
    epochs, seconds, fading : mean epochs, the logarithm of seconds per epoch and of first over last
        gradient norm. ``speed``: how fast the validation curve rises.
    """

    name: str
    seeds: int
    spread: float = 0.01
    images: int = 300
    classes: int = 5
    accuracy: float = 0.4
    gap: float = 0.05
    single: frozenset[str] = frozenset()
    spreads: dict[str, float] = field(default_factory=dict)
    test: dict[str, float] = field(default_factory=dict)
    train: dict[str, float] = field(default_factory=dict)
    epochs: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    fading: dict[str, float] = field(default_factory=dict)
    speed: dict[str, float] = field(default_factory=dict)

    @property
    def has_differences(self) -> bool:
        return bool(self.test)

    def expected(self, variant: str) -> dict[str, float]:
        """Test and training accuracy over all seeds and images."""
        test = self.test.get(variant, self.accuracy)
        return {"test": test, "train": self.train.get(variant, test + self.gap)}


Nets = dict[tuple[str, int], dict[str, float]]


@dataclass(frozen=True, eq=False)
class Draw(Study):
    """One study, and its nets' accuracies over all images there could be, by variant and seed."""

    correct: dict[tuple[str, int], np.ndarray] = field(default_factory=dict)
    nets: Nets = field(default_factory=dict)
    drawn_seeds: list[int] = field(default_factory=list)
    single: frozenset[str] = frozenset()

    # What a study reads from files, and this one has at hand.
    @property
    def all_seeds(self) -> list[int]:
        return self.drawn_seeds

    def seeds(self, variant: str) -> list[int]:
        return self.drawn_seeds[:1] if variant in self.single else self.drawn_seeds

    def test_labels(self, variant: str, seed: int) -> np.ndarray:
        return SAME_IMAGES

    def test_correct(self, variant: str, seed: int) -> np.ndarray:
        return self.correct[variant, seed]

    def history(self, variant: str, seed: int) -> pd.DataFrame:
        return self._read[variant, seed, "history"]


def draw(world: World, rng: np.random.Generator) -> Draw:
    """A study of the 13 variants from ``world``."""
    variants, seeds, normal = REPORT_VARIANTS, world.seeds, rng.standard_normal
    shape = len(variants), seeds
    expected = [world.expected(v) for v in variants]
    spread = np.array([world.spreads.get(v, world.spread) for v in variants])
    effects = normal(seeds) * SEED_COMMON**0.5 + normal(shape) * (1 - SEED_COMMON) ** 0.5
    level = special.ndtri([e["test"] for e in expected])
    slope = spread / (np.exp(-(level**2) / 2) / np.sqrt(2 * np.pi))
    # Averaged over seeds, a net is right with the expected probability exactly.
    limits = (level * np.sqrt(1 + slope**2))[:, None] + slope[:, None] * effects
    ease = normal(world.images, dtype="f4") * COMMON**0.5
    own = normal((len(variants), 1, world.images), dtype="f4") * OWN**0.5
    rest = normal((*shape, world.images), dtype="f4") * (1 - COMMON - OWN) ** 0.5
    right = ease + own + rest < limits[..., None].astype("f4")
    train = np.clip([[e["train"]] for e in expected] + spread[:, None] * effects, 0, 1)
    total = TRAINING_IMAGES_EACH * world.images

    def around(means: dict[str, float], usual: float, spread: float) -> np.ndarray:
        return np.array([[means.get(v, usual)] for v in variants]) + spread * normal(shape)

    table = {
        "train": rng.binomial(total, train) / total,
        "test": right.mean(axis=2),
        "epochs": np.round(around(world.epochs, EPOCHS, EPOCHS_SPREAD)),
        "seconds": np.exp(around(world.seconds, SECONDS, SECONDS_SPREAD)),
        "fading": around(world.fading, 0.0, FADING_SPREAD),
        "test_of_net": special.ndtr(limits),
    }
    results, correct, nets = {}, {}, {}
    read: dict[Any, Any] = {}
    for i, variant in enumerate(variants):
        for seed in range(seeds):
            key = variant, seed
            one = {name: float(values[i, seed]) for name, values in table.items()}
            correct[key] = right[i, seed]
            nets[key] = {"test": one["test_of_net"], "train": float(train[i, seed])}
            results[key] = SimpleNamespace(
                classes=world.classes,
                status="ok",
                train=SimpleNamespace(accuracy=one["train"], count=total),
                test=SimpleNamespace(accuracy=one["test"], count=world.images),
                stopped="early",
                epochs_run=one["epochs"],
                timing=SimpleNamespace(seconds_per_epoch=one["seconds"]),
                provenance=MACHINE,
            )
            read[*key, "fading"] = np.full(1, one["fading"])
            if variant.endswith(("norm", "baseline")):
                history = _history(rng, world.speed.get(variant, SPEED), one["seconds"])
                read[*key, "history"] = history
    return Draw(
        "simulated", results, {}, _read=read,  # type: ignore[arg-type]
        correct=correct, nets=nets, drawn_seeds=list(range(seeds)), single=world.single,
    )  # fmt: skip


def _history(rng: np.random.Generator, speed: float, seconds: float) -> dict[str, np.ndarray]:
    epochs = np.arange(1, CURVE_LENGTH + 1)
    level = 0.3 + CURVE_SPREAD * rng.standard_normal()
    noise = CURVE_NOISE * rng.standard_normal(CURVE_LENGTH)
    each = seconds * (1 + 0.02 * rng.standard_normal(CURVE_LENGTH))
    return {"val_accuracy": level * (1 - np.exp(-speed * epochs)) + noise, "seconds": each}


def judge(study: Study, moderated: bool = True) -> list[Verdict]:
    """The project's verdicts; gradients are drawn as the logarithms that files would give.

    Parameters
    ----------
    moderated : False: as if no pair told how far the seeds of another one differ.
    """

    def series(study: Study, variant: str, seed: int) -> np.ndarray:
        values: np.ndarray = study._read[variant, seed, "fading"]
        return values

    drawn = dict.fromkeys(("fading", "gradient"), Measure(average_over_epochs(series), "ratio"))
    alone = {name: replace(measure, pooled=False) for name, measure in (MEASURES | drawn).items()}
    with patch.dict(MEASURES, drawn if moderated else alone):
        return judge_claims(study)


def truth(world: World, part: Part, nets: Nets | None) -> float:
    """What a part's estimate should find: of the variants, or of these very ``nets`` of seed 0."""
    if part.measure.endswith("_to_reach"):
        laws = [(world.speed.get(v, SPEED), world.seconds.get(v, SECONDS)) for v in part.variants]
        return _expected_effort(part.measure, *laws)
    one = partial(_value, world, part.measure, nets)
    return one(part.first) - (one(part.second) if part.second else 0.0)


def _value(
    world: World,
    measure: str,
    nets: Nets | None,
    variant: str,
) -> float:
    if measure in {"test", "train", "gap"}:
        accuracy = nets[variant, 0] if nets else world.expected(variant)
        return accuracy["train"] - accuracy["test"] if measure == "gap" else accuracy[measure]
    if measure == "epochs":
        return world.epochs.get(variant, EPOCHS)
    if measure == "seconds_per_epoch":
        return world.seconds.get(variant, SECONDS)
    return world.fading.get(variant, 0.0)


@cache
def _expected_effort(
    measure: str, first: tuple[float, float], second: tuple[float, float], pairs: int = 4000
) -> float:
    """By simulation, but where both have the same law: then the difference is 0 by symmetry."""
    if first == second:
        return 0.0
    rng, column, differences = np.random.default_rng(0), measure.split("_")[0], []
    for _ in range(pairs):
        runs = [
            _history(rng, speed, np.exp(log + SECONDS_SPREAD * rng.standard_normal()))
            for speed, log in (first, second)
        ]
        one, other = measure_efforts(runs[0], runs[1], column)
        differences.append(one - other if column == "epochs" else np.log(one / other))
    return float(np.mean(differences))


def is_true(world: World, part: Part, truth: float, outcome: Outcome) -> bool:
    """Whether an outcome says nothing false of a part."""
    distance = truth - part.threshold - part.times_chance / world.classes
    margin = MEASURES[part.measure].margin
    return {
        Outcome.HOLDS: distance > SAME if part.above else distance < -SAME,
        Outcome.FAILS: distance < -SAME if part.above else distance > SAME,
        Outcome.EQUIVALENT: margin is not None and abs(truth) < margin - SAME,
    }.get(outcome, True)


def expect(world: World, truths: dict[Part, float]) -> dict[str, Outcome]:
    """What a verdict should say of each claim of which holding or failing is true."""
    found: dict[str, Outcome] = {}
    for claim in CLAIMS:
        parts = [part for part in claim.parts if part.decides]
        for outcome, enough in ((Outcome.FAILS, any), (Outcome.HOLDS, all)):
            if enough(is_true(world, part, truths[part], outcome) for part in parts):
                found[claim.id] = outcome
    return found


def truths(world: World, nets: Nets | None = None) -> dict[Part, float]:
    """:func:`truth` of every part of every claim."""
    return {part: truth(world, part, nets) for claim in CLAIMS for part in claim.parts}


def original_world(seeds: int, table: pd.DataFrame, **given: Any) -> World:
    """A world whose variants have the accuracies of a table like :func:`study.original`."""
    longs = [v for v in REPORT_VARIANTS if v.startswith("long")]
    return World(
        "the original's accuracies", seeds, classes=200, **given,
        test=dict(table["test_accuracy"]), train=dict(table["train_accuracy"]),
        epochs={"short_lrdecay": 36.0, "long_lrdecay": 36.0},
        seconds={"short_residual": 3.2, "long_residual": 3.2},
        fading=dict.fromkeys(longs, -1.0) | {"long_residual": 0.0},
        speed={"short_norm": 0.6, "long_norm": 0.6},
    )  # fmt: skip
