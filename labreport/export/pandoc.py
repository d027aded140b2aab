"""Pandoc reads what a notebook's cells hold and writes the formats; panflute is its tree.

What enters the tree is harmless in every format: no raw HTML or LaTeX, no attributes, no picture
that lies elsewhere.
"""

import io
import json
import re
import subprocess
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar
from urllib.parse import unquote

import panflute as pf
import typst
from nbconvert.filters import strip_ansi

from labreport.export import ExportError
from labreport.export.fonts import font_folders
from labreport.export.pictures import keep_drawable, read_forms
from labreport.export.shorten import shorten

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
    "[\x00-\x08\x0b-\x1f\x7f-\x84\x86-\x9f\ufdd0-\ufdef\ufe0e\ufe0f\ufeff\ufffe\uffff\ud800-\udfff]"
)
_LABEL = re.compile(r"(fig|tbl|sec|ref)-[A-Za-z0-9_-]+")
_CHINESE = re.compile("[\u4e00-\u9fff]")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_DATA_URI = re.compile(r"(\]\(|\bsrc=[\"']?)data:(image/[a-z+]+);base64,([^)\"'>\s]*)")
_NAME = r"[^\s/\\:*?\"'<>|(),;]+"
#: Python's own messages quote a path with each backslash doubled.
_BACK = r"\\{1,2}"
_HOME = re.compile(rf"(?<![\w/])(?:/(?:home|Users)/{_NAME}|[A-Za-z]:{_BACK}Users{_BACK}{_NAME})")
#: ``/a/b/name``, ``~/a/name``, ``C:\\a\\name``; in an address on the web, a letter is before it.
_POSIX = re.compile(rf"(?<![\w/:.~-])(?:~/|/(?={_NAME}/))(?:{_NAME}/)*({_NAME})?")
_WINDOWS = re.compile(rf"(?<!\w)(?:~|[A-Za-z]:){_BACK}(?:{_NAME}{_BACK})*({_NAME})?")

#: A noncharacter where a line may be broken; each format writes its own in its place.
BREAK = "\ufdd1"
#: An ``@`` that no reference begins with, written ``\\@``; a noncharacter keeps its place.
_ESCAPED_AT, _AT = re.compile(r"(?<!\\)((?:\\\\)*)\\@"), "\ufdd0"
_TAGGED = re.compile(r"\\tag\{([^{}]*)\}\s*\\label\{([^{}]*)\}")
_LABELS = re.compile(r"\\(tag\*?|label|eqref|ref)\s*\{([^{}]*)\}")
#: Levels of pandoc's JSON that Typst can still nest, and letters of the longest address.
_DEEPEST, _LONGEST_ADDRESS = 150, 2000
#: Letters of a word that is still narrower than a column of text.
_LONGEST_WORD = 40
_LONG = re.compile(rf"[^\s\u2e80-\ufdcf\ufe10-\uffff]{{{_LONGEST_WORD + 1},}}")
#: In a long label; a short one stays whole.
_PLUS = re.compile(r"(?<=[a-z]{9})\+")

#: The class of a ``Div`` that is shown in a frame; its attribute ``title`` stands above.
BOX = "box"
#: The class of a ``Span`` that stays on one line, and what is in one: a network's name, an
#: interval, a relation, a deviation, a number with its unit.
TOGETHER = "together"
_NUMBER = r"[+\-\u2212\u2013]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?(?: ?[%‰])?"
_UNIT = r"(?: (?:个?百分点|[\u4e00-\u9fff]|[A-Za-zµ]{1,3}\b))?"
_NUMBERS = re.compile(
    rf"((?:\b[A-Za-z\u0391-\u03c9]{{1,4}}|\|[^|\s]{{1,9}}\|) ?[=<>≈≤≥] {_NUMBER}{_UNIT}"
    r"|\b[a-z]{3,8}\+(?:[\u4e00-\u9fff]{2}化?|[A-Z][a-z]+)"
    rf"|\[{_NUMBER}, {_NUMBER}\]{_UNIT}"
    rf"|(?<![\w.]){_NUMBER} ± {_NUMBER}{_UNIT}"
    rf"|(?<![\w.]){_NUMBER} (?:个?百分点|[\u4e00-\u9fff]|[A-Za-zµ]{{1,3}}\b|[A-Z]{{5}}\b))"
)

_Item = TypeVar("_Item")
_Made = TypeVar("_Made")

#: Each form of a picture by its media type, for each picture by its name in the tree.
Pictures = dict[str, dict[str, bytes]]


@dataclass
class Notices:
    """What isn't shown as its author meant it: beside it in the document, and a line each.

    ``cell`` is the one that is read: its position, and the number at its left side.
    """

    lines: list[str] = field(default_factory=list)
    cell: str = ""

    def add(self, english: str, chinese: str, detail: str = "") -> pf.Strong:
        """Note something of the cell; ``detail`` follows in both languages."""
        words = printable(strip_ansi(detail))
        words = without_paths(" ".join(words.split()))[:120]
        self.lines.append(f"cell {self.cell}: {english}{words and ': '}{words}")
        return pf.Strong(pf.Str(f"〔单元格 {self.cell}：{chinese}{words and '：'}{words}〕"))

    def block(self, english: str, chinese: str, detail: str = "") -> pf.BlockQuote:
        """The same as a paragraph of its own."""
        return pf.BlockQuote(pf.Para(self.add(english, chinese, detail)))


@dataclass(frozen=True)
class _Place:
    """Where a text goes, whose it is, and what stands for it if it shows nothing."""

    block: pf.Div
    from_output: bool
    cell: str
    instead: Callable[[], list[pf.Block]]


class Passages:
    """Marked-up texts that pandoc reads in one call, each on its own.

    Parameters
    ----------
    pictures : where the pictures that the texts show are added.
    folder : the notebook's; picture files are taken from in there only.
    notices : where what can't be shown is noted.
    """

    def __init__(self, pictures: Pictures, folder: Path, notices: Notices) -> None:
        self.pictures, self.folder, self.notices = pictures, folder.resolve(), notices
        self._given: list[tuple[str, str]] = []
        self._places: list[_Place] = []
        self._tags: dict[str, str] = {}

    def add(
        self,
        text: str,
        markup: str = "markdown",
        *,
        from_output: bool = False,
        instead: Callable[[], list[pf.Block]] = list,
    ) -> pf.Div:
        """An empty block that :meth:`read` fills.

        ``markup`` is ``markdown``, ``html`` or ``latex``. Of paths in an output, only the last
        name is kept. ``instead`` makes what stands for a text that shows nothing.
        """
        place = _Place(pf.Div(), from_output, self.notices.cell, instead)
        self._tags |= {label: tag for tag, label in _TAGGED.findall(text)}
        text = self.embed(text.replace(_AT, ""))
        if markup == "markdown":
            text = _ESCAPED_AT.sub(rf"\1{_AT}", text)
        self._given.append((_FORMATS[markup], text))
        self._places.append(place)
        return place.block

    def read(self) -> None:
        """Fill the blocks that :meth:`add` has returned."""
        made = _each(self._given, _parse)
        for place, (_, text), parsed in zip(self._places, self._given, made, strict=True):
            self.notices.cell = place.cell
            if parsed is None:
                note = self.notices.block(
                    "it can't be typeset; its source is shown", "无法排版，照原文显示"
                )
                place.block.content = [note, pf.CodeBlock(printable(shorten(text)))]
                continue
            cleaned = parsed.walk(lambda e, _, out=place.from_output: self._clean(e, out))
            place.block.content = list(cleaned.content) or place.instead()
        self._show_sources()

    def _show_sources(self) -> None:
        """Show the source of each formula that pandoc can't read or Typst can't set."""
        formulas = [(p.cell, math) for p in self._places for math in find(p.block, pf.Math)]
        alone = [pf.Div(pf.Plain(pf.Math(m.text, format=m.format))) for _, m in formulas]
        if not alone:
            return
        made = write_text(pf.Doc(*alone), "html5", "--mathml")
        apart = [block for each in alone for block in (each, pf.Para(pf.Str(BREAK)))]
        set_by_typst = _each(write_text(pf.Doc(*apart), "typst").split(BREAK)[:-1], _set)
        for (self.notices.cell, math), html, is_set in zip(
            formulas, made.split("</div>"), set_by_typst, strict=False
        ):
            if "<math" not in html or not is_set:
                words = ("a formula can't be set; its source is shown", "公式无法排版，照原文显示")
                dollars = "$$" if math.format == "DisplayMath" else "$"
                source = pf.Code(f"{dollars}{math.text}{dollars}")
                math.container[math.index] = pf.Span(source, self.notices.add(*words))

    def embed(self, text: str) -> str:
        """The text with names in place of pictures' data."""

        def name(match: re.Match[str]) -> str:
            forms = read_forms({match[2]: unquote(match[3])})
            return match[1] + (add_picture(self.pictures, forms) if forms else "embedded")

        return _DATA_URI.sub(name, text)

    def _clean(self, element: Any, from_output: bool) -> Any:
        """What replaces an element; None where it stays."""
        if isinstance(element, pf.RawBlock | pf.RawInline):
            return []
        if hasattr(element, "identifier"):
            known = _LABEL.fullmatch(element.identifier)
            element.identifier = element.identifier if known else ""
            title = _box_title(element)
            element.classes, element.attributes = [], {}
            if title is not None:
                title = printable(title.replace(_AT, "@"))
                title = without_paths(title) if from_output else title
                element.classes, element.attributes = [BOX], {"title": title}
        if hasattr(element, "text"):
            at = "@" if isinstance(element, pf.Str) else "\\@"
            parts = [printable(part) for part in element.text.split(_AT)]
            element.text = at.join(parts)
            if isinstance(element, pf.Math):
                element.text = _LABELS.sub(self._label, element.text)
            elif from_output:
                element.text = without_paths(element.text)
            if isinstance(element, pf.CodeBlock) and from_output:
                element.text = shorten(element.text)
            if isinstance(element, pf.Str) and len(parts) > 1:
                return [pf.Str(part) for part in re.split("(@)", element.text) if part]
        if isinstance(element, pf.Link):
            element.url = element.url.replace(_AT, "@")
            if not _is_harmless(element.url) or len(element.url) > _LONGEST_ADDRESS:
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
        if not (forms := self._read_file(image.url)):
            words = ("a picture is broken or is no file beside the notebook", "图片缺失或已损坏")
            return pf.Span(*image.content, self.notices.add(*words, image.url))
        image.url = add_picture(self.pictures, forms)
        return None

    def _read_file(self, name: str) -> dict[str, bytes]:
        try:
            path = (self.folder / unquote(name)).resolve()
            if path.is_relative_to(self.folder) and path.is_file():
                return keep_drawable(path.read_bytes())
        except (OSError, ValueError):  # a name that no file can have
            pass
        return {}

    def _label(self, match: re.Match[str]) -> str:
        """A formula's number, and a reference to one, as words: no format counts formulas."""
        command, name = match[1], self._tags.get(match[2], match[2])
        if command == "label" and match[2] in self._tags:
            return ""
        words = name if command in {"tag*", "ref"} else f"({name})"
        return rf"\text{{{words}}}" if "ref" in command else rf"\qquad\text{{{words}}}"


def add_picture(pictures: Pictures, forms: dict[str, bytes]) -> str:
    """Add a picture and return its name."""
    name = f"image-{len(pictures) + 1}"
    pictures[name] = forms
    return name


def break_words(tree: Any) -> None:
    """Put :data:`BREAK` where a long word, or a label such as Shortbaseline+all, may go on in
    the next line.
    """
    part = re.compile(rf".{{1,{_LONGEST_WORD // 4}}}", re.S)

    def rule(element: Any, _: Any) -> Any:
        if isinstance(element, pf.Str):
            element.text = _PLUS.sub(f"+{BREAK}", element.text)
            element.text = _LONG.sub(lambda m: BREAK.join(part.findall(m[0])), element.text)
        if not isinstance(element, pf.Code) or not _LONG.search(element.text):
            return None
        parts = part.findall(element.text)
        return [each for part in parts for each in (pf.Code(part), pf.Str(BREAK))]

    tree.walk(rule)


def bolden_chinese(tree: pf.Doc) -> None:
    """Make emphasised Chinese bold: it has no italics, and slanted letters look broken."""

    def rule(element: Any, _: Any) -> Any:
        if isinstance(element, pf.Emph) and _CHINESE.search(plain(element)):
            return pf.Strong(*element.content)
        return None

    tree.walk(rule)


def write_text(tree: pf.Doc, target: str, *options: str) -> str:
    """The tree in a text format that pandoc writes, e.g. ``html5`` or ``typst``."""
    return write_bytes(tree, target, "--wrap=none", *options).decode().replace("\r\n", "\n")


def write_bytes(tree: pf.Doc, target: str, *options: str) -> bytes:
    """The tree in any format that pandoc writes, ``docx`` too."""
    source = io.StringIO()
    pf.dump(tree, source)
    return _run(source.getvalue(), "-f", "json", "-t", target, "-o", "-", *options)


def join_numbers(tree: pf.Doc) -> None:
    """Put what a line shouldn't break, ``[+1.2, +3.4]`` or ``n = 3``, into spans of the class
    :data:`TOGETHER`.
    """

    def rule(element: Any, _: Any) -> None:
        in_heading = isinstance(element.parent, pf.Header)  # whose number has no unit
        if isinstance(element, pf.Para | pf.Plain | pf.Emph | pf.Strong) and not in_heading:
            joined: list[pf.Inline] = []
            for is_text, run in groupby(element.content, _is_text):
                inlines = list(run)
                joined += _join(plain(*inlines)) if is_text else inlines
            element.content = joined

    tree.walk(rule)


def _is_text(inline: pf.Inline) -> bool:
    return isinstance(inline, pf.Str | pf.Space)


def _join(words: str) -> Iterator[pf.Inline]:
    for k, part in enumerate(_NUMBERS.split(words)):
        pieces = [each for word in part.split(" ") for each in (pf.Space(), pf.Str(word))][1:]
        inlines = [piece for piece in pieces if isinstance(piece, pf.Space) or piece.text]
        if k % 2:
            yield pf.Span(*inlines, classes=[TOGETHER])
        else:
            yield from inlines


def change_sources(tree: pf.Doc, change: Callable[[pf.Para], pf.Block]) -> None:
    """Replace each paragraph that a source of the literature opens, ``[[1]]{#ref-he2016} …``."""

    def rule(element: Any, _: Any) -> Any:
        if isinstance(element, pf.Para) and isinstance(first := element.content[0], pf.Span):
            return change(element) if first.identifier.startswith("ref-") else None
        return None

    tree.walk(rule)


def frame_boxes(tree: pf.Doc, frame: Callable[[str, list[pf.Block]], list[pf.Block]]) -> None:
    """Replace each box by what ``frame`` makes of its title, ``""`` for none, and its blocks."""

    def rule(element: Any, _: Any) -> Any:
        title = _box_title(element)
        if title is None:
            return None
        content = list(element.content)
        # Pandoc takes the words of a box of one paragraph for a line of a list.
        content = [pf.Para(*b.content) if isinstance(b, pf.Plain) else b for b in content]
        return frame(title, content)

    tree.walk(rule)


def _box_title(element: Any) -> str | None:
    """The title of a box; None for what is none."""
    is_box = isinstance(element, pf.Div) and BOX in element.classes
    return element.attributes.get("title", "") if is_box else None


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


def _each(items: list[_Item], make: Callable[[list[_Item]], list[_Made]]) -> list[_Made | None]:
    """What ``make`` makes of all items together; of one that it can't take alone, None."""
    try:
        return [*make(items)]
    except (ExportError, RecursionError, typst.TypstError):
        half = len(items) // 2
        return [*_each(items[:half], make), *_each(items[half:], make)] if half else [None]


def _parse(texts: list[tuple[str, str]]) -> list[pf.Div]:
    """Each text's blocks, if pandoc can read all within seconds and none is too deep."""
    seconds = 4 + sum(len(text) for _, text in texts) / 50_000
    reader = str(TEMPLATES / "reader.lua")
    made = _run(json.dumps(texts), "-f", reader, "-t", "json", seconds=seconds).decode()
    if _depth(json.loads(made)) > _DEEPEST:
        raise RecursionError
    return list(pf.load(io.StringIO(made)).content)


def _set(sources: list[str]) -> list[bool]:
    """Let Typst set all sources with the fonts that there are."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "formulas.typ"
        path.write_text("\n\n".join(sources), encoding="utf-8")
        typst.compile(
            path, font_paths=font_folders(), ignore_system_fonts=True, pdf_standards=["a-2b"]
        )
    return [True] * len(sources)


def _depth(node: Any) -> int:
    depth, level = 0, [node]
    while level:
        inside = [n.values() if isinstance(n, dict) else n for n in level]
        level = [child for n in inside for child in n if isinstance(child, dict | list)]
        depth += 1
    return depth


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
            if wide_after or re.match(r"@(fig|tbl|sec|ref)-", after):
                continue
        kept.append(inline)
    return kept


def _run(source: str, *options: str, seconds: float | None = None) -> bytes:
    import pypandoc

    command = [pypandoc.get_pandoc_path(), "+RTS", "-M2g", "-RTS", "--sandbox", *options]
    try:
        done = subprocess.run(
            command, input=source.encode(), capture_output=True, check=False, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        raise ExportError(f"pandoc reads for more than {seconds:.0f} s") from None
    if done.returncode:
        message = done.stderr.decode(errors="replace").strip().replace("\n", " ")
        raise ExportError(f"pandoc can't make {options[3]}: {message}")
    return done.stdout
