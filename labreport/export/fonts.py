"""The report's fonts, the same in every format and in its figures, and how wide they set a text."""

import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pylopdf_fonts_zh_cn


@dataclass(frozen=True)
class Font:
    """A font with Simplified Chinese and Latin letters: what programs call it, and its file."""

    family: str
    path: Path


@cache
def fonts() -> dict[str, Font]:
    """The report's fonts, ``sans`` (黑体), ``serif`` (宋体) and ``bold`` (黑体 again).

    Noto Sans SC and Noto Serif SC of the package ``pylopdf-fonts-zh-cn`` (SIL Open Font License
    1.1), and the bold weight of Noto Sans SC, whose common letters come along in ``bold/``.
    """
    bold = Path(__file__).parent / "bold" / "NotoSansSC-Bold.otf"
    return {
        "sans": Font("Noto Sans SC", pylopdf_fonts_zh_cn.sans_path()),
        "serif": Font("Noto Serif SC", pylopdf_fonts_zh_cn.serif_path()),
        "bold": Font("Noto Sans SC", bold),
    }


def font_folders() -> list[Path]:
    """Where the files of :func:`fonts` lie."""
    return sorted({font.path.parent for font in fonts().values()})


def text_width(text: str) -> int:
    """How wide ``text`` is, in digits: a Chinese character is two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
