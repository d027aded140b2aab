"""The report's tables of numbers: a row per variant, comparison or pair of classes.

A table of words (parameters, provenance) is a pipe table in its text in ``text/``. A table's
caption is in its cell of the notebook, a figure's in ``text/captions.md.j2``.
"""

from collections.abc import Mapping, Sequence

from labcnn.variants import VARIANTS, label
from labreport import words
from labreport.classes import PAIRS
from labreport.display import Markdown, Table, bold, escape, link
from labreport.facts import Facts
from labreport.formats import (
    compared_name,
    interval,
    join,
    number,
    percent,
    short_name,
)
from labreport.measures import seed_deviation
from labreport.prose import phrase
from labreport.study import Study, original
from labreport.verdicts import Finding, Verdict


def tabulate_networks(study: Study) -> Table:
    """Every variant: its switches, parameters and FLOPs, the original's name for it.

    The sizes are those that a run had.
    """
    rows = []
    for variant in study.wanted:
        network, runs = VARIANTS[variant], study.runs(variant)
        switches = join(words.FIELDS[s] for s in network.switches) or words.NOTHING
        if len(network.switches) == len(words.FIELDS):
            switches = words.ALL_SWITCHES
        counts = (words.NOTHING, words.NOTHING)
        if runs:
            size = runs[0].model
            counts = (f"{size.parameters / 1e6:.2f}", f"{size.flops / 1e6:.0f}")
        old = [label(variant)] if study.has_original else []
        rows.append((short_name(variant), switches, *counts, *old))
    more = [words.ORIGINAL_NAME] if study.has_original else []
    return Table((*words.NETWORK_COLUMNS, *more), rows, "llrr" + "l" * len(more))


def describe_status(study: Study, variant: str) -> str:
    """What became of a variant's runs: a word, with how many of them where not all are alike.

    A run that the cap ended while its validation accuracy still rose is said to be so; and a
    variant whose switch never acted, that it is its baseline.
    """
    runs, status = study.runs(variant), study.bad_status(variant)
    if not runs:
        return words.STATUS["missing"]
    baseline = f"{VARIANTS[variant].depth}_baseline"
    seeds = study.seeds(variant)
    if seeds == study.seeds(baseline) and study.identical(variant, baseline, seeds):
        return words.SAME_AS.format(short_name(baseline))
    if status is None:
        rising = [run for run in runs if study.rose_to_the_cap(run)]
        count, word = len(rising), words.STILL_RISING
        if not rising:
            return words.STATUS["ok"]
    else:
        few = status == "no_learning" and study.too_few_to_tell
        word = words.TOO_FEW if few else words.STATUS[status]
        count = sum(run.status == status for run in runs)
    return word if count == len(runs) else words.OF_SEEDS.format(count, len(runs), word)


def tabulate_results(study: Study) -> Table:
    """A row per variant: accuracies in percent, the best on images not trained on marked.

    The original's are beside where both are of the same images. Means over seeds; where there are
    several, the test accuracy with its standard deviation.
    """
    old, splits = original(), words.SPLITS
    best = {
        split: max((study.accuracy(v, split) for v in study.present), default=0.0)
        for split in splits
    }
    rows: list[Sequence[str]] = []
    for variant in study.wanted:
        past = [percent(old[f"{split}_accuracy"][variant]) for split in splits]
        cells = _result_cells(study, variant, best)
        rows.append((short_name(variant), *cells, *(past if study.has_original else ())))
    if not study.has_original:
        return Table(words.RESULT_COLUMNS, rows, "lrrrl")
    return Table((*words.RESULT_COLUMNS, *words.ORIGINAL_COLUMNS), rows, "lrrrlrrr")


def _result_cells(study: Study, variant: str, best: Mapping[str, float]) -> list[str]:
    means = {split: study.accuracy(variant, split) for split in words.SPLITS}
    cells = {split: percent(mean) for split, mean in means.items()}
    if len(study.learned(variant)) > 1:
        cells["test"] += f" ± {percent(seed_deviation(study, variant))}"
    for split in ("val", "test"):
        if means[split] == best[split]:
            cells[split] = bold(cells[split])
    return [*cells.values(), describe_status(study, variant)]


def tabulate_depths(facts: Facts) -> Table:
    """What depth does to each switch: a row for those that the report is about."""
    study, rows = facts.study, list[Sequence[str]]()
    wanted = {v.partition("_")[2] for v in study.wanted}
    for switch in sorted(wanted & {*words.SWITCHES}, key=list(words.SWITCHES).index):
        short, long = f"short_{switch}", f"long_{switch}"
        means = [percent(study.accuracy(v)) for v in (short, long)]
        effects = [_effect_cell(facts.against(of, long, short)) for of in ("test", "train")]
        rows.append((words.SWITCHES[switch], *means, *effects))
    return Table(words.DEPTH_COLUMNS, rows, "lrrrr")


def tabulate_claims(verdicts: list[Verdict], beside: bool = True) -> Table:
    """The claims, a row per comparison shown: effect with its interval, the original's, outcome.

    Parameters
    ----------
    beside : whether there is a column of the original's effects.
    """
    rows: list[Sequence[str]] = []
    for verdict in verdicts:
        note = words.OF_ONE_SEED if verdict.one_seed else ""
        title = f"{verdict.claim.section} {words.CLAIMS[verdict.claim.id]}"
        outcome = words.OUTCOMES[verdict.outcome]
        if verdict.untested_in_part:
            outcome = words.IN_PART
        whole = bold(f"{outcome}{note}")
        for place, finding in enumerate(verdict.shown):
            past = _original_cell(finding) or ("" if place else words.NOTHING)
            part = words.OUTCOMES[finding.outcome] if len(verdict.shown) > 1 else ""
            if not finding.part.decides:
                part = words.BESIDE.format(part)
            cells = [
                "" if place else title, compared_name(finding.part), _effect_cell(finding), part,
                "" if place else whole,
            ]  # fmt: skip
            rows.append([*cells[:3], past, *cells[3:]] if beside else cells)
    columns = [*words.CLAIM_COLUMNS, words.CLAIM_OUTCOME]
    if beside:
        columns.insert(3, words.ORIGINAL_COLUMN)
    return Table(columns, rows, "lllrll" if beside else "lllll")


def _effect_cell(finding: Finding) -> Markdown:
    """``+3.90 [+3.00, +4.80]``, or why there is none."""
    estimate, unit = finding.estimate, finding.unit
    if estimate is None:
        return Markdown(phrase("reason", finding.reason))
    bounds = interval(estimate, unit, sign=finding.signed) or words.NO_INTERVAL
    return Markdown(escape(f"{number(estimate.effect, unit, sign=finding.signed)} {bounds}"))


def _original_cell(finding: Finding) -> str:
    """The same number of the original's table; empty where it has none."""
    value = finding.original
    return "" if value is None else number(value, finding.unit, sign=finding.signed)


def tabulate_confusions(facts: Facts) -> Table:
    """The pairs that are confused most often, and how often the other way round."""
    name = facts.images.name
    rows = [
        (
            name(pair.true), name(pair.predicted), f"{pair.count} / {pair.images}",
            f"{pair.count / pair.images:.0%}", str(pair.reverse),
        )
        for pair in facts.classes.confusions(PAIRS)
    ]  # fmt: skip
    return Table(words.CONFUSION_COLUMNS, rows, "llrrr")


def tabulate_logs(facts: Facts, beside: str = "") -> Table:
    """The folder and the seeds of each variant's runs.

    Parameters
    ----------
    beside : folder of the logs as seen from the report, to link to; empty: no links.
    """
    rows = []
    studies = {"": facts.study} | ({words.TUNED: facts.tuned.study} if facts.tuned else {})
    for note, study in studies.items():
        for variant in (*study.present, *study.others):
            folder = f"{study.experiment}/{variant}"
            cell = link(folder, f"{beside}/{folder}") if beside else folder
            seeds = join(f"seed{seed}" for seed in study.seeds(variant))
            rows.append((f"{short_name(variant)}{note}", cell, seeds))
    return Table(words.LOG_COLUMNS, rows, "lll")
