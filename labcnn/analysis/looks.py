"""How a variant looks in every figure: colour and marker say the depth, the line the switch."""

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure

from labcnn.analysis.formats import STATUS
from labcnn.analysis.study import Study
from labcnn.analysis.style import HEIGHT, PALETTE, WIDTH
from labcnn.variants import VARIANTS, label

DEPTH_COLOURS = {"short": PALETTE[0], "mid": PALETTE[3], "long": PALETTE[1]}
DEPTH_MARKERS = {"short": "o", "mid": "D", "long": "s"}
GREY = "#666666"
ORIGINAL: dict[str, Any] = {
    "marker": "d",
    "markerfacecolor": "white",
    "color": GREY,
    "linestyle": "none",
}


def percent(axis: Axis) -> None:
    """Write an axis of fractions in percent, with the decimals that its ticks need."""
    axis.set_major_formatter(lambda value, position: f"{100 * value:.4g}%")


def colour(variant: str) -> str:
    return DEPTH_COLOURS[VARIANTS[variant].depth]


def marker(variant: str) -> str:
    return DEPTH_MARKERS[VARIANTS[variant].depth]


def line(variant: str) -> str:
    """Dashed for the baseline, solid for what is compared with it."""
    return "--" if variant.endswith("_baseline") else "-"


def every(epochs: int) -> int:
    """A marker at every how many epochs, so that a long curve stays a line."""
    return max(1, epochs // 10)


def broken(variant: str) -> str:
    """The label on two lines, for a narrow panel's title."""
    return label(variant).replace("+", "\n+")


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
