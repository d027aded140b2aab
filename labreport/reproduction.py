"""How to get these results again: code, versions, devices, command."""

import re
from dataclasses import dataclass

from labcnn.runs import Provenance
from labcnn.variants import REPORT_VARIANTS
from labreport import words
from labreport.study import Study

#: Packages named first; the others follow in the order of the alphabet.
FIRST = ("labcnn", "python", "torch")
#: A name that no shell reads anything into.
_PLAIN = re.compile(r"[\w.-]+")


@dataclass(frozen=True)
class Circumstances:
    """What the runs were made with: every value that occurs, in order.

    Attributes
    ----------
    days : the first and the last on which a run finished, ISO.
    commits : abbreviated, and whether there were changes beside it; None: unknown.
    versions : of each package.
    devices : each one's name and kind.
    at_once : the most runs that were under way at the same time.
    """

    days: tuple[str, str]
    commits: list[tuple[str | None, bool]]
    versions: dict[str, list[str]]
    devices: list[tuple[str, str]]
    precisions: list[str]
    threads: list[int]
    train_seconds: float
    interruptions: int
    at_once: int


def gather_circumstances(study: Study) -> Circumstances:
    """Of all runs of a study."""
    runs = [run.provenance for run in study.results.values()]
    days = [run.finished[:10] for run in runs]
    names = {name for run in runs for name in run.versions}
    commits = {(run.git_commit and run.git_commit[:12], bool(run.git_dirty)) for run in runs}
    return Circumstances(
        days=(min(days), max(days)),
        commits=sorted(commits, key=str),
        versions={
            name: sorted({run.versions.get(name, words.NOTHING) for run in runs})
            for name in [*(n for n in FIRST if n in names), *sorted(names - set(FIRST))]
        },
        devices=sorted({(m.device_name, m.device) for m in study.machines}),
        precisions=sorted({m.precision for m in study.machines}),
        threads=sorted({m.threads for m in study.machines}),
        train_seconds=sum(run.timing.train_seconds for run in study.results.values()),
        interruptions=sum(run.interruptions for run in runs),
        at_once=_count_at_once(runs),
    )


def _count_at_once(runs: list[Provenance]) -> int:
    """Of runs that began and ended at these times, the most that were under way together."""
    ends = [(run.finished, -1) for run in runs]
    now = most = 0
    for _, change in sorted([*((run.started, 1) for run in runs), *ends]):
        now += change
        most = max(most, now)
    return most


def command(study: Study) -> str:
    """The command that makes these runs and this report again."""
    recipe = study.recipe
    parts = [f"make report DATASET={recipe.dataset}"]
    usual = {**recipe.defaults, "protocol": "course"}
    changed = {k: getattr(recipe, k) for k, v in usual.items() if getattr(recipe, k) != v}
    for name in ("fraction", "epochs"):
        if name in changed:
            parts.append(f"{name.upper()}={changed.pop(name):g}")
    if study.experiment != recipe.experiment and _PLAIN.fullmatch(study.experiment):
        changed["experiment"] = study.experiment
    if changed:
        parts.append(f'PARAMS="{" ".join(f"{k}={v}" for k, v in changed.items())}"')
    if study.all_seeds != [0]:
        parts.append(f'SEEDS="{" ".join(map(str, study.all_seeds))}"')
    variants = (*study.present, *study.others)
    if set(variants) != set(REPORT_VARIANTS):
        parts.append(f'VARIANTS="{" ".join(variants)}"')
    return " ".join(parts)
