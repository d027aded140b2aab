"""Variants beside each other, apart from the report: a table and a plot, from one line."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from labcnn.errors import ReportError
from labcnn.files import logs_folder
from labcnn.runs import load_runs
from labcnn.variants import get_variant
from labreport import style, words
from labreport.claims import Part
from labreport.display import Table
from labreport.figures.comparison import plot_comparison
from labreport.formats import percent
from labreport.measures import accuracy_interval
from labreport.study import Study, load_study, newest_experiment
from labreport.verdicts import Finding, estimate_part


@dataclass(frozen=True)
class Comparison:
    """Several variants of an experiment, each against the first; a notebook shows both parts.

    Attributes
    ----------
    study : the experiment.
    variants : the first is what the others are compared with.
    """

    study: Study
    variants: tuple[str, ...]

    @cached_property
    def findings(self) -> list[Finding]:
        """Each variant against the first, itself included."""
        return [estimate_part(self.study, Part("test", v, self.variants[0])) for v in self.variants]

    @property
    def table(self) -> pd.DataFrame:
        """A row per variant: seeds, test accuracy and difference from the first, in percent.

        Each with its 95 % interval; NaN where there is none.
        """
        reference, rows = self.variants[0], []
        for variant, finding in zip(self.variants, self.findings, strict=True):
            row = [len(self.study.seeds(variant)), *accuracy_interval(self.study, variant)]
            found = finding.estimate
            apart = found if found and variant != reference else None
            row += [apart.effect, apart.low, apart.high] if apart else [float("nan")] * 3
            rows.append([row[0], *(100 * value for value in row[1:])])
        columns = ["seeds", "test", "low", "high", "difference", "from", "to"]
        return pd.DataFrame(rows, index=list(self.variants), columns=columns)

    def plot(self) -> Figure:
        """Validation accuracy by epoch, and test accuracies with their intervals."""
        style.use()
        return plot_comparison(self.study, self.variants)

    def tabulate(self) -> Table:
        """:attr:`table` as a notebook shows it."""
        rows = []
        for variant, row in self.table.iterrows():
            apart = f"{row.difference:+.2f} [{row['from']:+.2f}, {row.to:+.2f}]"
            shown = words.NOTHING if variant == self.variants[0] else apart
            accuracy = f"{percent(row.test / 100)} [{row.low:.2f}, {row.high:.2f}]"
            rows.append((str(variant), f"{row.seeds:.0f}", accuracy, shown.replace("-", "−")))
        columns = [column.format(self.variants[0]) for column in words.COMPARED_COLUMNS]
        return Table(columns, rows, "lrrr")

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.tabulate(), self.plot())


def compare(
    *variants: str, experiment: str | None = None, logs: str | Path | None = None
) -> Comparison:
    """Compare variants of one experiment with the first of them.

    Parameters
    ----------
    experiment : its folder's name; None takes the newest that has all of them.
    logs : folder of results; None is the usual one.

    Raises
    ------
    ParameterError
        There is no such variant.
    ReportError
        Fewer than two variants, or no experiment has a finished run of each.
    """
    chosen = tuple(dict.fromkeys(variants))
    if len(chosen) < 2:
        raise ReportError(f"variants={' '.join(variants)!r}: give two or more different ones")
    named = experiment or newest_experiment(logs_folder(logs), chosen)
    study = load_study(logs, named, any_variant=True)
    if lacking := [variant for variant in chosen if not study.seeds(variant)]:
        damaged = "".join(f"; left out: {problem}" for problem in study.problems)
        if not damaged:
            for variant in lacking:  # misspelt, perhaps
                get_variant(variant)
        raise ReportError(
            f"experiment {study.experiment!r} has no finished run of {', '.join(lacking)}; "
            f"it has {', '.join((*study.present, *study.others))}{damaged}"
        )
    return Comparison(study, chosen)


def list_passed_over(found: Comparison, logs: str | Path | None = None) -> list[tuple[str, str]]:
    """The experiments that finished a run later and lack a variant: name, and what they lack."""
    table, problems = load_runs(logs_folder(logs))
    ends = table["folder"].map(lambda run: run.result().provenance.finished)
    last = ends.groupby(table["experiment"]).max()
    passed = []
    for name in last.index[last > last[found.study.experiment]]:
        there = set(table.loc[table["experiment"] == name, "variant"])
        damaged = [each for each in problems if f"/{name}/" in each]
        if lacking := [variant for variant in found.variants if variant not in there]:
            passed.append((str(name), "; ".join([f"no run of {', '.join(lacking)}", *damaged])))
    return passed
