"""How far each run of a sweep is, read from the files in its folder, and the display of it."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from labcnn.errors import RunError
from labcnn.runs import HISTORY, read_result
from labcnn.sweep import Run, Sweep

Kind = Literal["done", "running", "waiting", "failed"]
STYLES: dict[Kind, str] = {
    "done": "green", "running": "cyan", "waiting": "dim", "failed": "bold red",
}  # fmt: skip


@dataclass(frozen=True)
class State:
    """Where a run is, and one line about it."""

    kind: Kind
    text: str = ""


class Watch:
    """Reads the states of a sweep's runs; what lay there before the watch began isn't progress."""

    def __init__(self, sweep: Sweep) -> None:
        self.runs = sweep.runs
        self._before = {run: _changed(run.notebook) for run in self.runs}
        self._settled: dict[Run, State] = {}

    def states(self, ended: bool = False) -> dict[Run, State]:
        """The state of every run; once the workflow has ``ended``, none is running any more."""
        return {run: self._state(run, ended) for run in self.runs}

    def _state(self, run: Run, ended: bool) -> State:
        if run not in self._settled:
            state = self._read(run, ended)
            if state.kind not in {"done", "failed"}:
                return state
            self._settled[run] = state
        return self._settled[run]

    def _read(self, run: Run, ended: bool) -> State:
        if run.result.exists():
            try:
                result = read_result(run.result)
            except RunError as error:
                return State("failed", str(error))
            return State("done", f"test accuracy {result.test.accuracy:.2%} ({result.status})")
        # papermill writes the executed notebook when it starts, and after each cell.
        if _changed(run.notebook) == self._before[run]:
            return State("waiting", "never started" if ended else "")
        record, fault = _read_notebook(run.notebook)
        if record.get("end_time") or ended:
            return State("failed", fault or "ended without a result and without an error")
        return State("running", _epochs(run))


class Display:
    """A live table on a terminal; elsewhere a line for each change."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._shown: dict[Run, State] = {}

    def __enter__(self) -> "Display":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, states: dict[Run, State]) -> None:
        if self._live:
            if states != self._shown:
                self._live.update(self._table(states), refresh=True)
        else:
            for run, state in states.items():
                changed = state != self._shown.get(run, State("waiting"))
                if changed:
                    self._line(run, state, states)
        self._shown = dict(states)

    def _line(self, run: Run, state: State, states: dict[Run, State]) -> None:
        done = sum(each.kind == "done" for each in states.values())
        text = f"[{done}/{len(states)} done] {run}: {state.kind} {state.text}".rstrip()
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _table(self, states: dict[Run, State]) -> Group:
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


def counts(states: dict[Run, State]) -> str:
    """``9 done, 2 running, 2 waiting, 0 failed``."""
    kinds = [state.kind for state in states.values()]
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in STYLES)


def _epochs(run: Run) -> str:
    try:
        with (run.folder / HISTORY).open(encoding="utf-8", newline="") as file:
            *_, last = csv.DictReader(file)
        accuracy = float(last["val_accuracy"])
        return f"epoch {last['epoch']} of {run.epochs}, validation accuracy {accuracy:.2%}"
    except (OSError, ValueError, KeyError):  # no file yet, or no row in it
        return f"epoch 0 of {run.epochs}"


def _changed(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


def _read_notebook(path: Path) -> tuple[dict[str, Any], str]:
    """Papermill's record of an executed notebook, and its last error as one line."""
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # being written
        return {}, ""
    error = ""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            if output["output_type"] == "error":
                error = f"{output['ename']}: {output['evalue']}".splitlines()[0]
    return notebook["metadata"].get("papermill", {}), error
