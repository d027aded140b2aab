"""Figures as part of the HTML page: they follow its colours, and say values to the pointer.

A drawing enters the page only if all that is in it is known to be harmless; matplotlib's are.
"""

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from html import escape
from itertools import count

#: An element's id in a drawing begins so where words follow that the pointer shows.
_HOVER = "hover:"
_SVG, _LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
_ELEMENTS = {
    "svg", "g", "defs", "clipPath", "use", "path", "rect", "circle", "ellipse", "line",
    "polyline", "polygon", "image",
}  # fmt: skip
_ATTRIBUTES = {
    "d", "transform", "x", "y", "x1", "y1", "x2", "y2", "cx", "cy", "r", "rx", "ry", "points",
    "width", "height", "viewBox", "preserveAspectRatio", "clip-path", "style", "fill", "stroke",
    "stroke-width", "opacity",
}  # fmt: skip
_VALUE = re.compile(r"(?:[\w\s.,:;#%()+-]|url\(#[\w-]+\))*")
_TARGET = re.compile(r"#[\w-]+|data:image/(?:png|jpeg);base64,[\w+/=\s]+")
_DECIMALS = re.compile(r"(\d+\.\d\d)\d+")
_COLOUR = re.compile(r"#([0-9a-f]{6})\b", re.I)
_REFERENCE = re.compile(r"url\(#([\w-]+)\)")
#: What matplotlib says of all its lines, and the style sheet too.
_DEFAULTS = "*{stroke-linejoin: round; stroke-linecap: butt}"
#: Bytes of a drawing with so many points that it is better shown as a picture.
LARGEST = 1_500_000


def hover_id(words: str | Sequence[str]) -> str:
    """The id of a group in an SVG file that :func:`draw_inline` turns into words for the pointer.

    ``words`` are those of the whole group, or of each of its marks, in their order.
    """
    return _HOVER + json.dumps(words, ensure_ascii=False)


def draw_inline(content: bytes, alternative: str, prefix: str) -> str | None:
    """An SVG file as an ``svg`` element of a page; None for one that isn't known to be harmless.

    Parameters
    ----------
    content : the file.
    alternative : what it shows, in words.
    prefix : of the element's ids, which a page must not have twice.
    """
    if len(content) > LARGEST:
        return None
    try:
        root = ET.fromstring(content)
        _remove_page(root)
        names = _names(root, prefix)
        inside = "".join(_write(child, names) for child in root)
        attributes = _attributes(root, names)
    except (ET.ParseError, ValueError):
        return None
    return (
        f'<svg class="drawing" role="img" aria-label="{escape(alternative)}"{attributes}>'
        f"{inside}</svg>"
    )


def colours_in_the_dark(page: str) -> str:
    """Declarations of a page's drawings' colours on its dark background."""
    used = sorted(set(re.findall(r"var\(--c([0-9a-f]{6}),", page)))
    return " ".join(f"--c{colour}: {_darken(colour)};" for colour in used)


def _remove_page(root: ET.Element) -> None:
    """Remove matplotlib's white ground, its description of the file, and known defaults."""
    for parent in root.iter():
        for child in list(parent):
            is_style = child.tag == f"{_SVG}style" and (child.text or "").strip() == _DEFAULTS
            is_ground = parent.get("id") == "figure_1" and child.get("id") == "patch_1"
            if is_style or is_ground or child.tag == f"{_SVG}metadata":
                parent.remove(child)
        if parent.tag == f"{_SVG}defs" and not len(parent):
            parent.text = None


def _names(root: ET.Element, prefix: str) -> dict[str, str]:
    """New ids for those that something in the drawing refers to."""
    used = {e.get(_LINK, e.get("href", "#"))[1:] for e in root.iter()}
    used |= {name for e in root.iter() for value in e.attrib.values()
             for name in _REFERENCE.findall(value)}  # fmt: skip
    number = count()
    return {i: f"{prefix}-{next(number)}" for e in root.iter() if (i := e.get("id")) in used and i}


def _write(element: ET.Element, names: dict[str, str], title: str = "") -> str:
    tag = element.tag.removeprefix(_SVG)
    if tag not in _ELEMENTS:
        raise ValueError(f"<{tag}>")
    titles: dict[ET.Element, str] = {}
    identifier = element.get("id", "")
    if identifier.startswith(_HOVER):
        words = json.loads(identifier.removeprefix(_HOVER))
        if isinstance(words, str):
            title = words
        else:
            titles = dict(zip(_marks(element, len(words)), map(str, words), strict=False))
    return _write_tag(element, tag, names, title, titles)


def _write_tag(
    element: ET.Element,
    tag: str,
    names: dict[str, str],
    title: str,
    titles: dict[ET.Element, str],
) -> str:
    inside = f"<title>{escape(title)}</title>" if title else ""
    for child in element:
        below = child.tag.removeprefix(_SVG)
        if titles and below in _ELEMENTS:
            inside += _write_tag(child, below, names, titles.get(child, ""), titles)
        else:
            inside += _write(child, names)
        if title and below == "path" and "fill: none" in child.get("style", ""):
            inside += f'<path class="near" d="{_round(child.get("d", ""))}"/>'
    known = ' class="says"' if title else ""
    attributes = known + _attributes(element, names)
    return f"<{tag}{attributes}>{inside}</{tag}>" if inside else f"<{tag}{attributes}/>"


def _marks(group: ET.Element, number: int) -> list[ET.Element]:
    """The marks of a group, if it has as many: its symbols, else all its shapes."""
    hidden = {e for defs in group.iter(f"{_SVG}defs") for e in defs.iter()}
    for tags in (("use",), ("path",), ("use", "path")):
        found = [e for e in group.iter() if e.tag.removeprefix(_SVG) in tags and e not in hidden]
        if len(found) == number:
            return found
    return []


def _attributes(element: ET.Element, names: dict[str, str]) -> str:
    kept = []
    for name, value in element.attrib.items():
        if name == "id":
            if value in names:
                kept.append(f'id="{names[value]}"')
        elif name in {"href", _LINK}:
            if not _TARGET.fullmatch(value):
                raise ValueError(value)
            kept.append(f'href="{"#" + names[value[1:]] if value[0] == "#" else value}"')
        elif name in _ATTRIBUTES:
            if not _VALUE.fullmatch(value):
                raise ValueError(value)
            value = _REFERENCE.sub(lambda match: f"url(#{names.get(match[1], '')})", value)
            if name in {"d", "x", "y"}:
                value = _round(value)
            elif name == "style":
                value = _COLOUR.sub(lambda m: f"var(--c{m[1].lower()},#{m[1].lower()})", value)
            kept.append(f'{name}="{escape(value)}"')
    return "".join(f" {attribute}" for attribute in kept)


def _round(numbers: str) -> str:
    return " ".join(_DECIMALS.sub(r"\1", numbers).split())


def _darken(colour: str) -> str:
    """A colour for a dark page: greys between its ink and its paper, nearer to the ink, pale
    colours deep, deep ones bright; the others, and greys with a tinge, as they are.
    """
    rgb = [int(colour[k : k + 2], 16) for k in (0, 2, 4)]
    ink, paper = (0xE3, 0xE6, 0xEA), (0x15, 0x18, 0x1C)
    if len(set(rgb)) == 1:
        part = (rgb[0] / 255) ** 1.4
        return "#" + "".join(
            f"{round(a + part * (b - a)):02x}" for a, b in zip(ink, paper, strict=True)
        )
    lightness, a, b = _to_oklab([value / 255 for value in rgb])
    chroma = (a * a + b * b) ** 0.5
    if chroma < 0.02 and lightness < 0.5:
        return f"#{colour}"
    if chroma < 0.08 and lightness > 0.85:
        lightness = 1.18 - lightness
    return _to_hex(max(lightness, 0.62) if chroma >= 0.08 else lightness, a, b)


def _to_oklab(rgb: list[float]) -> tuple[float, float, float]:
    """Ottosson, "A perceptual color space for image processing" (2020)."""
    r, g, b = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in rgb)
    long = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b) ** (1 / 3)
    medium = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b) ** (1 / 3)
    short = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b) ** (1 / 3)
    return (
        0.2104542553 * long + 0.7936177850 * medium - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * medium + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * medium - 0.8086757660 * short,
    )


def _to_hex(lightness: float, a: float, b: float) -> str:
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )
    made = (min(1.0, max(0.0, v)) for v in linear)
    values = (12.92 * v if v <= 0.0031308 else 1.055 * v ** (1 / 2.4) - 0.055 for v in made)
    return "#" + "".join(f"{round(255 * v):02x}" for v in values)
