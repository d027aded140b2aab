"""Make NotoSansSC-Bold.otf, the bold letters of the report, from Debian's package fonts-noto-cjk.

    apt-get download fonts-noto-cjk && dpkg -x fonts-noto-cjk*.deb unpacked
    python cut_font.py unpacked/usr/share/fonts/opentype/noto/NotoSansCJK-Bold.ttc

It keeps GB 2312, Latin letters and the signs of mathematics; pip has the regular weight only.
"""

import sys
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTCollection

FAMILY, WEIGHT = "Noto Sans SC", "Bold"
#: Latin, Greek, punctuation, arrows, operators, boxes, Chinese punctuation, full-width letters.
RANGES = (
    (0x20, 0x17F), (0x391, 0x3C9), (0x2010, 0x203A), (0x2070, 0x208E), (0x20AC, 0x20AC),
    (0x2100, 0x214F), (0x2150, 0x218B), (0x2190, 0x2199), (0x2200, 0x22FF), (0x2460, 0x2473),
    (0x25A0, 0x25FF), (0x2605, 0x2606), (0x2713, 0x2717), (0x3000, 0x301F), (0xFF01, 0xFF5E),
)  # fmt: skip


def gb_2312() -> set[int]:
    """Its 6,763 Chinese characters."""
    codes = (bytes([high, low]) for high in range(0xB0, 0xF8) for low in range(0xA1, 0xFF))
    return {ord(text) for code in codes if (text := code.decode("gb2312", "ignore"))}


def cut(source: Path) -> None:
    fonts = TTCollection(source, lazy=True).fonts
    (font,) = [f for f in fonts if f["name"].getDebugName(1) == "Noto Sans CJK SC"]
    options = subset.Options(
        hinting=False, layout_features=["kern", "locl", "ccmp", "halt", "palt"], name_IDs=["*"]
    )
    options.drop_tables += ["vhea", "vmtx", "VORG", "BASE"]
    cutter = subset.Subsetter(options)
    cutter.populate(unicodes=gb_2312() | {c for a, b in RANGES for c in range(a, b + 1)})
    cutter.subset(font)
    plain = FAMILY.replace(" ", "")
    # Together with the regular font it is one family, as in Google's fonts.
    names = {1: FAMILY, 2: WEIGHT, 4: f"{FAMILY} {WEIGHT}", 6: f"{plain}-{WEIGHT}"}
    table = font["name"]
    for record in list(table.names):
        if record.nameID in {16, 17, 21, 22} or record.langID != 0x409:
            table.removeNames(record.nameID, record.platformID, record.platEncID, record.langID)
    for number, words in names.items():
        table.setName(words, number, 3, 1, 0x409)
    top = font["CFF "].cff
    top.fontNames = [names[6]]
    top.topDictIndex[0].FamilyName, top.topDictIndex[0].FullName = FAMILY, names[4]
    font.recalcTimestamp = False
    font.save(Path(__file__).with_name("NotoSansSC-Bold.otf"))


if __name__ == "__main__":
    cut(Path(sys.argv[1]))
