"""Verdicts: each claim tested on a study's runs, corrected over all claims. Facts, no words."""

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

from labreport import estimates
from labreport.claims import CLAIMS, Claim, Part
from labreport.estimates import ALPHA, Estimate
from labreport.measures import MEASURES, NotComparableError, Reason, Why, estimate_effect
from labreport.study import Study, original

#: Below this accuracy (0-1) a point is no small difference.
LEAST_ACCURACY = 0.1


class Outcome(StrEnum):
    """What a test of a part or of a claim ends in."""

    HOLDS = "holds"
    FAILS = "fails"  # it is the other way round
    EQUIVALENT = "equivalent"  # whichever way: the difference is too small to matter
    UNDECIDED = "undecided"
    UNTESTED = "untested"  # no run, or nothing that could be compared


@dataclass(frozen=True)
class Finding:
    """One part's estimate, or the reason why there is none; and what its test ends in.

    Attributes
    ----------
    seeds : how many the estimate is of.
    outcome : corrected over all parts of all claims; see :func:`judge_claims`.
    margin : a difference below it doesn't matter; None: no such size is known.
    """

    part: Part
    estimate: Estimate | None
    reason: Reason | None = None
    seeds: int = 0
    outcome: Outcome = Outcome.UNTESTED
    margin: float | None = None

    @property
    def unit(self) -> str:
        """``points``, ``epochs`` or ``ratio``."""
        return MEASURES[self.part.measure].unit

    @property
    def signed(self) -> bool:
        """Is it a difference? An accuracy by itself has no sign."""
        return self.part.second is not None or self.part.measure != "test"

    @property
    def tested(self) -> bool:
        return self.estimate is not None and not math.isnan(self.estimate.p)

    @property
    def borrowed(self) -> bool:
        """Is it of one seed, and how far seeds differ told by other pairs?"""
        variance = self.estimate.variance if self.estimate else None
        return variance is not None and variance.borrowed

    @property
    def p_against(self) -> float:
        """One-sided p-value in the direction that the claim denies; 1 without an estimate."""
        return self.estimate.p_beyond(above=not self.part.above) if self.estimate else 1.0

    @cached_property
    def p_equivalent(self) -> float:
        """p-value for a difference that is too small to matter; 1 where no size is."""
        if self.estimate is None or self.margin is None:
            return 1.0
        return self.estimate.p_within(self.margin)

    @cached_property
    def p(self) -> float:
        """p-value for one side of the threshold or for equivalence; 1 without a test.

        Either is wrong no more often than this says.
        """
        return min(self.estimate.p, self.p_equivalent) if self.estimate and self.tested else 1.0

    @property
    def only_alone(self) -> bool:
        """Undecided, though by itself its interval leaves the threshold out."""
        found = self.estimate
        if found is None or self.outcome is not Outcome.UNDECIDED:
            return False
        return found.low > found.threshold or found.high < found.threshold

    @property
    def original_contradicts(self) -> bool:
        """Whether the original's own number lies on the other side than the claim says."""
        value = self.original
        return value is not None and (value > self.part.threshold) != self.part.above

    @property
    def original(self) -> float | None:
        """The same effect in the original's table; None where it has none."""
        if self.part.measure not in {"test", "train", "gap"}:
            return None
        table = original()

        def value(variant: str) -> float:
            accuracy = {split: table[f"{split}_accuracy"][variant] for split in ("train", "test")}
            if self.part.measure == "gap":
                return accuracy["train"] - accuracy["test"]
            return accuracy[self.part.measure]

        second = value(self.part.second) if self.part.second else 0.0
        effect = value(self.part.first) - second
        return None if math.isnan(effect) else effect


@dataclass(frozen=True)
class Verdict:
    """A claim's findings and what they amount to: see :func:`conclude`."""

    claim: Claim
    findings: tuple[Finding, ...]
    outcome: Outcome

    @property
    def deciding(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.part.decides)

    @property
    def in_part(self) -> bool:
        """Does it hold in some of the parts that decide, but not as a whole?"""
        return self.outcome is not Outcome.HOLDS and bool(self.having(Outcome.HOLDS))

    @property
    def untested_in_part(self) -> bool:
        """Undecided only because some parts can't be compared: it holds in all the others."""
        tested = [finding for finding in self.deciding if finding.estimate]
        holding = len(self.having(Outcome.HOLDS))
        return self.outcome is Outcome.UNDECIDED and holding == len(tested) < len(self.deciding)

    def having(self, outcome: Outcome) -> tuple[Finding, ...]:
        """Those of the deciding findings that ended so."""
        return tuple(finding for finding in self.deciding if finding.outcome is outcome)

    @property
    def one_seed(self) -> bool:
        """Is it of single trained networks, its intervals of the test images only?"""
        compared = [finding for finding in self.deciding if finding.estimate]
        return bool(compared) and all(f.seeds == 1 and not f.borrowed for f in compared)

    @property
    def borrowed(self) -> bool:
        """Does a finding that decides rest on one seed, with the spread of other pairs?"""
        return any(finding.borrowed for finding in self.deciding)

    @property
    def obstacles(self) -> tuple[Reason, ...]:
        """Why some of the deciding comparisons couldn't be made, or not tested."""
        one_seed = [Reason(Why.ONE_SEED) for f in self.deciding if f.estimate and not f.tested]
        return merge([*(f.reason for f in self.deciding if f.reason), *one_seed])

    @property
    def shown(self) -> tuple[Finding, ...]:
        """The findings to show: all, or for a long list the ones that decide."""
        if not self.claim.shown:
            return self.findings
        found = [f for f in self.findings if f.estimate] or [self.findings[0]]
        key = (lambda f: -f.p_against) if self.outcome is Outcome.FAILS else _closeness
        return tuple(sorted(found, key=key)[-self.claim.shown :][::-1])


def _closeness(finding: Finding) -> float:
    """The larger, the nearer a finding comes to contradicting its claim."""
    if finding.estimate is None:
        return float("-inf")
    return -finding.estimate.effect if finding.part.above else finding.estimate.effect


def judge_claims(study: Study, claims: tuple[Claim, ...] = CLAIMS) -> list[Verdict]:
    """Test every part of every claim; any false outcome among them has a chance of 5 %.

    Within a claim Hochberg's adjustment: parts that are all significant are all decided, a single
    one if it is so as the smallest of all. Over the claims Holm's: a claim all of whose parts are
    decided gives its share of the 5 % to the others. A part that can't be tested counts as one of
    p = 1, so that the correction doesn't depend on what happened to be there.
    """
    found = [tuple(estimate_part(study, part) for part in claim.parts) for claim in claims]
    whole = [max(finding.p for finding in findings) for findings in found]
    return [
        _judge(claim, findings, whole[:place] + whole[place + 1 :])
        for place, (claim, findings) in enumerate(zip(claims, found, strict=True))
    ]


def estimate_part(study: Study, part: Part) -> Finding:
    """One part's estimate on the seeds that all its variants have, and no outcome."""
    missing = tuple(v for v in part.variants if not study.seeds(v))
    if missing:
        return Finding(part, None, Reason(Why.MISSING, missing))
    seeds = sorted(set.intersection(*(set(study.learned(v)) for v in part.variants)))
    if not seeds:
        return Finding(part, None, Reason(Why.NO_COMMON_SEED))
    found = Finding(part, None, seeds=len(seeds))
    if part.second is not None and study.identical(part.first, part.second, seeds):
        return replace(found, reason=Reason(Why.IDENTICAL))
    usable = MEASURES[part.measure].usable
    seeds = [s for s in seeds if all(usable(study, v, s) for v in part.variants)]
    if not seeds:
        return replace(found, reason=Reason(Why.PLATEAU))
    found = replace(found, seeds=len(seeds))
    threshold = part.threshold + part.times_chance * study.chance
    try:
        estimate = estimate_effect(study, part.measure, part.first, part.second, seeds, threshold)
    except NotComparableError as error:
        return replace(found, reason=error.reason)
    return replace(found, estimate=estimate, margin=_find_margin(study, part))


def _find_margin(study: Study, part: Part) -> float | None:
    """Up to which size a difference doesn't matter; None where no size is known.

    A point is much of an accuracy of a few percent.
    """
    runs = [run for variant in part.variants for run in study.runs(variant)]
    if part.second is None or min(run.test.accuracy for run in runs) < LEAST_ACCURACY:
        return None
    return MEASURES[part.measure].margin


def conclude(outcomes: Collection[Outcome]) -> Outcome:
    """A claim's outcome from its parts': one that fails refutes it, else the weakest counts.

    Equivalent is a claim all of whose parts are decided, some as too small a difference to matter.
    """
    if Outcome.FAILS in outcomes:
        return Outcome.FAILS
    for same in (Outcome.HOLDS, Outcome.UNTESTED):
        if set(outcomes) == {same}:
            return same
    decided = set(outcomes) <= {Outcome.HOLDS, Outcome.EQUIVALENT}
    return Outcome.EQUIVALENT if decided else Outcome.UNDECIDED


def merge(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    """Each reason once, all missing variants in one, which comes first."""
    once = list(dict.fromkeys(reasons))
    missing = dict.fromkeys(v for r in once if r.why is Why.MISSING for v in r.variants)
    others = [reason for reason in once if reason.why is not Why.MISSING]
    return (*([Reason(Why.MISSING, tuple(missing))] if missing else []), *others)


def _judge(claim: Claim, findings: tuple[Finding, ...], others: list[float]) -> Verdict:
    """The verdict on a claim; ``others``: for each other claim the largest of its parts' p."""
    judged = _decide(findings, others)
    deciding = [finding for finding in judged if finding.part.decides]
    return Verdict(claim, judged, conclude([finding.outcome for finding in deciding]))


def _decide(findings: tuple[Finding, ...], others: list[float]) -> tuple[Finding, ...]:
    """A claim's findings with their outcomes, corrected over them and over the other claims."""
    p_values = [finding.p for finding in findings]
    within = estimates.hochberg(p_values)

    def decide(finding: Finding, place: int) -> Finding:
        if not finding.tested:
            return finding
        outcome = Outcome.UNDECIDED
        of_claim = [*p_values[:place], finding.p_equivalent, *p_values[place + 1 :]]
        if estimates.holm(estimates.hochberg(of_claim)[place], others) <= ALPHA:
            outcome = Outcome.EQUIVALENT
        elif estimates.holm(within[place], others) <= ALPHA:
            outcome = Outcome.FAILS if finding.p_against < 0.5 else Outcome.HOLDS
        return replace(finding, outcome=outcome)

    return tuple(decide(finding, place) for place, finding in enumerate(findings))
