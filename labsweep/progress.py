"""How far each run of a sweep is, read from the files in its folder, and the display of it."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from labcnn.runs import FAILURE, HISTORY, RunResult, State, new_path
from labsweep.grid import NEW, Run, Sweep

Kind = Literal["done", "running", "waiting", "failed"]
STYLES: dict[Kind, str] = {
    "done": "green", "running": "cyan", "waiting": "dim", "failed": "bold red",
}  # fmt: skip


@dataclass(frozen=True)
class Progress:
    """Where a sweep is with one of its runs, and one line about it."""

    kind: Kind
    text: str = ""


class Watch:
    """Reads the states of a sweep's runs; what lay there before the watch began isn't progress.

    Parameters
    ----------
    sweep : whose runs.
    attempts : how often a run is tried before it has failed.
    """

    def __init__(self, sweep: Sweep, attempts: int = 1) -> None:
        self.runs, self.attempts = sweep.runs, attempts
        self.why = {run: run.due for run in self.runs}
        self._before = {run: self._stamps(run) for run in self.runs}
        self._settled = {run: done for run in self.runs if (done := _done(run))}

    def states(self, ended: bool = False) -> dict[Run, Progress]:
        """The state of every run; once the workflow has ``ended``, none is running any more."""
        return {run: self._settled.get(run) or self._state(run, ended) for run in self.runs}

    def _state(self, run: Run, ended: bool) -> Progress:
        result, notebook, failed = self._stamps(run)
        old_result, old_notebook, old_failed = self._before[run]
        if result != old_result and (done := _done(run)):
            self._settled[run] = done
            return done
        failure = run.files.failure() if failed != old_failed else None
        if failure and (ended or failure.attempt >= self.attempts):
            return Progress("failed", str(failure))
        if ended:
            began = notebook != old_notebook
            return Progress("failed", "ended without a result") if began else Progress("waiting")
        if failure and failed >= notebook:
            return Progress("waiting", f"attempt {failure.attempt} of {self.attempts}: {failure}")
        # papermill writes the executed notebook when it starts, and after each cell.
        if notebook != old_notebook:
            return Progress("running", _epochs(run))
        why = self.why[run]
        return Progress("waiting", "" if why == NEW else why)

    @staticmethod
    def _stamps(run: Run) -> tuple[int, int, int]:
        """Times of change of the result, the executed notebook and the failure."""
        return _changed(run.result), _changed(run.notebook), _changed(run.folder / FAILURE)


def _done(run: Run) -> Progress | None:
    """That a run is up to date, and what came out; None while it isn't."""
    found = run.state
    if found.kind is not State.DONE or found.result is None:
        return None
    return Progress("done", outcome(found.result))


def outcome(result: RunResult) -> str:
    """``test accuracy 23.50% (ok)``."""
    return f"test accuracy {result.test.accuracy:.2%} ({result.status})"


class Display:
    """A live table on a terminal; elsewhere a line for each change."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._shown: dict[Run, Progress] = {}

    def __enter__(self) -> "Display":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, states: dict[Run, Progress]) -> None:
        if self._live:
            if states != self._shown:
                self._live.update(self._table(states), refresh=True)
        else:
            for run, state in states.items():
                changed = state != self._shown.get(run, Progress("waiting"))
                if changed:
                    self._line(run, state, states)
        self._shown = dict(states)

    def _line(self, run: Run, state: Progress, states: dict[Run, Progress]) -> None:
        done = sum(each.kind == "done" for each in states.values())
        text = f"[{done}/{len(states)} done] {run}: {state.kind} {state.text}".rstrip()
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _table(self, states: dict[Run, Progress]) -> Group:
        rows = list(states.items())
        if len(rows) > self.console.height - 4:
            rows = [(run, state) for run, state in rows if state.kind in {"running", "failed"}]
        table = Table(box=None, pad_edge=False)
        for column in ("variant", "seed", "state", ""):
            table.add_column(column, no_wrap=True)
        for run, state in rows:
            kind = Text(state.kind, style=STYLES[state.kind])
            table.add_row(run.variant, str(run.seed), kind, Text(state.text))
        return Group(table, Text(counts(states), style="bold"))


def counts(states: dict[Run, Progress]) -> str:
    """``9 done, 2 running, 2 waiting, 0 failed``."""
    kinds = [state.kind for state in states.values()]
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in STYLES)


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
    fresh = new_path(run.folder)
    return fresh if run.result.exists() and fresh.exists() else run.folder


def duration(seconds: float) -> str:
    """``40 s``, ``12 min``, ``3 h 20 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
