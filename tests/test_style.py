import hashlib
import io
import itertools
import logging
import warnings
from collections.abc import Iterator

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from labreport import style

# Released by notofonts/noto-cjk at f8d1575 (SubsetOTF/SC), SIL Open Font License 1.1; the bold
# weight is cut from the same release by labreport/export/bold/cut_font.py.
FONT_HASHES = {
    "sans": "faa6c9df652116dde789d351359f3d7e5d2285a2b2a1f04a2d7244df706d5ea9",
    "bold": "47a5ce7958262172b294217eb3ee117c0e4a424cf9176b3b72d7b9d54679be6b",
    "serif": "e8f396decc1f0963a016a989c3d8852e863d1350996f573860a80767c83a1cd3",
}


@pytest.fixture(autouse=True)
def own_settings() -> Iterator[None]:
    with mpl.rc_context():
        yield


def draw(title: str) -> bytes:
    figure = Figure()
    axes = figure.subplots()
    axes.plot([-1, 2], [1, -3], label="验证集准确率")
    axes.set(xlabel="轮 $n$", title=title)
    axes.legend()
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def complaints(title: str, caplog: pytest.LogCaptureFixture) -> list[str]:
    """What matplotlib says of missing glyphs and fonts: warnings for text, a log for formulas."""
    caplog.clear()
    with warnings.catch_warnings(record=True) as caught, caplog.at_level(logging.WARNING):
        warnings.simplefilter("always")
        draw(title)
    return [str(w.message) for w in caught] + [record.getMessage() for record in caplog.records]


def test_no_empty_boxes_in_figures(caplog: pytest.LogCaptureFixture) -> None:
    style.use()
    # The last word of the first is not among the letters of the bold font.
    for title in ("学习率衰减 −0.5 × 10³ ± σ 㐀", "损失 $L=\\ln 200$，归一化"):
        assert complaints(title, caplog) == []
    mpl.rcParams["font.family"] = ["DejaVu Sans"]
    for title in ("学习率", "学习率 $x$"):  # would it notice them?
        assert complaints(title, caplog)


def test_figures_are_the_same_bytes_and_need_no_font_but_the_published_ones() -> None:
    style.use()
    first = draw("曲线")
    style.use()
    assert draw("曲线") == first
    assert b"<text" not in first
    for kind, font in style.fonts().items():
        assert hashlib.sha256(font.path.read_bytes()).hexdigest() == FONT_HASHES[kind]


def lightness_and_colours(rgb: np.ndarray) -> np.ndarray:
    """CIELAB of linear sRGB."""
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.array(to_xyz) @ rgb.clip(0, 1) / np.array([0.9505, 1, 1.089])
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


# Machado, Oliveira & Fernandes (2009), severity 1.
VISION = {
    "normal": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
               [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
               [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
               [0.004733, 0.691367, 0.303900]],
}  # fmt: skip


def linear(colour: str) -> np.ndarray:
    srgb = np.array(mpl.colors.to_rgb(colour))
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def test_colours_stay_apart() -> None:
    of_depths = (*style.DEPTH_COLOURS.values(), style.OTHER_COLOUR)
    for colours in (style.PALETTE, of_depths):
        for vision, matrix in VISION.items():
            seen = [lightness_and_colours(np.array(matrix) @ linear(c)) for c in colours]
            closest = min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2))
            assert closest > 15, vision
    greys = [lightness_and_colours(linear(c))[0] for c in style.PALETTE[:3]]  # printed in grey
    assert min(abs(a - b) for a, b in itertools.combinations(greys, 2)) > 12
    # Where there is no colour, markers tell.
    assert len({*style.SWITCH_MARKERS.values()}) == len(style.SWITCH_MARKERS)
