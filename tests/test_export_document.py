import json
from pathlib import Path

import nbformat
import nbformat.v4 as v4
import pytest
from nbformat import NotebookNode
from report_notebook import META, code, notebook, picture

from labreport.export import export_report
from labreport.export.cells import DOCUMENT, options
from labreport.export.document import build
from labreport.export.errors import ExportError
from labreport.export.pandoc import find, plain
from labreport.export.privacy import without_paths


def words(*cells: NotebookNode, **metadata: object) -> str:
    return plain(build(v4.new_notebook(cells=list(cells), metadata=metadata)).blocks)


def markdown(text: str) -> NotebookNode:
    return v4.new_markdown_cell(text)


def test_title_block_comes_from_the_output_then_the_metadata_then_the_heading() -> None:
    given = notebook()
    given.metadata["labcnn"] = {"title": "other", "subtitle": "副标题"}
    document = build(given)
    assert document.meta["title"] == META["title"]
    assert document.meta["subtitle"] == "副标题"
    assert document.meta["student_number"] == ""
    assert "笔记本的标题" not in plain(document.blocks)
    heading = v4.new_notebook(cells=[markdown("# 标题\n\n## 一")])
    assert build(heading).meta["title"] == "标题"
    assert build(v4.new_notebook(), "my-notebook").meta["title"] == "my-notebook"


def test_figures_and_tables_are_numbered_and_referred_to() -> None:
    document = build(notebook())
    (figure,) = find(document.blocks, "Figure")
    (table,) = find(document.blocks, "Table")
    assert plain(figure["c"][1]) == "图 1\u3000学习曲线 L"
    assert plain(table["c"][1]) == "表 1\u3000结果: 准确率"
    links = {node["c"][2][0]: plain(node) for node in find(document.blocks, "Link")}
    assert links == {"#fig-curve": "图 1", "#tbl-results": "表 1", "#sec-curve": "第 2.1 节"}
    assert "见表 1与图 1 所示，换行" in plain(document.blocks)


def test_captions_and_labels_may_stand_in_markdown() -> None:
    table = "见@tbl-a\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n: 参数 {#tbl-a}\n"
    assert words(markdown(table)).startswith("见表 1表 1\u3000参数")


def test_headings_have_ids_by_position() -> None:
    cells = [markdown("# 甲\n\n## 乙\n\n## 丙"), markdown("# 丁\n\n## 戊")]
    headings = build(v4.new_notebook(cells=cells)).headings
    assert [h[1] for h in headings] == [
        "section-1", "section-1-1", "section-1-2", "section-2", "section-2-1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("cells", "named"),
    [
        ([markdown("见 @fig-nothing。")], "@fig-nothing"),
        ([code("#| label: fig-a\n#| fig-cap: x", {"text/plain": "1"})], "fig-a"),
        ([code("#| label: tbl-a\n#| tbl-cap: x", {"text/markdown": "no table"})], "tbl-a"),
        ([code("#| label: fig-a\n#| fig-cap: x", picture()) for _ in range(2)], "fig-a"),
        ([markdown("![](missing.png)")], "missing.png"),
        ([markdown("![](../../../../../../etc/passwd)")], "etc/passwd"),
    ],
)
def test_what_cannot_be_resolved_is_named(cells: list[NotebookNode], named: str) -> None:
    with pytest.raises(ExportError, match=named):
        words(*cells)


def test_a_chunk_cannot_swallow_the_next() -> None:
    text = words(code("", {"text/markdown": "```\nopen"}), markdown("## 后文"))
    assert text.endswith("后文")
    assert find(build(v4.new_notebook(cells=[markdown("```\na"), markdown("# b\n```")])).blocks,
                "Header")  # fmt: skip


def foreign() -> NotebookNode:
    """A notebook as others write them, with an output of every kind."""
    widget = {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "IntSlider(value=3)"}
    stream = [
        v4.new_output("stream", name="stdout", text="10%\r100%\n\x1b[32mprinted\x1b[0m \u2705\n"),
        v4.new_output("stream", name="stderr", text="/home/me/warning"),
        v4.new_output("error", ename="ValueError", evalue="wrong", traceback=[
            "\x1b[31mTraceback\x1b[0m", "File ~/mine/x.py:3, in f()", "ValueError: wrong"]),
        v4.new_output("display_data", data={"text/plain": "\x1b[1m42\x1b[0m"}),
        v4.new_output("display_data", data=widget),
        v4.new_output("display_data", data={
            "text/html": "<table><tr><td>a|b</td><td>/data/me/c.csv</td></tr></table>"
            "<script>bad()</script>",
            "text/plain": "a b"}),
        v4.new_output("display_data", data={"text/latex": "$$y^2$$"}),
        v4.new_output("display_data", data={"text/latex": "\\begin{equation}z^3\\end{equation}"}),
        v4.new_output("display_data", data={
            "text/latex": "\\begin{tabular}{ll}p & q \\\\ 1 & 2\\end{tabular}"}),
        v4.new_output("display_data", data={"application/javascript": "script()"}),
    ]  # fmt: skip
    raw = [
        v4.new_raw_cell("---\ntitle: settings\n---"),
        v4.new_raw_cell("raw \x07*text*"),
        v4.new_raw_cell("a *marked* one", metadata={"format": "text/markdown"}),
        v4.new_raw_cell("<b>bold</b>", metadata={"raw_mimetype": "text/html"}),
        v4.new_raw_cell("\\newpage", metadata={"format": "text/x-rst"}),
    ]
    cell = v4.new_code_cell("hidden()", outputs=stream)
    shown = v4.new_code_cell("#| echo: true\nshown()", metadata={"tags": ["show-code"]})
    removed = v4.new_markdown_cell("removed", metadata={"tags": ["remove-cell"]})
    mine = v4.new_markdown_cell("# Mine\n\nsee /usr/local/lib")
    return v4.new_notebook(cells=[mine, cell, shown, removed, *raw])


def test_a_foreign_notebook_exports_sensibly() -> None:
    document = build(foreign())
    listings = [node["c"][1] for node in find(document.blocks, "CodeBlock")]
    assert listings == [
        "100%\nprinted \u2705",
        "Traceback\nFile x.py:3, in f()\nValueError: wrong",
        "42",
        "IntSlider(value=3)",
        "shown()",
        "raw *text*",
    ]
    assert len(find(document.blocks, "Table")) == 2
    text = json.dumps(document.blocks)
    for present in ("a|b", "y^2", "z^3", "c.csv", "marked", "bold", "/usr/local/lib"):
        assert present in text
    for absent in ("/home/me", "/data/me", "~/mine", "script()", "bad()", "removed", "hidden",
                   "settings", "newpage", "\\u001b", "\\u0007"):  # fmt: skip
        assert absent not in text
    assert not document.ours


def test_every_format_takes_a_foreign_notebook(tmp_path: Path) -> None:
    source = tmp_path / "theirs.ipynb"
    nbformat.write(foreign(), source)
    for file in export_report(source, tmp_path / "out"):
        assert file.stat().st_size > 1000


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("No such file: '/root/secret/data.csv'", "No such file: 'data.csv'"),
        ("File ~/mini/lib/x.py:12, in f()", "File x.py:12, in f()"),
        (r"C:\Users\me\a.txt and D:\data\b", "a.txt and b"),
        (r"'C:\\Users\\me\\a.txt'", "'a.txt'"),
        ("/home/me", "~"),
        ("see https://a.example/b/c, 训练/验证/测试, report/logs/x or ../a/b, 1/2", None),
    ],
)
def test_paths_of_outputs_are_cut_down_to_names(said: str, shown: str | None) -> None:
    assert without_paths(said) == (shown or said)


def test_columns_are_the_notebooks_or_the_callers() -> None:
    given = v4.new_notebook(metadata={"labcnn": {"title": "x", "columns": 2}})
    assert build(given).columns == 2
    assert build(given, columns=1).columns == 1
    assert build(v4.new_notebook()).columns == 1
    given.metadata["labcnn"]["columns"] = 3
    with pytest.raises(ExportError, match="columns='3': 1 or 2"):
        build(given)


def test_in_our_notebooks_remarks_are_dropped() -> None:
    cell = v4.new_code_cell("", outputs=[v4.new_output("stream", name="stdout", text="remark")])
    assert words(cell, labcnn={"title": "ours"}) == ""
    assert "remark" in json.dumps(build(v4.new_notebook(cells=[cell])).blocks)


def test_pictures_keep_every_form_and_may_be_attached(tmp_path: Path) -> None:
    png = picture()["image/png"]
    attached = markdown("![](attachment:a.png)")
    attached["attachments"] = {"a.png": {"image/png": png}}
    (tmp_path / "b.svg").write_text(picture()["image/svg+xml"], encoding="utf-8")
    inline = markdown(f"![](b.svg) ![](data:image/png;base64,{png}) ![](https://x.example/y.png)")
    cells = [code("", picture()), attached, inline]
    document = build(v4.new_notebook(cells=cells), folder=tmp_path)
    kinds = [sorted(forms) for forms in document.pictures.values()]
    assert kinds == [
        ["image/png", "image/svg+xml"],
        ["image/png"],
        ["image/svg+xml"],
        ["image/png"],
    ]
    (link,) = find(document.blocks, "Link")
    assert link["c"][2][0] == "https://x.example/y.png"


def test_options_end_with_the_first_other_line() -> None:
    source = '#| label: fig-a\n#| fig-cap: "损失: 训练"\nx = 1\n#| label: fig-b'
    assert options(source) == {"label": "fig-a", "fig-cap": "损失: 训练"}


def test_export_report_writes_whole_files(tmp_path: Path) -> None:
    source = tmp_path / "笔记 本" / "a.ipynb"
    source.parent.mkdir()
    nbformat.write(notebook(), source)
    target = tmp_path / "报告 folder"
    files = export_report(source, target)
    assert [f.name for f in files] == ["report.html", "report.pdf", "report.docx"]
    assert sorted(target.iterdir()) == sorted(files)
    with pytest.raises(ExportError, match=r"'odt'.*html, pdf, docx"):
        export_report(source, target, ["odt"])
    with pytest.raises(ExportError, match=r"b\.ipynb"):
        export_report(tmp_path / "b.ipynb", target)
    before = files[0].read_bytes()
    nbformat.write(notebook(markdown("@fig-nothing")), source)
    with pytest.raises(ExportError, match="fig-nothing"):
        export_report(source, target)
    assert files[0].read_bytes() == before
    assert DOCUMENT.encode() not in before
