"""All that the report's texts may speak of, each computed when a text first asks for it.

:class:`Facts` is in the order of the sections, whose texts are ``text/<section>-….md.j2``.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.special import chdtrc

from labcnn.data import Origin
from labcnn.variants import VARIANTS, Variant
from labreport import words
from labreport.claims import GAP_TOLERANCE, Part
from labreport.class_images import ClassImages
from labreport.classes import ClassAccuracies, count_classes
from labreport.confidence import Confidence, measure_confidence
from labreport.costs import Point, find_front, find_points
from labreport.decays import (
    Decay,
    Uneven,
    find_first_fall,
    find_uneven,
    measure_decays,
    measure_epoch,
)
from labreport.display import CaptionedFigure, FrontMatter, Prose
from labreport.dropout_study import summarise_places
from labreport.estimates import ALPHA, Estimate, over_seeds
from labreport.measures import accuracy_interval, find_prior, left_plateau
from labreport.prose import caption, render
from labreport.reproduction import Circumstances, command, gather_circumstances
from labreport.study import Study, original
from labreport.title_block import TitleBlock
from labreport.verdicts import Finding, Outcome, Verdict, estimate_part

#: The suffixes of the variants with one switch.
SINGLE = ("lrdecay", "norm", "dropout", "residual")


@dataclass(frozen=True)
class Joint:
    """Gains over the short baseline (0-1): of each switch alone, added up, and of all together.

    Over the seeds that all six nets have. ``more`` is what all together gain beyond the sum.
    """

    sum: float
    together: float
    more: Estimate


@dataclass(frozen=True)
class Leader:
    """Of a depth, the switch that gains most, and those that it isn't told from."""

    depth: str
    best: Finding
    equals: tuple[Finding, ...]

    @property
    def all(self) -> tuple[Finding, ...]:
        return (self.best, *self.equals)


@dataclass(frozen=True)
class OtherVariant:
    """A variant that isn't one of the report's, and what it is compared with.

    Attributes
    ----------
    reference : the baseline of its depth, else the short one; None without a run of either.
    accuracy : of test, with its interval: mean, low, high (0-1).
    difference : from the reference's; ``estimate`` is None where the two can't be compared.
    """

    variant: str
    reference: str | None
    accuracy: tuple[float, float, float]
    difference: Finding | None

    @property
    def network(self) -> Variant:
        return VARIANTS[self.variant]

    @property
    def differs_in_several(self) -> bool:
        """Whether more than one choice tells it from what it is compared with."""
        if self.reference is None:
            return False
        mine, other = asdict(self.network), asdict(VARIANTS[self.reference])
        return sum(mine[name] != other[name] for name in mine if name != "blocks") > 1


def find_others(study: Study) -> list[OtherVariant]:
    """One's own variants, in the order in which they were registered."""
    found = []
    for variant in study.others:
        usual = (f"{VARIANTS[variant].depth}_baseline", "short_baseline")
        reference = next((v for v in usual if v != variant and study.seeds(v)), None)
        difference = estimate_part(study, Part("test", variant, reference)) if reference else None
        accuracy = accuracy_interval(study, variant)
        found.append(OtherVariant(variant, reference, accuracy, difference))
    return found


@dataclass(frozen=True)
class Facts:
    """One report: its study, the verdicts on the claims, the tuned net's facts, the images."""

    study: Study
    verdicts: list[Verdict]
    tuned: "Facts | None" = None
    images: ClassImages = field(default_factory=ClassImages)

    # What the cells of the notebook show.

    def text(self, template: str) -> Prose:
        """A text in ``text/``, whose names are ``facts`` and its ``study``."""
        return Prose(render(template, facts=self, study=self.study))

    def figure(
        self, name: str, figure: Figure, drawn: Iterable[str] | pd.DataFrame | None = None
    ) -> CaptionedFigure | Prose:
        """A figure with the caption of its name in ``text/captions.md.j2``.

        Parameters
        ----------
        name : of the caption's macro; the figure is referred to as ``@fig-<name>``, ``_`` as ``-``.
        drawn : the frame that it was drawn from, or its variants; where there is nothing to
            compare, nothing is shown.
        """
        if drawn is not None:
            variants = drawn["variant"] if isinstance(drawn, pd.DataFrame) else drawn
            if not self.study.comparable(set(variants)):
                return Prose("")
        return CaptionedFigure(figure, f"fig-{name.replace('_', '-')}", caption(name, self))

    def front_matter(self, block: TitleBlock, columns: int = 1) -> FrontMatter:
        return FrontMatter(block, self.notice, columns)

    # Of several sections.

    @property
    def notice(self) -> str:
        """What every page says of a report that isn't the full experiment; empty for that."""
        return render("notice", study=self.study)

    @property
    def dataset(self) -> str:
        """The data set's name, and whose it is where it isn't a published one."""
        name, kind = self.study.recipe.dataset, self.study.data_origin
        if kind is Origin.OFFICIAL:
            return words.DATASETS[name]
        return words.DATASET.format(name=name, origin=words.ORIGINS[kind])

    @property
    def original(self) -> dict[str, float]:
        """The original's test accuracies (0-1) by variant, the best first."""
        found = original()["test_accuracy"].dropna().sort_values(ascending=False)
        return {str(variant): float(accuracy) for variant, accuracy in found.items()}

    @cached_property
    def circumstances(self) -> Circumstances:
        return gather_circumstances(self.study)

    @property
    def claims(self) -> dict[str, Verdict]:
        """The verdicts by their claims' ids."""
        return {verdict.claim.id: verdict for verdict in self.verdicts}

    @property
    def relevant(self) -> list[Verdict]:
        """The verdicts on claims of which a part is about the chosen variants alone."""
        chosen = set(self.study.wanted)
        return [v for v in self.verdicts if any(set(p.variants) <= chosen for p in v.claim.parts)]

    def count(self, outcome: Outcome) -> int:
        """How many of them ended so."""
        return sum(verdict.outcome is outcome for verdict in self.relevant)

    @property
    def untested_in_part(self) -> int:
        """How many undecided ones hold in every part that could be tested."""
        return sum(verdict.untested_in_part for verdict in self.relevant)

    def against(self, measure: str, first: str, second: str) -> Finding:
        """A comparison by itself: its estimate and no outcome."""
        return estimate_part(self.study, Part(measure, first, second))

    def gap(self, variant: str) -> Finding:
        """How far a variant's training accuracy is above its test accuracy, against the limit."""
        part = Part("gap", variant, above=False, threshold=GAP_TOLERANCE)
        return estimate_part(self.study, part)

    def only_alone(self, found: Finding) -> bool:
        """Whether all claims that make the same comparison leave undecided what it tells alone."""
        made, variants = found.part.measure, {*found.part.variants}
        parts = [f for v in self.verdicts for f in v.findings if f.part.measure == made]
        same = [f for f in parts if {*f.part.variants} == variants]
        return bool(same) and all(f.only_alone for f in same)

    def side(self, found: Finding) -> int:
        """On which side of its threshold an effect is: 1 above, -1 below, 0 where it isn't told.

        By its interval, and where a claim makes the same comparison, by the corrected test, too.
        """
        effect = found.estimate
        if effect is None or self.only_alone(found):
            return 0
        return int(effect.low > effect.threshold) - int(effect.high < effect.threshold)

    # Abstract, main findings, 6: which network is best, which switch gains most.

    @property
    def best(self) -> str:
        """The variant with the highest mean test accuracy."""
        return self.study.ranked[0]

    @cached_property
    def rivals(self) -> list[str]:
        """The variants after the best ones, up to the first that these are told from."""
        found: list[str] = []
        for variant in self.study.ranked[len(self.study.tied(self.best)) :]:
            if self.side(self.against("test", self.best, variant)) > 0:
                break
            found.append(variant)
        return found

    @property
    def nothing_learned(self) -> bool:
        """Whether no run of the report's variants is better than chance."""
        found = [run for variant in self.study.present for run in self.study.runs(variant)]
        return all(run.status != "ok" for run in found)

    def baseline_of(self, variant: str) -> str | None:
        """The baseline of a variant's depth, if it has a run."""
        name = f"{VARIANTS[variant].depth}_baseline"
        return name if self.study.seeds(name) else None

    @cached_property
    def single_effects(self) -> list[Finding]:
        """Each switch alone against the baseline of its depth, the largest gain first."""
        pairs = [
            (variant, self.baseline_of(variant))
            for variant in self.study.present
            if variant.partition("_")[2] not in ("baseline", "all")
        ]
        found = [estimate_part(self.study, Part("test", v, base)) for v, base in pairs if base]
        found = [each for each in found if each.estimate]
        return sorted(found, key=lambda each: -each.estimate.effect if each.estimate else 0.0)

    @cached_property
    def leaders(self) -> list[Leader]:
        """Of each depth at which a switch gains without doubt; see :attr:`undecided_depths`."""
        found = []
        for depth in ("short", "long"):
            effects = [f for f in self.single_effects if VARIANTS[f.part.first].depth == depth]
            if not effects or self.side(effects[0]) <= 0:
                continue
            best, *others = effects
            pairs = [(self.against("test", best.part.first, f.part.first), f) for f in others]
            equals = [f for pair, f in pairs if not (pair.estimate and pair.estimate.low > 0)]
            found.append(Leader(depth, best, tuple(equals)))
        return found

    @property
    def undecided_depths(self) -> list[str]:
        """The depths of which no switch gains without doubt, though some have been compared."""
        compared = dict.fromkeys(VARIANTS[f.part.first].depth for f in self.single_effects)
        return [d for d in compared if d not in {leader.depth for leader in self.leaders}]

    @property
    def differently_useful(self) -> list[str]:
        """The switches whose gains at the two depths have intervals that don't overlap."""
        gains = {f.part.first: f.estimate for f in self.single_effects}
        found = []
        for switch in SINGLE:
            short, long = (gains.get(f"{depth}_{switch}") for depth in ("short", "long"))
            if short and long and (short.high < long.low or long.high < short.low):
                found.append(f"short_{switch}")
        return found

    @property
    def untrained_singles(self) -> list[str]:
        """Variants with one switch that have no run."""
        return [v for v in self.study.missing if v.partition("_")[2] in SINGLE]

    # 3, 3.1: depth.

    @property
    def stuck(self) -> bool:
        """Whether there are runs that learned nothing, all with a loss that stayed near ln C."""
        runs = [key for key, run in self.study.results.items() if run.status == "no_learning"]
        return bool(runs) and not any(left_plateau(self.study, *run) for run in runs)

    def uneven(self, variants: Iterable[str]) -> Uneven | None:
        """Whether the learning rate fell in some of their runs only, and what that did."""
        return find_uneven(self.study, variants)

    # 3.2: the learning rate's decay.

    @cached_property
    def decays(self) -> list[Decay]:
        return measure_decays(self.study)

    @cached_property
    def fallen(self) -> list[str]:
        """The variants of which the learning rate of a run fell."""
        runs = [(v, s) for v in self.study.present for s in self.study.seeds(v)]
        return list(dict.fromkeys(run[0] for run in runs if find_first_fall(self.study, *run)))

    # 3.4: dropout.

    @cached_property
    def dropout_study(self) -> tuple[dict[str, dict[str, float]], int] | None:
        """Accuracies (0-1) of the small study by place of dropout and mode, and its seeds."""
        return summarise_places()

    # 3.5: residual connections.

    def in_epoch(self, variant: str, epoch: int) -> float:
        """Mean validation accuracy of a variant's runs in an epoch."""
        return measure_epoch(self.study, variant, epoch)[0]

    @property
    def uneven_seconds(self) -> float:
        """How many times as long an epoch took in one run as in another of the same variant."""
        found = [
            [run.timing.seconds_per_epoch for run in self.study.runs(v)] for v in self.study.present
        ]
        return max(max(each) / min(each) for each in found)

    # 3.6: summary and costs.

    @cached_property
    def joint(self) -> Joint | None:
        """None where a run that it needs is missing."""
        names = [f"short_{switch}" for switch in ("all", "baseline", *SINGLE)]
        seeds = set.intersection(*(set(self.study.learned(v)) for v in names))
        if not seeds:
            return None
        every, base, *singles = (
            np.array([self.study.test_correct(v, seed).astype(float) for seed in sorted(seeds)])
            for v in names
        )
        images = every + (len(SINGLE) - 1) * base - sum(singles)
        step = 1 / images.shape[1]
        more = over_seeds(images.mean(axis=1), 0.0, step, images, None)
        gains = [float((each - base).mean()) for each in (*singles, every)]
        return Joint(sum(gains[:-1]), gains[-1], more)

    @cached_property
    def front(self) -> list[Point]:
        """The Pareto front of test accuracy by the arithmetic of a training."""
        return find_front(find_points(self.study))

    # 3.7: one's own variants.

    @cached_property
    def others(self) -> list[OtherVariant]:
        return find_others(self.study)

    @property
    def beside_others(self) -> list[str]:
        """One's own variants, after what they are compared with."""
        references = {each.reference: None for each in self.others if each.reference}
        return [*references, *(each.variant for each in self.others)]

    # 5: errors.

    @cached_property
    def classes(self) -> ClassAccuracies:
        return count_classes(self.study, self.best)

    @property
    def classes_differ(self) -> bool:
        """Whether chance doesn't make classes so unequal that are all as hard: chi-squared, 5 %.

        An image counts once, however many seeds judged it.
        """
        matrix = self.classes.matrix / len(self.study.seeds(self.best))
        counts = matrix.sum(axis=1)
        right, counts = np.diag(matrix)[counts > 0], counts[counts > 0]
        mean = right.sum() / counts.sum()
        if not 0 < mean < 1:
            return False
        square = ((right - counts * mean) ** 2 / (counts * mean * (1 - mean))).sum()
        return bool(chdtrc(len(counts) - 1, square) < ALPHA)

    @cached_property
    def confidence(self) -> Confidence:
        return measure_confidence(self.study, self.best)

    # 6, 7: discussion and limits.

    @property
    def weak(self) -> list[str]:
        """Variants that don't get a fifth of their own training images right."""
        return [v for v in self.study.present if self.study.accuracy(v, "train") < 0.2]

    @property
    def widest_gap(self) -> str | None:
        """The variant whose training accuracy is the furthest above its test accuracy."""
        study = self.study
        if len(study.present) < 2:
            return None
        return max(study.present, key=lambda v: study.accuracy(v, "train") - study.accuracy(v))

    @cached_property
    def spread(self) -> float | None:
        """Standard deviation between seeds of a variant's test accuracy, told by all; 0-1."""
        prior = find_prior(self.study, "test", paired=False)
        return prior.variance**0.5 if prior else None

    # C: how to get it again.

    @property
    def command(self) -> str:
        """What makes these runs and this report again."""
        return command(self.study)
