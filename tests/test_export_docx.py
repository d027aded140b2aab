import io
import os
import re
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import docx
import nbformat.v4 as v4
import pytest
from docx.document import Document as Word
from docx.oxml.ns import qn
from docx.shared import Pt
from report_notebook import HOSTILE, META, code, export, notebook, picture

from labreport.export.fonts import fonts

CHAPTERS = [
    v4.new_markdown_cell(f"## {n} 更多\n\n见 @fig-curve：[曲线](#fig-curve)。") for n in range(3, 9)
]


def word(content: bytes) -> Word:
    return docx.Document(io.BytesIO(content))


def words(element: Any) -> str:
    """With what its fields show, which python-docx leaves out."""
    return "".join(t.text or "" for t in element.iter(qn("w:t")))


def texts(document: Word, style: str) -> list[str]:
    """Of all paragraphs of a style."""
    return [words(p) for p in document.element.body.iter(qn("w:p")) if p.style == style]


def fields_of(document: Word) -> list[list[str]]:
    return [field.text.split() for field in document.element.body.iter(qn("w:instrText"))]


@pytest.fixture(scope="module")
def content() -> bytes:
    return export("docx", notebook(*CHAPTERS))


@pytest.fixture(scope="module")
def document(content: bytes) -> Word:
    return word(content)


def test_title_block_and_properties(document: Word) -> None:
    assert texts(document, "Title") == [META["title"]]
    assert texts(document, "Author") == [
        f"姓名\u2002{META['author']}\u3000\u3000日期\u2002{META['date']}"
    ]
    properties = document.core_properties
    assert (properties.title, properties.author) == (META["title"], META["author"])
    assert properties.created is not None
    assert properties.created.date().isoformat() == META["date"]


def test_headings_are_numbered_by_their_styles_and_listed_in_the_contents(document: Word) -> None:
    assert texts(document, "Heading1")[:2] == ["实验要求", "实验分析"]
    assert texts(document, "Heading2") == ["曲线"]
    for level in (1, 2, 3):
        style = document.styles[f"Heading {level}"].element
        assert style.pPr.numPr.ilvl.val == level - 1
    first = document.styles["Heading 1"].element
    assert first.pPr.keepNext_val
    assert first.rPr.rFonts.get(qn("w:eastAsia")) == "微软雅黑"  # 黑体 has no bold weight
    assert document.styles["Heading 1"].font.bold
    default = document.styles.element.find(f".//{qn('w:rPrDefault')}//{qn('w:rFonts')}")
    assert default.get(qn("w:eastAsia")) == "宋体"
    assert texts(document, "TOC1")[:2] == ["1 实验要求", "2 实验分析"]
    assert texts(document, "TOC2") == ["2.1 曲线"]
    fields = [field for field in fields_of(document) if field[0] == "PAGEREF"]
    assert len(fields) == 9
    marks = {
        mark.get(qn("w:name"))
        for heading in document.element.body.iter(qn("w:p"))
        if (heading.style or "").startswith("Heading")
        for mark in heading.iter(qn("w:bookmarkStart"))
    }
    assert {field[1] for field in fields} == marks


def test_typed_numbers_stay_where_word_would_count_otherwise() -> None:
    chapters = v4.new_markdown_cell("## **1 甲**\n\n##\n\n## 3 乙")
    made = word(export("docx", v4.new_notebook(cells=[chapters])))
    assert texts(made, "Heading1") == ["1 甲", "", "3 乙"]
    assert made.styles["Heading 1"].element.pPr.numPr is None


def test_captions_count_and_references_lead_to_them(document: Word) -> None:
    assert texts(document, "ImageCaption") == ["图 1\u3000学习曲线 "]
    assert texts(document, "TableCaption") == ["表 1\u3000结果: 准确率"]
    body = document.element.body
    fields = fields_of(document)
    assert ["SEQ", "图", "\\*", "ARABIC"] in fields
    assert ["SEQ", "表", "\\*", "ARABIC"] in fields
    marks = list(body.iter(qn("w:bookmarkStart")))
    names = [mark.get(qn("w:name")) for mark in marks]
    targets = {field[1] for field in fields if field[0] == "REF"}
    assert targets == {"fig_1", "tbl_1"}
    anchors = {link.get(qn("w:anchor")) for link in body.iter(qn("w:hyperlink"))} - {None}
    assert {"sec-curve", "fig_1"} < anchors
    assert targets | anchors <= set(names)
    assert len(names) == len(set(names)) == len({mark.get(qn("w:id")) for mark in marks})


def test_figure_table_and_formula(document: Word, content: bytes) -> None:
    (shape,) = document.inline_shapes
    assert shape._inline.docPr.get("descr") == "学习曲线 L"
    with zipfile.ZipFile(io.BytesIO(content)) as package:
        assert b"data:" not in package.read("word/document.xml")
    (table,) = document.tables
    assert [[cell.text for cell in row.cells] for row in table.rows] == [
        ["网络", "准确率"], ["Shortbaseline", "31.25"], ["残差网络", "43.02"],
    ]  # fmt: skip
    assert table.style is not None
    borders = table.style.element.find(f".//{qn('w:tblBorders')}")
    assert {border.tag for border in borders} == {qn("w:top"), qn("w:bottom")}
    assert table.rows[0]._tr.find(f".//{qn('w:tblHeader')}") is not None
    (bold,) = [run for run in table.cell(2, 1).paragraphs[0].runs if run.bold]
    assert bold.text == "43.02"
    assert bold._r.rPr.rFonts.get(qn("w:eastAsia")) == "微软雅黑"
    # No row is split; lines are equally high in all cells, whatever script stands in them.
    assert [row._tr.trPr.find(qn("w:cantSplit")).get(qn("w:val")) for row in table.rows] == [
        "1"
    ] * 3
    lines = [paragraph for row in table.rows for paragraph in row.cells[0].paragraphs]
    assert {paragraph._p.style for paragraph in lines} == {"TableText"}
    assert document.styles["Table Text"].paragraph_format.line_spacing == Pt(13.5)
    assert document.element.body.findall(f".//{qn('m:oMath')}")


def test_tables_fit_the_page_and_stay_whole_where_they_can() -> None:
    label = "Longbaseline+learningratedecay"
    rows = [f"| {label} | {'word ' * 60} | {n} |" for n in range(30)]
    short, long = ("\n".join(["| a | b | c |", "|---|---|---|", *rows[:n]]) for n in (3, 30))
    cells = [code("", {"text/markdown": table}) for table in (short, long)]
    made = word(export("docx", v4.new_notebook(cells=cells)))
    for table, whole in zip(made.tables, (True, False), strict=True):
        assert all(cell._tc[-1].tag == qn("w:p") for row in table.rows for cell in row.cells)
        *upper, last = [row.cells[0].paragraphs[0].paragraph_format for row in table.rows]
        assert {row.keep_with_next for row in upper} == {True if whole else None}
        assert last.keep_with_next is None
        first, second, third = (column.width for column in table.columns)
        assert table.cell(1, 0).text == label.replace("+", "+\u200b")
        digit = (first + second + third) / 99  # 99 digits fill a line of the page
        assert first > len("learningratedecay") * digit
        assert second > 2 * first > 4 * third


def test_a_long_table_breaks_between_groups_of_rows() -> None:
    groups = [f"| {'' if n % 3 else f'组 {n}'} | 行 {n} |" for n in range(30)]
    table = "\n".join(["| a | b |", "|---|---|", *groups])
    cells = [code("", {"text/markdown": table}), v4.new_markdown_cell("- 一\n\n- 二")]
    made = word(export("docx", v4.new_notebook(cells=cells)))
    rows = made.tables[0].rows[1:]
    kept = [row.cells[0].paragraphs[0].paragraph_format.keep_with_next for row in rows]
    assert kept == [True, True, None] * 10
    assert texts(made, "Compact") == ["一", "二"]


def test_the_notice_is_on_the_first_page_and_its_first_word_below_the_others(
    document: Word,
) -> None:
    (section,) = document.sections
    assert section.different_first_page_header_footer
    assert section.first_page_header.paragraphs[0].text == META["notice"]
    assert section.header.paragraphs[0].text == META["title"]
    assert words(section.footer._element) == "演示数据\u30001 / 1"
    assert words(section.first_page_footer._element) == "1 / 1"
    fields = [f.get(qn("w:instr")).strip() for f in section.footer._element.iter(qn("w:fldSimple"))]
    assert fields == ["PAGE", "NUMPAGES"]


def test_without_a_notice_the_title_is_on_all_pages_but_the_first() -> None:
    made = word(export("docx", v4.new_notebook(metadata={"labcnn": {"title": "标题"}})))
    (section,) = made.sections
    assert section.different_first_page_header_footer
    assert section.header.paragraphs[0].text == "标题"
    (above,) = section.first_page_header.paragraphs
    assert (above.text, above._p.style) == ("", None)  # no rule, as the others have below the title
    assert texts(made, "Author") == []
    assert words(section.first_page_footer._element) == "1 / 1"


def test_two_columns_make_room_for_wide_figures() -> None:
    made = word(export("docx", notebook(*CHAPTERS), columns=2))
    columns = [s._sectPr.find(qn("w:cols")).get(qn("w:num")) for s in made.sections]
    assert columns == ["1", "2", "1", "2"]  # title and contents, text, figure and table, text
    assert made.element.body[-1].tag == qn("w:sectPr")
    assert all(s.header.paragraphs[0].text == META["title"] for s in made.sections)
    wide = [block.style for block in made.sections[2].iter_inner_content()]
    names = [style.name for style in wide if style is not None]
    assert names == ["Captioned Figure", "Image Caption", "Table Caption", "Table", "Section End"]


def test_hostile_words_stay_text(document: Word) -> None:
    shown = "\n".join(texts(document, "FirstParagraph") + texts(document, "BodyText"))
    for piece in HOSTILE.replace("`", "").split():
        assert piece in shown
    assert not [r for r in document.part.rels.values() if r.is_external]
    evil = {"title": "a</w:t><w:t>b & $style", "notice": "<w:p/> ${x}\x07", "author": "]]>&"}
    made = word(export("docx", v4.new_notebook(metadata={"labcnn": evil})))
    assert texts(made, "Title") == [evil["title"]]
    assert made.sections[0].first_page_header.paragraphs[0].text == "<w:p/> ${x}"
    assert made.core_properties.author == evil["author"]


def test_vector_pictures_become_pixels() -> None:
    svg = {"image/svg+xml": picture()["image/svg+xml"]}
    made = word(export("docx", v4.new_notebook(cells=[code("", svg)])))
    (shape,) = made.inline_shapes
    related = shape._inline.graphic.graphicData.pic.blipFill.blip.embed
    assert made.part.related_parts[related].blob.startswith(b"\x89PNG")


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
    assert META["notice"] in pages[0]
    contents = re.findall(r"^ ?(\d|2\.1) .*\.{9}\.*(\d)", pages[0], re.M)
    assert contents[-1] == ("8", str(len(pages)))  # the page of its last section
    for number, page in enumerate(pages, 1):
        assert f"{number}/{len(pages)}" in page.replace(" ", "")
    assert "<script>alert(1)</script>" in text.replace("\n", "")
