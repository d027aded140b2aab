"""What the text and the figures call a variant: short enough for a line of Chinese to break."""

import re

from labcnn.variants import ABLATIONS, BLOCKS_PER_STAGE, VARIANTS, get_variant, label

#: What a suffix is called, where it isn't called by its own name; ``all``: the four together.
SWITCHES = {
    "baseline": "基线",
    "lrdecay": "衰减",
    "norm": "归一化",
    "dropout": "Dropout",
    "residual": "残差",
    "all": "全部",
}
#: The fields of a variant, in words.
FIELDS = {
    "lr_decay": "学习率衰减",
    "norm": "批归一化",
    "dropout": "Dropout",
    "residual": "残差连接",
}


def short_name(variant: str) -> str:
    """``short_norm`` -> ``short+归一化``, ``long_baseline`` -> ``long 基线``."""
    get_variant(variant)
    depth, suffix = variant.split("_", 1)
    switches = SWITCHES.get(suffix, suffix)
    return f"{depth} {switches}" if suffix == "baseline" else f"{depth}+{switches}"


_LONG = {name: short_name(v) for v in VARIANTS for name in (v, label(v))}
_LONGEST_FIRST = re.compile(
    "|".join(re.escape(name) for name in sorted(_LONG, key=len, reverse=True))
)
_BETWEEN = re.compile(r"(?<=[\u4e00-\u9fff]) (?=[\u4e00-\u9fff])")


def shortened(text: str) -> str:
    """A sentence with every label (``Shortbaseline+all``) and id (``short_all``) made short.

    A space between two Chinese characters, left over from where a Latin label ended, goes.
    """
    return _BETWEEN.sub("", _LONGEST_FIRST.sub(lambda found: _LONG[found[0]], text))


def listed(variants: list[str] | tuple[str, ...]) -> str:
    """Short names in a row."""
    return "、".join(short_name(v) for v in variants)


def glossary() -> list[tuple[str, str, str]]:
    """Short name, the original's label and the switches, for the six kinds of the short net."""
    depth = next(iter(BLOCKS_PER_STAGE))
    rows = []
    for suffix in ABLATIONS:
        variant = f"{depth}_{suffix}"
        switches = "、".join(FIELDS.get(s, s) for s in VARIANTS[variant].switches) or "无"
        rows.append((short_name(variant), label(variant), switches))
    return rows
