"""A small executed notebook with all that the exporters must deal with; no kernel needed."""

import base64
import io
from pathlib import Path
from typing import Any

import html5lib
import matplotlib as mpl
import nbformat.v4 as v4
from matplotlib.figure import Figure
from nbconvert.exporters import get_exporter
from nbformat import NotebookNode

from labreport import style
from labreport.export import DOCUMENT

META = {
    "title": "卷积网络的消融实验",
    "author": "张三 <script>alert(1)</script>",
    "date": "2025-06-01",
    "notice": "演示数据：不是结果 #panic()",
}
LINES = [["课程", ""], ["姓名", META["author"]], ["日期", META["date"]]]
HOSTILE = (
    "<script>alert(1)</script> #panic() \\input{x} `<b>`{=html} <img src=http://evil.example/x>"
)


def picture() -> dict[str, str]:
    """What the inline backend stores for a figure with Chinese words and a formula."""
    with mpl.rc_context():
        style.use()
        figure = Figure()
        axes = figure.subplots()
        axes.plot([1, 2, 3], [3, 2, 1.5], label="训练集")
        axes.set(xlabel="轮", title="损失 $L$")
        axes.legend()
        svg, png = io.BytesIO(), io.BytesIO()
        figure.savefig(svg, format="svg", metadata={"Date": None})
        figure.savefig(png, format="png")
    return {
        "image/svg+xml": svg.getvalue().decode(),
        "image/png": base64.b64encode(png.getvalue()).decode(),
        "text/plain": "<Figure size 640x480>",
    }


def code(source: str, *data: dict, tags: tuple[str, ...] = ()) -> NotebookNode:
    """A code cell that has displayed ``data``, one output for each."""
    outputs = [v4.new_output("display_data", data=d) for d in data]
    return v4.new_code_cell(source, outputs=outputs, metadata={"tags": list(tags)})


def export(kind: str, notebook: NotebookNode, folder: Path = Path(), **options: Any) -> Any:
    """What nbconvert makes of a notebook in ``folder``: text of ``html``, else bytes."""
    exporter = get_exporter(f"report_{kind}")(**options)
    given = {"metadata": {"name": "my-notebook", "path": str(folder)}}
    return exporter.from_notebook_node(notebook, given)[0]


def parse_html(source: str) -> Any:
    """The page's tree; a parse error fails the test."""
    return html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(source)


def text(element: Any) -> str:
    return "".join(element.itertext())


def notebook(*more: NotebookNode) -> NotebookNode:
    """Title, chapters, a figure, a table, references, a formula, hostile words; then ``more``."""
    table = "| 网络 | 准确率 |\n|:--|--:|\n| Shortbaseline | 31.25 |\n| 残差网络 | **43.02** |"
    remark = v4.new_code_cell("", outputs=[v4.new_output("stream", text="my remark")])
    cells = [
        v4.new_markdown_cell("# 笔记本的标题"),
        code("epochs = 'secret-parameter'", {"text/plain": "never"}, tags=("parameters",)),
        code("display(meta)", {DOCUMENT: {**META, "lines": LINES}}),
        v4.new_markdown_cell("## 1 实验要求\n\n见@tbl-results与 @fig-curve 所示，\n换行。$x^2$"),
        v4.new_markdown_cell("## 2 实验分析\n\n### 2.1 曲线 {#sec-curve}\n\n见@sec-curve。"),
        code(
            "#| label: fig-curve\n#| fig-cap: 学习曲线 $L$\nsecret_code()\n#| label: b", picture()
        ),
        code("#| label: tbl-results\n#| tbl-cap: '结果: 准确率'\nx", {"text/markdown": table}),
        remark,
        code("say()", {"text/markdown": "论断**成立**：" + HOSTILE}),
        *more,
    ]
    return v4.new_notebook(cells=cells)
