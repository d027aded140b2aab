"""One experiment's runs, read once: what every table, figure and verdict starts from."""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from statistics import fmean
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from labcnn.data import Origin, origin, tiny_imagenet
from labcnn.errors import ReportError
from labcnn.files import logs_folder
from labcnn.recipe import Recipe
from labcnn.runs import (
    FAILURE,
    PREDICTIONS,
    RESULT,
    SIGNIFICANCE,
    Failure,
    Machine,
    RunFolder,
    RunResult,
    find_runs,
    load_runs,
    read_class_names,
)
from labcnn.variants import REPORT_VARIANTS, VARIANTS, get_variant

Value = TypeVar("Value")
#: Columns of a history that say how fast the machine was.
CLOCK = ["seconds", "images_per_second"]
#: Those whose predictions are kept.
SPLITS = ("val", "test")
HOW_TO_RUN = "make report, or papermill notebooks/train.ipynb out.ipynb -p variant short_all"


@dataclass(frozen=True, eq=False)
class Study:
    """The finished runs of one experiment.

    Attributes
    ----------
    experiment : the experiment's name.
    results : each run's result by variant and seed; the seconds of training and of an epoch are by
        the run's median epoch: see :func:`without_pauses`.
    folders : each run's files.
    problems : a line per file that was left out, paths relative to the folder of logs.
    failures : what the sweep recorded of runs that have no result, by variant and seed.
    wanted : those of the report's variants that the study is about; the others aren't missing.
    """

    experiment: str
    results: dict[tuple[str, int], RunResult]
    folders: dict[tuple[str, int], RunFolder]
    problems: tuple[str, ...] = ()
    failures: dict[tuple[str, int], Failure] = field(default_factory=dict)
    wanted: tuple[str, ...] = REPORT_VARIANTS
    _read: dict[Any, Any] = field(default_factory=dict, repr=False)

    @property
    def any_run(self) -> RunResult:
        """One of them, for what all have in common: their data and most of their recipe."""
        return next(iter(self.results.values()))

    @property
    def recipe(self) -> Recipe:
        """A recipe of the experiment; its runs differ in variant and seed only."""
        return self.any_run.recipe

    @property
    def present(self) -> tuple[str, ...]:
        """The report's variants that have a finished run, in the table's order."""
        return tuple(v for v in REPORT_VARIANTS if self.seeds(v))

    @property
    def others(self) -> tuple[str, ...]:
        """The variants that have a finished run and aren't the report's: one's own, say."""
        found = {name for name, _ in self.results} - set(REPORT_VARIANTS)
        return tuple(v for v in VARIANTS if v in found)

    @property
    def missing(self) -> tuple[str, ...]:
        return tuple(v for v in self.wanted if not self.seeds(v))

    @property
    def ranked(self) -> list[str]:
        """The report's variants that have a run, by mean test accuracy, the best first."""
        return sorted(self.present, key=self.accuracy, reverse=True)

    def tied(self, variant: str) -> list[str]:
        """Those that are exactly as accurate as a variant, with it: one training twice, say."""
        mean = self.accuracy(variant)
        return [v for v in self.present if self.accuracy(v) == mean]

    @property
    def rising(self) -> list[str]:
        """Variants of which the cap ended at least half of the runs while they still improved."""
        found = {v: [self.rose_to_the_cap(run) for run in self.runs(v)] for v in self.present}
        return [v for v, rose in found.items() if 2 * sum(rose) >= len(rose)]

    @property
    def capped(self) -> int:
        """How many runs the cap on epochs ended."""
        return sum(run.stopped == "cap" for run in self.results.values())

    @staticmethod
    def rose_to_the_cap(run: RunResult) -> bool:
        """Whether the cap on epochs ended a run that hadn't reached a plateau.

        A plateau is what the recipe calls so: ``decay_patience`` epochs without a new best.
        """
        since = run.epochs_run - (run.best_epoch or 0)
        return run.stopped == "cap" and since < run.recipe.decay_patience

    @property
    def machines(self) -> set[Machine]:
        return {machine for run in self.results.values() for machine in run.provenance.machines}

    @property
    def with_fewer_seeds(self) -> list[str]:
        """The report's variants that have fewer seeds than the experiment."""
        return [v for v in self.wanted if len(self.seeds(v)) < len(self.all_seeds)]

    @property
    def seeds_differ(self) -> bool:
        """Whether the variants that have a run don't all have the same seeds."""
        return any(self.seeds(v) != self.all_seeds for v in (*self.present, *self.others))

    @property
    def all_seeds(self) -> list[int]:
        return sorted({seed for _, seed in self.results})

    @property
    def chance(self) -> float:
        """Accuracy of guessing."""
        return 1 / self.any_run.classes

    @property
    def all_right_by_chance(self) -> float:
        """How likely the best constant answer is right on every test image."""
        return chance_of_all_right(self.test_labels(*next(iter(self.results))))

    @property
    def too_few_to_tell(self) -> bool:
        """Whether the test images are so few that no accuracy could be told from chance."""
        return self.all_right_by_chance > SIGNIFICANCE

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes' names as they are kept with the logs; empty where they aren't."""
        folder = next(iter(self.folders.values()))
        return read_class_names(folder.path.parents[1], self.any_run.classes)

    @property
    def data_origin(self) -> Origin:
        """Where the images come from; all runs have the same."""
        return origin(self.recipe.dataset, self.data_fingerprint)

    @property
    def data_fingerprint(self) -> str:
        return self.any_run.provenance.data_fingerprint

    @property
    def has_original(self) -> bool:
        """Whether the original's numbers may stand beside: both are of Tiny ImageNet's images."""
        return self.recipe.dataset == tiny_imagenet.NAME and self.data_origin is Origin.OFFICIAL

    @property
    def full(self) -> bool:
        """Is it of the original's size: all of Tiny ImageNet, for as many epochs as it takes?"""
        recipe = self.recipe
        whole = recipe.fraction == 1 and recipe.epochs >= recipe.defaults["epochs"]
        return self.has_original and whole

    @property
    def numerics(self) -> list[int]:
        """The numbers of the code that the runs were made with: one, if all would agree."""
        return sorted({result.provenance.numerics for result in self.results.values()})

    def with_runs(self, variants: Iterable[str]) -> list[str]:
        """Those of the variants that have a finished run."""
        return [variant for variant in variants if self.seeds(variant)]

    def comparable(self, variants: Iterable[str]) -> bool:
        """Whether there are runs of two of them that aren't both baselines."""
        found = self.with_runs(variants)
        return len(found) > 1 and any(not v.endswith("_baseline") for v in found)

    def seeds(self, variant: str) -> list[int]:
        return sorted(seed for name, seed in self.results if name == variant)

    def runs(self, variant: str) -> list[RunResult]:
        return [self.results[variant, seed] for seed in self.seeds(variant)]

    def learned(self, variant: str) -> list[int]:
        """The seeds of the runs that learned; all seeds where none did.

        A variant that always fails is compared as it is. Of one that fails sometimes, a mean over
        both kinds would describe neither.
        """
        seeds = self.seeds(variant)
        return [s for s in seeds if self.results[variant, s].status == "ok"] or seeds

    def bad_status(self, variant: str) -> str | None:
        """``diverged`` or ``no_learning`` when any of the variant's runs ended so."""
        statuses = {run.status for run in self.runs(variant)}
        return next((s for s in ("diverged", "no_learning") if s in statuses), None)

    def accuracy(self, variant: str, split: str = "test") -> float:
        """Mean accuracy (0-1) on a split over the seeds that learned; NaN without runs."""
        runs = [self.results[variant, seed] for seed in self.learned(variant)]
        return fmean(getattr(run, split).accuracy for run in runs) if runs else math.nan

    def history(self, variant: str, seed: int) -> pd.DataFrame:
        """A row per epoch; ``fell``: its learning rate is lower than that of the one before."""
        return self._read_once(variant, seed, _read_history)

    def gradients(self, variant: str, seed: int) -> pd.DataFrame:
        return self._read_once(variant, seed, RunFolder.gradients)

    def identical(self, first: str, second: str, seeds: Iterable[int]) -> bool:
        """Whether two variants' runs are one training twice: same epochs, same answers."""

        def same(seed: int) -> bool:
            right, other = (self.test_correct(v, seed) for v in (first, second))
            if not np.array_equal(right, other):
                return False
            one, two = (self.history(v, seed).drop(columns=CLOCK) for v in (first, second))
            return bool(one.equals(two))

        return first != second and all(same(seed) for seed in seeds)

    def test_labels(self, variant: str, seed: int) -> np.ndarray:
        return self._read_once(variant, seed, RunFolder.predictions)["test_label"]

    def test_predicted(self, variant: str, seed: int) -> np.ndarray:
        return self._read_once(variant, seed, RunFolder.predictions)["test_predicted"]

    def test_probability(self, variant: str, seed: int) -> np.ndarray:
        """Probability that the network gave to the class it predicted."""
        return self._read_once(variant, seed, RunFolder.predictions)["test_probability"]

    def test_correct(self, variant: str, seed: int) -> np.ndarray:
        """One boolean per test image, in the split's order."""
        arrays = self._read_once(variant, seed, RunFolder.predictions)
        return np.asarray(arrays["test_label"] == arrays["test_predicted"])

    def _read_once(self, variant: str, seed: int, read: Callable[[RunFolder], Value]) -> Value:
        key = variant, seed, read
        if key not in self._read:
            self._read[key] = read(self.folders[variant, seed])
        return self._read[key]


def load_study(
    logs: str | Path | None = None,
    experiment: str | None = None,
    only: Iterable[str] = (),
    any_variant: bool = False,
) -> Study:
    """Read one experiment's finished runs.

    Parameters
    ----------
    logs : folder of results; None: ``$LABCNN_LOGS``, else ``report/logs`` of the checkout.
    experiment : its folder's name; None takes the experiment that finished a run last.
    only : leave out all other variants; empty: none.
    any_variant : otherwise one of the report's variants must have a run.

    Raises
    ------
    ReportError
        No run, no such experiment, or runs that may not be compared.
    ParameterError
        There is no such variant as one of ``only``.
    """
    folder = logs_folder(logs)
    experiment = newest_experiment(folder) if experiment is None else experiment
    table, problems = load_runs(folder, experiment)
    if table.empty:
        left_out = f"no whole run; left out: {'; '.join(_strip_folder(problems, folder))}"
        known = [] if problems else sorted(set(_load_all(folder)["experiment"]))
        none = f"has no finished run; valid: {known}"
        raise ReportError(f"experiment={experiment!r}: {left_out if problems else none}")
    kept, foreign = _leave_out_foreign(list(table["folder"]))
    problems += foreign
    only = tuple(only)
    for variant in only:
        get_variant(variant)
    has = ", ".join(sorted({run.variant for run in kept}))
    if only:
        kept = [run for run in kept if run.variant in only]
    wanted = tuple(v for v in REPORT_VARIANTS if not only or v in only)
    if not any_variant and not {run.variant for run in kept} & set(wanted):
        raise ReportError(
            f"experiment={experiment!r} has none of the report's variants, only {has}; "
            f"train one of: {', '.join(wanted or REPORT_VARIANTS)}"
        )
    folders = {(run.variant, run.seed): run for run in kept}
    results = {key: without_pauses(run) for key, run in folders.items()}
    failures = {
        (run.variant, run.seed): failure
        for run in find_runs(folder, experiment, [FAILURE])
        if not run.finished and (not only or run.variant in only) and (failure := run.failure())
    }
    lines = tuple(_strip_folder(problems, folder))
    return Study(experiment, results, folders, lines, failures, wanted)


def chance_of_all_right(labels: np.ndarray) -> float:
    """p-value against chance, as of a run's status, if all test images were right."""
    return float(np.bincount(labels).max() / len(labels)) ** len(labels)


def newest_experiment(logs: Path, variants: Iterable[str] = ()) -> str:
    """The experiment that finished a run last; a :class:`ReportError` where there is no run.

    One of protocol ``tuned`` is a row in others' reports: it is taken only where there is no other.

    Parameters
    ----------
    variants : of these, it has a run of each, if there is such an experiment.
    """
    table = _load_all(logs)
    has = table.groupby("experiment")["variant"].agg(set)
    able = {name for name, found in has.items() if set(variants) <= found}
    results = [run.result() for run in table["folder"]]
    results = [result for result in results if result.experiment in able] or results
    own = [result for result in results if result.recipe.protocol != "tuned"]
    return max(own or results, key=_finished).experiment


def _load_all(logs: Path) -> pd.DataFrame:
    table, problems = load_runs(logs)
    if table.empty:
        left_out = f"; left out: {'; '.join(_strip_folder(problems, logs))}" if problems else ""
        raise ReportError(f"no finished run in {logs}{left_out}; first run: {HOW_TO_RUN}")
    return table


def _finished(result: RunResult) -> pd.Timestamp:
    return pd.Timestamp(result.provenance.finished)


def without_pauses(run: RunFolder) -> RunResult:
    """A run's result with the seconds that it took by its median epoch.

    A computer that sleeps, or a process that is stopped for a while, leaves an epoch of hours.
    """
    result, median = run.result(), float(run.history()["seconds"].median())
    seconds = {"seconds_per_epoch": median, "train_seconds": median * result.epochs_run}
    return result.model_copy(update={"timing": result.timing.model_copy(update=seconds)})


def _read_history(run: RunFolder) -> pd.DataFrame:
    table = run.history()
    return table.assign(fell=table["learning_rate"].diff() < 0)


def _strip_folder(problems: Iterable[str], folder: Path) -> list[str]:
    """Lines without the folder of logs: a report names no path of the machine."""
    return [p.replace(f"{folder}/", "").replace(f"{folder}\\", "") for p in problems]


def _leave_out_foreign(runs: list[RunFolder]) -> tuple[list[RunFolder], list[str]]:
    """The runs that share recipe, data and labels with most of them; a line for each other one.

    Where as many share one as the other, those with the newest run stay.
    """
    shared = {run: _read_shared(run) for run in runs}
    newest_first = sorted(runs, key=lambda run: _finished(run.result()), reverse=True)
    most, _ = Counter(shared[run] for run in newest_first).most_common(1)[0]
    foreign = [_describe_foreign(run, shared[run], most) for run in runs if shared[run] != most]
    return [run for run in runs if shared[run] == most], foreign


def _read_shared(run: RunFolder) -> tuple[str, str, bytes]:
    """What must be alike in all runs: the recipe but variant and seed, the data, the labels."""
    result, arrays = run.result(), run.predictions()
    labels = b"".join(arrays[f"{split}_label"].astype("i8").tobytes() for split in SPLITS)
    return json.dumps(result.recipe.shared), result.provenance.data_fingerprint, labels


def _describe_foreign(
    run: RunFolder, mine: tuple[str, str, bytes], most: tuple[str, str, bytes]
) -> str:
    one, other = json.loads(mine[0]), json.loads(most[0])
    for name in one:
        if one[name] != other[name]:
            return (
                f"{run.path / RESULT}: {name}={one[name]!r}, where the others have {other[name]!r}"
            )
    if mine[1] != most[1]:
        return f"{run.path / RESULT}: made from other data"
    return f"{run.path / PREDICTIONS}: other labels than the other runs'"


def load_tuned(
    study: Study, logs: str | Path | None = None, experiment: str | None = None
) -> Study | None:
    """The experiment of protocol ``tuned`` that belongs beside a study; None without one.

    Parameters
    ----------
    logs : as for :func:`load_study`.
    experiment : its folder's name; None is ``<data set>-tuned`` where it has a finished run on the
        same data.

    Raises
    ------
    ReportError
        The experiment that was given has no finished run, is of another protocol or of other data.
    """
    name = experiment or f"{study.recipe.dataset}-tuned"
    if name == study.experiment:
        return None
    if experiment is None and not find_runs(logs_folder(logs), name):
        return None
    try:
        found = load_study(logs, name)
    except ReportError:
        if experiment is None:
            return None
        raise
    fault = _find_tuned_fault(study, found)
    if fault and experiment is not None:
        raise ReportError(f"tuned={experiment!r} {fault}")
    return None if fault else found


def _find_tuned_fault(study: Study, found: Study) -> str:
    if found.recipe.protocol != "tuned":
        return f"has protocol={found.recipe.protocol!r}; it must be 'tuned'"
    mine, other = study.data_fingerprint[:12], found.data_fingerprint[:12]
    if mine != other:
        return f"was made from other data ({other}) than {study.experiment!r} ({mine})"
    return ""


@cache
def original() -> pd.DataFrame:
    """The original report's accuracies (0-1) by variant; NaN where it has no such variant."""
    with files(__package__).joinpath("original.csv").open(encoding="utf-8") as file:
        table = pd.read_csv(file, index_col="variant")
    return table.reindex(list(REPORT_VARIANTS)) / 100
