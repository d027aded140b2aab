"""What all formats share: what is shown of a notebook, numbers, references, errors."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docx
import nbformat
import nbformat.v4 as v4
import pypdfium2
import pytest
from nbconvert.exporters import get_export_names, get_exporter
from nbformat import NotebookNode
from report_notebook import META, code, export, notebook, parse_html, picture, text

from labreport.display import FrontMatter
from labreport.export import ExportError, export_report
from labreport.title_block import TitleBlock, line


def markdown(words: str) -> NotebookNode:
    return v4.new_markdown_cell(words)


def page(*cells: NotebookNode, folder: Path = Path(), **metadata: object) -> Any:
    given = v4.new_notebook(cells=list(cells), metadata=metadata)
    return parse_html(export("html", given, folder))


def test_nbconvert_and_jupyterlab_offer_each_format() -> None:
    offered = [name for name in get_export_names() if name.startswith("report")]
    assert sorted(offered) == [
        "report-docx", "report-html", "report-pdf", "report_docx", "report_html", "report_pdf",
    ]  # fmt: skip
    exporters = [get_exporter(f"report_{kind}")() for kind in ("html", "pdf", "docx")]
    assert [each.file_extension for each in exporters] == [".html", ".pdf", ".docx"]
    assert [each.export_from_notebook for each in exporters] == [
        "labcnn report (HTML)", "labcnn report (PDF)", "labcnn report (Word)",
    ]  # fmt: skip


def test_title_block_comes_from_the_output_then_the_metadata_then_the_heading() -> None:
    given = notebook()
    given.metadata["labcnn"] = {"title": "other", "subtitle": "副标题\x07"}
    shown = parse_html(export("html", given))
    assert text(shown.find(".//h1")) == META["title"]
    assert [text(p) for p in shown.iter("p") if p.get("class") == "subtitle"] == ["副标题"]
    assert "笔记本的标题" not in text(shown)
    assert text(page(markdown("# 标题\n\n## 一")).find(".//h1")) == "标题"
    assert text(page(markdown("文字")).find(".//h1")) == "my-notebook"


@dataclass(frozen=True)
class WithTutor(TitleBlock):
    tutor: str = line(about="tutor", word="导师")


def test_a_new_line_of_the_table_is_in_every_format() -> None:
    block = WithTutor.from_parameters({"title": "题目", "author": "张三", "tutor": "李四 <b>&"})
    bundle = FrontMatter(block)._repr_mimebundle_()
    given = v4.new_notebook(cells=[code("", bundle), markdown("文字")])
    shown = parse_html(export("html", given))
    terms = {text(d.find("dt")): text(d.find("dd")) for d in shown.findall(".//header/dl/div")}
    assert terms == {"姓名": "张三", "导师": "李四 <b>&"}
    with pypdfium2.PdfDocument(export("pdf", given)) as pdf:
        assert "导师 李四 <b>&" in pdf[0].get_textpage().get_text_range()
    paragraphs = docx.Document(io.BytesIO(export("docx", given))).paragraphs
    assert [p.text for p in paragraphs if p.style and p.style.name == "Author"] == [
        "姓名\u2002张三\u3000\u3000导师\u2002李四 <b>&"
    ]


def test_figures_and_tables_are_numbered_and_referred_to() -> None:
    more = "见@tbl-a，*即* @fig-curve：\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n: 参数 {#tbl-a}\n"
    shown = parse_html(export("html", notebook(markdown(more))))
    assert [text(c) for c in shown.iter("figcaption")] == [
        "图 1\u3000学习曲线 LL"
    ]  # MathML holds it twice
    assert [text(c) for c in shown.iter("caption")] == ["表 1\u3000结果: 准确率", "表 2\u3000参数"]
    links = [(a.get("href"), text(a)) for p in shown.iter("p") for a in p.iter("a")]
    assert links == [
        ("#tbl-results", "表 1"), ("#fig-curve", "图 1"), ("#sec-curve", "第 2.1 节"),
        ("#tbl-a", "表 2"), ("#fig-curve", "图 1"),
    ]  # fmt: skip
    assert "见表 1与图 1 所示，换行" in text(shown)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([markdown("见 @fig-nothing，## 一")], "@fig-nothing refers to nothing; labels: none"),
        ([code("#| label: tbl-a", {"text/markdown": "no table"})], "'tbl-a' shows no table"),
        ([code("#| label: fig-a", picture()) for _ in range(2)], "'fig-a' is given twice: 图 1"),
    ],
)
def test_labels_and_references_of_a_report_are_right_or_refused(
    cells: list[NotebookNode], message: str
) -> None:
    with pytest.raises(ExportError, match=message):
        page(*cells, labcnn={"title": "x"})
    assert page(*cells).find(".//main") is not None  # any other notebook is shown


def test_a_cell_cannot_swallow_the_next() -> None:
    shown = page(
        code("", {"text/markdown": "```\nopen"}), markdown("## 后文\n```"), markdown("# b")
    )
    assert [text(heading) for heading in shown.iter("h3")] == ["后文"]
    assert [text(heading) for heading in shown.iter("h2")] == ["b"]


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
    mine = markdown("# Mine\n\nsee /usr/local/lib, [above](#Not-there)")
    return v4.new_notebook(cells=[mine, cell, shown, removed, *raw])


def test_a_foreign_notebook_exports_sensibly_to_every_format(tmp_path: Path) -> None:
    nbformat.write(foreign(), tmp_path / "theirs.ipynb")
    files = export_report(tmp_path / "theirs.ipynb", tmp_path / "out")
    assert all(file.stat().st_size > 1000 for file in files)
    body = parse_html(files[0].read_text(encoding="utf-8")).find(".//main")
    assert [text(listing) for listing in body.iter("pre")] == [
        "100%\nprinted \u2705",
        "warning",
        "Traceback\nFile x.py:3, in f()\nValueError: wrong",
        "42",
        "IntSlider(value=3)",
        "shown()",
        "raw *text*",
    ]
    assert [text(cell) for cell in body.iter("td")] == ["a|b", "c.csv", "p", "q", "1", "2"]
    for present in ("y^2", "z^3", "marked", "bold", "/usr/local/lib, above"):
        assert present in text(body)
    for absent in ("/home/me", "/data/me", "script()", "bad()", "removed", "hidden", "settings"):
        assert absent not in text(body)


def test_paths_of_outputs_are_cut_down_to_names() -> None:
    said = [
        "No such file: '/root/secret/data.csv'",
        r"C:\Users\me\a.txt and D:\data\b",
        r"'C:\\Users\\me\\a.txt'",
        "/home/me",
        "see https://a.example/b/c, 训练/验证/测试, report/logs/x or ../a/b, 1/2",
    ]
    output = v4.new_output("stream", text="\n".join(said))
    (shown,) = page(v4.new_code_cell(outputs=[output])).iter("pre")
    names = ["No such file: 'data.csv'", "a.txt and b", "'a.txt'", "~", said[-1]]
    assert text(shown).split("\n") == names


def test_columns_are_the_callers_or_the_notebooks() -> None:
    given = v4.new_notebook(metadata={"labcnn": {"title": "x", "columns": 2}})
    assert 'class="columns"' in export("html", given)
    assert 'class="columns"' not in export("html", given, columns=1)
    given.metadata["labcnn"]["columns"] = 3
    with pytest.raises(ExportError, match="columns='3': 1 or 2"):
        export("html", given)


def test_pictures_may_be_attached_embedded_or_beside_the_notebook(tmp_path: Path) -> None:
    svg, png = picture()["image/svg+xml"], picture()["image/png"]
    attached = markdown("![](attachment:a.png)")
    attached["attachments"] = {"a.png": {"image/png": png}}
    (tmp_path / "b c.svg").write_text(svg, encoding="utf-8")
    inline = f"![](b%20c.svg) ![](data:image/png;base64,{png}) ![](https://x.example/y.png)"
    shown = page(code("", picture()), attached, markdown(inline), folder=tmp_path)
    data = [image.get("src").partition("base64,")[2] for image in shown.iter("img")]
    assert data == [png.replace("\n", "")] * 2
    drawings = [e for e in shown.iter() if str(e.tag).endswith("}svg")]
    assert len(drawings) == 2
    (link,) = shown.find(".//main").iter("a")
    assert link.get("href") == "https://x.example/y.png"


def test_export_report_writes_whole_files_and_the_same_again(tmp_path: Path) -> None:
    source, target = tmp_path / "笔记 本" / "a.ipynb", tmp_path / "报告 folder"
    source.parent.mkdir()
    nbformat.write(notebook(), source)
    files = export_report(source, target)
    assert [f.name for f in files] == ["report.html", "report.pdf", "report.docx"]
    assert sorted(target.iterdir()) == sorted(files)
    before = [file.read_bytes() for file in files]
    export_report(source, target)
    assert [file.read_bytes() for file in files] == before
    with pytest.raises(ExportError, match=r"'odt'.*html, pdf, docx"):
        export_report(source, target, ["odt"])
    with pytest.raises(ExportError, match=r"b\.ipynb"):
        export_report(tmp_path / "b.ipynb", target)
    nbformat.write(notebook(markdown("@fig-nothing")), source)  # it has a title block
    with pytest.raises(ExportError, match="fig-nothing"):
        export_report(source, target)
    assert [file.read_bytes() for file in files] == before
    assert str(tmp_path).encode() not in b"".join(before)


def test_a_box_is_framed_in_every_format() -> None:
    box = '::: {.box title="要点 #1 <b>"}\n1. 甲\n2. 乙\n\n| a |\n|---|\n| b |\n:::\n\n后文'
    given = v4.new_notebook(cells=[markdown(box), markdown("::: {.other title=x}\n\n无框\n\n:::")])
    shown = parse_html(export("html", given))
    (frame,) = [div for div in shown.iter("div") if div.get("class") == "box"]
    assert text(frame).split()[:4] == ["要点", "#1", "<b>", "甲"]
    assert [text(p) for p in shown.findall(".//main/p")] == ["后文", "无框"]

    made = docx.Document(io.BytesIO(export("docx", given)))
    (table,) = made.tables
    assert table.style is not None
    assert table.style.name == "Box"
    cell = table.cell(0, 0)
    assert [p.text for p in cell.paragraphs] == ["要点 #1 <b>", "甲", "乙", ""]
    assert len(cell.tables) == 1  # and a paragraph after it, or Word would mend the file
    assert [p.text for p in made.paragraphs if p.text] == ["my-notebook", "后文", "无框"]

    with pypdfium2.PdfDocument(export("pdf", given)) as pdf:
        shapes = [o.get_bounds() for o in pdf[0].get_objects() if o.type == 2]
        words = pdf[0].get_textpage().get_text_range()
        place = pdf[0].get_textpage().get_charbox(words.index("甲"))
    assert "要点 #1 <b>" in words
    assert any(s[0] < place[0] and s[1] < place[1] and s[3] > place[3] for s in shapes)


def test_a_number_stays_on_one_line_with_what_belongs_to_it() -> None:
    whole = ["[+1.2, +3.4] 个百分点", "p = 0.012", "5.5 个百分点", "0.53 ± 0.02 s"]
    given = v4.new_notebook(cells=[markdown("；".join(whole) + "。**n = 3**，第 2 段")])
    shown = parse_html(export("html", given))
    spans = [text(e) for e in shown.iter("span") if e.get("class") == "together"]
    assert spans == [*whole, "n = 3", "2 段"]
    word = docx.Document(io.BytesIO(export("docx", given))).paragraphs[-1].text
    spaced = "；".join(whole).replace(" ", "\u00a0")
    assert word.split(" ") == [f"{spaced}。n\u00a0=\u00a03，第", "2\u00a0段"]


def test_a_reference_to_the_literature_leads_to_its_entry() -> None:
    entry = "[[1]]{#ref-he2016} HE K, et al. Deep residual learning[C]. 2016: 770-778."
    given = v4.new_notebook(cells=[markdown("残差 @ref-he2016。"), markdown(entry)])
    shown = parse_html(export("html", given))
    (link,) = shown.findall(".//main//a")
    (target,) = [span for span in shown.iter("span") if span.get("id") == "ref-he2016"]
    assert (text(link), link.get("href"), text(target)) == ("[1]", "#ref-he2016", "[1]")
    made = docx.Document(io.BytesIO(export("docx", given)))
    (reference,) = [link for p in made.paragraphs for link in p.hyperlinks]
    assert (reference.text, reference.fragment) == ("[1]", "ref-he2016")
    assert 'w:name="ref-he2016"' in made.paragraphs[-1]._p.xml
    assert b"/Subtype/Link" in export("pdf", given)
    wrong = [code("", {"text/markdown": "@ref-none"})]
    with pytest.raises(ExportError, match="@ref-none refers to nothing"):
        export("html", v4.new_notebook(cells=wrong, metadata={"labcnn": {"title": "x"}}))
