"""How far the runs of a sweep are, by the files in their folders, and tables of it."""

import csv
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from labcnn.errors import ParameterError
from labcnn.runs import (
    BEGUN,
    FAILURE,
    HISTORY,
    RunResult,
    RunState,
    State,
    find_runs,
    new_path,
    state,
)
from labsweep.sweep import NEW, Run, Sweep, written

Phase = Literal["done", "running", "waiting", "failed"]
PHASE_STYLES: dict[Phase, str] = {
    "done": "green", "running": "cyan", "waiting": "dim", "failed": "bold red",
}  # fmt: skip
STATE_STYLES = {
    State.DONE: "green", State.RUNNING: "cyan", State.STALE: "yellow", State.UNFINISHED: "dim",
    State.NOT_BEGUN: "dim", State.FAILED: "bold red", State.DAMAGED: "bold red",
}  # fmt: skip


@dataclass(frozen=True)
class RunPhase:
    """How far a sweep is with one of its runs, and one line about it."""

    phase: Phase
    text: str = ""


class Monitor:
    """Tells how far a sweep's runs are. What lay there before it began doesn't count as progress.

    Parameters
    ----------
    sweep : whose runs.
    attempts : how often a run is tried before it has failed.
    """

    def __init__(self, sweep: Sweep, attempts: int = 1) -> None:
        self.sweep, self.runs, self.attempts = sweep, sweep.runs, attempts
        self.due = {run: run.due for run in self.runs}
        self._before = {run: _times(run) for run in self.runs}
        self._results = {run: run.result_written for run in self.runs}
        self._done = {run: phase for run in self.runs if (phase := _done(run))}

    def phases(self, ended: bool = False) -> dict[Run, RunPhase]:
        """The phase of every run; once Snakemake has ``ended``, none is running any more."""
        return {run: self._done.get(run) or self._phase(run, ended) for run in self.runs}

    def _phase(self, run: Run, ended: bool) -> RunPhase:
        new = run.result_written not in (0, self._results[run])
        if done := _done(run, new):
            self._done[run] = done
            return done
        # papermill writes the executed notebook when it starts, and after each cell.
        notebook, failed = _times(run)
        notebook_before, failed_before = self._before[run]
        begun = notebook != notebook_before
        failure = run.folder.failure() if failed != failed_before else None
        if failure and (ended or failure.attempt >= self.attempts):
            return RunPhase("failed", str(failure))
        if ended:
            return RunPhase("failed", "ended without a result") if begun else RunPhase("waiting")
        if failure and failed >= notebook:
            return RunPhase("waiting", f"attempt {failure.attempt} of {self.attempts}: {failure}")
        if begun:
            return RunPhase("running", _epochs(run))
        if waits_for := self._waits_for(run):
            return RunPhase("waiting", waits_for)
        why = self.due[run]
        return RunPhase("waiting", "" if why == NEW else why)

    def _waits_for(self, run: Run) -> str:
        """Whom a run's job waits for, by its own words; empty if it doesn't."""
        try:
            return self.sweep.waiting(run).read_text(encoding="utf-8")
        except OSError:
            return ""


def _times(run: Run) -> tuple[int, int]:
    """When the executed notebook and the record of a failure were written; 0: never."""
    return written(run.notebook), written(run.folder.path / FAILURE)


def _done(run: Run, new: bool = False) -> RunPhase | None:
    """That a run is up to date, and what came out; None while it isn't.

    One whose result is ``new`` is done: code that was edited while it ran changes nothing.
    """
    found = run.state
    if not new and found.kind is not State.DONE:
        return None
    return RunPhase("done", outcome(found.result) if found.result else "")


def outcome(result: RunResult) -> str:
    """``test accuracy 23.50% (ok)``."""
    return f"test accuracy {result.test.accuracy:.2%} ({result.status})"


def _epochs(run: Run) -> str:
    """``epoch 3 of 60, validation accuracy 21.50%, at most 12 min left``."""
    of = f"of {run.recipe.epochs}"
    try:
        with (training_folder(run) / HISTORY).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        last = rows[-1]
        seconds = sum(float(row["seconds"]) for row in rows) / len(rows)
        left = duration(seconds * (run.recipe.epochs - int(last["epoch"])))
        accuracy = float(last["val_accuracy"])
        return (
            f"epoch {last['epoch']} {of}, validation accuracy {accuracy:.2%}, at most {left} left"
        )
    except (OSError, ValueError, KeyError, IndexError, TypeError):  # no row yet, or half a one
        return f"starting, or in epoch 1 {of}"


def training_folder(run: Run) -> Path:
    """Where a run writes while it trains: beside its folder, if that holds an older result."""
    fresh = new_path(run.folder.path)
    return fresh if run.result.exists() and fresh.exists() else run.folder.path


def duration(seconds: float) -> str:
    """``40 s``, ``12 min``, ``3 h 20 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


class Display:
    """A live table on a terminal; elsewhere a line for each change."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._shown: dict[Run, RunPhase] = {}

    def __enter__(self) -> "Display":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, phases: dict[Run, RunPhase]) -> None:
        if self._live:
            if phases != self._shown:
                self._live.update(self._table(phases), refresh=True)
        else:
            for run, now in phases.items():
                if now != self._shown.get(run, RunPhase("waiting")):
                    self._print_line(run, phases)
        self._shown = dict(phases)

    def _print_line(self, run: Run, phases: dict[Run, RunPhase]) -> None:
        done = sum(each.phase == "done" for each in phases.values())
        now = phases[run]
        text = f"[{done}/{len(phases)} done] {run}: {now.phase} {now.text}".rstrip()
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _table(self, phases: dict[Run, RunPhase]) -> Group:
        rows = list(phases.items())
        if len(rows) > self.console.height - 4:
            rows = [(run, now) for run, now in rows if now.phase in {"running", "failed"}]
        table = Table(box=None, pad_edge=False)
        for column in ("variant", "seed", "state", ""):
            table.add_column(column, no_wrap=True)
        for run, now in rows:
            phase = Text(now.phase, style=PHASE_STYLES[now.phase])
            table.add_row(run.variant, str(run.seed), phase, Text(now.text))
        return Group(table, Text(counts(phases), style="bold"))


def counts(phases: dict[Run, RunPhase]) -> str:
    """``9 done, 2 running, 2 waiting, 0 failed``."""
    found = [each.phase for each in phases.values()]
    return ", ".join(f"{found.count(phase)} {phase}" for phase in PHASE_STYLES)


def show_runs(logs: Path, experiment: str | None, console: Console) -> None:
    """A line per run that was begun: on a terminal a table, else columns for a program.

    Raises
    ------
    ParameterError
        The experiment has no run: names those there are.
    """
    found = [(run, state(run)) for run in find_runs(logs, experiment, BEGUN)]
    if experiment is not None and not found:
        known = ", ".join(dict.fromkeys(run.experiment for run in find_runs(logs, None, BEGUN)))
        raise ParameterError(
            f"experiment={experiment!r} has no run in {logs}; those that have: {known or 'none'}"
        )
    if not found:
        print(f"no run in {logs}", file=sys.stderr)
    elif not console.is_terminal:
        for run, its in found:
            cells = (run.experiment, run.variant, str(run.seed), its.kind, describe(its))
            print("\t".join(cells), file=console.file)  # rich would turn tabs into spaces
        return
    table = Table(box=None, pad_edge=False)
    for column in ("experiment", "variant", "seed", "state"):
        table.add_column(column, no_wrap=True)
    table.add_column("", overflow="fold")
    for run, its in found:
        kind = Text(its.kind, style=STATE_STYLES[its.kind])
        table.add_row(run.experiment, run.variant, str(run.seed), kind, Text(describe(its)))
    console.print(table)
    counted = Counter(its.kind for _, its in found)
    console.print(", ".join(f"{n} {kind}" for kind, n in counted.items()) or "no runs yet")


def describe(found: RunState) -> str:
    """What came out of a run, or why it is in its state."""
    if found.kind is State.RUNNING:
        return "a process trains it now"
    if found.kind is State.UNFINISHED:
        return "was stopped; the same command goes on from its checkpoint"
    shown = [outcome(found.result)] if found.result and found.kind is not State.DAMAGED else []
    return "; ".join([*shown, *found.reasons])


def show_experiments(logs: Path, console: Console) -> None:
    """A line per experiment: its runs by state, and when the last one finished."""
    found: dict[str, list[RunState]] = {}
    for run in find_runs(logs, None, BEGUN):
        found.setdefault(run.experiment, []).append(state(run))
    table = Table("experiment", "runs", "last finished", box=None, pad_edge=False)
    for name, states in found.items():
        kinds = Counter(str(each.kind) for each in states)
        finished = [each.result.provenance.finished for each in states if each.result]
        table.add_row(
            name, ", ".join(f"{count} {kind}" for kind, count in kinds.items()),
            max(finished, default="")[:16].replace("T", " "),
        )  # fmt: skip
    console.print(table if found else f"no run in {logs}")
