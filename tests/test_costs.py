"""Costs with their Pareto fronts, and the tuned net beside the others."""

import math
from pathlib import Path

import pytest
from fake_runs import Fake, write_runs

from labcnn.errors import ReportError
from labcnn.runs import HISTORY, RESULT
from labreport import tables
from labreport.claims import Part
from labreport.costs import Point, find_front, find_points, training_flops
from labreport.facts import Facts
from labreport.study import Study, load_study, load_tuned
from labreport.verdicts import estimate_part, judge_claims

TUNED = {"protocol": "tuned"}


def test_front_by_hand() -> None:
    found = [
        Point("a", 3, 0.5), Point("b", 1, 0.2), Point("c", 2, 0.5), Point("d", 1, 0.1),
    ]  # fmt: skip
    assert [point.variant for point in find_front(found)] == ["b", "c"]
    assert [point.variant for point in find_front([*found, Point("e", 9, 0.6)])] == ["b", "c", "e"]


def test_a_trainings_arithmetic_by_hand(tmp_path: Path) -> None:
    """Images x epochs x three forward passes, each at the size that the epoch had."""
    fakes = [Fake("short_all", 0, epochs_run=4), Fake("short_all", 1, epochs_run=6)]
    write_runs(tmp_path, fakes, images=500)
    study = load_study(tmp_path)
    (run, _) = study.runs("short_all")
    assert training_flops(study, "short_all") == 3 * run.model.flops * run.train.count * 5
    (point,) = find_points(study)
    assert point == Point("short_all", training_flops(study, "short_all"), point.accuracy, 5)


def test_an_epoch_in_which_the_computer_slept_is_no_cost(tmp_path: Path) -> None:
    (run, _) = write_runs(tmp_path, ["short_norm", "short_baseline"], parameters={"epochs": 5})
    history = run.history().assign(seconds=[370.0, 371.0, 6920.0, 369.0, 372.0])
    history.to_csv(run.path / HISTORY, index=False)
    result = run.result()
    paused = result.timing.model_copy(update={"train_seconds": 8402.0, "seconds_per_epoch": 1680.4})
    text = result.model_copy(update={"timing": paused}).model_dump_json()
    (run.path / RESULT).write_text(text, encoding="utf-8")
    facts = Facts(load_study(tmp_path), [])
    timing = facts.study.results["short_norm", 0].timing
    assert (timing.train_seconds, timing.seconds_per_epoch) == (5 * 371, 371)
    assert 1850 < facts.circumstances.train_seconds < 1880
    part = Part("seconds_to_reach", "short_norm", "short_baseline")
    estimate = estimate_part(facts.study, part).estimate
    assert estimate is not None and math.exp(estimate.effect) < 5 * 371 / 2
    assert "中位数" in facts.text("a-statistics").text


def _studies(tmp_path: Path) -> tuple[Study, Study | None]:
    study = load_study(tmp_path, "shapes")
    return study, load_tuned(study, tmp_path)


def test_the_tuned_run_is_a_box_of_its_own_with_its_whole_recipe(tmp_path: Path) -> None:
    write_runs(tmp_path)
    write_runs(tmp_path, [Fake("short_all", accuracies=(1.0, 0.9, 0.9))], parameters=TUNED)
    study, tuned = _studies(tmp_path)
    assert tuned is not None
    facts = Facts(study, judge_claims(study), Facts(tuned, []))
    assert len(tables.tabulate_results(study).rows) == 13
    text = facts.text("3.6-tuned").text
    recipe = tuned.recipe
    for said in (
        "**90.00%**", "Muon", "单周期", "白化", f"{recipe.epochs} 轮",
        f"批大小 {recipe.batch_size}", f"标签平滑 {recipe.label_smoothing:g}", "六个视图",
        "不能归于其中任何一项",
    ):  # fmt: skip
        assert said in text
    assert f"{training_flops(tuned, 'short_all') / 1e12:.0f} TFLOP" in text
    assert tables.tabulate_logs(facts, "logs").rows[-1][0] == "short+全部（tuned）"
    assert Facts(study, []).text("3.6-tuned").text == ""


def test_a_tuned_experiment_must_be_one_of_the_same_data(tmp_path: Path) -> None:
    write_runs(tmp_path, ["short_all"])
    write_runs(tmp_path, ["short_all"], parameters={"epochs": 3})
    study, tuned = _studies(tmp_path)
    assert tuned is None
    with pytest.raises(ReportError, match="protocol='course'"):
        load_tuned(study, tmp_path, "shapes-3ep")
    with pytest.raises(ReportError, match="'shapes-tune'"):
        load_tuned(study, tmp_path, "shapes-tune")
    write_runs(tmp_path, ["short_all"], parameters=TUNED, fingerprint="beef" * 16)
    assert load_tuned(study, tmp_path) is None
    with pytest.raises(ReportError, match=r"shapes-tuned.*other data"):
        load_tuned(study, tmp_path, "shapes-tuned")
    itself = load_study(tmp_path, "shapes-tuned")
    assert load_tuned(itself, tmp_path) is None
