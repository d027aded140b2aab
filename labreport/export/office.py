"""What pandoc leaves to its reference document, and what it leaves undone in a Word file."""

import io
import re
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from string import Template
from xml.sax.saxutils import escape

from labreport.export.document import Document
from labreport.export.fields import raw
from labreport.export.pandoc import TEMPLATES, Node

_PARTS = TEMPLATES / "docx"
_RELATED = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml"
#: Twentieths of a point: A4, margins of 25 mm.
PAGE, MARGIN, GAP = (11906, 16838), 1417, 480
TEXT_WIDTH = PAGE[0] - 2 * MARGIN
#: Rows of the longest table that isn't split over two pages.
WHOLE = 20
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


def _part(name: str, **values: str) -> str:
    return Template((_PARTS / name).read_text(encoding="utf-8")).substitute(values)


def reference_document(folder: str, numbered: bool, columns: int) -> Path:
    """A document in ``folder`` for pandoc to take the styles from; headings count or don't.

    Two columns are ragged: between their edges, a line with a long label would be stretched.
    """
    values = {
        f"numbers{level}": f'<w:numPr><w:ilvl w:val="{level - 1}"/><w:numId w:val="1"/></w:numPr>'
        if numbered
        else ""
        for level in (1, 2, 3)
    } | {"justify": "both" if columns == 1 else "left"}
    path = Path(folder) / "reference.docx"
    with zipfile.ZipFile(path, "w") as reference:
        reference.writestr("word/styles.xml", _part("styles.xml", **values))
        reference.writestr("word/numbering.xml", _part("numbering.xml"))
    return path


class Package:
    """A Word file's sections, header and footer, and its parts brought into their last form.

    Parameters
    ----------
    document : its notice is on top of every page, else its title from the second on; of two
        columns, title, contents, figures and tables are as wide as the page.
    """

    def __init__(self, document: Document) -> None:
        self.meta, self.columns, self.time = document.meta, document.columns, document.timestamp

    def in_sections(self, blocks: list[Node]) -> list[Node]:
        """The blocks, in two columns with a section for each run of wide ones."""
        if self.columns == 1:
            return blocks
        result: list[Node] = []
        wide_before = False
        for block in blocks:
            wide = block["t"] in {"Figure", "Table"}
            if wide != wide_before and result:
                result.append(self._break(1 if wide_before else self.columns))
            result.append(block)
            wide_before = wide
        if wide_before:
            result.append(self._break(1))
        return result

    def after_front(self) -> list[Node]:
        return [self._break(1, first=True)] if self.columns > 1 else []

    def end(self) -> Node:
        """The last section's properties, which are the document's own where it has one column."""
        return raw(self._section(self.columns, first=self.columns == 1))

    def _break(self, columns: int, *, first: bool = False) -> Node:
        section = self._section(columns, first=first)
        return raw(f'<w:p><w:pPr><w:pStyle w:val="SectionEnd"/>{section}</w:pPr></w:p>')

    def _section(self, columns: int, *, first: bool) -> str:
        """Its header and footer hold for all that follow."""
        related = "".join(
            f'<w:{part}Reference w:type="{kind}" r:id="rIdReport{part}"/>'
            for part in ("header", "footer")
            for kind in ("default", "first")
            if first and (part, kind) != ("header", "first" if not self.meta["notice"] else "")
        )
        kind = "" if first else '<w:type w:val="continuous"/>'
        title = "<w:titlePg/>" if first else ""
        return (
            f'<w:sectPr>{related}{kind}<w:pgSz w:w="{PAGE[0]}" w:h="{PAGE[1]}"/>'
            f'<w:pgMar w:top="1588" w:right="{MARGIN}" w:bottom="1418" w:left="{MARGIN}"'
            ' w:header="794" w:footer="680" w:gutter="0"/>'
            f'<w:cols w:num="{columns}" w:space="{GAP}"/>{title}</w:sectPr>'
        )

    def finished(self, made: bytes) -> bytes:
        """Pandoc's file with header and footer, without the data that it repeats as a name."""
        notice = self.meta["notice"]
        words = {"style": "Notice" if notice else "Header"}
        words["words"] = escape(notice or self.meta["title"])
        with zipfile.ZipFile(io.BytesIO(made)) as source:
            parts = {name: source.read(name) for name in source.namelist()}
        parts["word/header1.xml"] = _part("header.xml", **words).encode()
        parts["word/footer1.xml"] = _part("footer.xml").encode()
        overrides = "".join(
            f'<Override PartName="/word/{part}1.xml" ContentType="{_TYPE}.{part}+xml"/>'
            for part in ("header", "footer")
        )
        relations = "".join(
            f'<Relationship Id="rIdReport{part}" Type="{_RELATED}/{part}" Target="{part}1.xml"/>'
            for part in ("header", "footer")
        )
        _insert(parts, "[Content_Types].xml", "</Types>", overrides)
        _insert(parts, "word/_rels/document.xml.rels", "</Relationships>", relations)
        parts["docProps/core.xml"] = _dated(parts["docProps/core.xml"].decode(), self.time).encode()
        parts["docProps/app.xml"] = (_PARTS / "app.xml").read_bytes()
        document = parts["word/document.xml"].decode()
        document = re.sub(r'(<pic:cNvPr) descr="[^"]*"', r'\1 descr=""', document)
        document = re.sub(r"(<w:tblW [^>]*>)", r'\1<w:jc w:val="center"/>', document)
        document = re.sub(r"<w:tbl>.*?</w:tbl>", _table, document, flags=re.S)
        document = re.sub(r"<w:rPr>.*?</w:rPr>", _run, document, flags=re.S)
        parts["word/document.xml"] = document.encode()
        result = io.BytesIO()
        with zipfile.ZipFile(result, "w", zipfile.ZIP_DEFLATED) as target:
            for name, content in parts.items():
                target.writestr(zipfile.ZipInfo(name, _ZIP_EPOCH), content, zipfile.ZIP_DEFLATED)
        return result.getvalue()


def _dated(properties: str, time: int) -> str:
    """Pandoc's clock stands at 1970: the report's own date, or none."""
    day = datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if time else ""
    dates = r"<dcterms:(created|modified)( [^>]*)>[^<]*</dcterms:\1>"
    return re.sub(dates, rf"<dcterms:\1\2>{day}</dcterms:\1>" if day else "", properties)


def _insert(parts: dict[str, bytes], name: str, before: str, what: str) -> None:
    parts[name] = parts[name].decode().replace(before, what + before).encode()


def _table(match: re.Match[str]) -> str:
    """Its paragraphs are no list's; one that fits on a page stays whole."""
    rows = match[0].replace('w:val="Compact"', 'w:val="TableText"').split("</w:tr>")
    if len(rows) <= WHOLE + 2:
        text = 'w:val="TableText" />'
        rows[:-2] = [row.replace(text, f"{text}<w:keepNext/>") for row in rows[:-2]]
    return "</w:tr>".join(rows)


def _run(match: re.Match[str]) -> str:
    """Bold is 黑体 in Chinese."""
    if "<w:b />" not in match[0]:
        return match[0]
    fonts = '<w:rFonts w:eastAsia="黑体"'
    if "<w:rFonts" in match[0]:
        return match[0].replace("<w:rFonts", fonts)
    return match[0].replace("<w:rPr>", f"<w:rPr>{fonts}/>")
