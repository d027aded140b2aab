"""What the report's texts compute besides the claims, anew from the committed files by pandas."""

import json
import re
from itertools import product
from pathlib import Path

import html5lib
import numpy as np
import pandas as pd
import pytest

from labcnn.variants import REPORT_VARIANTS
from labreport.facts import Facts
from labreport.formats import percent, short_name
from labreport.study import load_study
from labreport.verdicts import judge_claims

LOGS, EXPERIMENT = Path(__file__).parents[1] / "report" / "logs", "tiny-imagenet-200"
SEEDS = range(4)


def _read(variant: str, seed: int, name: str) -> pd.DataFrame:
    return pd.read_csv(LOGS / EXPERIMENT / variant / f"seed{seed}" / name, encoding="utf-8")


def _result(variant: str, seed: int) -> dict:
    path = LOGS / EXPERIMENT / variant / f"seed{seed}" / "result.json"
    return json.loads(path.read_text("utf-8"))


def _tests(variant: str) -> np.ndarray:
    return np.array([_result(variant, seed)["test"]["accuracy"] for seed in SEEDS])


def _first_fall(variant: str, seed: int) -> int | None:
    rates = _read(variant, seed, "history.csv")["learning_rate"]
    lower = np.flatnonzero(np.diff(rates) < 0)
    return int(lower[0]) + 2 if len(lower) else None


@pytest.fixture(scope="module")
def facts() -> Facts:
    study = load_study(LOGS, EXPERIMENT)
    return Facts(study, judge_claims(study))


def test_first_falls_of_the_learning_rate_are_averaged_over_seeds(facts: Facts) -> None:
    (decay,) = facts.decays
    epochs = [_first_fall("short_lrdecay", seed) or 0 for seed in SEEDS]
    assert (decay.variant, decay.epochs, decay.runs) == ("short_lrdecay", tuple(epochs), len(SEEDS))
    tables = [_read("short_lrdecay", s, "history.csv").set_index("epoch") for s in SEEDS]
    twins = [_read("short_baseline", s, "history.csv").set_index("epoch") for s in SEEDS]
    for name, found in (("val_accuracy", decay.val), ("train_eval_accuracy", decay.train)):
        for k, value in enumerate(found):
            each = [t[name][epoch - 1 + k] for t, epoch in zip(tables, epochs, strict=True)]
            assert value == pytest.approx(np.mean(each))
    undecayed = [
        t.loc[epoch, ["val_accuracy", "train_eval_accuracy"]].astype(float)
        for t, epoch in zip(twins, epochs, strict=True)
    ]
    assert decay.twin == pytest.approx(np.mean(undecayed, axis=0))
    # One sentence, one comparison: each number of the epoch of the fall beside the baseline's.
    for name in ("3.2-decay", "findings"):
        text = facts.text(name).text
        assert decay.twin is not None
        for value in (*decay.twin, decay.val[1], decay.train[1]):
            assert f"{percent(value)}%" in text
        assert not [v for v in (decay.val[0], decay.train[0]) if f"{100 * v:.2f}%" in text]
    assert "long_lrdecay" not in facts.fallen and "short_all" in facts.fallen


def test_nets_whose_rates_fell_in_some_runs_only_are_told(facts: Facts) -> None:
    variants = ["short_all", "mid_all", "long_all"]
    found = facts.uneven(variants)
    assert found is not None
    assert found.fell == {v: [_first_fall(v, s) for s in SEEDS] for v in variants}
    fell = [_first_fall("long_all", seed) is not None for seed in SEEDS]
    assert 0 < sum(fell) < len(fell)
    assert found.tests["long_all"] == (
        [a for a, f in zip(_tests("long_all"), fell, strict=True) if f],
        [a for a, f in zip(_tests("long_all"), fell, strict=True) if not f],
    )
    falls = [_first_fall(*run) for run in product(variants, SEEDS)]
    assert found.epoch == min(epoch for epoch in falls if epoch) - 1
    for variant in variants:
        tables = [_read(variant, s, "history.csv").set_index("epoch") for s in SEEDS]
        each = [table["val_accuracy"][found.epoch] for table in tables]
        assert found.before[variant][0] == pytest.approx(np.mean(each))
    assert facts.uneven(["short_all", "mid_all"]) is None
    assert facts.uneven(["long_baseline", "long_norm"]) is None


def test_what_all_switches_gain_beyond_their_sum_has_an_interval(facts: Facts) -> None:
    assert facts.joint is not None
    singles = [_tests(f"short_{s}") for s in ("lrdecay", "norm", "dropout", "residual")]
    more = _tests("short_all") + 3 * _tests("short_baseline") - sum(singles)
    assert facts.joint.more.effect == pytest.approx(more.mean())
    assert facts.joint.together - facts.joint.sum == pytest.approx(more.mean())
    # Student's interval over the four seeds, a little wider by what the images' choice adds.
    half = 3.182 * more.std(ddof=1) / 2
    assert facts.joint.more.high - more.mean() == pytest.approx(half, rel=0.02)


def test_gradients_before_training_are_those_of_epoch_0(facts: Facts) -> None:
    def norms(variant: str, seed: int) -> pd.Series:
        table = _read(variant, seed, "gradients.csv").query("epoch == 0")
        return table.groupby("stage")["gradient_norm"].agg(lambda x: np.sqrt((x**2).mean()))

    pairs = [(norms("long_residual", s), norms("long_baseline", s)) for s in SEEDS]
    ratio = [np.log((a[1] / a[4]) / (b[1] / b[4])) for a, b in pairs]
    whole = [np.log((a.loc[1:4] ** 2).sum() / (b.loc[1:4] ** 2).sum()) / 2 for a, b in pairs]
    for measure, values in (("fading_at_start", ratio), ("gradient_at_start", whole)):
        found = facts.against(measure, "long_residual", "long_baseline").estimate
        assert found is not None
        assert found.effect == pytest.approx(np.mean(values), abs=1e-6)


def test_leading_switches_are_told_only_where_the_data_tell_them_apart(facts: Facts) -> None:
    named = {leader.depth: [f.part.first for f in leader.all] for leader in facts.leaders}
    assert named == {"short": ["short_norm"], "long": ["long_norm", "long_residual"]}
    gains = [f"{100 * (_tests(v) - _tests('long_baseline')).mean():+.2f}" for v in named["long"]]
    said = "long 上归一化的增益最大（{}），但与残差（{}）分不出高下".format(*gains)
    assert all(said in facts.text(name).text for name in ("abstract", "findings", "6-discussion"))
    close = _tests("long_norm") - _tests("long_residual")
    assert abs(close.mean()) < 3.182 * close.std(ddof=1) / 2
    clear = _tests("short_norm") - _tests("short_residual")
    assert clear.mean() > 3.182 * clear.std(ddof=1) / 2


def test_runs_under_way_together_are_counted(facts: Facts) -> None:
    spans = [_result(v, s)["provenance"] for v, s in product(facts.study.present, SEEDS)]
    most = max(sum(a["started"] <= b["started"] < a["finished"] for a in spans) for b in spans)
    assert facts.circumstances.at_once == most
    seconds = [_result("long_baseline", s)["timing"]["seconds_per_epoch"] for s in SEEDS]
    assert facts.uneven_seconds >= max(seconds) / min(seconds)


def test_the_abstract_says_what_is_computed(facts: Facts) -> None:
    text = facts.text("abstract").text
    capped = [_result(v, s)["stopped"] for v, s in product(facts.study.present, SEEDS)]
    assert re.search(rf"52 次运行中有 {capped.count('cap')} 次训练满 18 轮才停", text)
    plain = 100 * (_tests("short_baseline") - _tests("long_baseline")).mean()
    assert f"基线加深降低 {plain:.2f} 个百分点" in text
    residual = 100 * (_tests("long_residual") - _tests("short_residual")).mean()
    assert f"只加残差的升高 {residual:.2f}（校正后证据不足）" in text


def test_no_sentence_is_surer_than_the_corrected_verdict(facts: Facts) -> None:
    """Residual nets gain with depth and dropout narrows the gap, each by itself only."""
    for measure, first, second in (
        ("test", "long_residual", "short_residual"),
        ("gap", "short_dropout", "short_baseline"),
    ):
        found = facts.against(measure, first, second)
        assert found.estimate is not None
        assert not found.estimate.low <= 0 <= found.estimate.high
        assert facts.only_alone(found) and facts.side(found) == 0
    told = {"abstract": 1, "findings": 1, "3.1-depth": 2}  # there, of another comparison, too
    for name, times in told.items():
        text = facts.text(name).text
        assert text.count("校正后证据不足") == times
        assert "加深使基线变差，只加残差的网络则没有变差" in text
        assert "有捷径的变好" not in text
    every = 100 * (_tests("short_all") - _tests("long_all")).mean()
    said = (
        rf"不能推广到所有带捷径的网络：long\+全部比 short\+全部低 {every:.2f} 个百分点.*混有学习率"
    )
    assert re.search(said, facts.text("3.1-depth").text)
    assert "确实缩小" not in facts.text("3.4-dropout").text
    assert "所以“浅的整体更好”尚无定论" in facts.text("3.6-summary").text
    # +2.39 [-2.94, +7.72] says nothing of whether the deep net is trained as well.
    assert "区间太宽，还不能断定" in facts.text("3.1-depth").text
    # One ratio before training, one over the epochs.
    text = facts.text("3.5-residual").text
    assert re.search(
        r"训练之前，它的梯度范数是 .* 1\.71 倍 .*对训练前与各轮平均，则是 0\.81 倍", text
    )


def test_the_committed_report_has_the_numbers_of_the_committed_runs(facts: Facts) -> None:
    """Its table of results, row by row, from the files; and its abstract as it is written now."""
    path = LOGS.parent / EXPERIMENT / "report.html"
    page = html5lib.parse(path.read_text("utf-8"), namespaceHTMLElements=False)
    rows = [["".join(c.itertext()).strip() for c in row] for row in page.iter("tr")]
    shown = {row[0]: row[1:4] for row in rows if len(row) == 8 and "±" in row[3]}
    assert list(shown) == [short_name(v) for v in REPORT_VARIANTS]
    for variant in REPORT_VARIANTS:
        runs = [_result(variant, seed) for seed in SEEDS]
        cells = shown[short_name(variant)]
        spread = 100 * _tests(variant).std(ddof=1)
        numbers = [float(x) for x in (cells[0], cells[1], *cells[2].split(" ± "))]
        means = [100 * np.mean([r[s]["accuracy"] for r in runs]) for s in ("train", "val", "test")]
        assert numbers == pytest.approx([*means, spread], abs=0.0051)
    said = re.sub(r"\s", "", "".join(page.itertext()))
    abstract = facts.text("abstract").text.splitlines()[1]
    assert re.sub(r"\s", "", abstract) in said
