"""The commands beside sweep and report: compare, export, experiments, delete."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_runs import write_runs
from filelock import FileLock
from typer.testing import CliRunner

from labcnn import __version__
from labcnn.cli import app
from labcnn.errors import LabError
from labcnn.runs import HISTORY, RESULT, RunFolder, lock_path
from labcnn.variants import VARIANTS, Variant, register
from labreport.compare import compare, list_passed_over
from labsweep.sweep import Sweep


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment with two seeds of two variants, and a newer one with a third variant."""
    logs = tmp_path_factory.mktemp("logs") / "logs"
    write_runs(logs, ["short_norm", "short_residual"], seeds=[0, 1])
    write_runs(logs, ["long_all"], parameters={"epochs": 2})
    return logs


def labcnn(*arguments: object) -> str:
    """What a command prints that succeeds."""
    done = CliRunner().invoke(app, [str(each) for each in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_compare_gives_each_difference_from_the_first(logs: Path, tmp_path: Path) -> None:
    plot = tmp_path / "plot.svg"
    said = labcnn("compare", "short_norm", "short_residual", "--logs", logs, "--plot", plot)
    assert said.startswith("experiment shapes, in percent") and plot.stat().st_size > 10_000
    table = compare("short_norm", "short_residual", logs=logs).table
    runs = {(r.variant, r.seed): r for r in map(RunFolder, logs.glob("shapes/*/seed*"))}
    accuracies = {key: 100 * run.result().test.accuracy for key, run in runs.items()}
    apart = np.mean([accuracies["short_residual", k] - accuracies["short_norm", k] for k in (0, 1)])
    row = table.loc["short_residual"]
    assert row.difference == pytest.approx(apart) and row["from"] < apart < row.to
    assert f"{apart:+.2f} [{row['from']:+.2f}, {row.to:+.2f}]" in said


def test_what_cannot_be_compared_is_named(logs: Path) -> None:
    for variants, said in (
        (["short_norm"], "variants='short_norm': give two or more different ones"),
        (["short_norm", "long_all"], "no finished run of"),
        (["short_norm", "shrot_all"], "did you mean 'short_all'?"),
    ):
        with pytest.raises(LabError) as error:
            compare(*variants, logs=logs)
        assert said in str(error.value)


def test_a_notebook_shows_the_comparison_of_any_two_variants(tmp_path: Path) -> None:
    """Also of two that aren't the report's."""
    write_runs(tmp_path, ["mid_norm", "mid_dropout"])
    found = compare("mid_norm", "mid_dropout", logs=tmp_path)
    head, _, first, second = found.tabulate()._repr_markdown_().splitlines()
    assert "与 mid\\_norm 之差（百分点）" in head
    assert first.startswith("| mid\\_norm | 1 |") and first.endswith("| — |")
    assert second.startswith("| mid\\_dropout | 1 |") and "nan" not in second
    assert len(found.plot().axes) == 2


def test_export_writes_every_run_and_every_epoch(logs: Path, tmp_path: Path) -> None:
    labcnn("export", tmp_path / "tables", "--logs", logs)
    runs, epochs = (pd.read_csv(tmp_path / "tables" / f"{n}.csv") for n in ("runs", "histories"))
    assert len(runs) == 5 and len(epochs) == runs["epochs_run"].sum()
    (run,) = logs.glob("*/long_all/seed0")
    last = epochs[epochs["variant"] == "long_all"].iloc[-1]
    assert last["val_loss"] == RunFolder(run).history()["val_loss"].iloc[-1]


def test_experiments_are_listed_with_their_runs(logs: Path) -> None:
    lines = [line.split() for line in labcnn("experiments", "--logs", logs).splitlines()]
    assert [line[:3] for line in lines[1:]] == [
        ["shapes", "4", "done"],
        ["shapes-2ep", "1", "done"],
    ]


def test_a_run_is_deleted_after_asking_and_not_while_it_is_trained(tmp_path: Path) -> None:
    (run,) = write_runs(tmp_path, ["short_norm"])
    refuse = CliRunner().invoke(app, ["delete", str(run.path)], input="n\n")
    assert refuse.exit_code == 1 and run.finished
    with FileLock(lock_path(run.path)):
        held = CliRunner().invoke(app, ["delete", str(run.path), "--yes"])
    assert "is being trained" in str(held.exception) and run.finished
    labcnn("delete", run.path, "--yes")
    assert not run.path.exists()
    again = CliRunner().invoke(app, ["delete", str(run.path), "--yes"])
    assert "is no run's folder" in str(again.exception)


def test_version_and_ranges_of_seeds() -> None:
    assert labcnn("--version") == f"labcnn {__version__}\n"
    assert Sweep.from_options({"seeds": "0-2,5"}).seeds == (0, 1, 2, 5)
    for wrong in ("3-1", "0-", "0-99999999"):
        with pytest.raises(LabError, match=f"seeds='{wrong}' isn't valid"):
            Sweep.from_options({"seeds": wrong})


def test_an_own_variant_is_known_by_its_result(tmp_path: Path) -> None:
    """In a later process, which registered nothing."""
    own = Variant("short", norm=True, activation="gelu")
    register("short_mine", own)
    (run,) = write_runs(tmp_path, ["short_mine"])
    result = run.result().model_copy(update={"network": own})
    (run.path / RESULT).write_text(result.model_dump_json(), encoding="utf-8")
    del VARIANTS["short_mine"]
    parameters = result.recipe.model_dump(exclude={"variant", "seed"})
    again = Sweep.from_options({"variants": "short_mine", "logs": tmp_path, **parameters})
    assert again.runs[0].recipe.network == own and not again.due()
    del VARIANTS["short_mine"]


def test_a_damaged_run_is_named_wherever_it_is_missed(tmp_path: Path) -> None:
    damaged, _ = write_runs(tmp_path, ["short_norm", "short_residual"])
    (damaged.path / HISTORY).write_text("epoch\n", encoding="utf-8")
    with pytest.raises(LabError, match=r"no finished run of short_norm; .* left out: .*history"):
        compare("short_norm", "short_residual", logs=tmp_path)


def test_what_compare_passes_over_is_said_with_what_it_lacks(tmp_path: Path) -> None:
    variants = ["short_norm", "short_all"]
    for run in write_runs(tmp_path, variants):  # so the others are newer
        year = run.result().provenance.finished[:4]
        text = (run.path / RESULT).read_text(encoding="utf-8")
        (run.path / RESULT).write_text(text.replace(f'"{year}-', '"2001-'), encoding="utf-8")
    removed, _ = write_runs(tmp_path, variants, parameters={"epochs": 2})
    damaged, _ = write_runs(tmp_path, variants, parameters={"epochs": 3})
    (removed.path / RESULT).unlink()
    (damaged.path / RESULT).write_text("{", encoding="utf-8")
    found = compare(*variants, logs=tmp_path)
    assert found.study.experiment == "shapes"
    passed = dict(list_passed_over(found, tmp_path))
    assert passed["shapes-2ep"] == "no run of short_norm"
    assert passed["shapes-3ep"].startswith("no run of short_norm; ")
    assert "cut off, or not JSON" in passed["shapes-3ep"]
    said = labcnn("compare", *variants, "--logs", tmp_path)
    assert "newer, but passed over: shapes-2ep (no run of short_norm)" in said
