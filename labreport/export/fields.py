"""Word's fields, filled in: numbers of captions, references to them, the table of contents.

https://learn.microsoft.com/office/vba/word/concepts/miscellaneous/field-codes names them. Text
from a notebook enters the XML escaped.
"""

import re
from xml.sax.saxutils import escape, quoteattr

from labreport.export.pandoc import Node

_KINDS = {"图": "fig", "表": "tbl"}
#: Where the ids of bookmarks begin: pandoc counts its own from 1.
_FIRST_ID = 100_000


def raw(xml: str, *, inline: bool = False) -> Node:
    return {"t": "RawInline" if inline else "RawBlock", "c": ["openxml", xml]}


def caption(number: str) -> list[Node]:
    """图 3 as a bookmarked word and a counting field."""
    word, count = number.split(" ")
    place = _FIRST_ID + 2 * int(count) + (word == "表")
    return [
        raw(
            f'<w:bookmarkStart w:id="{place}" w:name="{_bookmark(number)}"/>{_run(word + " ")}'
            f'<w:fldSimple w:instr=" SEQ {word} \\* ARABIC ">{_run(count)}</w:fldSimple>'
            f'<w:bookmarkEnd w:id="{place}"/>',
            inline=True,
        )
    ]


def reference(number: str) -> Node:
    """图 3 as a field that repeats the caption's and leads there."""
    instruction = f" REF {_bookmark(number)} \\h "
    shown = f'<w:r><w:rPr><w:rStyle w:val="Hyperlink"/></w:rPr>{_text(number)}</w:r>'
    return raw(f'<w:fldSimple w:instr="{instruction}">{shown}</w:fldSimple>', inline=True)


def contents(headings: list[tuple[int, str, str]], depth: int) -> list[Node]:
    """目录: its entries are links, without page numbers, which no program but Word would know."""
    entries = [heading for heading in headings if heading[0] <= depth]
    begin = (
        '<w:r><w:fldChar w:fldCharType="begin"/></w:r><w:r><w:instrText xml:space="preserve"> TOC '
        f'\\o "1-{depth}" \\n \\h \\z \\u </w:instrText></w:r>'
        '<w:r><w:fldChar w:fldCharType="separate"/></w:r>'
    )
    end = '<w:r><w:fldChar w:fldCharType="end"/></w:r>'
    paragraphs = [_paragraph("TOCHeading", _run("目录"))]
    for k, (level, label, words) in enumerate(entries):
        link = f"<w:hyperlink w:anchor={quoteattr(label)}>{_run(words)}</w:hyperlink>"
        first, last = k == 0, k == len(entries) - 1
        line = f"{begin if first else ''}{link}{end if last else ''}"
        room = '<w:spacing w:after="240"/>' if last else ""
        paragraphs.append(_paragraph(f"TOC{level}", line, room))
    part = (
        '<w:sdtPr><w:docPartObj><w:docPartGallery w:val="Table of Contents"/>'
        "<w:docPartUnique/></w:docPartObj></w:sdtPr>"
    )
    return [raw(f"<w:sdt>{part}<w:sdtContent>{''.join(paragraphs)}</w:sdtContent></w:sdt>")]


def _bookmark(number: str) -> str:
    word, count = number.split(" ")
    return f"{_KINDS[word]}_{count}"


def _paragraph(style: str, runs: str, more: str = "") -> str:
    return f'<w:p><w:pPr><w:pStyle w:val="{style}"/>{more}</w:pPr>{runs}</w:p>'


def _run(words: str) -> str:
    return f"<w:r>{_text(words)}</w:r>"


def _text(words: str) -> str:
    allowed = re.sub(r"[\x00-\x08\x0b-\x1f\ufffe\uffff]", "", words)
    return f'<w:t xml:space="preserve">{escape(allowed)}</w:t>'
