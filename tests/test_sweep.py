"""What a sweep consists of, how a user's values are read, and how far its runs are."""

import io
from pathlib import Path
from typing import Any

import nbformat
import pytest
from fake_runs import write_runs
from nbformat.v4 import new_code_cell, new_notebook
from papermill.cli import papermill
from rich.console import Console

from labcnn.errors import ParameterError
from labcnn.notebook import assigned_names
from labcnn.runs import HISTORY, PREDICTIONS
from labcnn.variants import REPORT_VARIANTS
from labsweep.commands import parse_assignments
from labsweep.monitor import Display, Monitor, RunPhase
from labsweep.sweep import Run, Sweep, parse_value


def sweep_in(folder: Path, **options: Any) -> Sweep:
    return Sweep.from_options({"logs": folder, **options})


def begin(run: Run) -> None:
    """Lay down an executed notebook, as papermill does when it starts."""
    run.folder.path.mkdir(parents=True, exist_ok=True)
    run.notebook.write_text("{}", encoding="utf-8")


def finish(run: Run) -> None:
    """Lay down a result of this code."""
    given = run.recipe.model_dump(include={"dataset", "epochs"})
    write_runs(run.folder.path.parents[2], [run.variant], [run.seed], parameters=given)


def test_a_sweep_is_all_variants_and_seeds_once_in_an_experiments_folder(tmp_path: Path) -> None:
    usual = sweep_in(tmp_path)
    assert [run.variant for run in usual.runs] == list(REPORT_VARIANTS)
    assert {run.seed for run in usual.runs} == {0}
    assert usual.runs[0].folder.path == tmp_path / "shapes" / REPORT_VARIANTS[0] / "seed0"
    chosen = sweep_in(tmp_path, variants="short_all long_all short_all", seeds="1,0 1")
    assert [str(run) for run in chosen.runs] == [
        "short_all seed 1", "long_all seed 1", "short_all seed 0", "long_all seed 0",
    ]  # fmt: skip
    small = {"dataset": "tiny-imagenet-200", "fraction": 0.1, "epochs": 5}
    assert sweep_in(tmp_path, **small).experiment == "tiny-imagenet-200-10pct-5ep"
    assert sweep_in(tmp_path, **small, experiment="mine").experiment == "mine"


def test_a_sweep_is_read_as_it_was_written(tmp_path: Path) -> None:
    given = {"epochs": "2", "augment": "true", "threads": "None", "minutes": "1.5"}
    sweep = sweep_in(tmp_path, variants="short_all", seeds="0 1", **given)
    read = Sweep.read(sweep.write())
    assert read == sweep
    assert read.runs == sweep.runs
    assert read.minutes == 1.5
    assert read.runs[0].recipe.augment is True
    assert read.parameters_of("short_all", 1) == {
        "variant": "short_all", "seed": 1, "dataset": "shapes", "epochs": 2, "augment": "true",
        "threads": 1, "logs": str(tmp_path),
    }  # fmt: skip


#: A wrong value, and what the error names.
WRONG: list[tuple[dict[str, Any], list[str]]] = [
    ({"variants": "shrot_all"}, ["shrot_all", "short_all"]),
    ({"variants": ""}, ["variants=", "it must name one at least"]),
    ({"seeds": "0 x"}, ["seeds='x'", "valid integer"]),
    ({"seed": 1}, ["seed=1", "--seeds"]),
    ({"notebook": "nowhere.ipynb"}, ["nowhere.ipynb", "no such file"]),
    ({"minutes": "-3"}, ["minutes=-3", "greater than 0"]),
]


def test_a_wrong_value_is_named_with_what_is_valid(tmp_path: Path) -> None:
    for options, named in WRONG:
        with pytest.raises(ParameterError) as caught:
            sweep_in(tmp_path, **options)
        assert [part for part in named if part not in str(caught.value)] == []
        assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_reads_values_as_papermill_does(tmp_path: Path) -> None:
    texts = ["a=2", "b=0.5", "c=true", "d=False", "e=None", "f=1e3", "g=x=y", "h=[1]", "i=-1", "j="]
    given = parse_assignments(texts)
    cell = new_code_cell("# parameters", metadata={"tags": ["parameters"]})
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(
        new_notebook(cells=[cell], metadata={"kernelspec": kernel}), tmp_path / "in.ipynb"
    )
    arguments = [str(tmp_path / "in.ipynb"), str(tmp_path / "out.ipynb"), "--prepare-only"]
    for name, text in given.items():
        arguments += ["-p", name, text]
    papermill(arguments, standalone_mode=False)
    injected = nbformat.read(tmp_path / "out.ipynb", as_version=4).cells[1].source
    values: dict[str, Any] = {}
    exec(injected, values)
    assert assigned_names(injected) == list(given)
    read = {name: parse_value(text) for name, text in given.items()}
    assert read == {name: values[name] for name in given}
    assert {type(read[name]) for name in "af"} == {int, float}
    for wrong in ("epochs", "=3", "learning rate=1"):
        with pytest.raises(ParameterError, match="name=value"):
            parse_assignments([wrong])
    with pytest.raises(ParameterError, match="a is given twice: 1 and 2"):
        parse_assignments(["a=1", "b=1", "a=2"])


def test_a_run_goes_from_waiting_to_done(tmp_path: Path) -> None:
    sweep = sweep_in(tmp_path, variants="short_all", epochs=3)
    (run,) = sweep.runs
    monitor = Monitor(sweep)
    assert monitor.phases() == {run: RunPhase("waiting")}
    begin(run)
    assert monitor.phases() == {run: RunPhase("running", "starting, or in epoch 1 of 3")}
    header, row = "epoch,val_accuracy,seconds", "2,0.125,200"
    (run.folder.path / HISTORY).write_text(f"{header}\n1,0.1,100\n{row}\n", encoding="utf-8")
    shown = "epoch 2 of 3, validation accuracy 12.50%, at most 2 min left"
    assert monitor.phases() == {run: RunPhase("running", shown)}
    finish(run)
    result = run.folder.result()
    text = f"test accuracy {result.test.accuracy:.2%} ({result.status})"
    assert monitor.phases() == Monitor(sweep).phases() == {run: RunPhase("done", text)}


def test_an_attempt_that_failed_is_waiting_until_it_was_the_last(tmp_path: Path) -> None:
    sweep = sweep_in(tmp_path, variants="short_all")
    (run,) = sweep.runs
    begin(run)
    run.folder.write_failure("error", "last week's", 2)
    monitor = Monitor(sweep, attempts=2)
    assert monitor.phases() == monitor.phases(ended=True) == {run: RunPhase("waiting")}
    begin(run)
    assert monitor.phases(ended=True) == {run: RunPhase("failed", "ended without a result")}
    run.folder.write_failure("error", "ValueError: once", 1)
    assert monitor.phases()[run] == RunPhase("waiting", "attempt 1 of 2: ValueError: once")
    assert monitor.phases(ended=True)[run] == RunPhase("failed", "ValueError: once")
    begin(run)
    assert monitor.phases()[run].phase == "running"
    run.folder.write_failure("time limit", "not finished after 5 minutes", 2)
    assert monitor.phases()[run] == RunPhase("failed", "time limit: not finished after 5 minutes")


def test_a_damaged_result_is_due(tmp_path: Path) -> None:
    sweep = sweep_in(tmp_path, variants="short_all long_all")
    cut, incomplete = sweep.runs
    for run in sweep.runs:
        finish(run)
    assert not sweep.due()
    cut.result.write_text('{"format": 1', encoding="utf-8")
    (incomplete.folder.path / PREDICTIONS).unlink()
    assert sweep.due() == (cut, incomplete)
    assert "cut off, or not JSON" in cut.due
    assert incomplete.due == f"damaged: {incomplete.folder.path / PREDICTIONS}: missing"
    assert {each.phase for each in Monitor(sweep).phases().values()} == {"waiting"}


def test_a_log_gets_a_line_per_change_and_a_terminal_that_is_too_low_what_runs(
    tmp_path: Path,
) -> None:
    runs = sweep_in(tmp_path).runs
    first, second, *_ = runs
    shown = io.StringIO()
    with Display(Console(file=shown, width=40)) as display:
        display.show({first: RunPhase("waiting"), second: RunPhase("waiting")})
        for _ in range(2):
            display.show({first: RunPhase("running"), second: RunPhase("waiting")})
        display.show(
            {first: RunPhase("done", "[1]"), second: RunPhase("running", "epoch 1 of 2, " * 5)}
        )
    assert shown.getvalue().splitlines() == [
        f"[0/2 done] {first}: running",
        f"[1/2 done] {first}: done [1]",
        f"[1/2 done] {second}: running " + ("epoch 1 of 2, " * 5).rstrip(),
    ]

    phases = {run: RunPhase("waiting") for run in runs}
    phases[first] = RunPhase("running", "epoch 2 of 8, validation accuracy 50.00%")
    for height, all_are_shown in ((25, True), (8, False)):
        shown = io.StringIO()
        console = Console(
            file=shown, width=80, height=height, force_terminal=True, color_system=None
        )
        with Display(console) as display:
            display.show(phases)
        assert "epoch 2 of 8, validation accuracy 50.00%" in shown.getvalue()
        assert (second.variant in shown.getvalue()) is all_are_shown
        assert "0 done, 1 running, 12 waiting, 0 failed" in shown.getvalue()
