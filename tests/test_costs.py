"""Costs with their Pareto fronts, and the tuned net beside the others."""

import math
from pathlib import Path

import pytest
from fake_runs import Fake, copy_training, write_runs

from labcnn.errors import ReportError
from labcnn.runs import HISTORY, RESULT
from labreport import reproduction, tables
from labreport.claims import Part
from labreport.costs import Point, front, measure_costs, points
from labreport.display import Strong
from labreport.facts import Facts
from labreport.figures import comparison
from labreport.study import Study, load_study, load_tuned
from labreport.verdicts import compare, judge_claims

TUNED = {"protocol": "tuned"}


def test_front_by_hand() -> None:
    found = [
        Point("a", 3, 0.5), Point("b", 1, 0.2), Point("c", 2, 0.5), Point("d", 1, 0.1),
    ]  # fmt: skip
    assert [point.variant for point in front(found)] == ["b", "c"]
    assert [point.variant for point in front([*found, Point("e", 9, 0.6)])] == ["b", "c", "e"]


def test_times_of_different_machines_or_of_one_training_are_no_measure(tmp_path: Path) -> None:
    first, second = write_runs(tmp_path, ["short_baseline", "short_lrdecay"])
    facts = Facts(load_study(tmp_path), [])
    assert facts.costs.comparable and facts.costs.noise is None
    assert "只供参考" not in facts.text("5.1-fronts").text
    path = first.path / "result.json"
    text = path.read_text(encoding="utf-8").replace('"a CPU"', '"another CPU"')
    path.write_text(text, encoding="utf-8")
    copy_training(first, second)
    history = first.history()  # the same epochs on a busier machine
    history.assign(seconds=1.1 * history["seconds"]).to_csv(second.path / HISTORY, index=False)
    facts = Facts(load_study(tmp_path), [])
    assert facts.costs.noise == pytest.approx(0.1)
    shown = facts.text("5.1-fronts").text
    assert "只供参考" in shown
    assert f"相差可达 {facts.costs.noise:.0%}" in shown


def test_an_epoch_in_which_the_computer_slept_is_no_cost(tmp_path: Path) -> None:
    (run, _) = write_runs(tmp_path, ["short_norm", "short_baseline"], parameters={"epochs": 5})
    history = run.history().assign(seconds=[370.0, 371.0, 6920.0, 369.0, 372.0])
    history.to_csv(run.path / HISTORY, index=False)
    result = run.result()
    paused = result.timing.model_copy(update={"train_seconds": 8402.0, "seconds_per_epoch": 1680.4})
    text = result.model_copy(update={"timing": paused}).model_dump_json()
    (run.path / RESULT).write_text(text, encoding="utf-8")
    facts = Facts(load_study(tmp_path), [])
    costs = {point.variant: point.cost for point in points(facts.study, "train_seconds")}
    assert costs["short_norm"] == 5 * 371
    assert tables.tabulate_section(facts.study, ["short_norm"]).rows[0][6] == "371.0"
    assert 1850 < facts.provenance.train_seconds < 1880
    part = Part("seconds_to_reach", "short_norm", "short_baseline")
    estimate = compare(facts.study, part).estimate
    assert estimate is not None and math.exp(estimate.effect) < 5 * 371 / 2
    assert "中位数" in facts.text("5.1-costs").text


def _studies(tmp_path: Path) -> tuple[Study, Study | None]:
    study = load_study(tmp_path, "shapes")
    return study, load_tuned(study, tmp_path)


def test_tuned_run_is_the_fourteenth_row(tmp_path: Path) -> None:
    write_runs(tmp_path)
    write_runs(tmp_path, [Fake("short_all", accuracies=(1.0, 0.9, 0.9))], parameters=TUNED)
    study, tuned = _studies(tmp_path)
    assert tuned is not None
    facts = Facts(study, judge_claims(study), tuned)
    rows = tables.tabulate_results(study, tuned).rows
    assert len(rows) == 14
    assert list(rows[-1][:5]) == [
        "Shortbaseline+all（tuned）", "100.00", "90.00", "90.00", "正常",
    ]  # fmt: skip
    assert not any(isinstance(cell, Strong) for cell in rows[-1])
    assert any(isinstance(cell, Strong) for row in rows[:-1] for cell in row)
    assert "90.00%" in facts.text("3.6-summary").text
    assert points(study, "flops", tuned)[-1].accuracy == 0.9
    assert "short+全部（tuned）" in [
        label.get_text()
        for label in comparison.plot_ranking(study, tuned).axes[0].get_yticklabels()
    ]
    assert "protocol=tuned" in facts.text("6-command").text
    assert reproduction.list_logs(study, "", tuned).rows[-1][1] == "shapes-tuned/short_all"
    assert reproduction.list_logs(study, "logs", tuned).rows[-1][0] == "short+全部（tuned）"

    # One of more images is no point beside the others.
    for fraction, shown in ((1.0, False), (0.5, True)):
        folder = tmp_path / str(fraction)
        write_runs(folder, ["short_all"], parameters={"fraction": 0.5})
        better = Fake("short_all", accuracies=(1.0, 0.9, 0.9))
        (run,) = write_runs(folder, [better], parameters={**TUNED, "fraction": fraction})
        study = load_study(folder, "shapes-50pct")
        tuned = load_study(folder, run.path.parents[1].name)
        found = measure_costs(study, tuned)
        assert any(p.tuned for p in [*found.by_time, *found.by_flops]) is shown


def test_a_tuned_experiment_must_be_one_of_the_same_data(tmp_path: Path) -> None:
    write_runs(tmp_path, ["short_all"])
    write_runs(tmp_path, ["short_all"], parameters={"epochs": 3})
    study, tuned = _studies(tmp_path)
    assert tuned is None
    assert len(tables.tabulate_results(study, tuned).rows) == 13
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
