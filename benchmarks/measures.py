"""A measure: rounds side by side, their median and extremes, and whether it meets its goal."""

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).parent
BEGIN, END = "<!-- measures: written by bench.py -->", "<!-- end of measures -->"


@dataclass(frozen=True)
class Measure:
    """One figure; ``low`` and ``high`` are the extremes of its rounds.

    ``goal`` is ``(">=", 4.0)`` or ``("<=", 1.05)``; None where there is none to meet. ``value`` is
    None where it couldn't be measured, and ``note`` says why.
    """

    name: str
    value: float | None
    unit: str
    low: float | None = None
    high: float | None = None
    goal: tuple[str, float] | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without a goal or a value."""
        if self.goal is None or self.value is None:
            return None
        relation, bound = self.goal
        return self.value >= bound if relation == ">=" else self.value <= bound

    def record(self) -> dict[str, Any]:
        goal = None if self.goal is None else f"{self.goal[0]} {self.goal[1]:g}"
        return asdict(self) | {"goal": goal, "met": self.met}


def of_rounds(
    name: str,
    values: Sequence[float],
    unit: str,
    goal: tuple[str, float] | None = None,
    note: str = "",
) -> Measure:
    """The median of ``values``, which one round gave each."""
    return Measure(name, median(values), unit, min(values), max(values), goal, note)


class Contestant:
    """A training loop of ``contestants.py`` in a process of its own, asleep between its turns."""

    def __init__(self, **options: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "contestants.py"), json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )

    def __enter__(self) -> "Contestant":
        if self._answer() != "ready":
            raise RuntimeError("the contestant did not start; its error is above")
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def begin(self, seconds: float) -> None:
        """Start a turn."""
        assert self.process.stdin is not None
        print(seconds, file=self.process.stdin, flush=True)

    def end(self) -> float:
        """Wait for the turn's end; images (or FLOPs) per second."""
        return float(json.loads(self._answer()))

    def turn(self, seconds: float) -> float:
        self.begin(seconds)
        return self.end()


def interleaved(
    options: dict[str, dict[str, Any]], rounds: int, seconds: float
) -> list[dict[str, float]]:
    """Let contestants take turns, ``rounds`` times; per round, each one's rate by name."""
    with ExitStack() as stack:
        started = {name: stack.enter_context(Contestant(**each)) for name, each in options.items()}
        return [{name: each.turn(seconds) for name, each in started.items()} for _ in range(rounds)]


def together(contestants: Iterable[Contestant], seconds: float) -> list[float]:
    """One turn of all at once; the rate of each."""
    running = list(contestants)
    for each in running:
        each.begin(seconds)
    return [each.end() for each in running]


def table(measures: Iterable[dict[str, Any]]) -> str:
    """A Markdown table of the records of measures."""
    lines = ["| measure | value | rounds | goal | met |", "| --- | ---: | --- | --- | --- |"]
    for one in measures:
        value = "not measured" if one["value"] is None else f"{one['value']:.3g} {one['unit']}"
        rounds = "" if one["low"] is None else f"{one['low']:.3g} to {one['high']:.3g}"
        met = {True: "yes", False: "**no**", None: ""}[one["met"]]
        note = f" ({one['note']})" if one["note"] else ""
        lines.append(
            f"| {one['name']}{note} | {value.strip()} | {rounds} | {one['goal'] or ''} | {met} |"
        )
    return "\n".join(lines)


def replaced(text: str, inner: str) -> str:
    """``text`` with ``inner`` between the two marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{inner}\n\n{END}{after}"
