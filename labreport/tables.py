"""The report's tables of numbers, from a study's runs; those of words are in ``text/``."""

from collections.abc import Mapping, Sequence

from labcnn.runs import ModelSize
from labcnn.variants import BLOCKS_PER_STAGE, REPORT_VARIANTS, VARIANTS, label
from labreport import words
from labreport.classes import PAIRS
from labreport.display import Markdown, Strong, Table, escape
from labreport.facts import Facts
from labreport.formats import (
    compared_name,
    interval,
    join,
    number,
    p_value,
    percent,
    short_name,
    span,
)
from labreport.measures import accuracy_interval, seed_deviation
from labreport.prose import phrase
from labreport.study import Study, original
from labreport.verdicts import Finding, Outcome, Verdict


def tabulate_networks(study: Study) -> Table:
    """Blocks, parameters and FLOPs of the networks; lr_decay and dropout change neither."""
    sizes: dict[tuple[str, tuple[str, ...]], ModelSize] = {}
    for (variant, _), run in study.results.items():
        if variant not in REPORT_VARIANTS:
            continue
        switches = tuple(s for s in VARIANTS[variant].switches if s in words.NETWORK_SWITCHES)
        sizes.setdefault((VARIANTS[variant].depth, switches), run.model)
    rows = []
    for depth, blocks in BLOCKS_PER_STAGE.items():
        for switches in ((), ("norm",), ("residual",), ("norm", "residual")):
            size = sizes.get((depth, switches))
            if size is not None:
                shown = join(words.NETWORK_SWITCHES[s] for s in switches) or words.NOTHING
                millions = f"{size.parameters / 1e6:.3f}", f"{size.flops / 1e6:.1f}"
                rows.append((depth, shown, str(blocks), *millions))
    return Table(words.NETWORK_COLUMNS, rows, "llrrr")


def tabulate_section(study: Study, chosen: Sequence[str]) -> Table:
    """What a section compares: accuracies in percent, test interval, epochs, seconds."""
    rows: list[Sequence[str]] = []
    for variant in chosen:
        runs = study.runs(variant)
        name, nothing = short_name(variant), words.NOTHING
        if not runs:
            missing = words.STATUS["missing"]
            rows.append((name, *[nothing] * 3, "", nothing, nothing, missing))
            continue
        value, low, high = accuracy_interval(study, variant)
        train, val = (percent(study.mean(variant, f"{s}_accuracy")) for s in ("train", "val"))
        best = span([r.best_epoch for r in runs if r.best_epoch is not None])
        rows.append((
            name, train, val, percent(value), f"[{percent(low)}, {percent(high)}]",
            f"{best} / {span([r.epochs_run for r in runs])}",
            f"{study.mean(variant, 'seconds_per_epoch'):.1f}",
            words.STATUS[study.bad_status(variant) or "ok"],
        ))  # fmt: skip
    return Table(words.SECTION_COLUMNS, rows, "lrrrlrrl")


def tabulate_results(study: Study, tuned: Study | None = None) -> Table:
    """A row per variant: accuracies in percent, the best of each marked.

    The original's are beside where both are of the same images. Means over seeds; where there are
    several, the test accuracy with its standard deviation.
    ``tuned`` is the last row, of another protocol and so never marked as the best.
    """
    old, splits = original(), words.SPLITS
    best = {
        split: max((study.mean(v, f"{split}_accuracy") for v in study.present), default=0.0)
        for split in splits
    }
    rows: list[Sequence[str]] = []
    for variant in REPORT_VARIANTS:
        past = [percent(old[f"{split}_accuracy"][variant]) for split in splits]
        cells = _result_cells(study, variant, best)
        rows.append((label(variant), *cells, *(past if study.has_original else ())))
    for variant in tuned.present if tuned is not None else ():
        assert tuned is not None
        cells = _result_cells(tuned, variant, {})
        past = [words.NOTHING] * 3 if study.has_original else []
        rows.append((label(variant) + words.TUNED, *cells, *past))
    if not study.has_original:
        return Table(words.RESULT_COLUMNS, rows, "lrrrl")
    return Table((*words.RESULT_COLUMNS, *words.ORIGINAL_COLUMNS), rows, "lrrrlrrr")


def _result_cells(study: Study, variant: str, best: Mapping[str, float]) -> list[str]:
    cells = []
    for split in words.SPLITS:
        mean = study.mean(variant, f"{split}_accuracy")
        cells.append((Strong if mean == best.get(split) else str)(percent(mean)))
    if len(study.seeds(variant)) > 1:
        deviation = percent(seed_deviation(study, variant))
        cells[-1] = type(cells[-1])(f"{cells[-1]} ± {deviation}")
    status = study.bad_status(variant) or ("ok" if study.seeds(variant) else "missing")
    return [*cells, words.STATUS[status]]


def tabulate_claims(verdicts: list[Verdict], beside: bool = True) -> Table:
    """The claims, a row per comparison shown: effect with its interval, the original's, outcome.

    The last column's head says so where all verdicts are of a single seed, else each one does.

    Parameters
    ----------
    beside : whether there is a column of the original's effects.
    """
    rows: list[Sequence[str]] = []
    compared = [verdict for verdict in verdicts if any(f.estimate for f in verdict.findings)]
    alone = bool(compared) and all(verdict.one_seed for verdict in compared)
    for verdict in verdicts:
        note = words.OF_ONE_SEED if verdict.one_seed and not alone else ""
        counted = verdict.tested or verdict.outcome in {Outcome.HOLDS, Outcome.FAILS}
        first = (
            f"{verdict.claim.section} {words.CLAIMS[verdict.claim.id][0]}",
            p_value(verdict.p_adjusted) if counted else words.NOTHING,
            Strong(f"{words.OUTCOMES[verdict.outcome]}{note}"),
        )
        for place, finding in enumerate(verdict.shown):
            title, p, outcome = ("", "", "") if place else first
            past = _original_cell(finding) or ("" if place else words.NOTHING)
            cells = [title, compared_name(finding.part), _effect_cell(finding), p, outcome]
            rows.append([*cells[:3], past, *cells[3:]] if beside else cells)
    last = words.CLAIM_OUTCOME_OF_ONE_SEED if alone else words.CLAIM_OUTCOME
    columns = [*words.CLAIM_COLUMNS, last]
    if beside:
        columns.insert(3, words.ORIGINAL_COLUMN)
    return Table(columns, rows, "lllrrl" if beside else "lllrl")


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
