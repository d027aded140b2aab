"""The report's sentences: for every verdict, everything that may be missing, text from outside."""

import ast
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import pypandoc
import pytest
from fake_runs import Fake, write_runs
from jinja2 import UndefinedError

import labreport
from labcnn.data import tiny_imagenet
from labcnn.files import project_root
from labcnn.runs import NUMERICS, RunFolder
from labcnn.variants import REPORT_VARIANTS, VARIANTS, label
from labreport import words
from labreport.display import escape
from labreport.facts import Facts
from labreport.formats import number, short_name, span
from labreport.measures import Reason, Why
from labreport.prose import phrase, render
from labreport.study import load_study
from labreport.tables import tabulate_claims
from labreport.verdicts import Outcome, judge_claims

HOSTILE = 'a|b*c*_d_ <script>x</script> $e^2$ `f` [g](http://h) # @fig-i \\ ~~k~~ "q"\nnext'
PACKAGE = Path(labreport.__file__).parent
TEXTS = sorted(path.name.removesuffix(".md.j2") for path in (PACKAGE / "text").iterdir())
FEW = ("short_all", "long_all")
FINDINGS = [name for name in TEXTS if name.endswith("-findings")]


def _facts(tmp_path: Path, *fakes: str | Fake, images: int = 2000) -> Facts:
    write_runs(tmp_path, fakes, images=images)
    return _read(tmp_path)


def _read(tmp_path: Path) -> Facts:
    study = load_study(tmp_path)
    return Facts(study, judge_claims(study))


def test_every_sentence_is_in_a_template_and_every_template_in_the_report() -> None:
    chinese = re.compile("[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]")
    for path in PACKAGE.rglob("*.py"):
        if path.name == "words.py" or "export" in path.parts:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        said = {node.value.value for node in ast.walk(tree) if isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)}  # fmt: skip
        found = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)} - said
        assert not [text for text in found if isinstance(text, str) and chinese.search(text)], path
    notebook = nbformat.read(project_root() / "notebooks" / "analysis.ipynb", as_version=4)
    shown = re.findall(r'text\("([^"]+)"', "\n".join(cell.source for cell in notebook.cells))
    assert sorted([*shown, "notice", "phrases"]) == TEXTS
    # No number of a result is typed.
    typed = [p.read_text("utf-8").replace("95%", "") for p in (PACKAGE / "text").iterdir()]
    assert [found for text in typed for found in re.findall(r"\d+\.\d{2}|\d\s*%(?!})", text)] == []
    claims = "".join((PACKAGE / "text" / f"{n}.md.j2").read_text("utf-8") for n in FINDINGS)
    assert sorted(re.findall(r'claim\(facts.claims\["([^"]+)"', claims)) == sorted(words.CLAIMS)


def test_a_misspelt_name_in_a_template_is_an_error(tmp_path: Path) -> None:
    facts = _facts(tmp_path, "short_all")
    with pytest.raises(UndefinedError, match="variants"):
        facts.text("3.1-findings")  # it was not told which
    with pytest.raises(UndefinedError, match="study"):
        render("completeness")


def test_every_claim_is_one_whole_paragraph_and_every_reason_has_words(tmp_path: Path) -> None:
    few, whole = (_facts(tmp_path / str(len(p)), *p).verdicts for p in (FEW, REPORT_VARIANTS))
    assert {verdict.outcome for verdict in whole} == set(Outcome)
    for verdict in (*few, *whole):
        text = phrase("claim", verdict)
        found = r"论断：[^。]+。本实验的结论是\*\*(成立|不成立|证据不足)\*\*(（[^）]+）)?。"
        assert re.search(found, text)
        assert text.endswith("。")
        assert not re.search(
            r"。。|；。|，。|（）|nan|None|inf|：。|；；|[\u4e00-\u9fff] [\u4e00-\u9fff]", text
        )
        assert "\n" not in text
        assert not [name for name in map(label, VARIANTS) if name in text]
        support, contrary = "这支持上述论断" in text, "这与上述论断相反" in text
        assert support is (verdict.outcome is Outcome.HOLDS)
        assert contrary is (verdict.outcome is Outcome.FAILS)
    reasons = {why: Reason(why, ("mid_all",), 0.02, 0.05) for why in Why}
    said = {why: phrase("reason", reason, few[0]) for why, reason in reasons.items()}
    assert all(said.values())
    assert len(set(said.values())) == len(Why)
    assert said[Why.MISSING] == "mid+全部未完成"
    assert said[Why.GAP_OUT_OF_REACH].startswith("训练集准确率只有 2.00%")


def test_a_decision_on_one_seed_says_so_wherever_it_stands(tmp_path: Path) -> None:
    once, often = tmp_path / "once", tmp_path / "often"
    write_runs(once, REPORT_VARIANTS, images=2000)
    write_runs(often, REPORT_VARIANTS, range(3), images=2000)
    for folder, alone in ((once, True), (often, False)):
        facts = _read(folder)
        decided = [v for v in facts.verdicts if v.outcome is not Outcome.UNDECIDED]
        assert decided
        for verdict in decided:
            assert ("一个种子" in phrase("claim", verdict)) is alone
            assert ("一个种子" in phrase("again", verdict)) is alone
        assert ("单种子" in tabulate_claims(facts.verdicts).columns[-1]) is alone
        assert ("只训练了一次" in facts.text("completeness").text) is alone
        assert ("只有一个种子的结论" in facts.text("3.6-summary").text) is alone

    # Where one network has one seed only, the verdicts on it say so.
    for seed in (1, 2):
        shutil.rmtree(often / "shapes" / "long_all" / f"seed{seed}")
    facts = _read(often)
    table = tabulate_claims(facts.verdicts)
    assert table.columns[-1] == "结论"
    of_one = {v.claim.id for v in facts.verdicts if v.one_seed}
    assert of_one == {"depth-underfit"}  # others compare nets of three seeds too
    assert sum("单种子" in row[-1] for row in table.rows) == 1
    assert "即 long+全部（1 个）" in facts.text("completeness").text
    few = _facts(tmp_path / "few", "short_lrdecay", Fake("short_baseline", 1), "short_baseline")
    assert "仅 1 个共同种子" in phrase("finding", few.claims["lrdecay-helps"].findings[0])


def test_a_missing_network_is_named_once_and_a_failed_one_explained(tmp_path: Path) -> None:
    fakes = [v for v in REPORT_VARIANTS if v != "long_baseline"]
    undecided = [v for v in _facts(tmp_path, *fakes).verdicts if v.reasons]
    for verdict in (v for v in undecided if v.reasons[0].why is Why.MISSING):
        text = phrase("claim", verdict)
        assert text.count("未完成") == text.count("long 基线") == 1
    best = Fake("short_all", accuracies=(0.9, 0.4, 0.4))
    facts = _facts(tmp_path / "few", best, "short_residual", "short_norm")
    text = phrase("claim", facts.claims["best-worst"])  # decided in spite of what is missing
    assert facts.claims["best-worst"].outcome is Outcome.FAILS
    assert "其余比较无法进行" in text
    assert text.count("long+全部") == 1

    decay = ["short_baseline", "short_lrdecay", "long_baseline", "long_lrdecay"]
    facts = _facts(
        tmp_path / "section",
        Fake("short_baseline", status="no_learning"),
        Fake("short_lrdecay", status="diverged", epochs_run=3),
        Fake("long_baseline", 0),
        Fake("long_baseline", 1, status="diverged"),
    )
    shown = facts.text("3.2-findings", variants=decay).text
    assert "long+衰减未完成" in shown
    assert "short 基线没有学到东西" in shown
    assert re.search(r"short\+衰减训练发散.*训练了 3 轮", shown)
    assert "2 个种子中的 1 个：1" in shown
    whole = _facts(tmp_path / "whole", *decay)
    assert phrase("shortcomings", whole.study, decay) == ""


def test_a_report_of_less_than_the_experiment_says_so(tmp_path: Path) -> None:
    tiny: dict[str, Any] = {"dataset": "tiny-imagenet-200"}
    cut: dict[str, Any] = {"fraction": 0.1, "epochs": 5}
    expected: dict[str, dict[str, Any]] = {"演示数据": {}, "": tiny}
    expected["10% 的训练数据、5 轮"] = tiny | cut
    for place, (said, parameters) in enumerate(expected.items()):
        write_runs(
            tmp_path / str(place),
            ["short_all"],
            parameters=parameters,
            fingerprint=tiny_imagenet.OFFICIAL_FINGERPRINT,
        )
        facts = _read(tmp_path / str(place))
        assert said in facts.notice
        assert bool(facts.notice) is bool(said)
        compared = "不能直接相比" in facts.text("3.6-summary").text
        assert compared is (bool(said) and parameters != {})


def test_numbers_and_names_are_short() -> None:
    logarithms = [-16.2, -5.0, -0.5, 0.0, 3.0, 5.0, 9.0, 1e4, -1e4]
    assert [number(x, "ratio") for x in logarithms] == [
        "< 0.001", "0.0067", "0.61", "1.00", "20.1", "148", "> 1000", "> 1000", "< 0.001",
    ]  # fmt: skip
    assert [span(v) for v in ([], [3, 3], [5, 2, 3])] == ["—", "3", "2–5"]
    found = [short_name(variant) for variant in VARIANTS]
    assert len(set(found)) == len(VARIANTS)
    assert max(map(len, found)) <= 13


def test_text_from_outside_stays_text(tmp_path: Path) -> None:
    made = pypandoc.convert_text(escape(HOSTILE), "plain", "markdown", ["--wrap=none"])
    assert made.strip() == " ".join(HOSTILE.split())
    write_runs(tmp_path, ["short_all"])
    folder = tmp_path / "shapes"
    for text in (HOSTILE, "OSError: /home/ann/my/data.npy: cut", r"OSError: C:\\Users\\ann\\x: no"):
        RunFolder(folder / "long_all" / "seed3").write_failure("died", text, 2)
        RunFolder(folder / "short_all" / "seed0").write_failure("error", "of an old attempt", 1)
        facts = Facts(replace(load_study(tmp_path), problems=(HOSTILE,)), [])
        made = pypandoc.convert_text(facts.text("completeness").text, "html", "markdown")
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
    facts = _read(tmp_path)
    assert facts.study.seeds("short_all") == [0, 1]
    (problem,) = facts.study.problems
    assert problem == "shapes/short_all/seed2/result.json: made from other data"
    shown = facts.text("completeness").text
    assert "made from other data" in shown and "代码不一致" not in shown
    write_runs(tmp_path, ["short_norm"], numerics=0)
    assert f"数值版本不同（0、{NUMERICS}）" in _read(tmp_path).text("completeness").text


def test_the_report_says_whether_its_images_are_the_official_ones(tmp_path: Path) -> None:
    real: dict[str, Any] = {"dataset": tiny_imagenet.NAME}
    for place, fingerprint, kind in (
        ("official", tiny_imagenet.OFFICIAL_FINGERPRINT, "官方数据"),
        ("other", "f00d" * 16, "非官方数据"),
    ):
        write_runs(tmp_path / place, ["short_all"], parameters=real, fingerprint=fingerprint)
        facts = _read(tmp_path / place)
        assert f"| {kind}（指纹 {fingerprint[:16]}）" in facts.text("6-provenance").text
        assert ("不是官方数据" in facts.text("completeness").text) is (place == "other")
