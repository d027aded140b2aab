"""Verdicts: each claim tested on a study's runs, corrected over all claims. Facts, no words."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from labreport import estimates
from labreport.claims import CLAIMS, Claim, Part
from labreport.estimates import ALPHA, Estimate
from labreport.measures import MEASURES, NotComparableError, Reason, Why
from labreport.study import Study, original


class Outcome(StrEnum):
    """What a test of a claim ends in."""

    HOLDS = "holds"
    FAILS = "fails"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Finding:
    """One part's estimate, or the reason why there is none.

    ``seeds`` counts those that all its variants have, ``of`` those of the study.
    """

    part: Part
    estimate: Estimate | None
    reason: Reason | None = None
    seeds: int = 0
    of: int = 0

    @property
    def unit(self) -> str:
        """``points``, ``epochs`` or ``ratio``."""
        return MEASURES[self.part.measure].unit

    @property
    def signed(self) -> bool:
        """Is it a difference? An accuracy by itself has no sign."""
        return self.part.second is not None or self.part.measure != "test"

    @property
    def p_for(self) -> float:
        """One-sided p-value in the claimed direction; 1 without an estimate."""
        return self.estimate.p_beyond(above=self.part.above) if self.estimate else 1.0

    @property
    def p_against(self) -> float:
        return self.estimate.p_beyond(above=not self.part.above) if self.estimate else 1.0

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
    """A claim's findings and what they amount to.

    ``p`` is two-sided. For the claim: all parts must hold, so the largest of their p-values counts
    (intersection-union test). Against it: one opposite part is enough, so the smallest counts,
    times the number of parts (Bonferroni). ``p_adjusted`` is Holm's over all claims. ``reasons``
    say why an undecided claim is undecided.
    """

    claim: Claim
    findings: tuple[Finding, ...]
    p: float
    p_adjusted: float
    outcome: Outcome
    reasons: tuple[Reason, ...] = ()

    @property
    def deciding(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.part.decides)

    @property
    def one_seed(self) -> bool:
        """Is it of single trained networks, its intervals of the test images only?"""
        compared = [finding for finding in self.deciding if finding.estimate]
        return bool(compared) and all(finding.seeds == 1 for finding in compared)

    @property
    def tested(self) -> bool:
        """Whether there was a test of every part that decides; without one, p counts as 1."""
        return all(f.estimate is not None and not math.isnan(f.estimate.p) for f in self.deciding)

    @property
    def obstacles(self) -> tuple[Reason, ...]:
        """Why some comparisons couldn't be made."""
        return merge(f.reason for f in self.findings if f.reason)

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
    """Test every claim; missing runs leave it undecided unless what is there refutes it."""
    drafts = [_draft(study, claim) for claim in claims]
    # An untestable claim counts too: the correction doesn't depend on what happened to be there.
    adjusted = estimates.holm([draft.p for draft in drafts])
    return [_decide(replace(d, p_adjusted=p)) for d, p in zip(drafts, adjusted, strict=True)]


def compare(study: Study, part: Part) -> Finding:
    """One part's estimate on the seeds that all its variants have."""
    missing = tuple(v for v in part.variants if not study.seeds(v))
    if missing:
        return Finding(part, None, Reason(Why.MISSING, missing))
    seeds = sorted(set.intersection(*(set(study.seeds(v)) for v in part.variants)))
    if not seeds:
        return Finding(part, None, Reason(Why.NO_COMMON_SEED))
    if part.second is not None and study.identical(part.first, part.second, seeds):
        return Finding(part, None, Reason(Why.IDENTICAL), len(seeds))
    threshold = part.threshold + part.times_chance * study.chance
    try:
        estimate = MEASURES[part.measure].compare(study, part.first, part.second, seeds, threshold)
    except NotComparableError as error:
        return Finding(part, None, error.reason, len(seeds))
    return Finding(part, estimate, seeds=len(seeds), of=len(study.all_seeds))


def merge(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    """Each reason once, all missing variants in one, which comes first."""
    once = list(dict.fromkeys(reasons))
    missing = dict.fromkeys(v for r in once if r.why is Why.MISSING for v in r.variants)
    others = [reason for reason in once if reason.why is not Why.MISSING]
    return (*([Reason(Why.MISSING, tuple(missing))] if missing else []), *others)


def _draft(study: Study, claim: Claim) -> Verdict:
    findings = tuple(compare(study, part) for part in claim.parts)
    deciding = [finding for finding in findings if finding.part.decides]
    p_for = max(finding.p_for for finding in deciding)
    p_against = min(1.0, len(deciding) * min(finding.p_against for finding in deciding))
    outcome = Outcome.HOLDS if p_for < p_against else Outcome.FAILS
    return Verdict(claim, findings, min(1.0, 2 * min(p_for, p_against)), 1.0, outcome)


def _decide(draft: Verdict) -> Verdict:
    if draft.p_adjusted <= ALPHA:
        return draft
    reasons = [finding.reason for finding in draft.deciding if finding.reason]
    if any(f.estimate and math.isnan(f.estimate.p) for f in draft.deciding):
        reasons.append(Reason(Why.ONE_SEED))
    if not reasons:
        several = Why.NOT_ALL_PARTS if len(draft.deciding) > 1 else Why.NOT_SIGNIFICANT
        reasons.append(Reason(Why.ONLY_BEFORE_HOLM if draft.p <= ALPHA else several))
    return replace(draft, outcome=Outcome.UNDECIDED, reasons=merge(reasons))
