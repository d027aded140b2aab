"""What a sweep would run and how long it takes; the list of the runs there are."""

import io
import json
from pathlib import Path

import pytest
import tiny_folder
from fake_runs import write_runs
from filelock import FileLock
from rich.console import Console
from typer.testing import CliRunner

from labcnn.cli import app
from labcnn.data import load_dataset
from labcnn.errors import DataError, ParameterError
from labcnn.models import model_size
from labcnn.runs import NUMERICS, RESULT, RunFolder, lock_path
from labsweep.gpus import VISIBLE
from labsweep.launch import SnakemakeOptions, run_sweep
from labsweep.monitor import show_runs
from labsweep.plan import plan, show_plan, this_device, wall_seconds
from labsweep.sweep import Sweep


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


def made_here(folder: RunFolder, **changes: object) -> None:
    """Let a result be of this machine, but for some changes."""
    name, threads, precision = this_device({"threads": 1})
    here = {"device_name": name, "threads": threads, "precision": precision}
    edit(folder, **({f"provenance__{key}": value for key, value in here.items()} | changes))


def labcnn(*arguments: str) -> str:
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    return done.output


def test_a_plan_goes_by_what_was_measured(tmp_path: Path) -> None:
    for seed, speed in enumerate((90.0, 110.0)):
        (folder,) = write_runs(tmp_path, ["short_all"], [seed])
        made_here(folder, timing__images_per_second=speed, model__flops=1000)
    sweep = Sweep.from_options(
        {"variants": "short_all long_all", "seeds": "0 1 2", "logs": tmp_path}
    )
    short, long = plan(sweep)
    images = len(load_dataset("shapes").train)
    assert (short.runs, len(short.due), short.images) == (3, 1, images)
    assert list(short.due.values()) == ["no result yet"]
    assert short.speed == (100.0, False)
    assert short.seconds == short.epochs * images / 100
    recipe = sweep.runs[0].recipe
    size = model_size("long_all", recipe.width, size=recipe.last_size).flops
    assert long.speed == (100 * 1000 / size, True)
    assert len(long.due) == 3
    assert short.seconds and long.seconds
    assert wall_seconds([short, long], 1) == pytest.approx(short.seconds + 3 * long.seconds)
    assert wall_seconds([short, long], 2) == pytest.approx(2 * long.seconds)
    assert wall_seconds([short, long], 9) == pytest.approx(long.seconds)


def test_other_widths_machines_and_threads_say_nothing_and_what_is_done_is_not_planned(
    tmp_path: Path,
) -> None:
    (wider,) = write_runs(tmp_path, ["short_all"], parameters={"width": 8})
    made_here(wider)
    first, second, third = write_runs(tmp_path, ["short_norm"], [0, 1, 2])
    made_here(first, provenance__threads=2)
    made_here(second, provenance__device_name="another")
    made_here(third, provenance__precision="fp64")
    before = sorted(tmp_path.rglob("*"))
    said = labcnn("plan", "--variants", "short_all", "--jobs", "2", "--logs", str(tmp_path))
    assert "? nothing like it was measured yet" in said
    assert "1 due: no result yet" in said
    assert "1 of 1 runs are due, 2 side by side: time not known" in said
    for command in (["plan"], ["sweep", "--dry-run"]):
        said = labcnn(*command, "--variants", "short_norm", "--logs", str(tmp_path))
        assert "shapes: nothing is due" in said
    assert sorted(tmp_path.rglob("*")) == before  # neither runs or writes anything


def test_what_this_machine_lacks_is_said_before_any_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for given, variable, value, error, said in (
        ({"device": "cuda"}, VISIBLE, "", ParameterError, "device='cuda' isn't on this machine"),
        ({"dataset": "tiny-imagenet-200"}, "LABCNN_DATA", str(tmp_path / "no-data"), DataError,
         "tiny-imagenet-200 isn't prepared"),
    ):  # fmt: skip
        monkeypatch.setenv(variable, value)
        sweep = Sweep.from_options({**given, "variants": "short_all", "logs": tmp_path / "logs"})
        with pytest.raises(error, match=said):
            run_sweep(sweep, SnakemakeOptions(1), Console(file=io.StringIO()))
        shown = io.StringIO()
        show_plan(sweep, 1, Console(file=shown, width=300))
        assert f"not here: {said}" in shown.getvalue()
    assert not (tmp_path / "logs").exists()


def test_runs_are_listed_with_their_state(tmp_path: Path) -> None:
    _, second, third = write_runs(tmp_path, ["short_all"], [0, 1, 10])
    edit(second, provenance__numerics=NUMERICS - 1)
    edit(third, provenance__numerics=NUMERICS + 1)
    RunFolder(tmp_path / "shapes" / "long_all" / "seed0").write_failure("died", "killed", 2)
    (cut,) = write_runs(tmp_path, ["mid_all"])
    (cut.path / RESULT).write_text("{", encoding="utf-8")
    (begun,) = write_runs(tmp_path, ["mid_norm"])
    (begun.path / RESULT).unlink()
    (held,) = write_runs(tmp_path, ["mid_residual"])
    files = sorted(tmp_path.rglob("*"))
    with FileLock(lock_path(held.path)):
        lines = labcnn("runs", "--logs", str(tmp_path)).splitlines()
        shown = io.StringIO()
        show_runs(tmp_path, None, Console(file=shown, width=150, force_terminal=True))
    lock_path(held.path).unlink(missing_ok=True)
    assert sorted(tmp_path.rglob("*")) == files
    cells = [line.split("\t") for line in lines]
    found = {(variant, int(seed)): (state, text) for _, variant, seed, state, text in cells}
    assert {key: state for key, (state, _) in found.items()} == {
        ("short_all", 0): "done", ("short_all", 1): "stale", ("short_all", 10): "stale",
        ("long_all", 0): "failed", ("mid_all", 0): "damaged", ("mid_norm", 0): "unfinished",
        ("mid_residual", 0): "running",
    }  # fmt: skip
    assert list(found) == sorted(found)
    assert found["short_all", 0][1].startswith("test accuracy ")
    for seed, numerics in ((1, NUMERICS - 1), (10, NUMERICS + 1)):
        why = f"made by code of numerics {numerics}, this is {NUMERICS}"
        assert why in found["short_all", seed][1]
    assert found["long_all", 0][1].startswith("died: killed (attempt 2, ")
    assert all(variant in shown.getvalue() for variant, _ in found)


def test_other_data_makes_a_run_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"parameters": {"dataset": "tiny-imagenet-200"}, "fingerprint": "ab" * 32}
    write_runs(tmp_path / "logs", ["short_all"], **given)  # type: ignore[arg-type]
    monkeypatch.setenv("LABCNN_DATA", str(tmp_path / "data"))
    assert "\tdone\t" in labcnn("runs")  # without the data nobody knows
    labcnn("data", "fetch", "--from", str(tiny_folder.write_tiny(tmp_path)))
    listed = labcnn("runs")
    assert "\tstale\t" in listed
    assert "made from other data: abababab, here is " in listed
