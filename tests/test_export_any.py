"""Any notebook, however long, broken or odd: what can be shown is, the rest is named."""

import base64
import io
import json
import logging
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docx
import nbformat
import nbformat.v4 as v4
import pypdfium2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nbformat import NotebookNode
from report_notebook import code, export, parse_html, picture, text

from labreport.display import Prose, escape
from labreport.export import ExportError, export_report

FORMATS = ("html", "pdf", "docx")
PNG = picture()["image/png"]


def notebook(*cells: NotebookNode, **metadata: Any) -> NotebookNode:
    ends = [v4.new_markdown_cell(words) for words in ("# 标题\n\n正文", "末尾")]
    return v4.new_notebook(cells=[ends[0], *cells, ends[1]], metadata=metadata)


def markdown(words: str, **parts: Any) -> NotebookNode:
    return v4.new_markdown_cell(words, **parts)


def printed(words: str, name: str = "stdout") -> NotebookNode:
    return v4.new_code_cell("1", outputs=[v4.new_output("stream", name=name, text=words)])


def words_of(kind: str, content: Any) -> str:
    """All text of an export, without spaces and line breaks."""
    if kind == "html":
        shown = text(parse_html(content).find(".//main"))
    elif kind == "pdf":
        with pypdfium2.PdfDocument(content) as pdf:
            shown = "".join(page.get_textpage().get_text_range() for page in pdf)
    else:
        body = docx.Document(io.BytesIO(content)).element.body
        shown = "".join(element.text or "" for element in body.iter() if element.tag.endswith("}t"))
    return "".join(shown.split())


def shown(kind: str, *cells: NotebookNode, folder: Path = Path(), **metadata: Any) -> str:
    return words_of(kind, export(kind, notebook(*cells, **metadata), folder))


MANY = "".join(f"line {k} of many\n" for k in range(70_000))
SHORT = [{"text/plain": f"<{k}>"} for k in range(999)]
ROWS = "".join(f"<tr><td>row {k}</td><td>{k}</td></tr>" for k in range(3000))


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.timeout(60)
def test_long_outputs_are_shortened_in_the_middle(kind: str) -> None:
    words = shown(
        kind,
        printed(MANY),
        code("", {"text/plain": MANY}),
        code("", {"text/html": f"<table>{ROWS}</table>"}),
        code("", *SHORT),
    )
    expected = (
        *("line0of", "省略69500行", "line69999of"), *("line0of", "省略69501行", "line69999of"),
        *("row0", "省略2800行", "row2999"), *("<0>", "省略799项输出", "<998>"), "末尾",
    )  # fmt: skip
    place = 0
    for each in expected:
        place = words.index(each, place) + len(each)


@pytest.mark.timeout(60)
def test_many_outputs_share_the_room_of_a_document() -> None:
    cells = [printed("".join(f"{n} {k}\n" for k in range(300))) for n in range(200)]
    with pypdfium2.PdfDocument(export("pdf", notebook(*cells))) as pdf:
        assert len(pdf) < 400
    assert shown("html", *cells).count("省略") == 200


LONG = 20_000
#: By a letter, a cell with a line of so many.
LINES: dict[str, Callable[[str], NotebookNode]] = {
    "x": printed,
    "q": lambda line: v4.new_code_cell(line, metadata={"tags": ["show-code"]}, execution_count=1),
    "w": lambda line: markdown(f"文字 {line}"),
    "z": lambda line: markdown(f"## {line}"),
    "k": lambda line: markdown(f"`{line}`"),
    "j": lambda line: markdown(f"| a | b |\n|---|---|\n| {line} | 2 |"),
    "v": lambda line: v4.new_code_cell(
        "1", outputs=[v4.new_output("error", ename="E", evalue="", traceback=[line])]
    ),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_long_lines_are_broken_and_nothing_is_lost(kind: str) -> None:
    """Of outputs, code, text, headings, code within a text, tables and errors."""
    content = export(kind, notebook(*(make(letter * LONG) for letter, make in LINES.items())))
    words = words_of(kind, content)
    assert {letter: words.count(letter) for letter in LINES} == dict.fromkeys(LINES, LONG)
    if kind == "pdf":
        with pypdfium2.PdfDocument(content) as pdf:
            for page in pdf:
                letters = page.get_textpage()
                boxes = [letters.get_charbox(k) for k in range(letters.count_chars())]
                assert max(box[2] for box in boxes) < page.get_width() - 50
                assert min(box[1] for box in boxes) > 20


BROKEN = [
    code("", {"image/png": "%%%not base64", "text/plain": "a"}),
    code("", {"image/png": "", "text/plain": "a"}),
    code("", {"image/png": base64.b64encode(b"no image").decode()}),
    code("", {"image/png": PNG[: len(PNG) // 8 * 4]}),
    code("", {"image/jpeg": base64.b64encode(b"\xff\xd8\xff\xe0").decode()}),
    code("", {"image/svg+xml": "<svg"}),
    markdown("![](attachment:a.png)"),
    markdown("![](attachment:a.png)", attachments={"a.png": {"image/png": "%%%"}}),
    markdown("![](data:image/png;base64,aGVsbG8=)"),
    markdown("![](../secret.png)"),
    markdown("![](nothing%00.png)"),
]


def test_broken_pictures_are_named_and_the_rest_is_exported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, subtests: pytest.Subtests
) -> None:
    (tmp_path / "secret.png").write_bytes(base64.b64decode(PNG))
    (tmp_path / "notebooks").mkdir()
    for kind in FORMATS:
        with subtests.test(kind):
            caplog.clear()
            words = shown(kind, *BROKEN, folder=tmp_path / "notebooks")
            lines = [record.getMessage() for record in caplog.records]
            assert len(lines) == len(BROKEN)
            for number, line in enumerate(lines, 2):
                assert line.startswith(f"cell {number}: ") and "picture is broken" in line
                assert f"单元格{number}：图片" in words
            assert "末尾" in words


def test_a_picture_is_shown_by_what_it_is_in_the_form_that_can_be_drawn() -> None:
    cell = code("", {"image/svg+xml": "<svg", "image/jpeg": PNG})
    images = list(parse_html(export("html", notebook(cell))).iter("img"))
    assert [image.get("src").partition(",")[0] for image in images] == ["data:image/png;base64"]
    huge = '<svg xmlns="http://www.w3.org/2000/svg" width="100000000" height="9"/>'
    with zipfile.ZipFile(
        io.BytesIO(export("docx", notebook(code("", {"image/svg+xml": huge}))))
    ) as z:
        assert any(name.endswith(".png") for name in z.namelist())


def test_no_output_is_dropped_silently(
    caplog: pytest.LogCaptureFixture, subtests: pytest.Subtests
) -> None:
    widget = "application/vnd.jupyter.widget-view+json"
    for kind in FORMATS:
        with subtests.test(kind):
            caplog.clear()
            words = shown(
                kind,
                printed("a warning", "stderr"),
                code("", {"application/json": {"key": [1, None]}}),
                code("", {"application/vnd.x+json": {}, "text/plain": "in words"}),
                code("", {widget: {"model_id": "x"}, "text/plain": "IntSlider(value=3)"}),
                code("", {"text/html": "<script>bad()</script>", "text/plain": "instead"}),
                code("", {"application/x-unknown": "abc"}),
                code("", {"text/html": "<div></div>"}),
            )
            for present in (
                "awarning",
                '"key":[1,null]',
                "inwords",
                "IntSlider",
                "instead",
                "末尾",
            ):
                assert present in words
            assert "单元格7：有输出无法显示：application/x-unknown" in words
            lines = [record.getMessage() for record in caplog.records]
            assert lines == [
                "cell 7: an output can't be shown: application/x-unknown",
                "cell 8: an output can't be shown: text/html",
            ]


def formulas(*sources: str) -> list[str]:
    """The text of each formula that a browser sets."""
    page = parse_html(export("html", notebook(*map(markdown, sources))))
    tag = "{http://www.w3.org/1998/Math/MathML}"
    for semantics in page.iter(f"{tag}semantics"):
        semantics.remove(semantics.find(f"{tag}annotation"))
    return ["".join(text(math).split()) for math in page.iter(f"{tag}math")]


def test_formulas_are_set_as_jupyter_sets_them() -> None:
    assert formulas(
        r"$$x \tag{7}$$",
        "\\begin{pmatrix} a & b \\\\ c & d \\end{pmatrix}",
        "$$\n\\begin{align} p &= q \\end{align}\n$$",
        "\\begin{align}\nu &= v\n\n\\end{align}",
        "\\[ E = m \\]",
        r"$$\label{eq:a} z$$",
        r"$\eqref{eq:a}$",
    ) == ["x(7)", "(abcd)", "p=q", "u=v", "E=m", "(eq:a)z", "(eq:a)"]
    assert "见(eq:a)" in shown("html", markdown(r"见 \eqref{eq:a} `\eqref{b}`"))
    listing = shown("html", markdown("```\n\\begin{align} a \\end{align}\n```"))
    assert r"\begin{align}a\end{align}" in listing and "$" not in listing


def test_a_formula_that_cannot_be_set_is_shown_as_its_source(
    caplog: pytest.LogCaptureFixture, subtests: pytest.Subtests
) -> None:
    for kind in FORMATS:
        with subtests.test(kind):
            caplog.clear()
            words = shown(kind, markdown(r"$\unknown{x}$ $\frac{1$"))
            assert r"$\unknown{x}$〔单元格2：公式无法排版" in words and r"$\frac{1$" in words
            assert "cell 2: a formula can't be set; its source is shown" in caplog.text


def test_failed_and_never_run_notebooks_say_so(
    caplog: pytest.LogCaptureFixture, subtests: pytest.Subtests
) -> None:
    failed = v4.new_code_cell("1/0", execution_count=7)
    failed.outputs = [v4.new_output("error", ename="ZeroDivisionError", evalue="by \x1b[1mzero")]
    for kind in FORMATS:
        with subtests.test(kind):
            caplog.clear()
            assert "单元格2[7]：运行出错：ZeroDivisionError:byzero" in shown(kind, failed)
            assert "cell 2 [7]: it failed: ZeroDivisionError: by zero" in caplog.messages
            content = export(kind, notebook(v4.new_code_cell("1")))
            assert (
                "the notebook was never run, so it has no outputs: run it first" in caplog.messages
            )
            if kind == "html":
                assert "尚未运行" in text(parse_html(content).find(".//aside"))
            elif kind == "pdf":
                assert "尚未运行" in words_of(kind, content)
            else:
                header = docx.Document(io.BytesIO(content)).sections[0].first_page_header
                assert "尚未运行" in header.paragraphs[0].text


WHOLE = json.dumps(notebook(printed("printed")))
OLD = {
    "nbformat": 3,
    "nbformat_minor": 0,
    "metadata": {},
    "worksheets": [{"metadata": {}, "cells": [
        {"cell_type": "code", "language": "python", "metadata": {}, "input": "1",
         "collapsed": False, "outputs": [
             {"output_type": "stream", "stream": "stdout", "text": "printed"}]}]}],
}  # fmt: skip


def convert(
    file: Path, *options: str, before: tuple[str, ...] = ()
) -> "subprocess.CompletedProcess[str]":
    command = [
        *before,
        sys.executable,
        "-m",
        "nbconvert",
        "--to",
        "report-html",
        *options,
        str(file),
    ]
    return subprocess.run(command, capture_output=True, encoding="utf-8", check=False, timeout=60)


def test_what_is_no_notebook_is_one_line(tmp_path: Path, subtests: pytest.Subtests) -> None:
    file = tmp_path / "坏.ipynb"
    for case, content, named in (
        ("cut", WHOLE[:-40].encode(), ": line 1 column"),
        ("empty", b"", "Expecting value"),
        ("list", b"[]", "no notebook of version 1 to 4"),
        ("newer", WHOLE.replace('"nbformat": 4', '"nbformat": 9').encode(), "(nbformat 9)"),
        ("encoding", WHOLE.encode("utf-16"), "can't decode byte"),
        ("deep", b"[" * 100_000, "recursion"),
        ("kind", WHOLE.replace('"markdown"', '"strange"').encode(), "'strange'"),
        ("part", WHOLE.replace('"outputs"', '"other"').encode(), "'other'"),
    ):
        with subtests.test(case):
            file.write_bytes(content)
            with pytest.raises(ExportError, match="no notebook") as caught:
                export_report(file, tmp_path)
            assert named in str(caught.value) and "\n" not in str(caught.value)
            assert list(tmp_path.iterdir()) == [file]


@pytest.mark.system
def test_the_command_says_one_line_of_a_notebook_that_is_cut_or_wrong(tmp_path: Path) -> None:
    file = tmp_path / "坏 的.ipynb"
    wrong = v4.new_notebook(cells=[markdown("@tbl-a")], metadata={"labcnn": {"title": "x"}})
    for content, named in (
        (WHOLE[:150], f"ExportError: {file}: no notebook"),
        (json.dumps(wrong), "ExportError: @tbl-a refers to nothing"),
    ):
        file.write_text(content, encoding="utf-8")
        done = convert(file)
        assert done.returncode == 1 and "Traceback" not in done.stderr
        assert done.stderr.splitlines()[-1].startswith(named)
        assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("content", ["\ufeff" + WHOLE, json.dumps(OLD)], ids=["mark", "version 3"])
def test_a_file_of_another_program_or_version_is_read(content: str, tmp_path: Path) -> None:
    (tmp_path / "a.ipynb").write_text(content, encoding="utf-8")
    (file,) = export_report(tmp_path / "a.ipynb", tmp_path, ["html"])
    assert "printed" in words_of("html", file.read_text(encoding="utf-8"))


def test_columns_that_tabs_keep_apart_stay_below_each_other() -> None:
    page = parse_html(export("html", notebook(printed("轮\t准确率\t秒\n1\t99.5%\t0.1   \n"))))
    listings = [text(element).splitlines() for element in page.iter("pre")]
    assert ["轮      准确率   秒", "1       99.5%   0.1"] in listings


def test_control_characters_are_left_out(subtests: pytest.Subtests) -> None:
    """Of outputs, text, tables and the title block."""
    odd = "a\ud800b\x00c\x1b[2K\x1b[1Ad\x1b]0;title\x07e\x1b]8;;http://x\x1b\\f\x9b31mg\ufffeh"
    cells = printed(odd), markdown(odd), code("", {"text/html": f"<p>{odd}</p>"})
    for kind in FORMATS:
        with subtests.test(kind):
            words = shown(kind, *cells)
            assert "a?bcdefgh" in words and "末尾" in words
            assert "末尾" in shown(kind, *cells, labcnn={"subtitle": odd})


def test_escaped_words_are_shown_as_they_are(subtests: pytest.Subtests) -> None:
    """In a report, whose unknown references are errors."""
    name = "@fig-nope \\@ $x$ <b>1</b> #let"
    prose = Prose(f"设备 {escape(name)} `a\\@b`")
    for kind in FORMATS:
        with subtests.test(kind):
            words = shown(kind, code("", {"text/markdown": prose.text}), labcnn={"title": "x"})
            assert "".join(name.split()) + "a\\@b" in words


@pytest.fixture
def reader(program: Any) -> tuple[str, ...]:
    """The command before another, in which that is bound by permissions; root isn't otherwise."""
    if os.getuid():
        return ()
    return (program("setpriv"), "--inh-caps=-all", "--bounding-set=-all")


@pytest.mark.system
def test_a_folder_that_is_read_only_or_full_is_named(
    reader: tuple[str, ...], program: Any, tmp_path: Path
) -> None:
    file, folder = tmp_path / "a.ipynb", tmp_path / "folder"
    file.write_text(WHOLE)
    folder.mkdir()
    folder.chmod(0o555)
    done = convert(file, "--output-dir", str(folder), before=reader)
    last = done.stderr.splitlines()[-1]
    assert last == f"ExportError: {folder}/a.html: Permission denied"
    assert done.returncode == 1 and "Traceback" not in done.stderr
    folder.chmod(0o755)
    mounted = 'mount -t tmpfs -o size=8k none "$0" && "$@"; code=$?; ls -A "$0"; exit $code'
    full = (program("unshare"), "--mount", "--map-root-user", "sh", "-c", mounted, str(folder))
    done = convert(file, "--output-dir", str(folder), before=full)
    assert done.stderr.splitlines()[-1] == f"ExportError: {folder}/a.html: No space left on device"
    assert done.returncode == 1 and done.stdout == ""


PIECES = st.sampled_from(
    ["$", "$$", "\\begin{align}", "\\end{align}", "\\[", "\\]", "\\tag{1}", "{", "}", "|", "\n",
     "```", "`", "**", "# ", "- ", "> ", "[", "](", ")", "![", "<table>", "<tr>", "<td>", "<!--",
     "@fig-a", "{#fig-a}", "\x1b[31m", "\r", "\x00", "\ud800", "汉", "😀", "#panic()", "\\"]
)  # fmt: skip
TEXTS = st.lists(PIECES | st.text(max_size=4), max_size=10).map("".join)
KINDS = ("text/plain", "text/html", "text/markdown", "text/latex", "image/png", "image/svg+xml",
         "application/json", "application/x-unknown")  # fmt: skip
OUTPUTS = st.one_of(
    TEXTS.map(lambda text: v4.new_output("stream", text=text)),
    TEXTS.map(lambda text: v4.new_output("error", ename=text, evalue=text, traceback=[text])),
    st.dictionaries(st.sampled_from(KINDS), TEXTS, max_size=3).map(
        lambda data: v4.new_output("display_data", data=data)
    ),
)
CELLS = st.one_of(
    TEXTS.map(v4.new_markdown_cell),
    TEXTS.map(v4.new_raw_cell),
    st.builds(v4.new_code_cell, TEXTS, outputs=st.lists(OUTPUTS, max_size=2)),
)


@pytest.mark.parametrize("kind", FORMATS)
@settings(
    max_examples=5,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(cells=st.lists(CELLS, max_size=3))
def test_no_notebook_stops_an_export(kind: str, cells: list[NotebookNode]) -> None:
    assert len(export(kind, v4.new_notebook(cells=cells))) > 1000


def test_warnings_of_a_built_report_go_to_stderr(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    nbformat.write(notebook(BROKEN[0]), tmp_path / "a.ipynb")
    with caplog.at_level(logging.WARNING, "labreport"):
        export_report(tmp_path / "a.ipynb", tmp_path, ["html"])
    assert caplog.messages == ["cell 2: its picture is broken"]
