"""What a sweep consists of, how its parameters are read, and how far its runs are."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from fake_runs import write_runs
from rich.console import Console

from labcnn.errors import ParameterError
from labcnn.runs import GRADIENTS, HISTORY, PREDICTIONS, State, state
from labcnn.variants import REPORT_VARIANTS
from labsweep.grid import Run, Sweep, assignments, parse_value, words
from labsweep.launch import Place
from labsweep.progress import Display, Progress, Watch, counts


def sweep_in(folder: Path, **config: Any) -> Sweep:
    return Sweep.from_config({"logs": folder, **config})


def begun(run: Run) -> None:
    """Lay down an executed notebook, as papermill does when it starts."""
    run.folder.mkdir(parents=True, exist_ok=True)
    run.notebook.write_text("{}", encoding="utf-8")


def finish(run: Run) -> None:
    """Lay down a result of this code."""
    given = run.recipe.model_dump(include={"dataset", "epochs"})
    write_runs(run.folder.parents[2], [run.variant], [run.seed], parameters=given)


def test_the_default_is_the_reports_variants_on_shapes(tmp_path: Path) -> None:
    sweep = sweep_in(tmp_path)
    assert [run.variant for run in sweep.runs] == list(REPORT_VARIANTS)
    assert {run.seed for run in sweep.runs} == {0}
    assert sweep.folder == tmp_path / "shapes"
    assert sweep.runs[0].folder == tmp_path / "shapes" / REPORT_VARIANTS[0] / "seed0"


def test_runs_are_all_variants_and_seeds_once(tmp_path: Path) -> None:
    sweep = sweep_in(tmp_path, variants="short_all long_all short_all", seeds="1,0 1")
    assert [str(run) for run in sweep.runs] == [
        "short_all seed 1", "long_all seed 1", "short_all seed 0", "long_all seed 0",
    ]  # fmt: skip


def test_what_differs_from_the_protocol_names_the_experiment(tmp_path: Path) -> None:
    given = {"dataset": "tiny-imagenet-200", "fraction": 0.1, "epochs": 5}
    assert sweep_in(tmp_path, **given).experiment == "tiny-imagenet-200-10pct-5ep"
    assert sweep_in(tmp_path, **given, experiment="mine").experiment == "mine"


def test_a_run_is_told_all_it_needs_and_may_be_given_threads(tmp_path: Path) -> None:
    sweep = sweep_in(tmp_path, epochs=2)
    assert sweep.parameters_of("mid_all", 3) == {
        "variant": "mid_all", "seed": 3, "dataset": "shapes", "epochs": 2, "threads": 1,
        "logs": str(tmp_path),
    }  # fmt: skip
    assert sweep_in(tmp_path, threads=2).parameters_of("mid_all", 3)["threads"] == 2


def test_a_sweep_survives_its_own_configuration(tmp_path: Path) -> None:
    sweep = sweep_in(tmp_path, variants="short_all", seeds="0 1", epochs=2, augment=True)
    assert Sweep.from_config(json.loads(json.dumps(sweep.config))) == sweep


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"variants": "shrot_all"}, ["shrot_all", "short_all"]),
        ({"variants": ""}, ["at least one variant"]),
        ({"seeds": "0 x"}, ["seed='x'", "whole number"]),
        ({"seeds": -1}, ["seed=-1"]),
        ({"epochs": -3}, ["epochs=-3"]),
        ({"epochs": 1000.0}, ["epochs=1000.0"]),
        ({"epohcs": 3}, ["epohcs=3", "did you mean 'epochs'"]),
        ({"fraction": 0}, ["fraction=0"]),
        ({"dataset": "cifar"}, ["dataset='cifar'", "shapes"]),
        ({"device": "tpu"}, ["device='tpu'", "cuda"]),
        ({"seed": 1}, ["seed=1", "--seeds"]),
        ({"overwrite": True}, ["overwrite=True", "papermill"]),
        ({"notebook": "nowhere.ipynb"}, ["nowhere.ipynb", "no such file"]),
    ],
)
def test_a_wrong_parameter_is_named_with_what_is_valid(
    tmp_path: Path, config: dict[str, Any], named: list[str]
) -> None:
    with pytest.raises(ParameterError) as caught:
        sweep_in(tmp_path, **config)
    assert [part for part in named if part not in str(caught.value)] == []
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_text_is_read_as_the_value_it_spells() -> None:
    texts = ["a=2", "b=0.5", "c=true", "d=False", "e=None", "f=1e3", "g=x=y", "h=[1]", "i="]
    assert assignments(texts) == {
        "a": 2, "b": 0.5, "c": True, "d": False, "e": None, "f": 1000.0, "g": "x=y", "h": "[1]",
        "i": "",
    }  # fmt: skip
    assert isinstance(parse_value("2"), int)
    assert words("a  b,c") == words(["a", "b", "c"]) == ["a", "b", "c"]
    for wrong in ("epochs", "=3", "learning rate=1"):
        with pytest.raises(ParameterError, match="name=value"):
            assignments([wrong])
    with pytest.raises(ParameterError, match="a is given twice: 1 and 2"):
        assignments(["a=1", "b=1", "a=2"])


@pytest.mark.parametrize(
    ("jobs", "retries", "named"),
    [(0, 1, "jobs=0"), (1, -1, "retries=-1"), (1, 101, "retries=101")],
)
def test_a_place_has_room_for_a_run(jobs: int, retries: int, named: str) -> None:
    with pytest.raises(ParameterError, match=named):
        Place(jobs, retries)


def test_a_run_goes_from_waiting_to_done(tmp_path: Path) -> None:
    sweep = sweep_in(tmp_path, variants="short_all", epochs=3)
    (run,) = sweep.runs
    watch = Watch(sweep)
    assert watch.states() == {run: Progress("waiting")}
    begun(run)
    assert watch.states() == {run: Progress("running", "starting, or in epoch 1 of 3")}
    header, row = "epoch,val_accuracy,seconds", "2,0.125,200"
    (run.folder / HISTORY).write_text(f"{header}\n1,0.1,100\n{row}\n", encoding="utf-8")
    shown = "epoch 2 of 3, validation accuracy 12.50%, at most 2 min left"
    assert watch.states() == {run: Progress("running", shown)}
    finish(run)
    result = run.state.result
    assert result
    text = f"test accuracy {result.test.accuracy:.2%} ({result.status})"
    assert watch.states() == Watch(sweep).states() == {run: Progress("done", text)}


def test_an_attempt_that_failed_is_waiting_until_it_was_the_last(tmp_path: Path) -> None:
    sweep = sweep_in(tmp_path, variants="short_all")
    (run,) = sweep.runs
    watch = Watch(sweep, attempts=2)
    begun(run)
    run.files.write_failure("error", "ValueError: once", 1)
    assert watch.states()[run] == Progress("waiting", "attempt 1 of 2: ValueError: once")
    assert watch.states(ended=True)[run] == Progress("failed", "ValueError: once")
    begun(run)
    assert watch.states()[run].kind == "running"
    run.files.write_failure("time limit", "not finished after 5 minutes", 2)
    assert watch.states()[run] == Progress("failed", "time limit: not finished after 5 minutes")


def test_what_lay_there_before_is_not_this_sweeps(tmp_path: Path) -> None:
    sweep = sweep_in(tmp_path, variants="short_all")
    (run,) = sweep.runs
    begun(run)
    run.files.write_failure("error", "last week's", 2)
    watch = Watch(sweep)
    assert watch.states()[run].kind == "waiting"
    assert watch.states(ended=True) == {run: Progress("waiting")}


def test_a_run_that_stopped_without_a_word_failed(tmp_path: Path) -> None:
    sweep = sweep_in(tmp_path, variants="short_all")
    watch = Watch(sweep)
    begun(sweep.runs[0])
    assert watch.states(ended=True)[sweep.runs[0]].kind == "failed"


def test_a_cut_result_is_due(tmp_path: Path) -> None:
    sweep = sweep_in(tmp_path, variants="short_all")
    (run,) = sweep.runs
    run.folder.mkdir(parents=True)
    run.result.write_text('{"format": 1', encoding="utf-8")
    assert sweep.due() == (run,)
    progress = Watch(sweep).states()[run]
    assert progress.kind == "waiting"
    assert "not a labcnn result" in progress.text


@pytest.mark.parametrize("name", [HISTORY, GRADIENTS, PREDICTIONS])
def test_a_result_without_its_other_files_is_due(tmp_path: Path, name: str) -> None:
    sweep = sweep_in(tmp_path, variants="short_all")
    finish(sweep.runs[0])
    assert not sweep.due()
    (sweep.runs[0].folder / name).unlink()
    assert sweep.runs[0].due == f"damaged: {name} missing"
    assert state(sweep.runs[0].files) == (
        State.DAMAGED,
        (f"{name} missing",),
        sweep.runs[0].state.result,
    )


def test_a_log_gets_a_line_per_change(tmp_path: Path) -> None:
    first, second = sweep_in(tmp_path, variants="short_all long_all").runs
    shown = io.StringIO()
    with Display(Console(file=shown, width=40)) as display:
        for kind in ("waiting", "running", "running"):
            display.show({first: Progress(kind, ""), second: Progress("waiting")})
        display.show(
            {first: Progress("done", "[1]"), second: Progress("running", "epoch 1 of 2, " * 5)}
        )
    assert shown.getvalue().splitlines() == [
        "[0/2 done] short_all seed 0: running",
        "[1/2 done] short_all seed 0: done [1]",
        "[1/2 done] long_all seed 0: running " + ("epoch 1 of 2, " * 5).rstrip(),
    ]


@pytest.mark.parametrize(("height", "waiting"), [(25, True), (8, False)])
def test_a_terminal_shows_every_run_that_fits(tmp_path: Path, height: int, waiting: bool) -> None:
    runs = sweep_in(tmp_path).runs
    states = {run: Progress("waiting") for run in runs}
    states[runs[0]] = Progress("running", "epoch 2 of 8, validation accuracy 50.00%")
    shown = io.StringIO()
    console = Console(file=shown, width=80, height=height, force_terminal=True, color_system=None)
    with Display(console) as display:
        display.show(states)
    assert "epoch 2 of 8, validation accuracy 50.00%" in shown.getvalue()
    assert (runs[1].variant in shown.getvalue()) is waiting
    assert counts(states) in shown.getvalue()
