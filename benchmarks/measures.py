"""A measure: rounds side by side, their median and extremes, and whether it meets its goal."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

BEGIN, END = "<!-- measures: written by bench.py -->", "<!-- end of measures -->"
#: What README.md says between the two marks as long as there is no ``results.json``.
NOT_RUN = "Not run yet."

#: In the name of the row that each variant has.
PER_VARIANT = "model FLOP/s"

Goal = tuple[str, float]


@dataclass(frozen=True)
class Measure:
    """One figure; ``low`` and ``high`` are the extremes of its rounds.

    ``goal`` is ``(">=", 4.0)``, ``(">", 1.0)`` or ``("<=", 1.05)``; None where there is none to
    meet. ``value`` is None where it couldn't be measured, and ``note`` says why. ``row`` is what
    bench.py calls it.
    """

    name: str
    value: float | None
    unit: str
    low: float | None = None
    high: float | None = None
    goal: Goal | None = None
    note: str = ""
    row: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without a goal or a value."""
        if self.goal is None or self.value is None:
            return None
        relation, bound = self.goal
        return {
            ">": self.value > bound, ">=": self.value >= bound, "<=": self.value <= bound
        }[relation]  # fmt: skip

    def record(self) -> dict[str, Any]:
        """What ``results.json`` says of it."""
        goal = None if self.goal is None else f"{self.goal[0]} {self.goal[1]:g}"
        return asdict(self) | {"goal": goal, "met": self.met}


def of_rounds(
    name: str, values: Sequence[float], unit: str, goal: Goal | None = None, note: str = ""
) -> Measure:
    """The median of ``values``, which one round gave each."""
    return Measure(name, median(values), unit, min(values), max(values), goal, note)


def failed(name: str, error: Exception) -> Measure:
    """What stands in place of a measure that came to an error."""
    lines = str(error).strip().splitlines()
    return Measure(name, None, "", note=f"failed: {lines[0] if lines else type(error).__name__}")


def fastest(round_of: dict[str, float], kind: str) -> float:
    """Of one round's rates by name, the highest whose name begins with ``kind``."""
    return max(rate for name, rate in round_of.items() if name.startswith(kind))


def shown(result: dict[str, Any]) -> str:
    """What README.md shows of ``results.json``: where and when, and the table."""
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    return (
        f"{result['machine']}; {versions}; {result['dataset']}; {result['date']}\n\n"
        f"{table(result['measures'])}"
    )


def goals(result: dict[str, Any]) -> str:
    """What the project's README shows: the rows that have a goal, of the variants' the lowest."""
    rows = [one for one in result["measures"] if one["goal"]]
    shares = [one for one in rows if PER_VARIANT in one["name"] and one["value"] is not None]
    lowest = min(shares, key=lambda one: one["value"], default=None)
    return table(one for one in rows if PER_VARIANT not in one["name"] or one is lowest)


def table(measures: Iterable[dict[str, Any]]) -> str:
    """A Markdown table of the records of measures."""
    lines = ["| measure | value | rounds | goal | met |", "| --- | ---: | --- | --- | --- |"]
    for one in measures:
        value = "not measured" if one["value"] is None else f"{number(one['value'])} {one['unit']}"
        rounds = "" if one["low"] is None else f"{number(one['low'])} to {number(one['high'])}"
        met = {True: "yes", False: "**no**", None: ""}[one["met"]]
        name = f"{one['name']} ({one['note']})" if one["note"] else one["name"]
        cells = (name.replace("|", "/"), value.strip(), rounds, one["goal"] or "", met)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def number(value: float) -> str:
    """Four digits, or all before the point."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def replaced(text: str, inner: str) -> str:
    """``text`` with ``inner`` between the two marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{inner}\n\n{END}{after}"
