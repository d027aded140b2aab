"""Pictures of a notebook: what they are, and whether they can be drawn."""

import base64
import io
import warnings
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import typst

from labreport.export.fonts import font_folders

#: What an output may be shown as, best first; PNG is kept beside SVG for formats without SVG.
PICTURES = ("image/svg+xml", "image/png", "image/jpeg", "image/gif", "image/webp")
#: Pixels of the largest picture, which takes four bytes for each when it is drawn.
LARGEST = 64_000_000
#: No longer than this on paper, in whatever unit a vector picture says it is.
_PAGE = """#set page(width: auto, height: auto, margin: 0pt)
#context {
  let it = image(read("picture", encoding: none))
  let size = measure(it)
  scale(calc.min(100%, 500mm / calc.max(size.width, size.height) * 100%), reflow: true, it)
}"""


def read_forms(data: Mapping[str, Any]) -> dict[str, bytes]:
    """Each form of a picture that can be drawn, by what it is, of an output or an attachment."""
    forms: dict[str, bytes] = {}
    for kind in PICTURES:
        if kind in data:
            try:
                embedded = kind.startswith("image/svg") and "<svg" in data[kind]
                given = data[kind].encode() if embedded else base64.b64decode(data[kind])
            except ValueError:
                continue
            forms |= keep_drawable(given)
    return forms


def keep_drawable(content: bytes) -> dict[str, bytes]:
    """A picture by its kind; nothing if it can't be drawn."""
    kind = find_kind(content)
    return {kind: content} if kind else {}


def find_kind(content: bytes) -> str | None:
    """The media type of a picture, whatever it is called; None if it can't be drawn."""
    from PIL import Image, UnidentifiedImageError

    kind, pixels = "image/svg+xml", 0
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(content)) as image:
            kind, pixels = f"image/{str(image.format).lower()}", image.width * image.height
    except UnidentifiedImageError:
        pass
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    is_vector = not pixels and b"<svg" in content
    if kind not in PICTURES or not (is_vector or 0 < pixels <= LARGEST):
        return None
    try:
        draw(content, "svg")
    except typst.TypstError:
        return None
    return kind


def draw(content: bytes, target: Literal["png", "svg"] = "png", resolution: float = 200) -> bytes:
    """A picture as PNG, ``resolution`` pixels to the inch, or as SVG without its fonts."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "picture").write_bytes(content)
        (folder / "page.typ").write_text(_PAGE, encoding="utf-8")
        return typst.compile(
            folder / "page.typ",
            format=target,
            ppi=resolution,
            font_paths=[*font_folders()] if target == "png" else [],
            ignore_system_fonts=target == "svg",
        )
