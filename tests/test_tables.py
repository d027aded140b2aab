import html
from pathlib import Path
from typing import get_args

import pypandoc
import pytest
from fake_runs import ACCURACIES, Fake, write_runs

from labcnn.recipe import Recipe
from labcnn.runs import NUMERICS, RunFolder
from labcnn.variants import REPORT_VARIANTS, label
from labreport import prose, reproduction, tables
from labreport.document import DOCUMENT, FrontMatter, Links, Strong, Table, escape
from labreport.study import Study, load_study
from labreport.verdicts import evaluate

HOSTILE = 'a|b*c*_d_ <script>x</script> $e^2$ `f` [g](http://h) # @fig-i \\ ~~k~~ "q"\nnext'


@pytest.fixture
def study(tmp_path: Path) -> Study:
    write_runs(tmp_path)
    return load_study(tmp_path)


def _row(table: Table, first: str) -> list[str]:
    return next(list(row) for row in table.rows if row[0] == first)


def _pairs(table: Table) -> dict[str, str]:
    return {row[0]: row[1] for row in table.rows}


def test_results_have_thirteen_rows_with_the_original_beside(study: Study) -> None:
    table = tables.results(study)
    assert [row[0] for row in table.rows] == [label(v) for v in REPORT_VARIANTS]
    assert _row(table, "Longbaseline+dropout") == [
        "Longbaseline+dropout", *(f"{a * 100:.2f}" for a in ACCURACIES["long_dropout"]),
        "正常", "42.49", "28.70", "29.01",
    ]  # fmt: skip


def test_best_of_each_column_is_marked(study: Study) -> None:
    marked = [
        (row[0], place)
        for row in tables.results(study).rows
        for place, cell in enumerate(row)
        if isinstance(cell, Strong)
    ]
    assert sorted(marked) == [
        ("Shortbaseline+all", 2),
        ("Shortbaseline+all", 3),
        ("Shortbaseline+normalization", 1),
    ]


def test_results_of_several_seeds_show_their_spread(tmp_path: Path) -> None:
    fakes = [Fake("short_all", seed, (0.9, 0.8, test)) for seed, test in enumerate((0.7, 0.8))]
    write_runs(tmp_path, fakes)
    row = _row(tables.results(load_study(tmp_path)), "Shortbaseline+all")
    assert row[3] == "75.00 ± 7.07"


def test_missing_and_failed_variants_are_told(tmp_path: Path) -> None:
    write_runs(tmp_path, ["short_all", Fake("short_residual", status="diverged")])
    table = tables.results(load_study(tmp_path))
    assert _row(table, "Midbaseline+all")[1:5] == ["—", "—", "—", "未完成"]
    assert _row(table, "Shortbaseline+residualblock")[4] == "发散"


def test_parameters_are_the_recipes(tmp_path: Path) -> None:
    write_runs(tmp_path, ["short_all"], parameters={"batch_size": 32, "learning_rate": 0.025})
    values = _pairs(tables.parameters(load_study(tmp_path)))
    assert values["批大小"] == "32"
    assert values["初始学习率"] == "0.025"
    assert "测试集 1,000" in values["图像数"]


@pytest.mark.parametrize("optimizer", get_args(Recipe.model_fields["optimizer"].annotation))
def test_every_optimizer_has_words(optimizer: str, tmp_path: Path) -> None:
    given = {"optimizer": optimizer, "momentum": 0.75, "nesterov": False}
    write_runs(tmp_path, ["short_all"], parameters=given)
    shown = _pairs(tables.parameters(load_study(tmp_path)))["优化器"]
    assert shown.lower().startswith(optimizer)
    assert "0.75" in shown


def test_networks_are_the_runs(study: Study) -> None:
    rows = {tuple(row[:2]): list(row[2:]) for row in tables.networks(study).rows}
    assert rows["long", "—"] == ["3", "0.980", "60.0"]
    assert ("mid", "—") not in rows


def test_claims_table_shows_effects_beside_the_originals(study: Study) -> None:
    rows = tables.claims(evaluate(study)).rows
    assert len([row for row in rows if row[0]]) == 15
    assert list(rows[0][:4]) == ["3.1 越浅准确率越高", "short 与 mid", rows[0][2], "+6.85"]
    assert rows[0][2].startswith("+7.00 [")


def test_claims_without_any_run_keep_their_row(tmp_path: Path) -> None:
    write_runs(tmp_path, ["mid_baseline", "short_all"])
    verdicts = evaluate(load_study(tmp_path))
    assert len([row for row in tables.claims(verdicts).rows if row[0]]) == 15
    assert "未完成" in prose.judged(verdicts[0])


def test_command_repeats_the_experiment(tmp_path: Path) -> None:
    parameters = {"dataset": "tiny-imagenet-200", "fraction": 0.1, "epochs": 5, "width": 8}
    write_runs(tmp_path, ["short_all"], seeds=(0, 1), parameters=parameters)
    assert reproduction.command(load_study(tmp_path)) == (
        'make report DATASET=tiny-imagenet-200 FRACTION=0.1 EPOCHS=5 PARAMS="width=8" SEEDS="0 1"'
        ' VARIANTS="short_all"'
    )


def test_reproduction_shows_differing_values(tmp_path: Path) -> None:
    (first, _) = write_runs(tmp_path, ["short_all", "long_all"])
    path = first.path / "result.json"
    text = path.read_text(encoding="utf-8").replace('"threads": 1', '"threads": 2')
    path.write_text(text, encoding="utf-8")
    values = _pairs(reproduction.table(load_study(tmp_path)))
    assert values["线程数"] == "1、2"


def test_text_from_outside_is_no_markup() -> None:
    table = Table(("x",), [(HOSTILE,), (Strong(HOSTILE),)], "l")
    plain = " ".join(HOSTILE.split())
    made = pypandoc.convert_text(table._repr_markdown_(), "html", "markdown", ["--wrap=none"])
    made = made.replace("“", '"').replace("”", '"')
    assert html.escape(plain, quote=False) in made.replace("&quot;", '"')
    assert "<script" not in made
    assert "<a " not in made
    assert "<script" not in table._repr_html_()


def test_escaped_text_survives_pandoc() -> None:
    made = pypandoc.convert_text(escape(HOSTILE), "plain", "markdown", ["--wrap=none"])
    assert made.strip() == " ".join(HOSTILE.split())


def test_a_hostile_reason_stays_text(tmp_path: Path) -> None:
    write_runs(tmp_path, ["short_all"])
    study = load_study(tmp_path)
    object.__setattr__(study, "problems", (HOSTILE,))
    text = prose.completeness(study).text
    made = pypandoc.convert_text(text, "html", "markdown")
    assert "<script" not in made


def test_failed_runs_are_named_with_their_reason_and_without_a_path(tmp_path: Path) -> None:
    write_runs(tmp_path, ["short_all"])
    folder = tmp_path / "shapes"
    for text in (HOSTILE, "OSError: /home/ann/my/data.npy: cut", r"OSError: C:\\Users\\ann\\x: no"):
        RunFolder(folder / "long_all" / "seed3").write_failure("died", text, 2)
        RunFolder(folder / "short_all" / "seed0").write_failure("error", "of an old attempt", 1)
        study = load_study(tmp_path)
        shown = prose.completeness(study).text
        made = pypandoc.convert_text(shown, "html", "markdown")
        assert "long+全部，种子 3：内核中止（第 2 次尝试）" in made
        assert "old attempt" not in made
        assert "<script" not in made
        assert "ann" not in made.replace("channel", "")
    assert "OSError: x: no" in " ".join(made.split())


def test_runs_of_other_data_are_left_out_and_other_code_is_said(tmp_path: Path) -> None:
    write_runs(tmp_path, ["short_all"], seeds=[0, 1])
    (folder,) = write_runs(tmp_path, ["short_all"], seeds=[2], fingerprint="beef" * 16)
    old = folder.result()
    dated = old.provenance.model_copy(update={"finished": "2023-05-01T10:01:00+00:00"})
    text = old.model_copy(update={"provenance": dated}).model_dump_json()
    (folder.path / "result.json").write_text(text, encoding="utf-8")
    study = load_study(tmp_path)
    assert study.seeds("short_all") == [0, 1]
    assert study.problems == ("shapes/short_all/seed2/result.json: made from other data",)
    assert "代码不一致" not in prose.completeness(study).text
    older = write_runs(tmp_path, ["short_norm"], numerics=0)
    assert len(older) == 1
    assert f"数值版本不同（0、{NUMERICS}）" in prose.completeness(load_study(tmp_path)).text


def test_command_names_the_variants_that_there_are(tmp_path: Path) -> None:
    write_runs(tmp_path, ["long_all", "short_all"])
    assert reproduction.command(load_study(tmp_path)) == (
        'make report DATASET=shapes VARIANTS="short_all long_all"'
    )


def test_logs_are_linked_where_they_lie_beside_the_report(tmp_path: Path) -> None:
    write_runs(tmp_path, ["short_all"], seeds=(0, 3))
    study = load_study(tmp_path)
    (row,) = reproduction.logs(study, "logs").rows
    links = row[1]
    assert isinstance(links, Links)
    assert [target for _, target in links.entries] == [
        f"logs/shapes/short_all/seed{seed}/result.json" for seed in (0, 3)
    ]
    for _, target in links.entries:
        assert (tmp_path / target.removeprefix("logs/")).is_file()
    assert list(reproduction.logs(study).rows[0][1:]) == ["shapes/short_all", "seed0、seed3"]


def test_links_of_odd_names_are_one_link() -> None:
    table = Table(("x",), [(Links([("a]b", "x) <y>/é 1")]),)], "l")
    made = pypandoc.convert_text(table._repr_markdown_(), "html", "markdown", ["--wrap=none"])
    assert made.count("<a ") == 1
    assert 'href="x%29%20%3Cy%3E/%C3%A9%201"' in made
    assert ">a]b</a>" in made
    assert 'href="x%29%20%3Cy%3E/%C3%A9%201"' in table._repr_html_()


def test_section_table_has_each_networks_interval_and_epochs(tmp_path: Path) -> None:
    write_runs(tmp_path, [Fake("short_all", epochs_run=4, accuracies=(0.9, 0.8, 0.5))])
    rows = tables.section(load_study(tmp_path), ["short_all", "long_all"]).rows
    assert list(rows[0]) == [
        "short+全部", "90.00", "80.00", "50.00", "[46.91, 53.09]", "4 / 4", "2.0", "正常",
    ]  # fmt: skip
    assert list(rows[1])[-1] == "未完成"


def test_front_matter_is_strings() -> None:
    bundle = FrontMatter(title="报告", student_number=2024001)._repr_mimebundle_()  # type: ignore[arg-type]
    assert bundle[DOCUMENT]["student_number"] == "2024001"
    assert bundle[DOCUMENT]["author"] == ""
    assert set(bundle[DOCUMENT]) == {
        "title", "subtitle", "author", "student_number", "course", "date", "notice",
        "columns",
    }  # fmt: skip
