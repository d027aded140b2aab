"""The tables' cells, recomputed; how to get the results again; the title block's one model."""

import ast
import html
import inspect
import math
import re
from pathlib import Path
from typing import get_args

import nbformat
import pypandoc
import pytest
import torch
from fake_runs import ACCURACIES, Fake, write_runs
from torch.optim import AdamW

from labcnn.data import tiny_imagenet
from labcnn.files import project_root
from labcnn.models import ConvNet
from labcnn.recipe import Recipe
from labcnn.training.optimizers import make_optimizer
from labcnn.variants import REPORT_VARIANTS, VARIANTS
from labreport import reproduction, tables
from labreport.commands import report
from labreport.display import FrontMatter, Prose, Table, bold, link
from labreport.export import DOCUMENT
from labreport.facts import Facts
from labreport.formats import percent, short_name
from labreport.study import Study, load_study
from labreport.title_block import LINES, TitleBlock, variable
from labreport.verdicts import judge_claims

HOSTILE = 'a|b*c*_d_ <script>x</script> $e^2$ `f` [g](http://h) # @fig-i \\ ~~k~~ "q"\nnext'


@pytest.fixture
def study(tmp_path: Path) -> Study:
    write_runs(tmp_path)
    return load_study(tmp_path)


def _row(table: Table, first: str) -> list[str]:
    return next(list(row) for row in table.rows if row[0] == first)


def _cells(text: Prose) -> list[tuple[str, ...]]:
    """The rows of a pipe table, without its head."""
    return [tuple(line.strip("| ").split(" | ")) for line in text.text.splitlines()[2:]]


def _pairs(logs: Path, template: str) -> dict[str, str]:
    rows = _cells(Facts(load_study(logs), []).text(template))
    return {row[0]: row[1] for row in rows}


def test_results_have_a_row_per_variant_with_the_original_beside(tmp_path: Path) -> None:
    write_runs(
        tmp_path,
        parameters={"dataset": tiny_imagenet.NAME},
        fingerprint=tiny_imagenet.OFFICIAL_FINGERPRINT,
    )
    table = tables.tabulate_results(load_study(tmp_path))
    assert [row[0] for row in table.rows] == [short_name(v) for v in REPORT_VARIANTS]
    assert _row(table, "long+Dropout") == [
        "long+Dropout", *(f"{a * 100:.2f}" for a in ACCURACIES["long_dropout"]),
        "正常", "42.49", "28.70", "29.01",
    ]  # fmt: skip
    rows = [(row[0], enumerate(row)) for row in table.rows]
    marked = [(name, k) for name, row in rows for k, cell in row if cell.startswith("**")]
    assert marked == [("short+全部", 2), ("short+全部", 3)]


def test_spread_and_what_is_missing_or_failed_are_shown(tmp_path: Path) -> None:
    good = Fake("short_all", epochs_run=4, accuracies=(0.9, 0.8, 0.5))
    write_runs(tmp_path, [good, Fake("short_residual", status="diverged")])
    study = load_study(tmp_path)
    table = tables.tabulate_results(study)
    assert _row(table, "mid+全部")[1:5] == ["—", "—", "—", "未完成"]
    assert _row(table, "short+残差")[4] == "发散"
    write_runs(tmp_path, [Fake("short_all", 1, (0.9, 0.8, 0.6))])
    row = _row(tables.tabulate_results(load_study(tmp_path)), "short+全部")
    assert row[3] == "**55.00 ± 7.07**"


def test_parameters_are_the_recipes(tmp_path: Path) -> None:
    for optimizer in get_args(Recipe.model_fields["optimizer"].annotation):
        given = {"optimizer": optimizer, "momentum": 0.75, "nesterov": False}
        given |= {"batch_size": 32, "learning_rate": 0.025}
        write_runs(tmp_path / optimizer, ["short_all"], parameters=given)
        values = _pairs(tmp_path / optimizer, "2.1-parameters")
        assert values["优化器"].lower().startswith(optimizer)
        assert "0.75" in values["优化器"]
        assert values["优化器"].endswith("批大小 32")
        assert values["学习率"].startswith("0.025，固定")
        assert "64×64" in values["数据集"]
        assert "测试集 1,000" in values["图像数"]
    # What the text says without a number. The report is made without torch, so it can't ask.
    made = make_optimizer(
        ConvNet(VARIANTS["short_norm"], 16, 20),
        Recipe.from_parameters({"variant": "short_norm", "optimizer": "adamw"}),
    )
    usual = AdamW([torch.zeros(1)]).defaults
    assert (made.defaults["betas"][1], made.defaults["eps"]) == (usual["betas"][1], usual["eps"])
    net = ConvNet(VARIANTS["short_norm"], 16, 20, seed=1).eval()
    logits = net(torch.randn(8, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert -logits.log_softmax(1).mean().item() == pytest.approx(math.log(20), abs=0.05)


def test_networks_are_the_variants(study: Study) -> None:
    rows = {row[0]: list(row[1:]) for row in tables.tabulate_networks(study).rows}
    assert [*rows] == [short_name(v) for v in REPORT_VARIANTS]
    assert rows["long 基线"] == ["—", "0.98", "60"]
    assert rows["short+全部"][0] == "以上四项"


def test_claims_table_shows_effects_beside_the_originals(study: Study, tmp_path: Path) -> None:
    rows = tables.tabulate_claims(judge_claims(study)).rows
    assert len([row for row in rows if row[0]]) == 16
    assert list(rows[0][:2]) == ["3.1 越浅准确率越高", "short 与 mid"]
    assert rows[0][2].startswith("+7.00 \\[")
    assert rows[0][3] == "+6.85"
    compared = [row[1] for row in rows]
    for name in ("首末比：比 short+全部", "首末比：比 short 基线", "梯度比：比基线", "轮数：long"):
        assert name in compared
    write_runs(tmp_path / "few", ["mid_baseline", "short_all"])
    rows = tables.tabulate_claims(judge_claims(load_study(tmp_path / "few"))).rows
    assert len([row for row in rows if row[0]]) == 16
    assert (rows[0][2], rows[0][4]) == ("mid+全部未完成", "未能检验")


def test_how_to_repeat_the_experiment_and_what_it_was_made_with(tmp_path: Path) -> None:
    parameters = {"dataset": "tiny-imagenet-200", "fraction": 0.1, "epochs": 5, "width": 8}
    first, *_ = write_runs(tmp_path, ["long_all", "short_all"], [0, 1], parameters=parameters)
    assert reproduction.command(load_study(tmp_path)) == (
        'make report DATASET=tiny-imagenet-200 FRACTION=0.1 EPOCHS=5 PARAMS="width=8" SEEDS="0 1"'
        ' VARIANTS="short_all long_all"'
    )
    path = first.path / "result.json"
    text = path.read_text(encoding="utf-8").replace('"threads": 1', '"threads": 2')
    path.write_text(text.replace('"git_dirty": false', '"git_dirty": true'), encoding="utf-8")
    values = _pairs(tmp_path, "c-provenance")
    assert values["线程数"] == "1、2"
    assert values["代码版本"] == "0123456789ab、0123456789ab（有未提交的改动）"
    assert values["完成日期"] == "2024-05-01"
    path.write_text(path.read_text("utf-8").replace('"2.3.4"', '"2.3.4\\n```\\n# x"', 1), "utf-8")
    block = Facts(load_study(tmp_path), []).text("c-command").text.split("```")[-2]
    assert block.split()[:2] == ["python==3.11.2", "torch==2.14.1"]
    assert "numpy==2.3.4 ''' # x" in block


def test_logs_are_linked_where_they_lie_beside_the_report(tmp_path: Path) -> None:
    write_runs(tmp_path, ["short_all"], seeds=(0, 3))
    study = load_study(tmp_path)
    (row,) = tables.tabulate_logs(Facts(study, []), "logs").rows
    assert row[1:] == ("[shapes/short\\_all](logs/shapes/short_all)", "seed0、seed3")
    assert (tmp_path / "shapes" / "short_all" / "seed3").is_dir()
    (row,) = tables.tabulate_logs(Facts(study, [])).rows
    assert row[1:] == ("shapes/short_all", "seed0、seed3")


def test_text_from_outside_is_no_markup() -> None:
    odd = link("a]b", "x) <y>/é 1")
    table = Table(("x",), [(HOSTILE,), (bold(HOSTILE),), (odd,)], "l")
    made = pypandoc.convert_text(table._repr_markdown_(), "html", "markdown", ["--wrap=none"])
    made = made.replace("“", '"').replace("”", '"')
    plain = " ".join(HOSTILE.split())
    assert html.escape(plain, quote=False) in made.replace("&quot;", '"')
    assert "<script" not in made
    assert made.count("<a ") == 1
    assert 'href="x%29%20%3Cy%3E/%C3%A9%201"' in made


def test_the_title_block_is_one_model() -> None:
    """The notebook's cell, the options and the Makefile's variables are those of the table."""
    notebook = nbformat.read(project_root() / "notebooks" / "analysis.ipynb", as_version=4)
    (cell,) = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    given = {
        statement.targets[0].id: statement.value.value  # type: ignore[attr-defined]
        for statement in ast.parse(cell.source).body
        if isinstance(statement, ast.Assign)
    }
    assert {name: given[name] for name in LINES} == vars(TitleBlock())
    assert [name for name in given if name in LINES] == list(LINES)
    assert set(LINES) <= set(inspect.signature(report).parameters)
    makefile = (project_root() / "Makefile").read_text(encoding="utf-8")
    (given_to_make,) = re.findall(r"^GIVEN := (.*?)\n\$", makefile, re.MULTILINE | re.DOTALL)
    exported = [name for name in re.findall(r"\w+", given_to_make) if name.lower() in LINES]
    assert exported == [name.upper() for name in LINES]
    assert [variable(name) for name in LINES] == [f"LABCNN_{name}" for name in exported]
    # papermill makes a number of ``-p student_number 2024001``.
    lines = TitleBlock.from_parameters({"title": "报告", "student_number": 2024001, "logs": "x"})
    bundle = FrontMatter(lines, "演示")._repr_mimebundle_()
    assert bundle[DOCUMENT] == {
        "title": "报告", "subtitle": "", "lines": [["学号", "2024001"]], "author": "", "date": "",
        "notice": "演示", "columns": "1",
    }  # fmt: skip
    assert bundle["text/plain"] == "报告\n学号 2024001\n演示"


def test_halves_are_rounded_up_whatever_the_last_bits_of_a_mean_are() -> None:
    """In the report, the README and `labcnn compare`; floats of these lie on either side."""
    for value, shown in ((0.37165, "37.17"), (0.39145, "39.15"), (0.19115, "19.12")):
        for near in (value - 1e-15, value, value + 1e-15):
            assert percent(near) == shown
    assert percent(math.nan) == "—"
