"""What the report has beyond the original: costs, the forest plot, the tuned row."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from fake_runs import Fake, write_runs
from matplotlib.colors import same_color

from labcnn.errors import ReportError
from labreport import comparison, costs, forest, prose, reproduction, seeds, style, tables
from labreport.costs import Point, front
from labreport.document import Prose, Strong
from labreport.study import Study, load_study
from labreport.tuned import load_tuned
from labreport.verdicts import evaluate

TUNED = {"protocol": "tuned"}


def test_front_by_hand() -> None:
    points = [Point("a", 3, 0.5), Point("b", 1, 0.2), Point("c", 2, 0.5), Point("d", 1, 0.1)]
    assert [point.name for point in front(points)] == ["b", "c"]
    assert [point.name for point in front([*points, Point("e", 9, 0.6)])] == ["b", "c", "e"]


def test_no_point_beats_one_of_the_front(tmp_path: Path) -> None:
    write_runs(tmp_path)
    study = load_study(tmp_path)
    for column in ("train_seconds", "flops"):
        found = costs.points(study, column)
        for good, other in itertools.product(front(found), found):
            assert not (other.cost <= good.cost and other.accuracy > good.accuracy)
            assert not (other.cost < good.cost and other.accuracy >= good.accuracy)


def test_times_of_different_machines_are_said_to_be_no_measure(tmp_path: Path) -> None:
    (first, _) = write_runs(tmp_path, ["short_all", "long_all"])
    assert "只供参考" not in costs.text(load_study(tmp_path)).text
    path = first.path / "result.json"
    text = path.read_text(encoding="utf-8").replace('"a CPU"', '"another CPU"')
    path.write_text(text, encoding="utf-8")
    assert "只供参考" in costs.text(load_study(tmp_path)).text


def test_forest_has_a_row_for_each_estimate_in_its_verdicts_colour(tmp_path: Path) -> None:
    style.use()
    write_runs(tmp_path, images=2000)
    verdicts = evaluate(load_study(tmp_path))
    shown = [(v, f) for v in verdicts for f in v.shown if f.estimate]
    figure = forest.plot(verdicts)
    rows = forest.rows(verdicts)
    assert sum(map(len, rows.values())) == len(shown)
    for axes, (unit, listed) in zip(figure.axes, rows.items(), strict=True):
        assert len(axes.get_yticklabels()) == len(listed)
        dots = [line for line in axes.lines if line.get_marker() in {"o", "s", "D"}]
        for place, (verdict, finding) in enumerate(listed):
            assert finding.estimate is not None
            (dot,) = [d for d in dots if np.ravel(d.get_ydata()).tolist() == [place]]
            assert same_color(dot.get_color(), forest.LOOKS[verdict.verdict]["color"])
            drawn = forest.SCALES[unit](finding.estimate.effect)
            assert float(np.ravel(dot.get_xdata())[0]) == pytest.approx(float(drawn))


def test_long_intervals_are_cut_so_that_the_others_stay_readable() -> None:
    from labreport.claims import Part
    from labreport.statistics import Estimate
    from labreport.verdicts import Finding

    part = Part("test", "short_all", "long_all")
    found = [
        Finding(part, Estimate(effect, low, high, 0.5, "", 0.0))
        for effect, low, high in ((0.05, 0.04, 0.06), (0.02, -30.0, 30.0))
    ]
    low, high = forest._limits(found)
    assert low < 0 < 0.06 < high < 0.2


def test_without_any_comparison_the_forest_says_so(tmp_path: Path) -> None:
    write_runs(tmp_path, ["mid_norm"])
    figure = forest.plot([])
    assert "没有可以比较的运行" in [text.get_text() for text in figure.axes[0].texts]


def test_one_seed_has_no_spread(tmp_path: Path) -> None:
    write_runs(tmp_path, ["short_all"])
    study = load_study(tmp_path)
    shown = seeds.spread(study)
    assert isinstance(shown, Prose)
    assert "只有一个随机种子" in shown.text
    assert "@" not in seeds.text(study).text


def _studies(tmp_path: Path) -> tuple[Study, Study | None]:
    study = load_study(tmp_path, "shapes")
    return study, load_tuned(study, tmp_path)


def test_tuned_run_is_the_fourteenth_row(tmp_path: Path) -> None:
    write_runs(tmp_path)
    write_runs(tmp_path, [Fake("short_all", accuracies=(1.0, 0.9, 0.9))], parameters=TUNED)
    study, tuned = _studies(tmp_path)
    assert tuned is not None
    rows = tables.results(study, tuned).rows
    assert len(rows) == 14
    assert list(rows[-1][:5]) == [
        "Shortbaseline+all（tuned）", "100.00", "90.00", "90.00", "正常",
    ]  # fmt: skip
    assert not any(isinstance(cell, Strong) for cell in rows[-1])
    assert any(isinstance(cell, Strong) for row in rows[:-1] for cell in row)
    assert "90.00%" in prose.summary(study, evaluate(study), tuned).text
    assert costs.points(study, "flops", tuned)[-1].accuracy == 0.9
    assert "short+全部（tuned）" in [
        label.get_text() for label in comparison.ranking(study, tuned).axes[0].get_yticklabels()
    ]
    assert "protocol=tuned" in reproduction.how(study, tuned).text
    assert reproduction.logs(study, "", tuned).rows[-1][1] == "shapes-tuned/short_all"
    assert reproduction.logs(study, "logs", tuned).rows[-1][0] == "short+全部（tuned）"


def test_a_tuned_net_of_more_images_is_no_point_beside_the_others(tmp_path: Path) -> None:
    for fraction, shown in ((1.0, False), (0.5, True)):
        folder = tmp_path / str(fraction)
        write_runs(folder, ["short_all"], parameters={"fraction": 0.5})
        given = {"protocol": "tuned", "fraction": fraction}
        better = Fake("short_all", accuracies=(1.0, 0.9, 0.9))
        (run,) = write_runs(folder, [better], parameters=given)
        study = load_study(folder, "shapes-50pct")
        tuned = load_study(folder, run.path.parents[1].name)
        assert (costs.TUNED in costs.text(study, tuned).text) is shown


def test_without_a_tuned_run_there_are_thirteen(tmp_path: Path) -> None:
    write_runs(tmp_path)
    study, tuned = _studies(tmp_path)
    assert tuned is None
    assert len(tables.results(study, tuned).rows) == 13


def test_tuned_runs_of_other_data_do_not_stand_beside(tmp_path: Path) -> None:
    write_runs(tmp_path, ["short_all"])
    write_runs(tmp_path, ["short_all"], parameters=TUNED, fingerprint="beef" * 16)
    study, tuned = _studies(tmp_path)
    assert tuned is None
    with pytest.raises(ReportError, match=r"shapes-tuned.*other data"):
        load_tuned(study, tmp_path, "shapes-tuned")


def test_a_tuned_experiment_that_is_given_must_be_one(tmp_path: Path) -> None:
    write_runs(tmp_path, ["short_all"])
    write_runs(tmp_path, ["short_all"], parameters={"epochs": 3})
    study = load_study(tmp_path, "shapes")
    with pytest.raises(ReportError, match="protocol='course'"):
        load_tuned(study, tmp_path, "shapes-3ep")
    with pytest.raises(ReportError, match="'shapes-tune'"):
        load_tuned(study, tmp_path, "shapes-tune")


def test_a_report_of_the_tuned_experiment_itself_has_no_second_one(tmp_path: Path) -> None:
    write_runs(tmp_path, ["short_all"], parameters=TUNED)
    assert load_tuned(load_study(tmp_path), tmp_path) is None
