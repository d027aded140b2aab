"""The sweep by Snakemake: what is skipped, what goes on, and what a failure leaves behind."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil  # type: ignore[import-untyped]
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from rich.console import Console

from labcnn.launch import LOG, run_sweep
from labcnn.paths import project_root
from labcnn.recipe import Recipe
from labcnn.runs import (
    ModelSize,
    Provenance,
    RunResult,
    SplitMetrics,
    Timing,
    load_runs,
    read_result,
)
from labcnn.sweep import Run, Sweep

PARAMETERS = """
variant = "short_all"
seed = 0
dataset = "auto"
epochs = None
threads = None
logs = None
overwrite = False
"""

SPLIT = SplitMetrics(loss=1.0, accuracy=0.25, count=4)
RESULT = RunResult(
    experiment="shapes-3ep",
    recipe=Recipe.from_parameters({"variant": "short_all", "epochs": 3}),
    status="ok",
    reason="",
    train=SPLIT,
    val=SPLIT,
    test=SPLIT,
    classes=4,
    best_epoch=1,
    epochs_run=1,
    stopped="cap",
    chance_p_value=0.01,
    timing=Timing(train_seconds=1, total_seconds=1, seconds_per_epoch=1, images_per_second=1),
    model=ModelSize(parameters=1, flops=1),
    provenance=Provenance(
        data_fingerprint="0",
        git_commit=None,
        git_dirty=None,
        versions={},
        precision="fp32",
        device="cpu",
        device_name="cpu",
        threads=0,
        started="",
        finished="",
    ),
)

#: Stands for notebooks/train.ipynb: the same outputs, without training.
BODY = f"""
import json, os, signal, time
from pathlib import Path

folder = Path(logs, "{RESULT.experiment}", variant, f"seed{{seed}}")
(folder / "history.csv").write_text("epoch,val_accuracy\\n1,0.25\\n", encoding="utf-8")
if variant == os.environ.get("STUB_RAISES"):
    raise ValueError(f"{{variant}} broke")
if variant == os.environ.get("STUB_DIES"):
    os.kill(os.getpid(), signal.SIGKILL)
if variant == os.environ.get("STUB_WAITS"):
    (folder / "pid").write_text(str(os.getpid()), encoding="utf-8")
    time.sleep(600)
result = json.loads('{RESULT.model_dump_json()}')
result["recipe"] |= dict(variant=variant, seed=seed, dataset=dataset, epochs=epochs)
result["provenance"]["threads"] = threads
(folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
"""


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    cells = [
        new_code_cell(PARAMETERS.strip(), metadata={"tags": ["parameters"]}),
        new_code_cell(BODY.strip()),
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    made = new_notebook(cells=cells, metadata={"kernelspec": kernel})
    # A folder as people have them: with a space and Chinese characters.
    path = tmp_path / "课程 一" / "train.ipynb"
    path.parent.mkdir()
    nbformat.write(made, path)
    return path


def sweep_of(notebook: Path, variants: str, **parameters: object) -> Sweep:
    given = {"variants": variants, "logs": notebook.parent / "logs", "notebook": notebook}
    return Sweep.from_config({**given, "epochs": 3, **parameters})


def run(sweep: Sweep) -> tuple[dict[Run, str], list[str]]:
    """What failed and why, and the lines that were shown."""
    shown = io.StringIO()
    missing = run_sweep(sweep, 2, Console(file=shown, width=200))
    return {each: state.text for each, state in missing.items()}, shown.getvalue().splitlines()


def test_one_failure_stops_no_other_run_and_is_named(
    notebook: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUB_RAISES", "short_all")
    sweep = sweep_of(notebook, "short_all long_all mid_all")
    missing, lines = run(sweep)
    failed = sweep.runs[0]
    assert missing == {failed: "ValueError: short_all broke"}
    for each in sweep.runs[1:]:
        assert read_result(each.result).recipe.variant == each.variant
        assert read_result(each.result).provenance.threads == 1
    assert '"evalue": "short_all broke"' in failed.notebook.read_text(encoding="utf-8")
    assert any("short_all seed 0: failed ValueError: short_all broke" in line for line in lines)
    assert lines[-1] == "shapes-3ep: 2 done, 0 running, 0 waiting, 1 failed"


def test_a_sweep_runs_only_what_is_missing_and_nothing_if_nothing_is(
    notebook: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUB_RAISES", "short_all")
    before = sweep_of(notebook, "short_all long_all")
    run(before)
    kept = before.runs[1].result
    written = kept.stat().st_mtime_ns
    monkeypatch.delenv("STUB_RAISES")
    missing, lines = run(sweep_of(notebook, "short_all long_all"))
    assert not missing
    assert kept.stat().st_mtime_ns == written
    assert lines[-1] == "shapes-3ep: 2 done, 0 running, 0 waiting, 0 failed"
    (before.folder / LOG).unlink()
    assert not run(sweep_of(notebook, "short_all long_all"))[0]
    assert not (before.folder / LOG).exists()


def test_a_killed_kernel_is_a_failure_though_its_notebook_shows_none(
    notebook: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUB_DIES", "short_all")
    sweep = sweep_of(notebook, "short_all")
    missing, _ = run(sweep)
    assert tuple(missing) == sweep.runs
    assert "without a result" in missing[sweep.runs[0]]


def test_a_result_written_before_the_failure_is_kept(notebook: Path) -> None:
    made = nbformat.read(notebook, as_version=4)
    made.cells.append(new_code_cell("raise ValueError('a plot broke')"))
    nbformat.write(made, notebook)
    sweep = sweep_of(notebook, "short_all")
    missing, _ = run(sweep)
    assert not missing
    assert sweep.runs[0].result.exists()


def test_an_interrupted_sweep_leaves_no_process_and_can_go_on(
    notebook: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUB_WAITS", "short_all")
    sweep = sweep_of(notebook, "short_all")
    arguments = [f"{name}={value}" for name, value in sweep.parameters.items()]
    options = ["--variants", "short_all", "--logs", str(sweep.logs), "--notebook", str(notebook)]
    command = [sys.executable, "-m", "labcnn.cli", "sweep", *arguments, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as process:
        assert process.stdout
        while "running epoch 1 of 3, validation accuracy 25.00%" not in process.stdout.readline():
            assert process.poll() is None
        pid = sweep.runs[0].folder / "pid"
        while not pid.exists():
            time.sleep(0.1)
        family = psutil.Process(process.pid).children(recursive=True)
        assert int(pid.read_text(encoding="utf-8")) in {each.pid for each in family}
        process.send_signal(signal.SIGINT)
    assert process.returncode == 130
    assert psutil.wait_procs(family, timeout=30)[1] == []
    monkeypatch.delenv("STUB_WAITS")
    assert not run(sweep_of(notebook, "short_all"))[0]


def test_plain_snakemake_runs_the_same_sweep(
    notebook: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUB_RAISES", "mid_all")
    sweep = sweep_of(notebook, "short_all mid_all")
    settings = [f"{name}={value}" for name, value in sweep.parameters.items()]
    settings += [f"logs={sweep.logs}", f"notebook={notebook}", "variants=[short_all,mid_all]"]
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--config", *settings]
    snakefile = project_root() / "workflow" / "Snakefile"
    done = subprocess.run(
        [*command, "--snakefile", snakefile],
        cwd=notebook.parent,
        env={**os.environ, "PYTHONUTF8": "1"},
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 1, done.stderr
    assert [each.result.exists() for each in sweep.runs] == [True, False]
    saved = json.loads(sweep.runs[0].result.read_text(encoding="utf-8"))
    assert saved["recipe"]["epochs"] == 3


def test_the_real_notebook_trains_side_by_side(tmp_path: Path) -> None:
    variants = "short_all long_baseline"
    sweep = Sweep.from_config(
        {"variants": variants, "logs": tmp_path, "fraction": 0.05, "epochs": 1, "width": 4}
    )
    missing, _ = run(sweep)
    assert not missing
    table, problems = load_runs(tmp_path)
    assert problems == []
    assert set(table["variant"]) == set(variants.split())
    assert set(table["threads"]) == {1}
    assert set(table["experiment"]) == {sweep.experiment}
