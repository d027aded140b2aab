import ctypes
import datetime
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import nbformat.v4 as v4
import pypdfium2
import pypdfium2.raw as c
import pytest
from report_notebook import HOSTILE, META, code, export, notebook, picture

from labreport.export import ExportError


def pages(content: bytes) -> list[str]:
    with pypdfium2.PdfDocument(content) as pdf:
        return [page.get_textpage().get_text_range().replace("\r\n", "\n") for page in pdf]


@pytest.fixture(scope="module")
def content() -> bytes:
    return export("pdf", notebook(v4.new_markdown_cell("长文。\n\n" * 60)))


def test_all_words_are_there_and_the_notice_on_top_of_the_first_page(content: bytes) -> None:
    text = "\n".join(pages(content))
    for words in (META["title"], META["author"], "1 实验要求", "2.1 曲线", "图 1", "表 1"):
        assert words in text
    for words in ("Shortbaseline", "31.25", "残差网络", "43.02", "结果: 准确率"):
        assert words in text
    for piece in HOSTILE.replace("`", "").split():
        assert piece in text.replace("\n", "")
    for absent in ("secret", "never", "课程", "学号"):
        assert absent not in text
    first, *others = pages(content)
    assert META["notice"] in first
    assert len(others) > 1
    assert all("演示数据" in page and "不是结果" not in page for page in others)
    assert "目录" not in first
    assert first.count("2.1 曲线") == 1  # a short report has no list of contents


@pytest.mark.system
def test_pdftotext_reads_it_in_order(tmp_path: Path, program) -> None:
    """A second reader: labels that may break after a plus are whole words in the text."""
    label = "Longbaseline+learningratedecay"
    more = v4.new_markdown_cell(f"文字 {label} " * 12)
    (tmp_path / "a.pdf").write_bytes(export("pdf", notebook(more), columns=2))
    command = [program("pdftotext"), str(tmp_path / "a.pdf"), "-"]
    text = subprocess.run(command, check=True, capture_output=True).stdout.decode()
    whole = text.replace("\n", "").replace(" ", "")
    order = [META["title"], "1实验要求", "2实验分析", "2.1曲线", "文字"]
    places = [whole.rindex(words) for words in order[1:]]
    assert places == sorted(places)
    assert META["title"] in whole
    assert whole.count(label) == 12
    assert "\u200b" not in text


def test_two_columns_leave_the_middle_of_the_page_free() -> None:
    long = v4.new_notebook(cells=[v4.new_markdown_cell("很长的一段文字。" * 300)])
    across = []
    for columns in (1, 2):
        with pypdfium2.PdfDocument(export("pdf", long, columns=columns)) as pdf:
            text, middle = pdf[0].get_textpage(), pdf[0].get_width() / 2
            boxes = [text.get_charbox(k) for k in range(text.count_chars())]
        across.append(sum(box[0] < middle + 8 and box[2] > middle - 8 for box in boxes))
    assert across[0] > 20
    assert across[1] < 20  # the title and the page's number are in the middle anyway


def test_a_box_longer_than_a_column_goes_on_in_the_next() -> None:
    box = '::: {.box title="要点"}\n' + "很长的一句话，说的是结果。" * 60 + "\n\n:::"
    cells = [code("", {"text/markdown": text}) for text in ("开头。\n\n" * 30, box)]
    content = export("pdf", v4.new_notebook(cells=cells, metadata=notebook().metadata), columns=2)
    assert sum(page.replace("\n", "").count("说的是结果") for page in pages(content)) > 55
    with pypdfium2.PdfDocument(content) as pdf:
        for page in pdf:
            text = page.get_textpage()
            lowest = [text.get_charbox(k)[1] for k in range(text.count_chars())]
            below = [y for y in lowest if y < 60]  # the page's number, and a word of the notice
            assert len(below) < 20


def test_it_is_pdf_a_2b_with_the_reports_own_date_and_words_for_pictures(content: bytes) -> None:
    assert b"<pdfaid:part>2</pdfaid:part>" in content
    assert b"<pdfaid:conformance>B</pdfaid:conformance>" in content
    with pypdfium2.PdfDocument(content) as pdf:
        assert pdf.get_metadata_value("Title") == META["title"]
        written = pdf.get_metadata_value("CreationDate")
        assert written.startswith(datetime.date.fromisoformat(META["date"]).strftime("D:%Y%m%d"))
    words = "学习曲线 L".encode("utf-16-be").hex().upper()
    assert f"/Alt<FEFF{words}>".encode() in content


def test_a_character_without_glyph_is_an_error_that_names_it() -> None:
    """In a report; in any other notebook its number is shown."""
    for character, named in (
        ("\U0001f9ea", "\U0001f9ea"),
        ("\u0378", "378"),
        ("\U0001f3fb", "\U0001f3fb"),
    ):
        cells = [code("", {"text/markdown": f"这里a{character} 没有字形"})]
        ours = v4.new_notebook(cells=cells, metadata={"labcnn": {"title": "x"}})
        with pytest.raises(ExportError, match=named):
            export("pdf", ours)
        theirs = export("pdf", v4.new_notebook(cells=cells))
        assert f"〔U+{ord(character):04X}〕" in pages(theirs)[0]


@pytest.mark.system
def test_the_command_line_writes_it(tmp_path: Path) -> None:
    file = tmp_path / "我的 报告.ipynb"
    nbformat.write(notebook(), file)
    command = [sys.executable, "-m", "nbconvert", "--to", "report-pdf", str(file)]
    subprocess.run(command, check=True, capture_output=True)
    assert META["title"] in pages(file.with_suffix(".pdf").read_bytes())[0]


def letters(page: pypdfium2.PdfPage) -> Iterator[tuple[str, str]]:
    """Each visible letter with its font; it must be embedded, and filled, not outlined."""
    text = page.get_textpage()
    for k in range(text.count_chars()):
        letter, shape = chr(c.FPDFText_GetUnicode(text.raw, k)), c.FPDFText_GetTextObject(text, k)
        if not letter.isspace():
            assert c.FPDFTextObj_GetTextRenderMode(shape) == c.FPDF_TEXTRENDERMODE_FILL
            assert c.FPDFFont_GetIsEmbedded(c.FPDFTextObj_GetFont(shape)) == 1
            name = ctypes.create_string_buffer(100)
            c.FPDFText_GetFontInfo(text, k, name, 100, None)
            yield letter, name.value.decode().partition("+")[2]


def test_what_is_bold_has_bold_strokes(content: bytes) -> None:
    with pypdfium2.PdfDocument(content) as pdf:
        shown = list(letters(pdf[0]))
    text = "".join(letter for letter, _ in shown)
    for words in (META["title"], "1实验要求", "2.1曲线", "网络准确率", "43.02", "成立"):
        start = text.index(words)
        assert {font for _, font in shown[start : start + len(words)]} == {"NotoSansSC-Bold"}
    assert shown[text.index("换行")][1] == "NotoSerifSC-Regular"


def test_a_figure_leaves_no_page_empty_and_stays_in_its_section() -> None:
    """It fits on the first page when a little smaller, or else the text after it goes there."""
    found = []
    for lines, after in ((0, 1), (3, 12)):
        figure = code("#| label: fig-a\n#| fig-cap: 曲线\nx", picture())
        before = ["一段相当长的文字。" * 16] * 6 + ["短。"] * lines
        texts = [*before, None, *before[:1] * after, "## 下一节"]
        cells = [v4.new_markdown_cell(text) if text else figure for text in texts]
        given = v4.new_notebook(cells=cells, metadata={"labcnn": {"title": "标题"}})
        with pypdfium2.PdfDocument(export("pdf", given)) as pdf:
            text = pdf[0].get_textpage()
            places = [text.get_charbox(k) for k in range(text.count_chars())]
            lowest = min(bottom for _, bottom, _, _ in places if bottom > 72)
            shown = [page.get_textpage().get_text_range() for page in pdf]
        assert lowest < 72 + 140  # points; the margin is 71
        found.append(next(k for k, page in enumerate(shown) if "图 1" in page))
        assert "下一节" not in shown[0]
    assert found == [0, 1]


def test_a_long_line_of_code_is_broken_between_words() -> None:
    line = "make report " + " ".join(f"NAME{k}=value-{k}" for k in range(9)) + " " + "x" * 90
    given = v4.new_notebook(cells=[v4.new_markdown_cell(f"```\n{line}\n```")])
    *broken, last = pages(export("pdf", given))[0].split("make", 1)[1].split("\n")[:4]
    assert all(re.search(r"(value-\d|↩)$", each.strip()) for each in broken), broken
    assert last.strip() == "x" * len(last.strip())


def test_a_table_that_goes_on_says_so_and_breaks_between_groups() -> None:
    rows = [f"| {'' if k % 5 else f'第 {k // 5} 组'} | 行 {k} |" for k in range(100)]
    table = "\n".join(["| 组 | 行 |", "|---|---|", *rows])
    made = export(
        "pdf", notebook(code("#| label: tbl-a\n#| tbl-cap: 长\nx", {"text/markdown": table}))
    )
    first, *others = [page for page in pages(made) if "第 " in page and "组" in page]
    assert re.search(r"(?<!续)表 2　长", first) and "续表" not in first
    assert len(others) > 1
    for page in others:
        (start,) = re.findall(r"续表 2\s+组\s+行\s+(第 \d+ 组\s+行 \d+)", page)
        group, row = map(int, re.findall(r"\d+", start))
        assert row == 5 * group
    assert all(re.search(rf"行 {k}\b", "\n".join([first, *others])) for k in range(100))


def test_the_heading_of_the_literature_stays_with_two_entries() -> None:
    sources = [f"[[{k}]]{{#ref-a{k}}} " + "某文。" * 30 for k in (1, 2, 3)]
    for lines in range(29, 33):
        cells = [*["一行。"] * lines, "## 参考文献", "\n\n".join(sources)]
        given = v4.new_notebook(
            cells=[v4.new_markdown_cell(text) for text in cells],
            metadata={"labcnn": {"title": "标题"}},
        )
        (page,) = [page for page in pages(export("pdf", given)) if "参考文献" in page]
        assert "[2]" in page
