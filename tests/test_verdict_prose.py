"""What the text says of a claim, for every verdict and everything that may be missing."""

import re
from pathlib import Path

import pytest
from fake_runs import Fake, write_runs

from labcnn.variants import REPORT_VARIANTS, VARIANTS, label
from labreport import prose, tables
from labreport.document import Prose
from labreport.formats import number, span
from labreport.study import Study, load_study
from labreport.verdict_prose import judged, section
from labreport.verdicts import FAILS, HOLDS, UNDECIDED, evaluate

DECAY = ["short_baseline", "short_lrdecay", "long_baseline", "long_lrdecay"]


def _study(tmp_path: Path, *fakes: str | Fake, images: int = 2000) -> Study:
    write_runs(tmp_path, fakes, images=images)
    return load_study(tmp_path)


@pytest.mark.parametrize("present", [("short_all",), ("short_all", "long_all"), REPORT_VARIANTS])
def test_every_claim_is_one_whole_paragraph(present: tuple[str, ...], tmp_path: Path) -> None:
    seen = set()
    for verdict in evaluate(_study(tmp_path, *present)):
        text = judged(verdict)
        found = r"论断：[^。]+。本实验的结论是\*\*(成立|不成立|证据不足)\*\*(（[^）]+）)?。"
        assert re.search(found, text)
        assert text.endswith("。")
        assert not re.search(r"。。|；。|，。|（）|nan|None|inf|：。|未完成：", text)
        assert "\n" not in text
        assert not [name for name in map(label, VARIANTS) if name in text]
        seen.add(verdict.verdict)
    assert UNDECIDED in seen


def test_both_decided_verdicts_are_told_apart(tmp_path: Path) -> None:
    verdicts = {v.verdict: judged(v) for v in evaluate(_study(tmp_path, *REPORT_VARIANTS))}
    assert "这支持原报告的说法" in verdicts[HOLDS]
    assert "这与原报告的说法相反" in verdicts[FAILS]


def test_a_decision_on_one_seed_says_so_wherever_it_stands(tmp_path: Path) -> None:
    once, often = tmp_path / "once", tmp_path / "often"
    write_runs(once, REPORT_VARIANTS, images=2000)
    write_runs(often, REPORT_VARIANTS, range(3), images=2000)
    for folder, alone in ((once, True), (often, False)):
        study = load_study(folder)
        verdicts = evaluate(study)
        decided = [verdict for verdict in verdicts if verdict.verdict != UNDECIDED]
        assert decided
        assert all(("一个种子" in judged(verdict)) is alone for verdict in decided)
        assert ("单种子" in tables.claims(verdicts).columns[-1]) is alone
        assert ("只训练了一次" in prose.completeness(study).text) is alone
        assert ("只有一个种子的结论" in prose.summary(study, verdicts).text) is alone
        again = [(v, place) for v in decided for place in v.claim.sections[1:]]
        for verdict, place in again:
            assert ("一个种子" in section(study, [verdict], place, []).text) is alone


def test_where_some_have_one_seed_only_their_verdicts_say_so(tmp_path: Path) -> None:
    fakes = [Fake(v, s) for v in REPORT_VARIANTS for s in range(1 if v == "long_all" else 3)]
    verdicts = evaluate(_study(tmp_path, *fakes))
    table = tables.claims(verdicts)
    assert table.columns[-1] == "结论"
    alone = {v.claim.id for v in verdicts if v.one_seed}
    assert alone and len(alone) < len(verdicts)
    assert sum("单种子" in row[-1] for row in table.rows) == len(alone)


def test_a_missing_network_is_named_once(tmp_path: Path) -> None:
    study = _study(tmp_path, *(v for v in REPORT_VARIANTS if v != "long_baseline"))
    for verdict in evaluate(study):
        if verdict.verdict == UNDECIDED and "未完成" in verdict.reason:
            assert judged(verdict).count("未完成") == 1
            assert judged(verdict).count("long 基线") <= 1, judged(verdict)


def test_what_decides_without_a_missing_network_says_what_is_left_out(tmp_path: Path) -> None:
    fakes: list[str | Fake] = [
        Fake("short_all", accuracies=(0.9, 0.4, 0.4)),
        "short_residual",
        "short_norm",
    ]
    verdict = next(v for v in evaluate(_study(tmp_path, *fakes)) if v.claim.id == "best-worst")
    assert verdict.verdict == FAILS
    text = judged(verdict)
    assert "其余比较无法进行" in text
    assert text.count("long+全部") == 1


def test_missing_and_failed_networks_of_a_section(tmp_path: Path) -> None:
    study = _study(
        tmp_path,
        Fake("short_baseline", status="no_learning"),
        Fake("short_lrdecay", status="diverged", epochs_run=3),
        Fake("long_baseline", 0),
        Fake("long_baseline", 1, status="diverged"),
    )
    shown = section(study, [], "3.2", DECAY)
    assert isinstance(shown, Prose)
    assert "long+衰减未完成" in shown.text
    assert "short 基线没有学到东西" in shown.text
    assert re.search(r"short\+衰减训练发散.*训练了 3 轮", shown.text)
    assert "2 个种子中的 1 个：1" in shown.text


def test_nothing_to_say_is_nothing(tmp_path: Path) -> None:
    assert section(_study(tmp_path, *REPORT_VARIANTS), [], "3.2", DECAY).text == ""


@pytest.mark.parametrize(
    ("logarithm", "shown"),
    [(-16.2, "< 0.001"), (-5.0, "0.0067"), (-0.5, "0.61"), (0.0, "1.00"), (3.0, "20.1"),
     (5.0, "148"), (9.0, "> 1000"), (1e4, "> 1000"), (-1e4, "< 0.001")],
)  # fmt: skip
def test_ratios_of_any_size_are_short(logarithm: float, shown: str) -> None:
    assert number(logarithm, "ratio") == shown


def test_spans() -> None:
    assert [span(v) for v in ([], [3, 3], [5, 2, 3])] == ["—", "3", "2–5"]
