"""A claim's findings in words: short for the table, as sentences for the text."""

import math

from labcnn.variants import label
from labreport.claims import Part
from labreport.formats import interval, number, percent
from labreport.measures import MEASURES
from labreport.study import original
from labreport.verdicts import Finding

NOUNS = {
    "test": "测试集准确率",
    "train": "训练集准确率",
    "gap": "训练集与测试集准确率之差",
    "epochs": "训练轮数",
    "epochs_to_reach": "所需轮数",
    "seconds_to_reach": "所需时间",
    "seconds_per_epoch": "每轮用时",
    "fading": "首末阶段梯度范数之比",
    "gradient": "梯度范数",
}
#: The same in a table, where the test accuracy goes without saying.
SHORT = {
    "test": "",
    "train": "训练集",
    "gap": "训练减测试",
    "epochs": "轮数",
    "epochs_to_reach": "轮数",
    "seconds_to_reach": "用时比",
    "seconds_per_epoch": "用时比",
    "fading": "首末比",
    "gradient": "梯度比",
}
UNITS = {"points": " 个百分点", "epochs": " 轮", "ratio": " 倍"}


def sentence(finding: Finding) -> str:
    """What one comparison found, with its interval; or why there is none."""
    part, estimate = finding.part, finding.estimate
    first = label(part.first)
    if estimate is None:
        return f"{_subject(part)}无法比较（{finding.reason}）"
    unit, noun = MEASURES[part.measure].unit, NOUNS[part.measure]
    if part.second is None:
        return _alone(finding, first, unit, noun)
    second = label(part.second)
    if unit == "ratio":
        whole = f"{first} 的{noun}是 {second} 的 {number(estimate.effect, unit)} 倍"
        return whole + _bracket(finding, unit)
    more, less = {"points": ("高", "低"), "epochs": ("多", "少")}[unit]
    if part.measure == "gap":
        more, less = "大", "小"
    if estimate.effect == 0:
        return f"{first} 与 {second} 的{noun}相同" + _bracket(finding, unit)
    word = more if estimate.effect > 0 else less
    size = number(abs(estimate.effect), unit, sign=False)
    return f"{first} 的{noun}比 {second} {word} {size}{UNITS[unit]}" + _bracket(finding, unit)


def _subject(part: Part) -> str:
    names = " 与 ".join(label(v) for v in part.variants)
    return f"{names} 的{NOUNS[part.measure]}"


def _alone(finding: Finding, first: str, unit: str, noun: str) -> str:
    estimate = finding.estimate
    assert estimate is not None
    size = number(estimate.effect, unit, sign=False)
    if unit == "ratio":
        return f"{first} 的{noun}为 {size}" + _bracket(finding, unit)
    if finding.part.measure == "test":
        limit = percent(estimate.threshold)
        return (
            f"{first} 的{noun}为 {size}%{_bracket(finding, unit, sign=False)}，判定界限为 {limit}%"
        )
    limit = number(estimate.threshold, unit, sign=False)
    return (
        f"{first} 的{noun}为 {size} 个百分点{_bracket(finding, unit)}，判定界限为 {limit} 个百分点"
    )


def _bracket(finding: Finding, unit: str, *, sign: bool = True) -> str:
    assert finding.estimate is not None
    shown = interval(finding.estimate, unit, sign=sign)
    few = f"，仅 {finding.seeds} 个共同种子" if finding.seeds < finding.of else ""
    return f"（95% 区间 {shown}{few}）" if shown else f"（{finding.estimate.method}）"


def compared(finding: Finding) -> str:
    """What a finding compares, for the table: ``short``, ``训练集：long 与 short``."""
    part = finding.part
    name = part.name or " 与 ".join(part.variants)
    return f"{SHORT[part.measure]}：{name}" if SHORT[part.measure] else name


def effect(finding: Finding) -> str:
    """``+3.90 [+3.00, +4.80]``, or why there is none."""
    part, estimate = finding.part, finding.estimate
    if estimate is None:
        return finding.reason
    unit = MEASURES[part.measure].unit
    sign = _signed(part)
    bounds = interval(estimate, unit, sign=sign) or "[无区间]"
    return f"{number(estimate.effect, unit, sign=sign)} {bounds}"


def _signed(part: Part) -> bool:
    """Is it a difference? An accuracy by itself has no sign."""
    return part.second is not None or part.measure != "test"


def original_effect(finding: Finding) -> str:
    """The same number of the original's table; empty where it has none."""
    value = _original(finding.part)
    unit = MEASURES[finding.part.measure].unit
    return "" if value is None else number(value, unit, sign=_signed(finding.part))


def _original(part: Part) -> float | None:
    table = original()

    def value(variant: str) -> float:
        accuracy = {split: table[f"{split}_accuracy"][variant] for split in ("train", "test")}
        if part.measure == "gap":
            return accuracy["train"] - accuracy["test"]
        return accuracy[part.measure]

    if part.measure not in {"test", "train", "gap"}:
        return None
    effect = value(part.first) - (value(part.second) if part.second else 0.0)
    return None if math.isnan(effect) else effect
