import ast
import re
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from fake_runs import Fake, write_runs

from labcnn.variants import REPORT_VARIANTS, label
from labreport.document import DOCUMENT

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
    write_runs(tmp / "logs", seeds=(0, 1), images=300, parameters={"epochs": 4})
    write_runs(tmp / "logs", ["short_all"], images=300, parameters={"protocol": "tuned"})
    return _run(tmp, author="张三", student_number=7, experiment="shapes-4ep", log_links="logs")


@pytest.fixture(scope="module")
def incomplete(tmp_path_factory: pytest.TempPathFactory) -> nbformat.NotebookNode:
    tmp = tmp_path_factory.mktemp("incomplete")
    fakes: list[str | Fake] = [
        Fake(v, status="diverged") if v == "short_residual" else v
        for v in REPORT_VARIANTS
        if v != "mid_all"
    ]
    write_runs(tmp / "logs", fakes, images=300, parameters={"epochs": 4})
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
def test_runs_without_warnings_or_missing_glyphs(kind: str, request: pytest.FixtureRequest) -> None:
    notebook = request.getfixturevalue(kind)
    streams = [o for c in notebook.cells for o in c.get("outputs", []) if o.output_type == "stream"]
    assert [stream.text for stream in streams] == []


@pytest.mark.parametrize(("kind", "more"), [("complete", 1), ("incomplete", 0)])
def test_results_table_has_the_thirteen_labels_and_the_tuned(
    kind: str, more: int, request: pytest.FixtureRequest
) -> None:
    (output,) = _cell(request.getfixturevalue(kind), "tbl-results").outputs
    lines = output["data"]["text/markdown"].splitlines()
    names = [re.split(r"(?<!\\)\|", line)[1].strip() for line in lines[2:]]
    assert names[:13] == [label(variant) for variant in REPORT_VARIANTS]
    assert names[13:] == ["Shortbaseline+all（tuned）"] * more


def test_incomplete_report_says_what_is_missing_and_failed(
    incomplete: nbformat.NotebookNode,
) -> None:
    prose = "\n".join(_outputs(incomplete, "text/markdown"))
    top = next(text for text in _outputs(incomplete, "text/markdown"))
    assert "**未完成**" in top
    assert "mid+全部" in top
    assert "发散" in prose


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


@pytest.mark.parametrize("kind", ["complete", "incomplete"])
def test_every_reference_resolves_and_everything_is_referred_to(
    kind: str, request: pytest.FixtureRequest
) -> None:
    notebook = request.getfixturevalue(kind)
    shown = _outputs(notebook, "text/markdown")
    brought = [m[1] for text in shown if (m := re.search(r"\{#([a-z-]+)\}$", text))]
    labels = [*_labels(notebook), *brought]
    assert len(labels) == len(set(labels))
    texts = [c.source for c in notebook.cells if c.cell_type == "markdown"]
    said = [text for text in shown if not text.startswith(("|", "!"))]
    references = re.findall(r"@([a-z]+-[a-z-]*[a-z])", "\n".join(texts + said))
    assert set(references) == set(labels)
    assert ("fig-seeds" in labels) is (kind == "complete")


def test_the_seed_figure_and_the_links_are_there(complete: nbformat.NotebookNode) -> None:
    links = "\n".join(_outputs(complete, "text/markdown"))
    assert "(logs/shapes-4ep/mid_all/seed1/history.csv)" in links
    assert "(logs/shapes-tuned/short_all/seed0/result.json)" in links


def test_headings_follow_the_outline(complete: nbformat.NotebookNode) -> None:
    sources = [c.source for c in complete.cells if c.cell_type == "markdown"]
    found = [line.lstrip("# ") for s in sources for line in s.splitlines() if line.startswith("#")]
    assert found == list(HEADINGS)


def test_front_matter(complete: nbformat.NotebookNode) -> None:
    (front,) = _outputs(complete, DOCUMENT)
    assert (front["author"], front["student_number"], front["date"]) == ("张三", "7", "")
    assert "演示数据" in front["notice"]


def test_no_number_of_a_result_is_typed(complete: nbformat.NotebookNode) -> None:
    sources = "\n".join(c.source for c in complete.cells if c.cell_type == "markdown")
    assert re.findall(r"\d+\.\d{2}|\d\s*%", sources.replace("95%", "")) == []


def test_unknown_parameter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(papermill.PapermillExecutionError, match=r"experimnet.*experiment"):
        _run(tmp_path, experimnet="shapes")


def test_no_runs_is_one_readable_line(tmp_path: Path) -> None:
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


def test_parameters_are_literals_with_a_type() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (cell,) = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    for statement in ast.parse(cell.source).body:
        assert isinstance(statement, ast.Assign)
        assert isinstance(statement.value, ast.Constant)
    lines = cell.source.splitlines()[1:]
    assert all(re.search(r"# (str|bool|int)\b", line) for line in lines)
