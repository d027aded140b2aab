"""The report's fonts, the same in every format and in its figures, and how wide they set a text."""

import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from labreport.export import ExportError

_INSTALLED = {
    "sans": ("Noto Sans SC", "Noto Sans CJK SC", "Source Han Sans SC", "Source Han Sans CN"),
    "serif": ("Noto Serif SC", "Noto Serif CJK SC", "Source Han Serif SC", "Source Han Serif CN"),
}


@dataclass(frozen=True)
class Font:
    """A font with Simplified Chinese and Latin letters: what programs call it, and its file."""

    family: str
    path: Path


@cache
def fonts() -> dict[str, Font]:
    """The report's fonts, ``sans`` (黑体), ``serif`` (宋体) and ``bold`` (黑体 again).

    Returns
    -------
    Noto Sans SC and Noto Serif SC of the package ``pylopdf-fonts-zh-cn`` (SIL Open Font License
    1.1), else the same design under the names by which operating systems install it; with them
    the bold weight of Noto Sans SC, whose common letters come along in ``bold/``.

    Raises
    ------
    ExportError
        When neither is there.
    """
    bold = {"bold": Font("Noto Sans SC", Path(__file__).parent / "bold" / "NotoSansSC-Bold.otf")}
    try:
        import pylopdf_fonts_zh_cn as package
    except ImportError:
        return {kind: _find_installed(names) for kind, names in _INSTALLED.items()} | bold
    return bold | {
        "sans": Font("Noto Sans SC", package.sans_path()),
        "serif": Font("Noto Serif SC", package.serif_path()),
    }


def font_folders() -> list[Path]:
    """Where the files of :func:`fonts` lie."""
    return sorted({font.path.parent for font in fonts().values()})


def text_width(text: str) -> int:
    """How wide ``text`` is, in digits: a Chinese character is two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def _find_installed(names: tuple[str, ...]) -> Font:
    from matplotlib.font_manager import fontManager

    for name in names:
        for entry in fontManager.ttflist:
            if entry.name == name and str(entry.weight) in {"400", "normal", "regular"}:
                return Font(name, Path(entry.fname))
    raise ExportError(
        "no font for Chinese was found: pip install pylopdf-fonts-zh-cn, "
        f"or install one of {', '.join(names)}"
    )
