"""Tables of a plan and of the runs there are, for a terminal or a log."""

from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from labcnn.errors import DataError, ParameterError
from labcnn.runs import BEGUN, RunState, State, find_runs, state
from labsweep.grid import Sweep
from labsweep.launch import refuse_this_machine
from labsweep.plan import Line, plan, wall_seconds
from labsweep.progress import duration, outcome

STYLES = {
    State.DONE: "green", State.RUNNING: "cyan", State.STALE: "yellow", State.UNFINISHED: "dim",
    State.NOT_BEGUN: "dim", State.FAILED: "bold red", State.DAMAGED: "bold red",
}  # fmt: skip


def show_plan(sweep: Sweep, places: int, console: Console) -> None:
    """A line per variant, and the sum."""
    lines = plan(sweep)
    table = Table(box=None, pad_edge=False)
    table.add_column("variant", no_wrap=True)
    for column in ("runs", "due", "epochs", "images", "images/s", "a run"):
        table.add_column(column, no_wrap=True, justify="right")
    for line in lines:
        table.add_row(*_cells(line))
    console.print(table)
    if any(line.speed and line.speed.estimated for line in lines):
        console.print("~ estimated by the FLOP/s of other runs", highlight=False)
    if any(line.speed is None for line in lines):
        console.print("? nothing like it was measured yet", highlight=False)
    for why, count in Counter(why for line in lines for why in line.due.values()).items():
        console.print(f"{count} due: {why}", highlight=False, markup=False, soft_wrap=True)
    due = sum(len(line.due) for line in lines)
    seconds = wall_seconds(lines, places)
    took = "time not known" if seconds is None else f"at most about {duration(seconds)}"
    side = f"{places} side by side" if places > 1 else "one after another"
    summary = f"{sweep.experiment}: {due} of {len(sweep.runs)} runs are due, {side}: {took}"
    nothing = f"{sweep.experiment}: nothing is due"
    console.print(summary if due else nothing, highlight=False, soft_wrap=True)
    if due:
        try:
            refuse_this_machine(sweep)
        except (DataError, ParameterError) as error:  # the runs may be meant for another one
            console.print(f"not here: {error}", highlight=False, markup=False, soft_wrap=True)


def _cells(line: Line) -> list[str]:
    about = "~" if line.speed and line.speed.estimated else ""
    return [
        line.variant,
        str(line.runs),
        str(len(line.due)),
        str(line.epochs),
        "?" if line.images is None else f"{line.images:,}",
        "?" if line.speed is None else f"{about}{line.speed.images_per_second:,.0f}",
        "?" if line.seconds is None else duration(line.seconds),
    ]


def show_runs(logs: Path, experiment: str | None, console: Console) -> None:
    """A line per run that was begun: on a terminal a table, else columns for a program."""
    found = [(run, state(run)) for run in find_runs(logs, experiment, BEGUN)]
    if not console.is_terminal:
        for run, its in found:
            cells = (run.experiment, run.variant, str(run.seed), its.kind, describe(its))
            print("\t".join(cells), file=console.file)  # rich would turn tabs into spaces
        return
    table = Table(box=None, pad_edge=False)
    for column in ("experiment", "variant", "seed", "state"):
        table.add_column(column, no_wrap=True)
    table.add_column("", overflow="fold")
    for run, its in found:
        kind = Text(its.kind, style=STYLES[its.kind])
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
