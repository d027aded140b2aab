"""How a variant looks in every figure: colour and marker say the depth, the line the switch."""

import math
from collections.abc import Sequence
from itertools import cycle
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from labcnn.variants import ABLATIONS, BLOCKS_PER_STAGE, VARIANTS
from labreport.formats import STATUS
from labreport.study import Study
from labreport.style import HEIGHT, MARKERS, PALETTE, WIDTH

DEPTH_COLOURS = dict(zip(BLOCKS_PER_STAGE, cycle([PALETTE[k] for k in (0, 3, 1, 2, 4)])))
DEPTH_MARKERS = dict(zip(BLOCKS_PER_STAGE, cycle("oDs^v")))
#: Where depth is said by the colour alone, the marker says the switch.
SWITCH_MARKERS = dict(zip(ABLATIONS, cycle(MARKERS)))
GREY = "#666666"
#: A logarithmic axis from a to less than this times a has round steps, not powers.
SHORT_STRETCH = 8
TUNED: dict[str, Any] = {
    "marker": "*",
    "markersize": 9,
    "color": PALETTE[4],
    "markeredgecolor": "black",
    "markeredgewidth": 0.5,
    "linestyle": "none",
}
ORIGINAL: dict[str, Any] = {
    "marker": "d",
    "markerfacecolor": "white",
    "color": GREY,
    "linestyle": "none",
}


def percent(axis: Axis) -> None:
    """Write an axis of fractions in percent, with the decimals that its ticks need."""
    axis.set_major_formatter(lambda value, position: f"{100 * value:.4g}%")


def plain_log(axis: Axis) -> None:
    """Write a drawn logarithmic axis as 0.5, 20, 100: no powers, some ticks on a short stretch."""
    low, high = axis.get_view_interval()
    short = high / low < SHORT_STRETCH
    axis.set_major_locator(MaxNLocator(4) if short else LogLocator(subs=(1, 2, 5), numticks=8))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(lambda value, position: f"{value:g}")


def colour(variant: str) -> str:
    return DEPTH_COLOURS[VARIANTS[variant].depth]


def marker(variant: str) -> str:
    return DEPTH_MARKERS[VARIANTS[variant].depth]


def switch_marker(variant: str) -> str:
    return SWITCH_MARKERS[variant.split("_")[1]]


def hollow(variant: str) -> bool:
    """Is it what the others are compared with? Its markers are rings, its lines dashed."""
    return variant.endswith("_baseline")


def face(variant: str) -> str:
    return "white" if hollow(variant) else colour(variant)


def size(variant: str) -> float:
    return 6 if hollow(variant) else 3.2


def line(variant: str) -> str:
    """Dashed for the baseline, solid for what is compared with it."""
    return "--" if hollow(variant) else "-"


def every(epochs: int) -> int:
    """A marker at every how many epochs, so that a long curve stays a line."""
    return max(1, epochs // 10)


def figure(
    rows: int = 1, columns: int = 1, *, height: float = HEIGHT, **options: Any
) -> tuple[Figure, list[list[Axes]]]:
    """A figure as wide as the text, without pyplot: a notebook shows it once, when returned."""
    made = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = made.subplots(rows, columns, squeeze=False, **options)
    return made, [list(row) for row in axes]


def note(axes: Axes, text: str) -> None:
    """A word in the middle of a panel that has nothing (more) to show."""
    box = {"boxstyle": "round", "facecolor": "white", "edgecolor": GREY, "alpha": 0.9}
    axes.text(
        0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=GREY, bbox=box
    )


def from_zero(axes: Axes, room: float) -> None:
    """Let the x axis go from 0 to ``room`` times the largest value; to 1 where nothing is drawn."""
    largest = axes.dataLim.x1
    axes.set_xlim(0, room * largest if 0 < largest < math.inf else 1)


def missing(axes: Axes, place: int) -> None:
    """未完成 at the left of a row."""
    axes.text(
        0.02, place, STATUS["missing"], transform=axes.get_yaxis_transform(), color=GREY,
        va="center", fontsize=8,
    )  # fmt: skip


def there(study: Study, variants: Sequence[str]) -> list[str]:
    return [variant for variant in variants if study.seeds(variant)]
