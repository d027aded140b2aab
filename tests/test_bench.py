"""The benchmarks' arithmetic and their tables; nothing here is timed."""

import contextlib
import json
import math

import bench
import measures
import pytest
import speed
import tuned
import turns
from measures import Measure, of_rounds

from labcnn.models import model_size
from labcnn.variants import VARIANTS


def test_a_measure_is_the_median_with_the_extremes_and_meets_its_goal_or_not():
    one = of_rounds("a", [3.0, 1.0, 2.0, 9.0, 2.5], "x", (">=", 2.0), "note").record()
    assert one == {
        "name": "a", "value": 2.5, "unit": "x", "low": 1.0, "high": 9.0, "goal": ">= 2",
        "met": True, "note": "note", "row": "",
    }  # fmt: skip
    for value, goal, met in (
        (2.0, (">=", 2.0), True),
        (1.9, (">=", 2.0), False),
        (2.0, ("<=", 2.0), True),
        (2.1, ("<=", 2.0), False),
        (2.0, None, None),
        (1.0, (">", 1.0), False),
        (None, (">=", 2.0), None),
    ):
        assert Measure("a", value, "x", goal=goal).met is met, (value, goal)


def test_a_row_that_fails_is_a_row_and_the_others_stay():
    def good(_):
        yield Measure("good", 1.0, "s")

    def bad(_):
        yield Measure("before", 2.0, "s")
        raise RuntimeError("no such thing\nand more")

    rows, whole = bench.measured(None, {"bad": bad, "good": good})
    assert not whole
    assert [(row.name, row.value) for row in rows] == [
        ("before", 2.0), ("bad", None), ("good", 1.0),
    ]  # fmt: skip
    assert rows[1].note == "failed: no such thing"
    assert "not measured" in measures.table([rows[1].record()])


OURS = {"kind": "ours", "variant": "short_norm", "threads": 1, "dataset": "shapes"}


@pytest.mark.system
def test_contestants_take_turns_in_processes_of_their_own():
    rounds = turns.interleaved({"a": OURS, "b": OURS | {"cached": True}}, 2, 0.1)
    assert len(rounds) == 2
    assert all(math.isfinite(each[name]) and each[name] > 0 for each in rounds for name in "ab")


@pytest.mark.system
def test_a_contestant_that_ends_says_why():
    with pytest.raises(RuntimeError, match=r"contestant ours has ended: .*'short_of' is unknown"):
        turns.interleaved({"a": OURS | {"variant": "short_of"}}, 1, 0.1)


def test_the_fastest_of_a_kind_counts_in_each_round():
    rounds = [
        {"ours": 8.0, "user 0": 2.0, "user 1": 1.0},
        {"ours": 9.0, "user 0": 2.0, "user 1": 3.0},
        {"ours": 12.0, "user 0": 2.0, "user 1": 0.5},
    ]
    one = speed.versus("a", rounds, "ours", "user", (">=", 4.0))
    assert (one.value, one.low, one.high, one.met) == (4.0, 3.0, 6.0, True)
    assert one.note == "9 against 2 images/s, with 0 workers"


def test_what_runs_lose_side_by_side_is_over_the_time_of_all_variants(monkeypatch, tmp_path):
    """Rates: 2e12 and 5e11 of the products, 100 images/s of a run alone, 160 of two together."""
    rates = {"bf16": 2e12, "fp32": 5e11}

    @contextlib.contextmanager
    def started(options):
        yield options

    def together(runs, seconds):
        if "precision" in runs[0]:
            return rates[runs[0]["precision"]]
        return 100.0 if len(runs) == 1 else 160.0

    monkeypatch.setattr(speed, "started", started)
    monkeypatch.setattr(speed, "together", together)
    monkeypatch.setattr(speed, "CORES", 2)
    variants = ["short_baseline", "short_norm"]
    monkeypatch.setattr(speed, "REPORT_VARIANTS", variants)
    products, *shares, beside = speed.hardware(speed.Bench(False, tmp_path))
    assert products.value == 4
    assert products.note == "2.00 against 0.50 TFLOP/s, one thread"
    assert [one.name.split(":")[0] for one in shares] == variants
    for one in shares:
        variant = one.name.split(":")[0]
        assert one.value == pytest.approx(100 * 3 * model_size(variant).flops / 2e12)
        assert one.goal == (">=", 0.25 if VARIANTS[variant].norm else 0.30)
    assert beside.value == pytest.approx(0.8)
    assert beside.met is False


def test_the_tables_of_the_pages_are_those_of_the_results():
    result = json.loads(bench.RESULTS.read_text(encoding="utf-8"))
    for page, inner in bench.pages(result).items():
        text = page.read_text(encoding="utf-8")
        assert text == measures.replaced(text, inner), page
    keys = {"name", "value", "unit", "low", "high", "goal", "met", "note", "row"}
    assert all(set(one) == keys for one in result["measures"])
    assert {"machine", "versions", "date"} <= set(result) and not result["quick"]


def test_the_short_table_has_the_rows_with_goals_and_the_lowest_share():
    rows = [
        Measure("one: model FLOP/s", 0.5, "", goal=(">=", 0.3)),
        Measure("two: model FLOP/s", 0.4, "", goal=(">=", 0.3)),
        Measure("free", 1.0, "s"),
        Measure("slow", 3.0, "s", goal=("<=", 2.0)),
    ]
    lines = measures.goals({"measures": [row.record() for row in rows]}).splitlines()[2:]
    assert [line.split(" | ")[0] for line in lines] == ["| two: model FLOP/s", "| slow"]


def test_each_ablation_of_protocol_tuned_changes_what_it_names():
    whole = tuned.request("everything", 0, 1).recipe.model_dump()
    for name, changes in tuned.ABLATIONS.items():
        recipe = tuned.request(name, 0, 1).recipe.model_dump()
        assert {k for k in recipe if recipe[k] != whole[k]} == set(changes), name
