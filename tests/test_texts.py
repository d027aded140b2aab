"""The report's sentences: for every verdict, everything that may be missing, text from outside."""

import ast
import re
import shutil
from collections import Counter
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
from labcnn.errors import ParameterError, ReportError
from labcnn.files import project_root
from labcnn.runs import NUMERICS, RunFolder
from labcnn.variants import REPORT_VARIANTS, VARIANTS
from labcnn.variants import label as label_of
from labreport import words
from labreport.display import escape
from labreport.facts import Facts
from labreport.formats import number, short_name, span
from labreport.measures import Reason, Why
from labreport.prose import caption, phrase, render
from labreport.study import load_study
from labreport.tables import tabulate_claims, tabulate_results
from labreport.verdicts import Outcome, Verdict, judge_claims

HOSTILE = 'a|b*c*_d_ <script>x</script> $e^2$ `f` [g](http://h) # @fig-i \\ ~~k~~ "q"\nnext'
PACKAGE = Path(labreport.__file__).parent
TEXTS = sorted(path.name.removesuffix(".md.j2") for path in (PACKAGE / "text").iterdir())
FEW = ("short_all", "long_all")
#: Those that are a chapter's or a section's prose, and what else tells of results.
PROSE = ("abstract", "findings", "3.1-depth", "3.2-decay", "3.3-norm", "3.4-dropout",
         "3.5-residual", "3.6-summary", "3.6-costs", "4-claims", "6-discussion",
         "7-limits")  # fmt: skip
ODD = r"。。|；。|，。|（）|nan|None|inf|：。|；；|\( |[\u4e00-\u9fff] [\u4e00-\u9fff]|　"


def _facts(tmp_path: Path, *fakes: str | Fake, images: int = 2000) -> Facts:
    write_runs(tmp_path, fakes, images=images)
    return _read(tmp_path)


def _read(tmp_path: Path) -> Facts:
    study = load_study(tmp_path)
    return Facts(study, judge_claims(study))


def _force(verdict: Verdict, outcome: Outcome) -> Verdict:
    """A verdict that ends so; an untested one has nothing that could be compared."""
    if outcome is not Outcome.UNTESTED:
        return replace(verdict, outcome=outcome)
    reason = Reason(Why.NO_COMMON_SEED)
    findings = (replace(f, estimate=None, reason=f.reason or reason) for f in verdict.findings)
    return replace(verdict, outcome=outcome, findings=tuple(findings))


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    """Of all variants, trained once."""
    return _facts(tmp_path_factory.mktemp("once"), *REPORT_VARIANTS)


@pytest.fixture(scope="module")
def thrice_logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    logs = tmp_path_factory.mktemp("thrice") / "logs"
    write_runs(logs, seeds=range(3), images=2000)
    return logs


@pytest.fixture(scope="module")
def thrice(thrice_logs: Path) -> Facts:
    """Of all variants, trained on three seeds each."""
    return _read(thrice_logs)


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
    assert sorted([*shown, "captions", "notice", "phrases"]) == TEXTS
    sources = [cell.source for cell in notebook.cells]
    sources += [
        path.read_text("utf-8") for path in (PACKAGE / "figures").iterdir() if path.is_file()
    ]
    figures = re.findall(r'facts.figure\("([^"]+)", ', "\n".join(sources))
    captions = (PACKAGE / "text" / "captions.md.j2").read_text("utf-8")
    assert sorted(figures) == sorted(re.findall(r"macro (\w+)\(", captions))
    # No number of a result is typed.
    typed = [
        p.read_text("utf-8").replace("95%", "").replace("90%", "")
        for p in (PACKAGE / "text").iterdir()
    ]
    assert [found for text in typed for found in re.findall(r"\d+\.\d{2}|\d\s*%(?!})", text)] == []
    told = "".join((PACKAGE / "text" / f"{name}.md.j2").read_text("utf-8") for name in PROSE)
    assert set(re.findall(r'facts.claims\["([^"]+)"', told)) == set(words.CLAIMS)


def test_a_name_that_a_template_was_not_told_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="study"):
        render("completeness")


def test_every_section_has_words_for_every_verdict(tmp_path: Path, once: Facts) -> None:
    """Whatever each claim ends in, on real parts: whole sentences, the answer first."""
    leads: dict[str, set[str]] = {name: set() for name in PROSE}
    for of in (_facts(tmp_path, *FEW), once):
        for outcome in Outcome:
            forced = [_force(verdict, outcome) for verdict in of.verdicts]
            for name in PROSE:
                text = replace(of, verdicts=forced).text(name).text
                assert not re.search(ODD, text), (name, outcome, text)
                assert not [label for label in map(label_of, VARIANTS) if label in text]
                leads[name].add(text.partition("\n")[0])
    sections = [name for name in PROSE if name in {"3.1-depth", "3.2-decay", "3.3-norm",
                "3.4-dropout", "3.5-residual"}]  # fmt: skip
    for name in sections:
        assert all(lead.startswith("**") for lead in leads[name])
        assert len({lead.split("**")[1] for lead in leads[name]}) >= len(Outcome)


def test_no_phrase_is_repeated_through_the_report(once: Facts, thrice: Facts) -> None:
    for facts in (once, thrice):
        said = "\n".join(facts.text(name).text for name in PROSE)
        runs = re.findall(r"[\u4e00-\u9fff，、“”]{12,}", said.replace(words.MEASURES["gap"][0], ""))
        pieces = Counter(run[k : k + 12] for run in runs for k in range(len(run) - 11))
        assert [piece for piece, count in pieces.items() if count > 3] == []


def test_every_reason_has_words_of_its_own() -> None:
    reasons = {why: Reason(why, ("mid_all",), 0.02, 0.05) for why in Why}
    said = {why: phrase("reason", reason) for why, reason in reasons.items()}
    assert all(said.values())
    assert len(set(said.values())) == len(Why)
    assert said[Why.MISSING] == "mid+全部未完成"
    assert said[Why.GAP_OUT_OF_REACH].startswith("训练集准确率只有 2.00%")


def test_a_part_has_its_own_verdict_and_a_strong_one_is_not_buried(tmp_path: Path) -> None:
    """Residual on the long net gains much; of the short one there is no run."""
    accuracies = {"long_baseline": (0.3, 0.2, 0.2), "long_residual": (0.6, 0.5, 0.5)}
    fakes = [Fake(v, seed, a) for v, a in accuracies.items() for seed in (0, 1, 2)]
    facts = _facts(tmp_path, *fakes)
    text = facts.text("3.5-residual").text
    assert text.startswith(
        "**残差连接提高了 long 网络的准确率**：long+残差比 long 基线高 30.00 个百分点"
    )
    assert "（成立）" in text.partition("\n")[0]
    assert "@fig-residual" in text


def test_a_decision_on_one_seed_says_so(
    once: Facts, thrice: Facts, thrice_logs: Path, tmp_path: Path
) -> None:
    for facts, alone in ((once, True), (thrice, False)):
        outcomes = [row[-1] for row in tabulate_claims(facts.verdicts).rows if row[-1]]
        assert any("单种子" in outcome for outcome in outcomes) is alone
        assert ("只有一个种子**。" in facts.text("7-limits").text) is alone
        assert ("这两个网络而言" in facts.text("3-analysis").text) is alone
    shutil.copytree(thrice_logs, tmp_path, dirs_exist_ok=True)
    for seed in (1, 2):
        shutil.rmtree(tmp_path / "shapes" / "long_all" / f"seed{seed}")
    assert "即 long+全部（1 个）" in _read(tmp_path).text("completeness").text


def test_a_missing_network_is_named_once_and_a_failed_one_explained(tmp_path: Path) -> None:
    fakes = [v for v in REPORT_VARIANTS if v != "long_baseline"]
    text = _facts(tmp_path, *fakes).text("3.3-norm").text
    assert text.partition("\n")[0].count("未完成") == 1
    facts = _facts(
        tmp_path / "section",
        Fake("short_baseline", status="no_learning"),
        Fake("short_lrdecay", status="diverged", epochs_run=3),
        Fake("long_baseline", 0),
        Fake("long_baseline", 1, status="diverged"),
    )
    shown = facts.text("3-analysis").text
    assert "long 基线（2 个种子中的 1 个）、short+衰减发散" in shown
    assert "short 基线没有学到东西" in shown
    assert "失败的种子不计入比较" in shown
    assert "失败" not in _facts(tmp_path / "whole", *FEW).text("3-analysis").text


def test_a_report_of_some_variants_is_about_these(tmp_path: Path) -> None:
    write_runs(tmp_path, [*REPORT_VARIANTS, Fake("short_norm", 1)], images=500)
    study = load_study(tmp_path, only=("short_norm", "short_baseline", "long_norm"))
    assert study.present == ("short_baseline", "short_norm", "long_norm")
    assert study.missing == ()
    facts = Facts(study, judge_claims(study))
    shown = facts.text("completeness").text
    assert "只写选定的网络" in shown and "其余 10 个" in shown
    assert len(tabulate_results(study).rows) == 3
    with pytest.raises(ParameterError, match="short_nrom"):
        load_study(tmp_path, only=["short_nrom"])
    write_runs(tmp_path / "one", ["long_all"])
    with pytest.raises(ReportError, match=r"only long_all; train one of: short_norm$"):
        load_study(tmp_path / "one", only=["short_norm"])


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
        compared = "不能直接相比" in facts.text("7-limits").text
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
        assert f"| {kind}（指纹 {fingerprint[:16]}）" in facts.text("c-provenance").text
        assert ("不是官方数据" in facts.text("completeness").text) is (place == "other")


def test_all_literature_is_cited_and_all_that_is_cited_is_listed() -> None:
    texts = {path.name: path.read_text("utf-8") for path in (PACKAGE / "text").iterdir()}
    listed = re.findall(r'^\("(\w+)", "', texts.pop("references.md.j2"), re.MULTILINE)
    cited = {name for text in texts.values() for name in re.findall(r"@ref-([a-z]+\d{4})", text)}
    assert cited == set(listed)
    assert len(listed) == len(set(listed))


def test_too_few_test_images_are_no_proof_that_nothing_was_learned(tmp_path: Path) -> None:
    """Four images of four classes: all right is one in 256 by chance, which a status is not given.

    The nets are equal, so that none is the highest, and none the lowest.
    """
    perfect = (1.0, 1.0, 1.0)
    for run in write_runs(tmp_path, [Fake(v, 0, perfect) for v in FEW], images=4):
        result = run.result().model_copy(update={"status": "no_learning", "chance_p_value": 4**-4})
        (run.path / "result.json").write_text(result.model_dump_json(), encoding="utf-8")
    facts = _read(tmp_path)
    names = ("abstract", "findings", "3-analysis", "3.6-summary")
    said = "\n".join([*(facts.text(name).text for name in names), caption("ranking", facts)])
    assert "测试图像只有 4 幅，太少" in said and "（概率 0.39%" in said
    assert "没有网络学到东西" not in said and "没有学到东西" not in said
    assert "short+全部、long+全部的测试集准确率都是 100.00%" in said
    assert "最高" not in said and "最低" not in said
    assert {row[-1] for row in tabulate_results(facts.study).rows if row[1] != "—"} == {"图像太少"}
    # Classes that are all recognised aren't of different difficulty.
    assert "差得很远" not in (errors := facts.text("5-errors").text) and "没有超出偶然" in errors


def test_a_gap_is_overfitting_only_where_its_interval_says_so(tmp_path: Path) -> None:
    for train, said, unsaid in (
        (0.50, "过拟合明显", "还不能断定"),
        (0.42, "还不能断定", "过拟合"),
    ):
        fakes = [
            Fake("short_baseline", 0, (train, 0.34, 0.33)),
            Fake("short_dropout", 0, (0.31, 0.30, 0.30)),
        ]
        facts = _facts(tmp_path / str(train), *fakes, images=300)
        text = facts.text("6-discussion").text
        assert said in text and unsaid not in text
        assert ("过拟合已经明显" in facts.text("3.4-dropout").text) is (train == 0.5)


def test_a_claim_that_holds_at_one_depth_is_not_summed_up_as_no_difference(once: Facts) -> None:
    """Equivalent as a whole is also a claim that holds in a part, and is too small in the rest."""

    def mix(verdict: Verdict) -> Verdict:
        ends = [Outcome.HOLDS, *[Outcome.EQUIVALENT] * len(verdict.findings)]
        findings = zip(verdict.findings, ends, strict=False)
        mixed = tuple(replace(finding, outcome=outcome) for finding, outcome in findings)
        return replace(verdict, findings=mixed, outcome=Outcome.EQUIVALENT)

    facts = replace(once, verdicts=[mix(verdict) for verdict in once.verdicts])
    names = ("3.1-depth", "3.2-decay", "3.3-norm", "3.4-dropout", "3.6-summary")
    said = "\n".join([*(facts.text(name).text for name in names), caption("dropout", facts)])
    for phrase_of_none in ("相差不到", "相差无几", "几乎", "深浅没有实质差别", "殊途同归"):
        assert phrase_of_none not in said
    assert "学习率衰减在 short 上有好处" in said


def test_pairs_and_test_images_are_told_in_plain_words(once: Facts, tmp_path: Path) -> None:
    accuracies = {"short": (0.7, 0.6, 0.6), "mid": (0.4, 0.3, 0.3), "long": (0.4, 0.3, 0.3)}
    better = [Fake(v, 0, accuracies[VARIANTS[v].depth]) for v in REPORT_VARIANTS]
    facts = _facts(tmp_path, *better)
    undecided = [
        replace(v, outcome=Outcome.UNDECIDED) if v.claim.id == "shallow-better" else v
        for v in facts.verdicts
    ]
    text = replace(facts, verdicts=undecided).text("3.6-summary").text
    assert "7 对都是浅的更好" in text and "7 对中" not in text
    assert "测试集是测试数据" not in once.text("2.1-design").text
    # The exception to "no substantial difference" is where that is defined.
    assert "都不低于 10%" in once.text("a-statistics").text
