import io
import os
import re
import subprocess
import zipfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import docx
import nbformat.v4 as v4
import pytest
from docx.document import Document as Word
from docx.oxml.ns import qn
from report_notebook import HOSTILE, META, code, notebook, picture

from labreport.export.document import build
from labreport.export.docx import ReportDocxExporter, render_docx
from labreport.export.fonts import fonts
from labreport.export.widths import share

CHAPTERS = [v4.new_markdown_cell(f"## {n} 更多\n\n见 @fig-curve。") for n in range(3, 9)]


def parts(content: bytes) -> dict[str, str]:
    with zipfile.ZipFile(io.BytesIO(content)) as package:
        names = [name for name in package.namelist() if name.endswith((".xml", ".rels"))]
        return {name: package.read(name).decode() for name in names}


def word(content: bytes) -> Word:
    return docx.Document(io.BytesIO(content))


def texts(document: Word, style: str) -> list[str]:
    """Of the paragraphs of a style, with what their fields show."""
    return [
        "".join(t.text or "" for t in p.iter(qn("w:t")))
        for p in document.element.body.iter(qn("w:p"))
        if (kind := p.find(f"{qn('w:pPr')}/{qn('w:pStyle')}")) is not None
        and kind.get(qn("w:val")) == style
    ]


@pytest.fixture(scope="module")
def content() -> bytes:
    return render_docx(build(notebook(*CHAPTERS)))


@pytest.fixture(scope="module")
def document(content: bytes) -> Word:
    return word(content)


def test_title_block_and_properties(document: Word) -> None:
    assert texts(document, "Title") == [META["title"]]
    assert texts(document, "Author") == [
        f"姓名\u2002{META['author']}\u3000\u3000日期\u2002{META['date']}"
    ]
    assert document.core_properties.title == META["title"]
    assert document.core_properties.author == META["author"]
    created = document.core_properties.created
    assert created is not None
    assert created.date().isoformat() == META["date"]


def test_headings_are_numbered_by_their_styles(document: Word) -> None:
    assert texts(document, "Heading1")[:2] == ["实验要求", "实验分析"]
    assert texts(document, "Heading2") == ["曲线"]
    for level in (1, 2, 3):
        style = document.styles[f"Heading {level}"].element
        assert style.find(f".//{qn('w:numPr')}/{qn('w:ilvl')}").get(qn("w:val")) == str(level - 1)
        # 黑体 or what it is based on says so
    assert document.styles["Heading 1"].element.find(f".//{qn('w:rFonts')}").get(
        qn("w:eastAsia")
    ) == "黑体"  # fmt: skip
    default = document.styles.element.find(f".//{qn('w:rPrDefault')}//{qn('w:rFonts')}")
    assert default.get(qn("w:eastAsia")) == "宋体"


def test_typed_numbers_stay_where_they_count_otherwise() -> None:
    cells = [v4.new_markdown_cell("## 1 甲\n\n## 3 乙")]
    made = word(render_docx(build(v4.new_notebook(cells=cells))))
    assert texts(made, "Heading1") == ["1 甲", "3 乙"]
    assert made.styles["Heading 1"].element.find(f".//{qn('w:numPr')}") is None


def test_captions_count_and_references_lead_to_them(document: Word, content: bytes) -> None:
    assert texts(document, "ImageCaption") == ["图 1\u3000学习曲线 "]
    assert texts(document, "TableCaption") == ["表 1\u3000结果: 准确率"]
    body = document.element.body
    fields = [f.get(qn("w:instr")).split() for f in body.iter(qn("w:fldSimple"))]
    assert ["SEQ", "图", "\\*", "ARABIC"] in fields
    assert ["SEQ", "表", "\\*", "ARABIC"] in fields
    bookmarks = [b.get(qn("w:name")) for b in body.iter(qn("w:bookmarkStart"))]
    assert len(bookmarks) == len(set(bookmarks))
    targets = {field[1] for field in fields if field[0] == "REF"}
    assert targets == {"fig_1", "tbl_1"}
    anchors = {link.get(qn("w:anchor")) for link in body.iter(qn("w:hyperlink"))} - {None}
    assert "sec-curve" in anchors
    assert targets | anchors <= set(bookmarks)
    ids = [b.get(qn("w:id")) for b in body.iter(qn("w:bookmarkStart"))]
    assert len(ids) == len(set(ids))


def test_contents_list_the_headings(document: Word) -> None:
    assert texts(document, "TOC1")[:2] == ["1 实验要求", "2 实验分析"]
    assert texts(document, "TOC2") == ["2.1 曲线"]


def test_figure_table_and_formula(document: Word, content: bytes) -> None:
    (shape,) = document.inline_shapes
    assert shape._inline.docPr.get("descr") == "学习曲线 L"
    assert "data:" not in parts(content)["word/document.xml"]
    (table,) = document.tables
    assert [[cell.text for cell in row.cells] for row in table.rows] == [
        ["网络", "准确率"], ["Shortbaseline", "31.25"], ["残差网络", "43.02"],
    ]  # fmt: skip
    assert table.style is not None
    borders = table.style.element.find(f".//{qn('w:tblBorders')}")
    assert {border.tag for border in borders} == {qn("w:top"), qn("w:bottom")}
    assert table.rows[0]._tr.find(f".//{qn('w:tblHeader')}") is not None
    bold = [run for run in table.cell(2, 1).paragraphs[0].runs if run.bold]
    assert [run.text for run in bold] == ["43.02"]
    assert document.element.body.findall(f".//{qn('m:oMath')}")


def test_notice_and_page_numbers_are_on_every_page(document: Word) -> None:
    (section,) = document.sections
    assert section.header.paragraphs[0].text == META["notice"]
    assert section.first_page_header.paragraphs[0].text == META["notice"]
    fields = {f.get(qn("w:instr")).strip() for f in section.footer._element.iter(qn("w:fldSimple"))}
    assert fields == {"PAGE", "NUMPAGES"}


def test_two_columns_make_room_for_wide_figures() -> None:
    made = word(render_docx(build(notebook(*CHAPTERS), columns=2)))
    columns = [s._sectPr.find(qn("w:cols")).get(qn("w:num")) for s in made.sections]
    assert columns[0] == "1"  # title and contents
    assert columns[-1] == "2"
    kinds = [element.tag for element in made.element.body]
    wide = [s for s, n in zip(made.sections, columns, strict=True) if n == "1"]
    assert len(wide) >= 2
    assert kinds[-1] == qn("w:sectPr")
    assert all(s.header.paragraphs[0].text == META["notice"] for s in made.sections)


def test_hostile_words_are_shown_as_they_are(document: Word, content: bytes) -> None:
    shown = "\n".join(texts(document, "FirstParagraph") + texts(document, "BodyText"))
    for piece in HOSTILE.replace("`", "").split():
        assert piece in shown
    relations = parts(content)["word/_rels/document.xml.rels"]
    assert 'TargetMode="External"' not in relations
    assert "#panic()" in parts(content)["word/header1.xml"]


def test_hostile_front_matter_stays_text() -> None:
    evil = {"title": "a</w:t><w:t>b & $style", "notice": "<w:p/> $words ${x}", "author": "]]>&"}
    given = v4.new_notebook(cells=[v4.new_markdown_cell("# 1 </w:t> x")], metadata={"labcnn": evil})
    content = render_docx(build(given))
    for name, text in parts(content).items():
        assert ElementTree.fromstring(text) is not None, name
    made = word(content)
    assert texts(made, "Title") == [evil["title"]]
    assert made.sections[0].header.paragraphs[0].text == evil["notice"]
    assert made.core_properties.author == evil["author"]


def test_same_bytes_twice(content: bytes) -> None:
    assert render_docx(build(notebook(*CHAPTERS))) == content


def test_vector_pictures_become_pixels() -> None:
    svg = {"image/svg+xml": picture()["image/svg+xml"]}
    made = word(render_docx(build(v4.new_notebook(cells=[code("", svg)]))))
    (shape,) = made.inline_shapes
    related = shape._inline.graphic.graphicData.pic.blipFill.blip.embed
    assert made.part.related_parts[related].blob.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("rows", "least"),
    [([["short", "1"]], [0.05, 0.01]), ([["word " * 60, "x" * 20], ["a", "b"]], [0.4, 0.2])],
)
def test_columns_fit_the_page_and_their_longest_word(
    rows: list[list[str]], least: list[float]
) -> None:
    shares = share(rows, 2)
    assert sum(shares) <= 1 + 1e-9
    assert all(s > m for s, m in zip(shares, least, strict=True))


def test_menu_and_mime_type() -> None:
    exporter = ReportDocxExporter()
    assert exporter.file_extension == ".docx"
    assert exporter.output_mimetype.startswith("application/vnd.openxmlformats")


@pytest.mark.system
def test_libreoffice_opens_it(content: bytes, tmp_path: Path, program: Any) -> None:
    """A second program reads the file: it counts what the fields and styles should."""
    (tmp_path / "报告.docx").write_bytes(content)
    (tmp_path / "fonts.conf").write_text(
        '<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd"><fontconfig>'
        f"<dir>{fonts()['sans'].path.parent}</dir><cachedir>{tmp_path}/fonts</cachedir>"
        "</fontconfig>",
        encoding="utf-8",
    )
    command = [
        program("soffice"), f"-env:UserInstallation={(tmp_path / 'profile').as_uri()}",
        "--headless", "--convert-to", "pdf", "--outdir", str(tmp_path), str(tmp_path / "报告.docx"),
    ]  # fmt: skip
    environment = {**os.environ, "FONTCONFIG_FILE": str(tmp_path / "fonts.conf")}
    subprocess.run(command, check=True, capture_output=True, env=environment, timeout=120)
    done = subprocess.run(
        [program("pdftotext"), "-layout", str(tmp_path / "报告.pdf"), "-"],
        check=True, capture_output=True, encoding="utf-8",
    )  # fmt: skip
    text = re.sub(r" +", " ", done.stdout)
    for words in (META["title"], "1 实验要求", "2 实验分析", "2.1 曲线", "8 更多", "图 1", "表 1"):
        assert words in text
    assert "见表 1与图 1 所示" in text.replace("表 1 与", "表 1与")
    pages = text.split("\f")[:-1]
    assert all(META["notice"] in page for page in pages)
    for number, page in enumerate(pages, 1):
        assert f"{number}/{len(pages)}" in page.replace(" ", "")
    assert "<script>alert(1)</script>" in text.replace("\n", "")
