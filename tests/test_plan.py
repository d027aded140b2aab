"""What a sweep would run and how long it takes; the list of the runs there are."""

import io
import json
from pathlib import Path

import pytest
from fake_runs import write_runs
from filelock import FileLock
from rich.console import Console
from typer.testing import CliRunner

from labcnn import runs
from labcnn.cli import app
from labcnn.data import load_dataset
from labcnn.models import model_size
from labcnn.runs import BEGUN, NUMERICS, RESULT, RunFolder, RunState, find_runs, lock_path, state
from labsweep import Sweep
from labsweep.plan import busiest, plan, wall_seconds
from labsweep.screen import describe, show_plan, show_runs


def edit(folder: RunFolder, **changes: object) -> None:
    """Change fields of a result, by the names that lead to them."""
    path = folder.path / RESULT
    result = json.loads(path.read_text(encoding="utf-8"))
    for name, value in changes.items():
        *parents, last = name.split("__")
        at = result
        for parent in parents:
            at = at[parent]
        at[last] = value
    path.write_text(json.dumps(result), encoding="utf-8")


def states(logs: Path) -> dict[tuple[str, int], RunState]:
    return {(run.variant, run.seed): state(run) for run in find_runs(logs, having=BEGUN)}


@pytest.fixture(autouse=True)
def this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labsweep.plan.this_device", lambda parameters: ("a CPU", 1, "fp32"))


def test_a_plan_goes_by_what_was_measured(tmp_path: Path) -> None:
    for seed, speed in enumerate((90.0, 110.0)):
        (folder,) = write_runs(tmp_path, ["short_all"], [seed])
        edit(folder, timing__images_per_second=speed, model__flops=1000)
    sweep = Sweep.from_config(
        {"variants": "short_all long_all", "seeds": "0 1 2", "logs": tmp_path}
    )
    short, long = plan(sweep)
    images = len(load_dataset("shapes").train)
    assert (short.runs, len(short.due), short.images) == (3, 1, images)
    assert list(short.due.values()) == ["no result yet"]
    assert short.speed == (100.0, 2, False)
    assert short.seconds == short.epochs * images / 100
    recipe = sweep.runs[0].recipe
    size = model_size("long_all", recipe.width, size=recipe.last_size).flops
    assert long.speed == (100 * 1000 / size, 2, True)
    assert len(long.due) == 3
    assert short.seconds and long.seconds
    assert wall_seconds([short, long], 1) == pytest.approx(short.seconds + 3 * long.seconds)
    assert wall_seconds([short, long], 3) == pytest.approx(short.seconds + long.seconds)


def test_other_widths_machines_and_threads_say_nothing(tmp_path: Path) -> None:
    write_runs(tmp_path, ["short_all"], parameters={"width": 8})
    first, second, third = write_runs(tmp_path, ["short_norm"], [0, 1, 2])
    edit(first, provenance__threads=2)
    edit(second, provenance__device_name="another")
    edit(third, provenance__precision="bf16")
    sweep = Sweep.from_config({"variants": "short_all", "logs": tmp_path})
    (line,) = plan(sweep)
    assert line.speed is line.seconds is wall_seconds([line], 2) is None
    shown = io.StringIO()
    show_plan(sweep, 2, Console(file=shown, width=200))
    assert "? nothing like it was measured yet" in shown.getvalue()
    assert "1 due: no result yet" in shown.getvalue()
    assert "1 of 1 runs are due, 2 side by side: time not known" in shown.getvalue()


@pytest.mark.parametrize(
    ("seconds", "places", "end"),
    [([], 2, 0), ([3], 2, 3), ([3, 2, 2], 2, 4), ([3, 3, 3], 2, 6), ([1, 1], 9, 1)],
)
def test_each_place_takes_the_next_when_it_is_free(
    seconds: list[float], places: int, end: float
) -> None:
    assert busiest(seconds, places) == end


def test_a_plan_of_what_is_done_is_empty_and_runs_nothing(tmp_path: Path) -> None:
    write_runs(tmp_path, ["short_all"])
    before = sorted(tmp_path.rglob("*"))
    arguments = ["--variants", "short_all", "--logs", str(tmp_path)]
    for command in (["plan"], ["sweep", "--dry-run"]):
        done = CliRunner().invoke(app, [*command, *arguments])
        assert done.exit_code == 0, done.output
        assert "shapes: nothing is due" in done.output
    assert sorted(tmp_path.rglob("*")) == before


def test_runs_are_listed_with_their_state(tmp_path: Path) -> None:
    _, second, third = write_runs(tmp_path, ["short_all"], [0, 1, 10])
    experiment = tmp_path / "shapes"
    edit(second, provenance__numerics=NUMERICS - 1)
    edit(third, provenance__numerics=NUMERICS + 1)
    RunFolder(experiment / "long_all" / "seed0").write_failure("died", "killed", 2)
    (cut,) = write_runs(tmp_path, ["mid_all"])
    (cut.path / RESULT).write_text("{", encoding="utf-8")
    (begun,) = write_runs(tmp_path, ["mid_norm"])
    (begun.path / RESULT).unlink()
    (held,) = write_runs(tmp_path, ["mid_residual"])
    files = sorted(tmp_path.rglob("*"))
    with FileLock(lock_path(held.path)):
        listed = states(tmp_path)
    lock_path(held.path).unlink(missing_ok=True)
    assert sorted(tmp_path.rglob("*")) == files
    kinds = {key: its.kind for key, its in listed.items()}
    assert kinds == {
        ("short_all", 0): "done", ("short_all", 1): "stale", ("short_all", 10): "stale",
        ("long_all", 0): "failed", ("mid_all", 0): "damaged", ("mid_norm", 0): "unfinished",
        ("mid_residual", 0): "running",
    }  # fmt: skip
    assert list(kinds) == sorted(kinds)
    made = "made by code of numerics {}, this is " + str(NUMERICS)
    assert made.format(NUMERICS - 1) in describe(listed["short_all", 1])
    assert made.format(NUMERICS + 1) in describe(listed["short_all", 10])
    assert describe(listed["long_all", 0]).startswith("died: killed (attempt 2, ")
    for terminal in (True, False):
        shown = io.StringIO()
        show_runs(tmp_path, None, Console(file=shown, width=150, force_terminal=terminal))
        assert all(variant in shown.getvalue() for variant, _ in listed)
    assert "shapes\tshort_all\t0\tdone\ttest accuracy" in shown.getvalue()


def test_other_data_makes_a_run_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder,) = write_runs(
        tmp_path, ["short_all"], parameters={"dataset": "tiny-imagenet-200"}, fingerprint="ab" * 32
    )
    monkeypatch.setattr(runs, "prepared_fingerprint", lambda dataset: "ab" * 32)
    assert state(folder).kind == "done"
    monkeypatch.setattr(runs, "prepared_fingerprint", lambda dataset: "cd" * 32)
    assert state(folder).reasons == ("made from other data: abababab, here is cdcdcdcd",)
    monkeypatch.setattr(runs, "prepared_fingerprint", lambda dataset: None)
    assert state(folder).kind == "done"
    assert folder.finished
