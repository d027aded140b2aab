"""Verdicts: each claim tested on a study's runs, corrected over all claims."""

from dataclasses import dataclass, replace

import numpy as np

from labcnn.variants import label
from labreport import statistics
from labreport.claims import CLAIMS, Claim, Part
from labreport.measures import MEASURES, NotComparableError
from labreport.statistics import ALPHA, Estimate
from labreport.study import Study

HOLDS, FAILS, UNDECIDED = "成立", "不成立", "证据不足"
#: A decay that never came, for example: there is nothing to compare.
SAME = "两者的逐轮记录与预测完全相同，所比较的开关没有起过作用"


@dataclass(frozen=True)
class Finding:
    """One part's estimate, or the reason why there is none (Chinese).

    ``seeds`` are those that all its variants have, ``of`` those of the study.
    """

    part: Part
    estimate: Estimate | None
    reason: str = ""
    seeds: int = 0
    of: int = 0

    @property
    def p_for(self) -> float:
        """One-sided p-value in the claimed direction; 1 without an estimate."""
        return self.estimate.p_beyond(above=self.part.above) if self.estimate else 1.0

    @property
    def p_against(self) -> float:
        return self.estimate.p_beyond(above=not self.part.above) if self.estimate else 1.0


@dataclass(frozen=True)
class Verdict:
    """A claim's findings and what they amount to.

    ``p`` is two-sided. For the claim: all parts must hold, so the largest of their p-values counts
    (intersection-union test). Against it: one opposite part is enough, so the smallest counts,
    times the number of parts (Bonferroni). ``p_adjusted`` is Holm's over all claims.
    """

    claim: Claim
    findings: tuple[Finding, ...]
    p: float
    p_adjusted: float
    verdict: str
    reason: str

    @property
    def one_seed(self) -> bool:
        """Is it of single trained networks, its intervals of the test images only?"""
        deciding = [f for f in self.findings if f.estimate and f.part.decides]
        return bool(deciding) and all(finding.seeds == 1 for finding in deciding)

    @property
    def tested(self) -> bool:
        """Whether there was a test of every part that decides; without one, p counts as 1."""
        deciding = [finding for finding in self.findings if finding.part.decides]
        return all(f.estimate is not None and not np.isnan(f.estimate.p) for f in deciding)

    @property
    def word(self) -> str:
        """The verdict in Markdown, with a note where it is of one seed."""
        single = self.one_seed and self.verdict != UNDECIDED
        return f"**{self.verdict}**{'（仅就一个种子而言）' if single else ''}"

    @property
    def shown(self) -> tuple[Finding, ...]:
        """The findings to show: all, or for a long list the ones that decide."""
        if not self.claim.shown:
            return self.findings
        found = [f for f in self.findings if f.estimate] or [self.findings[0]]
        key = (lambda f: -f.p_against) if self.verdict == FAILS else _closeness
        return tuple(sorted(found, key=key)[-self.claim.shown :][::-1])


def _closeness(finding: Finding) -> float:
    """The larger, the nearer a finding comes to contradicting its claim."""
    if finding.estimate is None:
        return float("-inf")
    return -finding.estimate.effect if finding.part.above else finding.estimate.effect


def evaluate(study: Study, claims: tuple[Claim, ...] = CLAIMS) -> list[Verdict]:
    """Test every claim; missing runs leave it undecided unless what is there refutes it."""
    drafts = [_draft(study, claim) for claim in claims]
    # An untestable claim counts too: the correction doesn't depend on what happened to be there.
    adjusted = statistics.holm([draft.p for draft in drafts])
    return [_decide(replace(d, p_adjusted=p)) for d, p in zip(drafts, adjusted, strict=True)]


def find(study: Study, part: Part) -> Finding:
    """One part's estimate on the seeds that all its variants have."""
    missing = [label(v) for v in part.variants if not study.seeds(v)]
    if missing:
        return Finding(part, None, f"未完成：{'、'.join(missing)}")
    seeds = sorted(set.intersection(*(set(study.seeds(v)) for v in part.variants)))
    if not seeds:
        return Finding(part, None, "没有共同的随机种子")
    if part.second is not None and study.identical(part.first, part.second, seeds):
        return Finding(part, None, SAME, len(seeds))
    threshold = part.threshold + part.times_chance * study.chance
    try:
        estimate = MEASURES[part.measure].compare(study, part.first, part.second, seeds, threshold)
    except NotComparableError as error:
        return Finding(part, None, str(error), len(seeds))
    return Finding(part, estimate, seeds=len(seeds), of=len(study.all_seeds))


def _draft(study: Study, claim: Claim) -> Verdict:
    findings = tuple(find(study, part) for part in claim.parts)
    deciding = [finding for finding in findings if finding.part.decides]
    p_for = max(finding.p_for for finding in deciding)
    p_against = min(1.0, len(deciding) * min(finding.p_against for finding in deciding))
    verdict = HOLDS if p_for < p_against else FAILS
    return Verdict(claim, findings, min(1.0, 2 * min(p_for, p_against)), 1.0, verdict, "")


def _decide(draft: Verdict) -> Verdict:
    if draft.p_adjusted <= ALPHA:
        return draft
    deciding = [finding for finding in draft.findings if finding.part.decides]
    reasons = [f.reason for f in deciding if f.reason]
    if any(f.estimate and np.isnan(f.estimate.p) for f in deciding):
        reasons.append("需要多个种子才能给出区间")
    if not reasons:
        several = "各项比较未能全部得到支持" if len(deciding) > 1 else "差异不显著"
        if draft.p <= ALPHA:
            several = "单独看已达显著，经全部论断的 Holm 校正后则不显著"
        reasons.append(f"{several}（校正后 p = {draft.p_adjusted:.2g}）")
    unique = list(dict.fromkeys(reasons))
    return replace(draft, verdict=UNDECIDED, reason=_joined(unique))


def _joined(reasons: list[str]) -> str:
    """All reasons in one, the missing variants of several named once."""
    prefix = "未完成："
    names = [n for r in reasons if r.startswith(prefix) for n in r[len(prefix) :].split("、")]
    others = [r for r in reasons if not r.startswith(prefix)]
    missing = [f"{prefix}{'、'.join(dict.fromkeys(names))}"] if names else []
    return "；".join(missing + others)
