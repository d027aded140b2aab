"""Pandoc reads what a notebook's cells hold and writes the formats; panflute is its tree.

What enters the tree is harmless in every format: no raw HTML or LaTeX, no attributes, no picture
that lies elsewhere.
"""

import base64
import binascii
import io
import json
import re
import subprocess
import unicodedata
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import panflute as pf

from labreport.export import ExportError

TEMPLATES = Path(__file__).parent / "templates"
#: As Jupyter reads a cell (no blank line needed before a list), and nothing raw.
_FORMATS = {
    "markdown": "markdown-raw_html-raw_tex-raw_attribute-native_divs-native_spans"
    "-markdown_in_html_blocks-smart-citations-example_lists-fancy_lists-yaml_metadata_block"
    "-pandoc_title_block-subscript-superscript-simple_tables-multiline_tables-grid_tables"
    "-line_blocks-auto_identifiers-implicit_header_references-blank_before_header"
    "-blank_before_blockquote+lists_without_preceding_blankline",
    "html": "html-native_divs-native_spans",
    "latex": "latex-raw_tex",
}
#: Control characters, which XML forbids, and the ones that choose between a letter and a picture.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x84\x86-\x9f\ufe0e\ufe0f\ufeff\ufffe\uffff\ud800-\udfff]"
)
_LABEL = re.compile(r"(fig|tbl|sec)-[A-Za-z0-9_-]+")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_DATA_URI = re.compile(r"data:([a-z]+/[a-z+]+);base64,(.*)", re.S)
_MEDIA_TYPES = {
    ".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg",
    ".gif": "image/gif",
}  # fmt: skip
_NAME = r"[^\s/\\:*?\"'<>|(),;]+"
#: Python's own messages quote a path with each backslash doubled.
_BACK = r"\\{1,2}"
_HOME = re.compile(rf"(?<![\w/])(?:/(?:home|Users)/{_NAME}|[A-Za-z]:{_BACK}Users{_BACK}{_NAME})")
#: ``/a/b/name``, ``~/a/name``, ``C:\\a\\name``; in an address on the web, a letter is before it.
_POSIX = re.compile(rf"(?<![\w/:.~-])(?:~/|/(?={_NAME}/))(?:{_NAME}/)*({_NAME})?")
_WINDOWS = re.compile(rf"(?<!\w)(?:~|[A-Za-z]:){_BACK}(?:{_NAME}{_BACK})*({_NAME})?")

#: Each form of a picture by its media type, for each picture by its name in the tree.
Pictures = dict[str, dict[str, bytes]]


class Passages:
    """Marked-up texts that pandoc reads in one call, each on its own.

    Parameters
    ----------
    pictures : where the pictures that the texts show are added.
    folder : the notebook's; picture files are taken from in there only.
    """

    def __init__(self, pictures: Pictures, folder: Path) -> None:
        self.pictures, self.folder = pictures, folder.resolve()
        self._given: list[tuple[str, str]] = []
        self._places: list[tuple[pf.Div, bool]] = []

    def add(self, text: str, markup: str = "markdown", *, from_output: bool = False) -> pf.Div:
        """An empty block that :meth:`read` fills.

        ``markup`` is ``markdown``, ``html`` or ``latex``. Of paths in an output, only the last
        name is kept.
        """
        place = pf.Div()
        self._given.append((_FORMATS[markup], text))
        self._places.append((place, from_output))
        return place

    def read(self) -> None:
        """Fill the blocks that :meth:`add` has returned."""
        made = _run(json.dumps(self._given), "-f", str(TEMPLATES / "reader.lua"), "-t", "json")
        parsed = pf.load(io.StringIO(made.decode())).content
        for (place, from_output), passage in zip(self._places, parsed, strict=True):
            place.content = passage.walk(lambda e, _, out=from_output: self._clean(e, out)).content

    def _clean(self, element: Any, from_output: bool) -> Any:
        """What replaces an element; None where it stays."""
        if isinstance(element, pf.RawBlock | pf.RawInline):
            return []
        if hasattr(element, "identifier"):
            known = _LABEL.fullmatch(element.identifier)
            element.identifier = element.identifier if known else ""
            element.classes, element.attributes = [], {}
        if hasattr(element, "text"):
            element.text = printable(element.text)
            if from_output and not isinstance(element, pf.Math):
                element.text = without_paths(element.text)
        if isinstance(element, pf.Link) and not _is_harmless(element.url):
            return list(element.content)
        if isinstance(element, pf.Image):
            return self._picture(element)
        if isinstance(element, pf.Table):  # pandoc guesses widths from the dashes of Markdown
            element.colspec = [
                ("AlignLeft" if align == "AlignDefault" else align, "ColWidthDefault")
                for align, _ in element.colspec
            ]
        if isinstance(element, pf.Para | pf.Plain | pf.Header | pf.Emph | pf.Strong):
            element.content = _close_up(list(element.content))
        return None

    def _picture(self, image: pf.Image) -> pf.Inline | None:
        """The image with its picture in ``pictures``; one on the web becomes a link."""
        if image.url in self.pictures:
            return None
        if image.url.startswith(("http://", "https://", "//")):
            return pf.Link(*(list(image.content) or [pf.Str(image.url)]), url=image.url)
        if (embedded := _DATA_URI.fullmatch(image.url)) and embedded[1] in _MEDIA_TYPES.values():
            try:
                forms = {embedded[1]: base64.b64decode(unquote(embedded[2]))}
            except binascii.Error:
                return pf.Str(plain(image))
        else:
            path = (self.folder / unquote(image.url)).resolve()
            kind = _MEDIA_TYPES.get(path.suffix.lower())
            if not kind or not path.is_relative_to(self.folder) or not path.is_file():
                raise ExportError(
                    f"picture {image.url[:80]!r} is no image file beside the notebook"
                )
            forms = {kind: path.read_bytes()}
        image.url = add_picture(self.pictures, forms)
        return None


def add_picture(pictures: Pictures, forms: dict[str, bytes]) -> str:
    """Add a picture and return its name."""
    name = f"image-{len(pictures) + 1}"
    pictures[name] = forms
    return name


def write_text(tree: pf.Doc, target: str, *options: str) -> str:
    """The tree in a text format that pandoc writes, e.g. ``html5`` or ``typst``."""
    return write_bytes(tree, target, "--wrap=none", *options).decode().replace("\r\n", "\n")


def write_bytes(tree: pf.Doc, target: str, *options: str) -> bytes:
    """The tree in any format that pandoc writes, ``docx`` too."""
    source = io.StringIO()
    pf.dump(tree, source)
    return _run(source.getvalue(), "-f", "json", "-t", target, "-o", "-", *options)


def find(tree: Any, kind: Any) -> list[Any]:
    """All elements of a type or of one of several, in their order."""
    found: list[Any] = []
    tree.walk(lambda element, _: found.append(element) if isinstance(element, kind) else None)
    return found


def plain(*elements: Any) -> str:
    """The text of elements, without markup and footnotes."""
    found: list[str] = []

    def collect(element: Any, _: Any) -> None:
        if isinstance(element, pf.Str | pf.Code | pf.Math):
            found.append(element.text)
        elif isinstance(element, pf.Space | pf.SoftBreak | pf.LineBreak):
            found.append(" ")

    for element in elements:
        element.walk(collect, stop_if=lambda inner: isinstance(inner, pf.Note))
    return "".join(found)


def printable(text: str) -> str:
    """``text`` without control characters."""
    return _CONTROL.sub("", text)


def without_paths(text: str) -> str:
    """``text`` with each absolute path cut down to its last name, and a home folder to ``~``.

    A path would tell whose machine the notebook ran on.
    """
    for pattern in (_POSIX, _WINDOWS):
        text = pattern.sub(lambda match: match[1] or "~", _HOME.sub("~", text))
    return text


def _is_harmless(target: str) -> bool:
    web = target.lower().startswith(("http://", "https://", "mailto:"))
    return web or not _SCHEME.match(target)


def _close_up(inlines: list[pf.Inline]) -> list[pf.Inline]:
    """Without line breaks between Chinese characters, which would show as spaces, and without
    the space that Markdown needs before a reference: 如 @fig-curve 所示 is 如图 1 所示.
    """

    def is_wide(words: str, end: int) -> bool:
        return bool(words) and unicodedata.east_asian_width(words[end]) in "WF"

    kept = []
    for k, inline in enumerate(inlines):
        before, after = plain(*inlines[:k][-1:]), plain(*inlines[k + 1 : k + 2])
        if isinstance(inline, pf.Space | pf.SoftBreak) and is_wide(before, -1):
            wide_after = isinstance(inline, pf.SoftBreak) and is_wide(after, 0)
            if wide_after or re.match(r"@(fig|tbl|sec)-", after):
                continue
        kept.append(inline)
    return kept


def _run(source: str, *options: str) -> bytes:
    import pypandoc

    command = [pypandoc.get_pandoc_path(), "--sandbox", *options]
    done = subprocess.run(command, input=source.encode(), capture_output=True, check=False)
    if done.returncode:
        message = done.stderr.decode(errors="replace").strip().replace("\n", " ")
        raise ExportError(f"pandoc can't make {options[3]}: {message}")
    return done.stdout
