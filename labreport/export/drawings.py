"""Figures as part of the HTML page: they follow its colours, and say values to the pointer.

A drawing enters the page only if all that is in it is known to be harmless; matplotlib's are.
"""

import colorsys
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from itertools import count
from math import hypot

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
        names, said = _names(root, prefix), list(_find_words(root))
        for element in root.iter():
            element.tag = element.tag.removeprefix(_SVG)
            if element.tag not in _ELEMENTS:
                return None
            element.attrib = dict(_known_attributes(element, names))
            element.text = element.tail = None
    except (ET.ParseError, ValueError, TypeError):
        return None
    for mark, words in said:
        _add_title(mark, words)
    root.attrib |= {"class": "drawing", "role": "img", "aria-label": alternative}
    return ET.tostring(root, encoding="unicode")


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


def _names(root: ET.Element, prefix: str) -> dict[str, str]:
    """New ids for those that something in the drawing refers to."""
    used = {e.get(_LINK, e.get("href", "#"))[1:] for e in root.iter()}
    used |= {name for e in root.iter() for value in e.attrib.values()
             for name in _REFERENCE.findall(value)}  # fmt: skip
    number = count()
    return {i: f"{prefix}-{next(number)}" for e in root.iter() if (i := e.get("id")) in used and i}


def _find_words(root: ET.Element) -> Iterator[tuple[ET.Element, str]]:
    """The marks that the pointer is told of, each with its words."""
    for group in root.iter():
        identifier = group.get("id", "")
        if identifier.startswith(_HOVER):
            words = json.loads(identifier.removeprefix(_HOVER))
            if isinstance(words, str):
                yield group, words
            else:
                yield from zip(_marks(group, len(words)), map(str, words), strict=False)


def _add_title(mark: ET.Element, words: str) -> None:
    """Add the words, and to each curve a wide line without colour, which the pointer finds."""
    for k, child in reversed(list(enumerate(mark))):
        if child.tag == "path" and "fill: none" in child.get("style", ""):
            near = {"class": "near", "d": child.get("d", "")}
            mark.insert(k + 1, ET.Element("path", near))
    mark.set("class", "says")
    mark.insert(0, ET.Element("title"))
    mark[0].text = words


def _marks(group: ET.Element, number: int) -> list[ET.Element]:
    """The marks of a group, if it has as many: its symbols, else all its shapes."""
    hidden = {e for defs in group.iter(f"{_SVG}defs") for e in defs.iter()}
    for tags in (("use",), ("path",), ("use", "path")):
        found = [e for e in group.iter() if e.tag.removeprefix(_SVG) in tags and e not in hidden]
        if len(found) == number:
            return found
    return []


def _known_attributes(element: ET.Element, names: dict[str, str]) -> Iterator[tuple[str, str]]:
    for name, value in element.attrib.items():
        if name == "id" and value in names:
            yield name, names[value]
        elif name in {"href", _LINK}:
            if not _TARGET.fullmatch(value):
                raise ValueError(value)
            yield "href", f"#{names.get(value[1:], '')}" if value[0] == "#" else value
        elif name in _ATTRIBUTES:
            if not _VALUE.fullmatch(value):
                raise ValueError(value)
            value = _REFERENCE.sub(lambda match: f"url(#{names.get(match[1], '')})", value)
            if name in {"d", "x", "y"}:
                value = " ".join(_DECIMALS.sub(r"\1", value).split())
            elif name == "style":
                value = _COLOUR.sub(lambda m: f"var(--c{m[1].lower()},#{m[1].lower()})", value)
            yield name, value


def _darken(colour: str) -> str:
    """A colour for a dark page: greys between its ink and its paper, nearer to the ink, pale
    colours deep, deep ones bright; the others as they are.
    """
    rgb = [int(colour[k : k + 2], 16) / 255 for k in (0, 2, 4)]
    luma, *chroma = colorsys.rgb_to_yiq(*rgb)
    made: Sequence[float]
    if len(set(rgb)) == 1:
        ink, paper = (0.89, 0.902, 0.918), (0.082, 0.094, 0.11)
        made = [a + luma**1.4 * (b - a) for a, b in zip(ink, paper, strict=True)]
    else:
        if hypot(*chroma) > 0.15:
            luma = max(luma, 0.5)
        elif luma > 0.85:
            luma = 1.03 - luma
        made = colorsys.yiq_to_rgb(luma, *chroma)
    return "#" + "".join(f"{round(255 * value):02x}" for value in made)
