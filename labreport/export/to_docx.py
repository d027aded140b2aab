"""The report as a Word document: pandoc writes it, python-docx finishes it.

Pandoc takes the look from ``templates/docx`` and has no means for what a Chinese report in Word
needs besides: fields that number and refer, a table of contents, header and footer, sections.
"""

import base64
import io
import re
import zipfile
from itertools import islice, pairwise, zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import docx
import panflute as pf
from docx.document import Document as Word
from docx.enum.section import WD_SECTION_START
from docx.enum.table import WD_TABLE_ALIGNMENT
from docx.enum.text import WD_ALIGN_PARAGRAPH
from docx.oxml import OxmlElement
from docx.oxml.ns import qn
from docx.section import Section
from docx.shared import Mm, Pt, RGBColor
from docx.table import Table, _Cell, _Row
from docx.text.paragraph import Paragraph
from docx.text.run import Run

from labreport.export.document import Document, Heading, count_sections
from labreport.export.fonts import text_width
from labreport.export.pandoc import (
    TEMPLATES,
    TOGETHER,
    bolden_chinese,
    change_sources,
    find,
    frame_boxes,
    plain,
    write_bytes,
)
from labreport.export.pictures import draw

#: What Word shows; the others become PNG.
_SHOWN = ("image/png", "image/jpeg", "image/gif")
#: Rows of the longest table that isn't split over two pages, without its head.
WHOLE = 20
CONTENTS_DEPTH = 2
BOX_STYLE, SMALL_STYLE = "Box", "TableSmall"
ALARM = RGBColor(0x9A, 0x1B, 0x1B)
#: In widths of a digit: the text of an A4 page at 9 pt and at 8 pt, the room at both sides of a
#: cell; how much wider than needed columns are, at least and at most: some fonts are wider.
PAGE_WIDTH, SMALL_WIDTH, PADDING, WIDER, WIDEST = 99, 111, 2.4, 1.08, 1.2
#: A cell as short as this stays on one line.
SHORT = 8
#: No column is widened for a longer word, and a row with a longer cell may be split.
LONG, TALL = 30, 1000
_PIECE = re.compile(r"[^\s+\u2e80-\uffff]+\+?|\S")
_PLUS = re.compile(r"(?<=[a-z])\+(?=[a-z])")
_KINDS = {"图": "fig", "表": "tbl"}
#: Styles of the paragraphs that are as wide as the page beside two columns, as tables are.
_WIDE = {"Title", "Subtitle", "Author", "CaptionedFigure", "ImageCaption", "TableCaption"}
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


def to_docx(document: Document) -> bytes:
    """The file's bytes: the same document gives the same ones.

    Headings are numbered by their styles, figures and tables by fields, so that the numbers still
    hold when an author adds one; fields are filled in, so that no reader has to update them.
    """
    tree = document.with_targets({k: _data_uri(forms) for k, forms in document.pictures.items()})
    chapters = [heading for heading in find(tree, pf.Header) if heading.level <= 3]
    numbered = _are_counted(chapters)
    if numbered:
        for heading in chapters:
            heading.content = list(heading.content)[2:]
    _insert_fields(tree)
    _mark_headings(tree)
    for table in find(tree, pf.Table):
        _set_widths(table)
    if document.columns > 1:
        tree.walk(_let_break)
    for span in find(tree, pf.Span):
        if TOGETHER in span.classes:
            span.content = [pf.Str(plain(span).replace(" ", "\u00a0"))]
    bolden_chinese(tree)
    _tighten_lists(tree)
    frame_boxes(tree, _frame)
    change_sources(tree, lambda source: _paragraph("Bibliography", *source.content))
    contents = _list_contents(document.headings) if len(document.headings) > 6 else []
    tree.content = [*_title_block(document), *contents, *tree.content]

    word = _write(tree)
    _set_styles(word, numbered=numbered, ragged=document.columns > 1)
    _finish_tables(word)
    _finish_listings(word)
    _finish_runs(word)
    _finish_lists(word)
    _set_page(word)
    if document.columns > 1:
        _split_sections(word, document.columns)
    _set_header(word, document.meta)
    _set_properties(word, document)
    return _save(word)


def _data_uri(forms: dict[str, bytes]) -> str:
    kind = next((kind for kind in _SHOWN if kind in forms), None)
    shown = forms[kind] if kind else draw(next(iter(forms.values())))
    return f"data:{kind or 'image/png'};base64,{base64.b64encode(shown).decode()}"


# The tree, before pandoc writes it


def _are_counted(headings: list[pf.Header]) -> bool:
    """Whether the numbers typed in front of headings are those that Word would count."""
    typed = [plain(*list(heading.content)[:2]) for heading in headings]
    counted = count_sections(heading.level for heading in headings)
    return bool(headings) and typed == [".".join(map(str, number)) + " " for number in counted]


def _insert_fields(tree: pf.Doc) -> None:
    """Let captions count by SEQ fields, and let references repeat them by REF fields, by way of
    bookmarks, whose names take no hyphens.
    """
    captions: dict[str, tuple[str, str]] = {}
    for element in find(tree, pf.Figure | pf.Table):
        if element.caption.content:
            name, *words = element.caption.content[0].content
            kind, count = plain(name).split(" ")
            bookmark = f"{_KINDS[kind]}_{count}"
            captions[f"#{element.identifier}"] = bookmark, plain(name)
            number = _field(f"SEQ {kind} \\* ARABIC", pf.Str(count))
            marked = pf.Span(pf.Str(f"{kind} "), number, identifier=bookmark)
            element.caption = pf.Caption(pf.Plain(marked, *words))
        element.identifier = ""

    def refer(element: Any, _: Any) -> Any:
        if not isinstance(element, pf.Link) or element.url not in captions:
            return None
        bookmark, name = captions[element.url]
        if plain(element) == name:
            return _field(f"REF {bookmark} \\h", *element.content, style="Hyperlink")
        element.url = f"#{bookmark}"
        return None

    tree.walk(refer)


def _field(instruction: str, *shown: pf.Inline, style: str = "", dirty: int = 0) -> pf.Span:
    """A field as it is shown until a program updates it, which is at once where it is dirty."""
    look = f'<w:rPr><w:rStyle w:val="{style}"/></w:rPr>' if style else ""
    start = (
        f'<w:r>{look}<w:fldChar w:fldCharType="begin" w:dirty="{dirty}"/></w:r>'
        f"<w:r>{look}<w:instrText> {instruction} </w:instrText></w:r>"
        f'<w:r>{look}<w:fldChar w:fldCharType="separate"/></w:r>'
    )
    end = f'<w:r>{look}<w:fldChar w:fldCharType="end"/></w:r>'
    attributes = {"custom-style": style} if style else {}
    inside = pf.Span(*shown, attributes=attributes)
    return pf.Span(pf.RawInline(start, "openxml"), inside, pf.RawInline(end, "openxml"))


def _mark_headings(tree: pf.Doc) -> None:
    """Put each heading's bookmark around its words: pandoc's reach from it to the next heading,
    and LibreOffice loses one that begins behind a table.
    """
    for heading in find(tree, pf.Header):
        heading.content = [pf.Span(*heading.content, identifier=heading.identifier)]
        heading.identifier = ""


def _tighten_lists(tree: pf.Doc) -> None:
    """Of a list's paragraphs pandoc would make plain ones, without a style."""
    for item in find(tree, pf.ListItem):
        if [type(block) for block in item.content] == [pf.Para]:
            item.content = [pf.Plain(*item.content[0].content)]


def _set_widths(table: pf.Table) -> None:
    parts = [table.head, *table.content, table.foot]
    rows = [row.content for part in parts for row in part.content]
    widths, small = share_width([[plain(cell) for cell in row] for row in rows], table.cols)
    if small:
        table.attributes = {"custom-style": SMALL_STYLE}
    table.colspec = [(a, w) for (a, _), w in zip(table.colspec, widths, strict=True)]
    for part in parts:
        part.walk(_let_break)


def _let_break(element: Any, _: Any) -> None:
    """Labels such as Shortbaseline+all may go on in the next line after their plus sign."""
    if isinstance(element, pf.Str):
        element.text = _PLUS.sub("+\u200b", element.text)


def share_width(rows: list[list[str]], count: int) -> tuple[list[float], bool]:
    """Each of ``count`` columns' part of the page: as wide as its longest line where that fits.

    Where it doesn't, the letters are smaller, which the second value says. Where it doesn't even
    so, each column is at least as wide as its longest word and gets of the rest in proportion to
    what it lacks.
    """
    wanted, least = [PADDING + 1.0] * count, [PADDING + 1.0] * count
    for row in rows:
        for k, cell in enumerate(row[:count]):
            wanted[k] = max(wanted[k], PADDING + text_width(cell))
            pieces = [cell] if text_width(cell) <= SHORT else _PIECE.findall(cell)
            least[k] = max(least[k], PADDING + min(LONG, max(map(text_width, pieces), default=0)))
    if sum(wanted) <= SMALL_WIDTH:
        small = sum(wanted) > PAGE_WIDTH / WIDER
        width = max(sum(wanted), PAGE_WIDTH / WIDEST)
        return [w / width for w in wanted], small
    room = SMALL_WIDTH - sum(least)
    lacking = [w - m for w, m in zip(wanted, least, strict=True)]
    if room <= 0:
        return [width / sum(least) for width in least], True
    scale = room / sum(lacking)
    return [(m + scale * lack) / SMALL_WIDTH for m, lack in zip(least, lacking, strict=True)], True


def _frame(title: str, content: list[pf.Block]) -> list[pf.Block]:
    """A box as a table of one cell: Word breaks a frame of paragraphs where their indents differ.

    Its style comes from the templates.
    """
    above = [_paragraph("Box Title", pf.Str(title))] if title else []
    cell = pf.TableCell(*above, *content)
    return [
        pf.Table(
            pf.TableBody(pf.TableRow(cell)),
            colspec=[("AlignDefault", 1.0)],
            attributes={"custom-style": BOX_STYLE},
        )
    ]


def _title_block(document: Document) -> list[pf.Div]:
    paragraphs = {"Title": document.meta["title"], "Subtitle": document.meta["subtitle"]}
    lines = [f"{word}\u2002{value}" for word, value in document.lines]
    paragraphs["Author"] = "\u3000\u3000".join(lines)  # its style has a rule below
    return [_paragraph(style, pf.Str(text)) for style, text in paragraphs.items() if text]


def _list_contents(headings: list[Heading]) -> list[pf.Div]:
    """目录: links, each with a field for its page.

    A field for the whole list would be Word's own way, but other programs show that one as it was
    saved, and no page is known here.
    """
    lines = [_paragraph("TOC Heading", pf.Str("目录"))]
    for heading in (heading for heading in headings if heading.level <= CONTENTS_DEPTH):
        link = pf.RawInline(f'<w:hyperlink w:anchor="{heading.identifier}">', "openxml")
        words = pf.Str(heading.words), pf.RawInline("<w:r><w:tab/></w:r>", "openxml")
        page = _field(f"PAGEREF {heading.identifier} \\h", dirty=1)
        end = pf.RawInline("</w:hyperlink>", "openxml")
        lines.append(_paragraph(f"toc {heading.level}", link, *words, page, end))
    return lines


def _paragraph(style: str, *content: pf.Inline) -> pf.Div:
    return pf.Div(pf.Para(*content), attributes={"custom-style": style})


def _write(tree: pf.Doc) -> Word:
    """What pandoc makes of the tree, with the look of the templates."""
    with TemporaryDirectory() as folder:
        reference = Path(folder) / "reference.docx"
        with zipfile.ZipFile(reference, "w") as package:
            for part in (TEMPLATES / "docx").glob("*/*.xml"):
                package.write(part, f"{part.parent.name}/{part.name}")
        return docx.Document(io.BytesIO(write_bytes(tree, "docx", f"--reference-doc={reference}")))


# The Word document, after pandoc has written it


def _element(tag: str, *children: Any, text: str | None = None, **attributes: str) -> Any:
    """An element for which python-docx has no call; its attributes are Word's."""
    element = OxmlElement(tag, {qn(f"w:{name}"): value for name, value in attributes.items()})
    if text is not None:
        element.text = text
    element.extend(children)
    return element


def _set_styles(word: Word, *, numbered: bool, ragged: bool) -> None:
    """Between the edges of a narrow column, a line with a long label would be stretched."""
    if ragged:
        word.styles["Body Text"].paragraph_format.alignment = WD_ALIGN_PARAGRAPH.LEFT
    if not numbered:
        for level in (1, 2, 3):
            properties = word.styles[f"Heading {level}"].element.pPr
            properties.remove(properties.numPr)


def _run(text: str) -> Any:
    return _element("w:r", text=text)


def _finish_tables(word: Word) -> None:
    """Centre tables, set their text as tables', and keep one whole that fits on a page; of a longer
    one, rows stay together of which only the first has a word in its first cell.
    """
    for element in word.element.body.iter(qn("w:tbl")):
        Table(element, word).alignment = WD_TABLE_ALIGNMENT.CENTER
        if (below := element.getnext()).tag == qn("w:p"):
            Paragraph(below, word).paragraph_format.space_before = Pt(8)
        if element.tblPr.style == BOX_STYLE:
            _finish_box(element)
            continue
        rows = element.tr_lst
        whole = len(rows) <= WHOLE + 1
        for row, following in zip_longest(rows, rows[1:]):
            in_group = (
                following is not None and not _Cell(following.tc_lst[0], Table(element, word)).text
            )
            tall = any(len(cell.text) > TALL for cell in _Row(row, Table(element, word)).cells)
            row.get_or_add_trPr().append(_element("w:cantSplit", val="0" if tall else "1"))
            for paragraph in row.iter(qn("w:p")):
                if paragraph.style == "Compact":  # pandoc's style for lists too
                    is_text = not any(paragraph.iter(qn("w:drawing"), qn("m:oMath")))
                    paragraph.style = "TableText" if is_text else "TableTextTall"
                    is_kept = following is not None and (whole or in_group)
                    paragraph.pPr.keepNext_val = True if is_kept else None


def _finish_listings(word: Word) -> None:
    """Indent what of a listing of one line goes on in the next."""
    for paragraph in word.paragraphs:
        if paragraph._p.style == "SourceCode" and not list(paragraph._p.iter(qn("w:br"))):
            layout = paragraph.paragraph_format
            layout.left_indent, layout.first_line_indent = Pt(18), Pt(-18)


def _finish_lists(word: Word) -> None:
    """Keep the first source on the second's page, as its heading is on the first one's; leave room
    below the contents.
    """
    for source in islice((p for p in word.paragraphs if p._p.style == "Bibliography"), 1):
        source.paragraph_format.keep_with_next = True
    for line in [p for p in word.paragraphs if (p._p.style or "").startswith("TOC")][-1:]:
        line.paragraph_format.space_after = Pt(12)


def _finish_box(box: Any) -> None:
    """Keep a box on one page, and end its cell in a paragraph, without which Word repairs it."""
    (row,) = box.tr_lst
    row.get_or_add_trPr().append(_element("w:cantSplit"))
    (cell,) = row.tc_lst
    if cell[-1].tag != qn("w:p"):
        cell.add_p().style = "SectionEnd"


def _finish_runs(word: Word) -> None:
    """Make bold Chinese 微软雅黑, which has a bold weight; remove a picture's data, which pandoc
    repeats as its description.
    """
    for run in word.element.body.iter(qn("w:r")):
        if Run(run, word).bold:
            run.rPr.get_or_add_rFonts().set(qn("w:eastAsia"), "微软雅黑")
    for picture in word.element.body.iter(qn("pic:cNvPr")):
        picture.set("descr", "")


def _set_page(word: Word) -> None:
    """Set A4 with margins of 25 mm, in place of pandoc's, where footnotes count per section."""
    page = word.sections[0]
    page._sectPr.clear()
    page.page_width, page.page_height = Mm(210), Mm(297)
    page.left_margin = page.right_margin = page.bottom_margin = Mm(25)
    page.top_margin, page.header_distance, page.footer_distance = Mm(28), Mm(14), Mm(12)
    page.gutter = 0
    page._sectPr.append(_element("w:cols", num="1", space="480"))


def _split_sections(word: Word, columns: int) -> None:
    """Set the text in columns, and title, contents, figures and tables as wide as the page."""

    def count(block: Any) -> int:
        return columns if block.tag == qn("w:p") and block.style not in _WIDE else 1

    last = word.sections[-1]._sectPr
    blocks = list(word.element.body.iterchildren(qn("w:p"), qn("w:tbl"), qn("w:sdt")))
    sections = []
    for block, following in pairwise(blocks):
        if count(block) != count(following):
            section = last.clone()
            end = word.add_paragraph(style="Section End")._p
            end.set_sectPr(section)
            block.addnext(end)
            sections.append((section, count(block)))
    sections.append((last, count(blocks[-1])))
    for k, (section, number) in enumerate(sections):
        section.find(qn("w:cols")).set(qn("w:num"), str(number))
        if k:
            Section(section, word.part).start_type = WD_SECTION_START.CONTINUOUS


def _set_header(word: Word, meta: dict[str, str]) -> None:
    """Number the pages; put the notice on top of the first, and its first word below the others,
    which have the title on top.
    """
    section = word.sections[0]  # the following ones go on with its header and footer
    section.different_first_page_header_footer = True
    section.header.paragraphs[0].text = meta["title"]
    first = section.first_page_header.paragraphs[0]
    first.text, first.style = meta["notice"], "Notice" if meta["notice"] else "Normal"
    word_below = meta["notice"].partition("：")[0]
    for footer, below in ((section.footer, word_below), (section.first_page_footer, "")):
        paragraph = footer.paragraphs[0]
        if below:
            paragraph.add_run(f"{below}\u3000").font.color.rgb = ALARM
        paragraph._p.append(_element("w:fldSimple", _run("1"), instr=" PAGE "))
        paragraph.add_run(" / ")
        paragraph._p.append(_element("w:fldSimple", _run("1"), instr=" NUMPAGES "))


def _set_properties(word: Word, document: Document) -> None:
    """Pandoc's clock stands at 1970: the report's own date, or none."""
    properties = word.core_properties
    properties.title, properties.author = document.meta["title"], document.meta["author"][:255]
    if document.day:
        properties.created = properties.modified = document.day
    else:
        for date in properties._element.xpath("dcterms:created | dcterms:modified"):
            properties._element.remove(date)


def _save(word: Word) -> bytes:
    """The file, its parts without the time of writing, which python-docx gives them."""
    written, result = io.BytesIO(), io.BytesIO()
    word.save(written)
    with zipfile.ZipFile(written) as source, zipfile.ZipFile(result, "w") as target:
        for name in source.namelist():
            part = zipfile.ZipInfo(name, _ZIP_EPOCH)
            target.writestr(part, source.read(name), zipfile.ZIP_DEFLATED)
    return result.getvalue()
