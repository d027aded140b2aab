import ast
import re
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from fake_runs import Fake, write_runs

from labcnn.files import project_root
from labcnn.variants import REPORT_VARIANTS, label
from labreport.export import DOCUMENT

pytestmark = pytest.mark.system

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "analysis.ipynb"
HEADINGS = (
    "1 实验要求", "2 实验设计", "2.1 设计需求", "2.2 网络模型图", "3 实验分析", "3.1 模型深度对比",
    "3.2 学习率调节对比", "3.3 数据归一化对比", "3.4 Dropout 结果对比", "3.5 残差连接", "3.6 总结",
    "4 论断核验", "5 进一步分析", "5.1 准确率与代价", "5.2 各类别的准确率与混淆",
    "5.3 最佳模型的误判", "5.4 随机种子的影响", "6 复现信息",
)  # fmt: skip


def _run(tmp: Path, **parameters: Any) -> nbformat.NotebookNode:
    return papermill.execute_notebook(
        NOTEBOOK, tmp / "out.ipynb", {"logs": str(tmp / "logs"), **parameters}, progress_bar=False
    )


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> nbformat.NotebookNode:
    tmp = tmp_path_factory.mktemp("完整 的 实验")
    write_runs(tmp / "logs", seeds=(0, 1), images=300, parameters={"epochs": 3})
    write_runs(tmp / "logs", ["short_all"], images=300, parameters={"protocol": "tuned"})
    return _run(tmp, author="张三", student_number=7, experiment="shapes-3ep", log_links="logs")


@pytest.fixture(scope="module")
def incomplete(tmp_path_factory: pytest.TempPathFactory) -> nbformat.NotebookNode:
    tmp = tmp_path_factory.mktemp("incomplete")
    fakes: list[str | Fake] = [
        Fake(v, status="diverged") if v == "short_residual" else v
        for v in REPORT_VARIANTS
        if v != "mid_all"
    ]
    write_runs(tmp / "logs", fakes, images=300, parameters={"epochs": 3})
    return _run(tmp)


def _outputs(notebook: nbformat.NotebookNode, kind: str) -> list[Any]:
    return [
        output["data"][kind]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if kind in output.get("data", {})
    ]


def _cell(notebook: nbformat.NotebookNode, label: str) -> nbformat.NotebookNode:
    return next(c for c in notebook.cells if c.source.startswith(f"#| label: {label}\n"))


@pytest.mark.parametrize("kind", ["complete", "incomplete"])
def test_the_report_of_what_is_there(kind: str, request: pytest.FixtureRequest) -> None:
    """No warning of a missing glyph, all rows, and every reference leads to one figure or table."""
    notebook = request.getfixturevalue(kind)
    streams = [o for c in notebook.cells for o in c.get("outputs", []) if o.output_type == "stream"]
    assert [stream.text for stream in streams] == []
    (output,) = _cell(notebook, "tbl-results").outputs
    lines = output["data"]["text/markdown"].splitlines()
    names = [re.split(r"(?<!\\)\|", line)[1].strip() for line in lines[2:]]
    assert names[:13] == [label(variant) for variant in REPORT_VARIANTS]
    assert names[13:] == ["Shortbaseline+all（tuned）"] * (kind == "complete")
    shown = _outputs(notebook, "text/markdown")
    brought = [m[1] for text in shown if (m := re.search(r"\{#([a-z-]+)\}$", text))]
    labels = [*_labels(notebook), *brought]
    assert len(labels) == len(set(labels))
    said = [text for text in shown if not text.startswith(("|", "!"))]
    references = re.findall(r"@([a-z]+-[a-z-]*[a-z])", "\n".join(said))
    assert set(references) == set(labels)
    assert ("fig-seeds" in labels) is (kind == "complete")


def test_incomplete_report_says_what_is_missing_and_failed(
    incomplete: nbformat.NotebookNode,
) -> None:
    first, *others = _outputs(incomplete, "text/markdown")
    assert "**未完成**" in first
    assert "mid+全部" in first
    assert "发散" in "\n".join(others)


def test_every_figure_is_svg_with_a_text_for_who_cannot_see_it(
    complete: nbformat.NotebookNode,
) -> None:
    for name in _labels(complete):
        cell = _cell(complete, name)
        kinds = set(cell.outputs[0]["data"])
        wanted = {"image/svg+xml"} if name.startswith("fig-") else {"text/markdown"}
        assert wanted <= kinds, name
        assert len(cell.outputs) == 1
        options = dict(re.findall(r"^#\| (\S+): (.+)$", cell.source, re.M))
        assert options[f"{name[:3]}-cap"]
        if name.startswith("fig-"):
            assert options["fig-alt"] not in {"", options["fig-cap"]}


def _labels(notebook: nbformat.NotebookNode) -> list[str]:
    return [m[1] for c in notebook.cells if (m := re.match(r"#\| label: (\S+)", c.source))]


def test_headings_follow_the_outline(complete: nbformat.NotebookNode) -> None:
    sources = [c.source for c in complete.cells if c.cell_type == "markdown"]
    found = [line.lstrip("# ") for s in sources for line in s.splitlines() if line.startswith("#")]
    assert found == list(HEADINGS)


def test_what_is_given_reaches_title_and_links(complete: nbformat.NotebookNode) -> None:
    (front,) = _outputs(complete, DOCUMENT)
    assert front["lines"] == [["姓名", "张三"], ["学号", "7"]]
    assert "演示数据" in front["notice"]
    links = "\n".join(_outputs(complete, "text/markdown"))
    assert "(logs/shapes-3ep/mid_all/seed1/history.csv)" in links
    assert "(logs/shapes-tuned/short_all/seed0/result.json)" in links


def test_no_number_of_a_result_is_typed() -> None:
    texts = project_root() / "labreport" / "text"
    typed = [p.read_text("utf-8").replace("95%", "") for p in texts.iterdir()]
    assert [found for text in typed for found in re.findall(r"\d+\.\d{2}|\d\s*%(?!})", text)] == []


def test_a_wrong_parameter_and_no_runs_are_one_readable_line(tmp_path: Path) -> None:
    with pytest.raises(papermill.PapermillExecutionError, match=r"experimnet.*experiment"):
        _run(tmp_path, experimnet="shapes")
    with pytest.raises(papermill.PapermillExecutionError) as error:
        _run(tmp_path)
    assert error.value.ename == "ReportError"
    assert "make report" in error.value.evalue


def test_notebook_is_stored_clean_and_narrates_only() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert notebook.metadata.kernelspec.name == "python3"
    assert [c.id for c in notebook.cells if not re.fullmatch(r"[a-z][a-z-]*", c.id)] == []
    for cell in (c for c in notebook.cells if c.cell_type == "code"):
        assert (cell.outputs, cell.execution_count) == ([], None)
        nodes = list(ast.walk(ast.parse(cell.source)))
        assert not [n for n in nodes if isinstance(n, ast.ClassDef | ast.For | ast.FunctionDef)]
    (cell,) = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    for statement in ast.parse(cell.source).body:
        assert isinstance(statement, ast.Assign)
        assert isinstance(statement.value, ast.Constant)
    lines = cell.source.splitlines()[1:]
    assert all(re.search(r"# (str|bool|int)\b", line) for line in lines)
