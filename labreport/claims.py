"""The original report's claims as data: what each compares, on which measure, which way.

What they are called is in :data:`labreport.words.CLAIMS`.
"""

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from labcnn.variants import REPORT_VARIANTS

#: A gap between training and test accuracy up to this is no overfitting.
GAP_TOLERANCE = 0.05
#: Up to this many times the accuracy of guessing is "at chance".
CHANCE_MULTIPLE = 2


class Role(StrEnum):
    """What tells a part from its claim's others, for a table's row."""

    ONE = "one"
    DEPTH = "depth"
    DEPTHS = "depths"
    THAN = "than"
    THAN_BASELINE = "than_baseline"
    BEST = "best"
    WORST = "worst"
    MATCHED = "matched"


@dataclass(frozen=True)
class Part:
    """One comparison: the claim says ``first - second`` lies above (or below) the threshold.

    ``second`` None: ``first`` alone. ``times_chance`` adds that multiple of 1 / classes to the
    threshold. ``measure`` is a key of :data:`labreport.measures.MEASURES`. A part that
    doesn't decide is tested and shown beside those that do, and has no say in the claim.
    """

    measure: str
    first: str
    second: str | None = None
    above: bool = True
    threshold: float = 0.0
    times_chance: int = 0
    decides: bool = True
    role: Role = Role.ONE

    @property
    def variants(self) -> tuple[str, ...]:
        return (self.first,) if self.second is None else (self.first, self.second)


@dataclass(frozen=True)
class Claim:
    """A statement that holds if all its parts do, in a section of the report.

    ``shown``: how many parts of a long list to show, 0 all.
    """

    id: str
    section: str
    parts: tuple[Part, ...]
    shown: int = 0


def _both_depths(measure: str, switch: str, *, above: bool) -> tuple[Part, ...]:
    return tuple(
        Part(measure, f"{depth}_{switch}", f"{depth}_baseline", above, role=Role.DEPTH)
        for depth in ("short", "long")
    )


_BEST = tuple(
    Part("test", "short_all", v, role=Role.BEST) for v in REPORT_VARIANTS if v != "short_all"
)
_WORST = tuple(
    Part("test", v, "short_residual", role=Role.WORST)
    for v in REPORT_VARIANTS
    if v not in {"short_all", "short_residual"}
)
_MATCHED = tuple(
    Part("test", f"short_{v.split('_', 1)[1]}", v, role=Role.MATCHED)
    for v in REPORT_VARIANTS
    if not v.startswith("short")
)
_DEPTHS = ("short_all", "mid_all", "long_all")

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "depth-order",
        "3.1",
        tuple(Part("test", a, b, role=Role.DEPTHS) for a, b in pairwise(_DEPTHS)),
    ),
    Claim(
        "depth-underfit",
        "3.1",
        (Part("train", "long_all", "short_all", above=False, role=Role.DEPTHS),),
    ),
    Claim(
        "depth-gradient",
        "3.1",
        tuple(
            Part("fading", f"long_{switch}", f"short_{switch}", above=False, role=Role.THAN)
            for switch in ("all", "baseline")
        ),
    ),
    Claim("lrdecay-helps", "3.2", _both_depths("test", "lrdecay", above=True)),
    Claim("lrdecay-longer", "3.2", _both_depths("epochs", "lrdecay", above=True)),
    Claim("norm-helps", "3.3", _both_depths("test", "norm", above=True)),
    Claim(
        "norm-faster",
        "3.3",
        (
            *_both_depths("epochs_to_reach", "norm", above=False),
            *_both_depths("seconds_to_reach", "norm", above=False),
        ),
    ),
    Claim("dropout-helps", "3.4", _both_depths("test", "dropout", above=True)),
    Claim("dropout-overfit", "3.4", _both_depths("gap", "dropout", above=False)),
    Claim(
        "residual-long",
        "3.5",
        tuple(
            Part(measure, "long_residual", "long_baseline", decides=decides, role=Role.DEPTH)
            for measure, decides in (("test", True), ("fading", False))
        ),
    ),
    Claim("residual-slower", "3.5", _both_depths("seconds_per_epoch", "residual", above=True)),
    Claim(
        "residual-short",
        "3.5",
        (
            Part("test", "short_residual", above=False, times_chance=CHANCE_MULTIPLE),
            Part(
                "gradient", "short_residual", "short_baseline",
                decides=False, role=Role.THAN_BASELINE,
            ),
        ),
    ),
    Claim("best", "3.6", _BEST, shown=2),
    Claim("worst", "3.6", _WORST, shown=2),
    Claim("shallow-better", "3.6", _MATCHED, shown=3),
    Claim(
        "no-overfit", "3.6", (Part("gap", "short_all", above=False, threshold=GAP_TOLERANCE),)
    ),
)  # fmt: skip
