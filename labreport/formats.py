"""Numbers, variants and lists as the report writes them."""

import math
from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_UP, Decimal

from labcnn.variants import get_variant
from labreport import words
from labreport.claims import Part
from labreport.estimates import Estimate


def short_name(variant: str) -> str:
    """What text and figures call a variant: ``short_norm`` -> ``short+归一化``."""
    get_variant(variant)
    depth, suffix = variant.split("_", 1)
    switches = words.SWITCHES.get(suffix, suffix)
    return f"{depth} {switches}" if suffix == "baseline" else f"{depth}+{switches}"


def compared_name(part: Part) -> str:
    """What a part compares, for a table: ``short``, ``训练集：long 与 short``."""
    names = {"first": short_name(part.first), "depth": part.first.split("_")[0]}
    if part.second is not None:
        names |= {"second": short_name(part.second), "other_depth": part.second.split("_")[0]}
    text, measure = words.ROLES[part.role].format(**names), words.MEASURES[part.measure][1]
    return words.OF_MEASURE.format(measure, text) if measure else text


def join(items: Iterable[object]) -> str:
    """``1、2、3``."""
    return words.SEPARATOR.join(str(item) for item in items)


def percent(accuracy: float) -> str:
    """0.2271 as ``22.71``, in percent; NaN as a dash.

    A half, which means of four seeds often have, is rounded up, whatever the sum's last bits are.
    """
    if math.isnan(accuracy):
        return words.NOTHING
    exact = Decimal(str(round(accuracy * 100, 9)))
    return str(exact.quantize(Decimal("0.01"), ROUND_HALF_UP))


def number(value: float, unit: str, *, sign: bool = True) -> str:
    """A value of an estimate: percentage points, epochs, or a ratio from its logarithm."""
    if unit == "ratio":
        return _ratio(math.exp(min(value, 700)))
    shown = value * 100 if unit == "points" else value
    digits = 2 if unit == "points" else 1
    text = f"{shown:+.{digits}f}" if sign else f"{shown:.{digits}f}"
    return text.replace("-", "−")


def _ratio(ratio: float) -> str:
    """Three digits at most; beyond 1000 either way only the bound."""
    if ratio < 0.001:
        return "< 0.001"
    if ratio >= 1000:
        return "> 1000"
    if ratio < 0.1:
        return f"{ratio:.2g}"
    return f"{ratio:.{2 if ratio < 10 else 1 if ratio < 100 else 0}f}"


def interval(estimate: Estimate, unit: str, *, sign: bool = True) -> str:
    """``[+5.60, +8.12]``, or empty where there is none."""
    if math.isnan(estimate.low):
        return ""
    low, high = (number(v, unit, sign=sign) for v in (estimate.low, estimate.high))
    return f"[{low}, {high}]"


def size(estimate: Estimate) -> Estimate:
    """An effect in its own direction: of "lower by 3", 3 and its interval, not -3."""
    if estimate.effect >= 0:
        return estimate
    return estimate._replace(effect=-estimate.effect, low=-estimate.high, high=-estimate.low)


def span(values: Sequence[int]) -> str:
    """``5`` where all are the same, else ``3–5``; a dash without any."""
    if not values:
        return words.NOTHING
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low}–{high}"


def seconds(value: float) -> str:
    """65.2 as ``1 分 5 秒``."""
    whole = round(value)
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    if hours:
        return words.HOURS.format(hours, minutes)
    return words.MINUTES.format(minutes, rest) if minutes else words.SECONDS.format(value)
