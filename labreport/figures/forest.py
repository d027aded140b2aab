"""All comparisons of the claims as a forest plot: effects with their 95 % intervals."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from labreport import style, words
from labreport.formats import compared_name
from labreport.style import WIDTH
from labreport.verdicts import Finding, Outcome, Verdict

#: From an estimate's scale to the axis's.
SCALES: dict[str, Callable[[Any], Any]] = {
    "points": lambda x: np.multiply(x, 100),
    "ratio": np.exp,
    "epochs": np.asarray,
}
STYLES: dict[Outcome, dict[str, Any]] = {
    Outcome.HOLDS: {"color": "#004488", "marker": "o"},
    Outcome.FAILS: {"color": "#D2601A", "marker": "s"},
    Outcome.EQUIVALENT: {"color": "#228833", "marker": "^"},
    Outcome.UNTESTED: {"color": style.GREY, "marker": "x"},
    Outcome.UNDECIDED: {"color": style.GREY, "marker": "D", "markerfacecolor": "white"},
}
#: Inches: a row, and what a panel has besides its rows.
ROW, REST = 0.185, 0.52
#: An axis reaches this many times as far as its farthest effect or threshold: longer intervals
#: are cut and end in an arrow.
REACH = 2.2

Row = tuple[Verdict, Finding]


def group_rows(verdicts: Sequence[Verdict]) -> dict[str, list[Row]]:
    """What is shown of the claims and has an estimate, by unit; units without any are left out."""
    found: dict[str, list[Row]] = {unit: [] for unit in words.EFFECTS}
    for verdict in verdicts:
        for finding in verdict.shown:
            if finding.estimate is not None and math.isfinite(finding.estimate.effect):
                found[finding.unit].append((verdict, finding))
    return {unit: rows for unit, rows in found.items() if rows}


def plot_claims(verdicts: Sequence[Verdict]) -> Figure:
    """A panel per unit, a row per comparison; without any comparison an empty panel says so."""
    found = group_rows(verdicts)
    if not found:
        figure, [[axes]] = style.new_figure(height=1.2)
        style.write_note(axes, words.NO_COMPARISON)
        axes.set(xticks=[], yticks=[])
        return figure
    heights = [ROW * len(rows) + REST for rows in found.values()]
    figure = Figure(figsize=(WIDTH, sum(heights) + 0.3), layout="constrained")
    panels = figure.subplots(len(found), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (unit, rows) in zip(panels, found.items(), strict=True):
        _draw_panel(axes, unit, rows)
    handles = [
        Line2D([], [], linestyle="none", markersize=4.5, label=words.OUTCOMES[outcome], **look)
        for outcome, look in STYLES.items()
    ]
    arrow = Line2D(
        [], [], linestyle="none", marker=">", color="#BBBBBB", markersize=6,
        label=words.THRESHOLD,
    )  # fmt: skip
    figure.legend(handles=[*handles, arrow], loc="outside lower center", ncols=4)
    return figure


def _draw_panel(axes: Axes, unit: str, rows: list[Row]) -> None:
    scale = SCALES[unit]
    neutral = float(scale(0.0))
    axes.axvline(neutral, color=style.GREY, linewidth=0.8, linestyle="-", zorder=0)
    low, high = _choose_limits([f for _, f in rows])
    for place, (_, finding) in enumerate(rows):
        estimate, look = finding.estimate, STYLES[finding.outcome]
        assert estimate is not None
        axes.plot(
            scale(estimate.threshold), place, color="#BBBBBB", markersize=6, zorder=1,
            marker=">" if finding.part.above else "<", linestyle="none", clip_on=False,
        )  # fmt: skip
        if math.isfinite(estimate.low):
            ends = scale(np.clip([estimate.low, estimate.high], low, high))
            axes.plot(ends, [place] * 2, color=look["color"], linewidth=1.3, linestyle="-")
            for value, end, marker in (
                (estimate.low, low, "<"), (estimate.high, high, ">"),
            ):  # fmt: skip
                if (value < end) if marker == "<" else (value > end):
                    axes.plot(
                        scale(end), place, marker=marker, color=look["color"], markersize=4,
                        clip_on=False,
                    )  # fmt: skip
        axes.plot(scale(estimate.effect), place, linestyle="none", markersize=4.5, **look)
    if unit == "ratio":
        axes.set_xscale("log")
    if unit == "epochs":
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    axes.set_xlim(*scale(np.array([low, high])))
    if unit == "ratio":
        style.plain_log_axis(axes.xaxis)
    names = [
        words.OF_CLAIM.format(words.CLAIMS[v.claim.id][0], compared_name(f.part)) for v, f in rows
    ]
    axes.set_yticks(range(len(rows)), names, fontsize=7)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel(words.EFFECTS[unit])
    axes.grid(axis="y", visible=False)


def _choose_limits(findings: list[Finding]) -> tuple[float, float]:
    """Limits of an axis, in the estimates' own scale: all effects, most of the intervals."""
    estimates = [f.estimate for f in findings if f.estimate is not None]
    needed = [0.0, *(e.effect for e in estimates), *(e.threshold for e in estimates)]
    wanted = [v for e in estimates for v in (e.low, e.high) if math.isfinite(v)]
    least, most = min(needed), max(needed)
    span = (most - least) or 1.0
    low = max(min([least, *wanted]), least - (REACH - 1) * span)
    high = min(max([most, *wanted]), most + (REACH - 1) * span)
    room = 0.04 * (high - low) or 0.05  # or all are the same
    return low - room, high + room
