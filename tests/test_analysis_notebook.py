import ast
import re
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from fake_runs import Fake, write_runs

from labcnn.variants import REPORT_VARIANTS
from labreport.export import DOCUMENT
from labreport.formats import short_name

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "analysis.ipynb"
HEADINGS = (
    "1 实验要求", "2 实验设计", "2.1 设计需求", "2.2 网络模型图", "3 实验分析", "3.1 模型深度对比",
    "3.2 学习率调节对比", "3.3 数据归一化对比", "3.4 Dropout 结果对比", "3.5 残差连接", "3.6 总结",
    "4 论断核验", "5 错误分析", "6 讨论", "7 局限", "参考文献", "附录 A 统计方法",
    "附录 B 其余参数", "附录 C 环境与复现",
)  # fmt: skip


def _run(tmp: Path, **parameters: Any) -> nbformat.NotebookNode:
    return papermill.execute_notebook(
        NOTEBOOK, tmp / "out.ipynb", {"logs": str(tmp / "logs"), **parameters}, progress_bar=False
    )


def _outputs(notebook: nbformat.NotebookNode, kind: str) -> list[Any]:
    return [
        output["data"][kind]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if kind in output.get("data", {})
    ]


def _cell(notebook: nbformat.NotebookNode, label: str) -> nbformat.NotebookNode:
    return next(c for c in notebook.cells if c.source.startswith(f"#| label: {label}\n"))


def _labels(notebook: nbformat.NotebookNode) -> list[str]:
    return [m[1] for c in notebook.cells if (m := re.match(r"#\| label: (\S+)", c.source))]


def _check(notebook: nbformat.NotebookNode) -> list[str]:
    """No warning, a row per variant, each reference leads to one figure or table; the labels."""
    streams = [o for c in notebook.cells for o in c.get("outputs", []) if o.output_type == "stream"]
    assert [stream.text for stream in streams] == []
    shown = _outputs(notebook, "text/markdown")
    brought = [m[1] for text in shown if (m := re.search(r"\{#((?:fig|tbl)-[a-z-]+)\}$", text))]
    labels = [*_labels(notebook), *brought]
    assert len(labels) == len(set(labels))
    said = [text for text in shown if not text.startswith(("|", "!"))]
    references = re.findall(r"@((?:fig|tbl)-[a-z-]*[a-z])", "\n".join(said))
    assert set(references) - set(labels) == set()
    # What has no sentence of its own: the headline, and what an appendix consists of.
    alone = {"fig-ranking", "tbl-more-parameters", "tbl-reproduction", "tbl-logs"}
    assert set(labels) - set(references) == alone
    rows = _rows(notebook)
    assert (
        rows == [short_name(variant) for variant in REPORT_VARIANTS][: len(rows)] or len(rows) == 3
    )
    return labels


def _rows(notebook: nbformat.NotebookNode) -> list[str]:
    """What the rows of the table of results are called."""
    (output,) = _cell(notebook, "tbl-results").outputs
    lines = output["data"]["text/markdown"].splitlines()
    return [re.split(r"(?<!\\)\|", line)[1].strip() for line in lines[2:]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> nbformat.NotebookNode:
    """The executed notebook of two seeds of all variants."""
    folder = tmp_path_factory.mktemp("whole") / "完整 的 实验"
    write_runs(folder / "logs", seeds=(0, 1), images=300, parameters={"epochs": 3})
    write_runs(folder / "logs", ["short_all"], images=300, parameters={"protocol": "tuned"})
    given = {"author": "张三", "student_number": 7, "log_links": "logs"}
    return _run(folder, experiment="shapes-3ep", **given)


@pytest.mark.system
def test_the_report_of_all_runs(whole: nbformat.NotebookNode) -> None:
    assert len([name for name in _check(whole) if name.startswith("fig-")]) == 10
    assert _rows(whole) == [short_name(variant) for variant in REPORT_VARIANTS]
    (front,) = _outputs(whole, DOCUMENT)
    assert front["lines"] == [["姓名", "张三"], ["学号", "7"]]
    assert "演示数据" in front["notice"]
    links = "\n".join(_outputs(whole, "text/markdown"))
    assert "(logs/shapes-3ep/mid_all)" in links and "(logs/shapes-tuned/short_all)" in links
    sources = [c.source for c in whole.cells if c.cell_type == "markdown"]
    found = [line.lstrip("# ") for s in sources for line in s.splitlines() if line.startswith("#")]
    assert found == list(HEADINGS)
    for name in _labels(whole):
        cell = _cell(whole, name)
        (output,) = cell.outputs
        assert dict(re.findall(r"^#\| (\S+): (.+)$", cell.source, re.M))["tbl-cap"]
        assert "text/markdown" in output["data"], name
    figures = [text for text in _outputs(whole, "text/markdown") if text.startswith("![")]
    assert all("data:image/svg+xml" in figure for figure in figures)


@pytest.mark.system
def test_the_report_of_an_unfinished_experiment_says_what_is_missing_and_failed(
    tmp_path: Path,
) -> None:
    there = [v for v in REPORT_VARIANTS if v not in {"mid_all", "short_residual"}]
    fakes: list[str | Fake] = [*there, Fake("short_residual", status="diverged")]
    write_runs(tmp_path / "logs", fakes, images=300, parameters={"epochs": 3})
    notebook = _run(tmp_path)
    _check(notebook)
    shown = "\n".join(_outputs(notebook, "text/markdown"))
    assert re.search(r"\*\*未完成\*\*.*mid\+全部", shown)
    assert "short+残差发散" in shown


@pytest.mark.system
def test_the_report_of_three_runs_has_no_empty_sections(tmp_path: Path) -> None:
    write_runs(tmp_path / "logs", ["short_baseline", "short_lrdecay", "short_all"], images=300)
    labels = _check(_run(tmp_path, variants="short_baseline short_lrdecay short_all"))
    assert "fig-decay" in labels
    assert not {"fig-depth", "fig-norm", "fig-dropout", "fig-residual"} & set(labels)


@pytest.mark.system
def test_a_wrong_parameter_is_one_readable_line(tmp_path: Path) -> None:
    with pytest.raises(papermill.PapermillExecutionError, match=r"experimnet.*experiment"):
        _run(tmp_path, experimnet="shapes")


@pytest.mark.system
def test_no_runs_are_one_readable_line(tmp_path: Path) -> None:
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
