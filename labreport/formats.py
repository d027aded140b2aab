"""Numbers as the report writes them."""

import math
from collections.abc import Sequence

from labreport.statistics import Estimate

STATUS = {"ok": "正常", "diverged": "发散", "no_learning": "未学到", "missing": "未完成"}
DATASETS = {"tiny-imagenet-200": "Tiny ImageNet-200", "shapes": "shapes（内置演示数据）"}


def percent(accuracy: float) -> str:
    """0.2271 as ``22.71``, in percent; NaN as a dash."""
    return "—" if math.isnan(accuracy) else f"{accuracy * 100:.2f}"


def number(value: float, unit: str, *, sign: bool = True) -> str:
    """A value of an estimate: percentage points, epochs, or a ratio from its logarithm."""
    if unit == "ratio":
        return _ratio(math.exp(min(value, 700)))
    shown = value * 100 if unit == "points" else value
    digits = 2 if unit == "points" else 1
    if unit == "epochs" and shown == round(shown):
        digits = 0
    text = f"{shown:+.{digits}f}" if sign else f"{shown:.{digits}f}"
    return text.replace("-", "−")


def _ratio(ratio: float) -> str:
    """Three digits at most; one beyond 1000 either way says no more than that it is so."""
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


def span(values: Sequence[int]) -> str:
    """``5`` where all are the same, else ``3–5``; a dash without any."""
    if not values:
        return "—"
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low}–{high}"


def p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def seconds(value: float) -> str:
    """65.2 as ``1 分 5 秒``."""
    whole = round(value)
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    if hours:
        return f"{hours} 小时 {minutes} 分"
    return f"{minutes} 分 {rest} 秒" if minutes else f"{value:.1f} 秒"
