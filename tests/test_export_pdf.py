import datetime
import subprocess
import sys
from pathlib import Path

import nbformat
import nbformat.v4 as v4
import pypdfium2
import pytest
from report_notebook import HOSTILE, META, code, export, notebook

from labreport.export import ExportError


def pages(content: bytes) -> list[str]:
    with pypdfium2.PdfDocument(content) as pdf:
        return [page.get_textpage().get_text_range().replace("\r\n", "\n") for page in pdf]


@pytest.fixture(scope="module")
def content() -> bytes:
    return export("pdf", notebook(v4.new_markdown_cell("长文。\n\n" * 60)))


def test_all_words_are_there_and_the_notice_on_every_page(content: bytes) -> None:
    text = "\n".join(pages(content))
    for words in (META["title"], META["author"], "1 实验要求", "2.1 曲线", "图 1", "表 1"):
        assert words in text
    for words in ("Shortbaseline", "31.25", "残差网络", "43.02", "结果: 准确率"):
        assert words in text
    for piece in HOSTILE.replace("`", "").split():
        assert piece in text.replace("\n", "")
    for absent in ("secret", "never", "课程", "学号"):
        assert absent not in text
    assert len(pages(content)) > 1
    assert all(META["notice"] in page for page in pages(content))


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
    for character, named in (("\U0001f9ea", "\U0001f9ea"), ("\u0378", "378")):
        cells = [code("", {"text/markdown": f"这里 {character} 没有字形"})]
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
