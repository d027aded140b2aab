"""All that the report's texts may speak of, each computed when a text first asks for it."""

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from labcnn.data import Origin
from labcnn.variants import VARIANTS, Variant
from labreport import words
from labreport.claims import Part
from labreport.class_images import NO_IMAGES, ClassImages
from labreport.classes import ClassAccuracies, count_classes
from labreport.confidence import Confidence, measure_confidence
from labreport.costs import Costs, measure_costs
from labreport.display import FrontMatter, Prose
from labreport.measures import accuracy_interval, sampling_deviation, seed_deviation
from labreport.prose import render
from labreport.reproduction import Provenance, command, gather_provenance
from labreport.study import Study, original
from labreport.title_block import TitleBlock
from labreport.verdicts import Finding, Verdict, compare


@dataclass(frozen=True)
class Spread:
    """Standard deviations of the test accuracy (0-1) over the seeds of each variant.

    Attributes
    ----------
    deviations : by variant, of those with several seeds.
    beyond : variants whose deviation is over twice what the choice of test images explains.
    """

    deviations: dict[str, float]
    beyond: list[str]

    @property
    def least(self) -> str:
        return min(self.deviations, key=self.deviations.__getitem__)

    @property
    def most(self) -> str:
        return max(self.deviations, key=self.deviations.__getitem__)


def measure_spread(study: Study) -> Spread:
    """Of the variants with at least two seeds."""
    several = [variant for variant in study.present if len(study.seeds(variant)) > 1]
    found = {variant: seed_deviation(study, variant) for variant in several}
    return Spread(found, [v for v in several if found[v] > 2 * sampling_deviation(study, v)])


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


def compare_others(study: Study) -> list[OtherVariant]:
    """One's own variants, in the order in which they were registered."""
    found = []
    for variant in study.others:
        usual = (f"{VARIANTS[variant].depth}_baseline", "short_baseline")
        reference = next((v for v in usual if v != variant and study.seeds(v)), None)
        difference = compare(study, Part("test", variant, reference)) if reference else None
        accuracy = accuracy_interval(study, variant)
        found.append(OtherVariant(variant, reference, accuracy, difference))
    return found


@dataclass(frozen=True)
class Facts:
    """One report: its study, the verdicts on the claims, the tuned net, the images to show."""

    study: Study
    verdicts: list[Verdict]
    tuned: Study | None = None
    images: ClassImages = NO_IMAGES

    @property
    def claims(self) -> dict[str, Verdict]:
        """The verdicts by their claims' ids."""
        return {verdict.claim.id: verdict for verdict in self.verdicts}

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

    @property
    def best(self) -> str:
        """The variant with the highest mean test accuracy."""
        return self.study.ranked[0]

    @cached_property
    def costs(self) -> Costs:
        return measure_costs(self.study, self.tuned)

    @cached_property
    def classes(self) -> ClassAccuracies:
        return count_classes(self.study, self.best)

    @cached_property
    def confidence(self) -> Confidence:
        return measure_confidence(self.study, self.best)

    @cached_property
    def spread(self) -> Spread:
        return measure_spread(self.study)

    @cached_property
    def others(self) -> list[OtherVariant]:
        return compare_others(self.study)

    @cached_property
    def provenance(self) -> Provenance:
        return gather_provenance(self.study)

    @property
    def command(self) -> str:
        """What makes these runs and this report again."""
        return command(self.study)

    @property
    def tuned_command(self) -> str:
        return command(self.tuned) if self.tuned is not None else ""

    def front_matter(self, block: TitleBlock, columns: int = 1) -> FrontMatter:
        return FrontMatter(block, self.notice, columns)

    def text(self, template: str, **more: Any) -> Prose:
        """A text in ``text/``, whose names are ``facts``, its ``study`` and what is given here."""
        return Prose(render(template, facts=self, study=self.study, **more))
