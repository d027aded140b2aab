"""The sweep by Snakemake: what is skipped, what goes on, and what a failure leaves behind."""

import io
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
import psutil  # type: ignore[import-untyped]
import pytest
from fake_runs import write_runs
from filelock import FileLock
from nbformat.v4 import new_code_cell, new_notebook
from rich.console import Console

from labcnn.files import project_root
from labcnn.recipe import Recipe
from labcnn.runs import (
    FAILURE,
    GRADIENT_COLUMNS,
    HISTORY_COLUMNS,
    NUMERICS,
    ModelSize,
    Provenance,
    RunResult,
    SplitMetrics,
    Timing,
    lock_path,
    read_result,
)
from labsweep.gpus import default_jobs, reserve_gpu
from labsweep.launch import LOG, SnakemakeOptions, run_sweep
from labsweep.sweep import Run, Sweep

pytestmark = pytest.mark.system

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
        numerics=NUMERICS,
        git_commit=None,
        git_dirty=None,
        versions={},
        precision="fp32",
        device="cpu",
        device_name="cpu",
        threads=1,
        started="2026-01-01T00:00:00+00:00",
        finished="2026-01-01T00:00:01+00:00",
    ),
)

#: One epoch, and one layer before it and after it.
HISTORY = f"{','.join(HISTORY_COLUMNS)}\n1,1,0.25,1,0.25,1,0.25,0.1,1,10\n"
GRADIENTS = f"{','.join(GRADIENT_COLUMNS)}\n0,head,5,1,1\n1,head,5,1,1\n"
#: Stands for notebooks/train.ipynb: the same outputs, without training.
BODY = f"""
import json, os, signal, time
from pathlib import Path

import numpy as np

from labcnn.errors import LockedError

folder = Path(logs, "{RESULT.experiment}", variant, f"seed{{seed}}")
if (folder / "result.json").exists() and not overwrite:
    raise ValueError("there is a result, which is not to be overwritten")
(folder / "history.csv").write_text({HISTORY!r}, encoding="utf-8")
if variant == os.environ.get("STUB_RAISES"):
    raise ValueError(f"{{variant}} broke")
if variant == os.environ.get("STUB_DIES"):
    os.kill(os.getpid(), signal.SIGKILL)
if variant == os.environ.get("STUB_DIES_ONCE") and not (folder / "died").exists():
    (folder / "died").touch()
    os.kill(os.getpid(), signal.SIGKILL)
if variant == os.environ.get("STUB_WAITS"):
    (folder / "pid").write_text(str(os.getpid()), encoding="utf-8")
    time.sleep(600)
if variant == os.environ.get("STUB_BEATEN") and not (folder / "beaten").exists():
    (folder / "beaten").touch()
    while not (folder / "held").exists():
        time.sleep(0.1)
    raise LockedError(f"{{variant}} is being trained by another process")
gpu, begin = os.environ.get("CUDA_VISIBLE_DEVICES"), time.time()
time.sleep(float(os.environ.get("STUB_TAKES", 0)))
(folder / "here").touch()
while len(list(folder.parent.glob("seed*/here"))) < int(os.environ.get("STUB_MEETS", 0)):
    time.sleep(0.1)
(folder / "gradients.csv").write_text({GRADIENTS!r}, encoding="utf-8")
arrays = dict(label=np.arange(4), predicted=np.zeros(4, int), probability=np.ones(4))
splits = {{f"{{split}}_{{name}}": a for split in ("val", "test") for name, a in arrays.items()}}
np.savez(folder / "predictions.npz", **splits)
(folder / "times").write_text(json.dumps([gpu, begin, time.time()]), encoding="utf-8")
result = json.loads('{RESULT.model_dump_json()}')
result["recipe"] |= dict(variant=variant, seed=seed, dataset=dataset, epochs=epochs)
result["provenance"] |= dict(threads=threads)
(folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
if variant == os.environ.get("STUB_RAISES_LATE"):
    raise ValueError("a plot broke")
"""


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    cells = [
        new_code_cell(PARAMETERS.strip(), metadata={"tags": ["parameters"]}),
        new_code_cell(BODY.strip()),
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    made = new_notebook(cells=cells, metadata={"kernelspec": kernel})
    # A folder as people have them: with a space and Chinese characters; and any text at all.
    path = tmp_path / "课程 一 {x} a}b \"q' $y\nz" / "train.ipynb"
    path.parent.mkdir()
    nbformat.write(made, path)
    return path


def sweep_of(notebook: Path, variants: str, **parameters: object) -> Sweep:
    given = {"variants": variants, "logs": notebook.parent / "logs", "notebook": notebook}
    return Sweep.from_options({**given, "epochs": 3, **parameters})


def run(sweep: Sweep, retries: int = 0, jobs: int = 2) -> tuple[dict[Run, str], list[str]]:
    """What failed and why, and the lines that were shown."""
    shown = io.StringIO()
    options = SnakemakeOptions(jobs, retries)
    missing = run_sweep(sweep, options, Console(file=shown, width=200))
    return {each: its.text for each, its in missing.items()}, shown.getvalue().splitlines()


@contextmanager
def started(sweep: Sweep) -> Iterator[tuple["subprocess.Popen[str]", list[psutil.Process]]]:
    """``labcnn sweep`` as a process whose first run waits, and everything it has started."""
    arguments = [f"{name}={value}" for name, value in sweep.parameters.items()]
    options = ["--variants", " ".join(sweep.variants), "--logs", str(sweep.logs), "--jobs", "2"]
    command = [sys.executable, "-m", "labcnn.cli", "sweep", *arguments, *options]
    command += ["--notebook", str(sweep.notebook)]
    errors = sweep.notebook.with_name("stderr.txt")
    # Not a pipe: this block closes its pipes before the process has said its last words.
    with (
        errors.open("w", encoding="utf-8") as said,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=said,
            encoding="utf-8",
            # Started by a shell in the background, the tests and all children would be deaf to it.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as process,
    ):
        assert process.stdout
        while f"{sweep.runs[0]}: running epoch 1 of 3" not in process.stdout.readline():
            assert process.poll() is None
        pid = sweep.runs[0].folder.path / "pid"
        while not pid.exists():
            time.sleep(0.1)
        family = psutil.Process(process.pid).children(recursive=True)
        assert int(pid.read_text(encoding="utf-8")) in {each.pid for each in family}
        yield process, family


def test_one_failure_stops_no_other_run_and_is_named(
    notebook: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUB_RAISES", "short_all")
    monkeypatch.setenv("STUB_RAISES_LATE", "mid_all")  # with its result there: no failure
    sweep = sweep_of(notebook, "short_all long_all mid_all")
    missing, lines = run(sweep, retries=1)
    failed = sweep.runs[0]
    assert missing == {failed: "ValueError: short_all broke"}
    failure = failed.folder.failure()
    assert failure and (failure.kind, failure.attempt) == ("error", 2)
    broke = "short_all seed 0: waiting attempt 1 of 2: ValueError"
    assert len([line for line in lines if broke in line]) == 1
    for each in sweep.runs[1:]:
        assert read_result(each.result).recipe.variant == each.variant
        assert read_result(each.result).provenance.threads == 1
    assert '"evalue": "short_all broke"' in failed.notebook.read_text(encoding="utf-8")
    assert any("short_all seed 0: failed ValueError: short_all broke" in line for line in lines)
    assert lines[-1] == "shapes-3ep: 2 done, 0 running, 0 waiting, 1 failed"


def test_a_run_whose_kernel_dies_is_tried_again_as_often_as_asked(
    notebook: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUB_DIES_ONCE", "short_all")
    monkeypatch.setenv("STUB_DIES", "long_all")
    sweep = sweep_of(notebook, "short_all long_all")
    missing, _ = run(sweep, retries=1)
    died_once, died = sweep.runs
    assert missing.keys() == {died}
    assert missing[died].startswith("died: train.ipynb: its kernel died")
    assert (died_once.folder.path / "died").exists()
    assert died_once.folder.failure() is None
    failure = died.folder.failure()
    assert failure and (failure.kind, failure.attempt) == ("died", 2)


def test_a_run_that_hangs_ends_at_its_time_limit(
    notebook: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUB_WAITS", "short_all")
    sweep = sweep_of(notebook, "short_all", minutes=0.1)
    missing, _ = run(sweep)
    assert missing == {sweep.runs[0]: "time limit: not finished after 0.1 minutes"}
    # Nor is a kernel left, which would work in the notebook's folder.
    assert [each for each in psutil.process_iter() if works_in(each, notebook.parent)] == []


def works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return Path(process.cwd()) == folder
    except (psutil.Error, OSError):
        return False


def test_a_run_is_redone_when_its_code_changed_and_keeps_its_result_until_then(
    notebook: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = sweep_of(notebook, "short_all long_all")
    first, second = sweep.runs
    write_runs(sweep.logs, sweep.variants, parameters={"epochs": 3})
    written = second.result.stat().st_mtime_ns
    old = json.loads(first.result.read_text(encoding="utf-8"))
    old["provenance"]["numerics"] = 0
    first.result.write_text(json.dumps(old), encoding="utf-8")
    assert first.due == f"made by code of numerics 0, this is {NUMERICS}"
    assert sweep.due() == (first,)
    # It fails: the old result stays.
    monkeypatch.setenv("STUB_RAISES", "short_all")
    missing, _ = run(sweep)
    assert missing == {first: "ValueError: short_all broke"}
    assert json.loads(first.result.read_text(encoding="utf-8")) == old
    # The same again runs what is due; and once more, nothing at all.
    monkeypatch.delenv("STUB_RAISES")
    missing, lines = run(sweep)
    assert not missing
    assert lines[-1] == "shapes-3ep: 2 done, 0 running, 0 waiting, 0 failed"
    assert not sweep.due()
    (sweep.folder / LOG).unlink()
    assert not run(sweep)[0]
    assert not (sweep.folder / LOG).exists()
    assert second.result.stat().st_mtime_ns == written


def test_each_run_has_a_gpu_of_its_own_and_none_is_idle(
    notebook: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,GPU-1")
    monkeypatch.setenv("HOME", str(notebook.parent))
    monkeypatch.setenv("STUB_TAKES", "0.5")
    sweep = sweep_of(notebook, "short_all", seeds="0 1 2 3 4")
    assert default_jobs(sweep.parameters) == 2
    assert not run(sweep, jobs=5)[0]  # more jobs than GPUs: the others wait for one
    times = [json.loads((r.folder.path / "times").read_text(encoding="utf-8")) for r in sweep.runs]
    for gpu in ("0", "GPU-1"):
        on = sorted((begin, end) for name, begin, end in times if name == gpu)
        assert len(on) >= 2
        assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(on))
    assert {name for name, _, _ in times} == {"0", "GPU-1"}


def test_who_waits_for_a_gpu_says_for_whom_and_gives_up_at_the_time_limit(
    notebook: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(notebook.parent))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with reserve_gpu({}, "long_all seed 3 of experiment another"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
        sweep = sweep_of(notebook, "short_all", minutes=0.05)
        missing, lines = run(sweep)
    holder = f"long_all seed 3 of experiment another (process {os.getpid()})"
    waits = f"waiting for a GPU: 0 is held by {holder}"
    assert missing == {sweep.runs[0]: f"time limit: not finished after 0.05 minutes, {waits}"}
    assert any(f"short_all seed 0: waiting {waits}" in line for line in lines)


def test_who_waits_for_the_runs_other_process_gives_up_at_the_time_limit(notebook: Path) -> None:
    sweep = sweep_of(notebook, "short_all", minutes=0.05)
    lock = lock_path(sweep.runs[0].folder.path)
    lock.parent.mkdir(parents=True)
    with FileLock(lock):
        run(sweep)
    waits = "waiting for another process that trains this run"
    failure = sweep.runs[0].folder.failure()
    assert failure and str(failure) == f"time limit: not finished after 0.05 minutes, {waits}"


def test_a_sweep_needs_no_home_and_no_tmpdir(
    notebook: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, "/dev/null/nowhere")
    monkeypatch.setenv("TMPDIR", "/nowhere")
    assert not run(sweep_of(notebook, "short_all"))[0]


def test_kernels_start_at_once_whatever_the_tmpdir(
    notebook: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = notebook.parent / ("long" * 20)
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))
    monkeypatch.setenv("STUB_MEETS", "5")
    sweep = sweep_of(notebook, "short_all", seeds="0 1 2 3 4", minutes=2)
    assert not run(sweep, jobs=5)[0]
    times = [json.loads((r.folder.path / "times").read_text(encoding="utf-8")) for r in sweep.runs]
    assert len(times) == 5
    assert max(begin for _, begin, _ in times) <= min(end for _, _, end in times)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_a_stopped_sweep_takes_all_it_started_with_it_and_goes_on(
    notebook: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    monkeypatch.setenv("STUB_WAITS", "short_all")
    sweep = sweep_of(notebook, "short_all")
    with started(sweep) as (process, family):
        process.send_signal(number)
    assert process.returncode == code
    assert psutil.wait_procs(family, timeout=30)[1] == []
    monkeypatch.delenv("STUB_WAITS")
    assert not run(sweep_of(notebook, "short_all"))[0]


def test_a_killed_snakemake_too(notebook: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUB_WAITS", "short_all")
    sweep = sweep_of(notebook, "short_all")
    with started(sweep) as (process, family):
        next(each for each in family if "snakemake" in each.cmdline()).kill()
        assert process.wait(timeout=60) == 2
    said = notebook.with_name("stderr.txt").read_text(encoding="utf-8")
    assert "snakemake was ended by SIGKILL" in said
    assert psutil.wait_procs(family, timeout=30)[1] == []


def test_everything_killed_at_once_leaves_nothing_to_clear_up(
    notebook: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUB_WAITS", "short_all")
    sweep = sweep_of(notebook, "short_all mid_all")
    with started(sweep) as (process, family):
        for each in [psutil.Process(process.pid), *family]:
            each.kill()
    other = sweep.runs[1]
    before = other.result.stat().st_mtime_ns if other.result.exists() else None
    monkeypatch.delenv("STUB_WAITS")
    assert not run(sweep_of(notebook, "short_all mid_all"))[0]
    assert before in (None, other.result.stat().st_mtime_ns)


def test_a_sweep_waits_for_runs_that_another_process_trains(
    notebook: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One from the start, which is left unfinished; and one begun while its kernel starts."""
    monkeypatch.setenv("STUB_BEATEN", "short_all")
    sweep = sweep_of(notebook, "short_all mid_all")
    beaten, held = (each.folder.path for each in sweep.runs)
    log, waits = sweep.folder / LOG, "waiting for another process"
    held.mkdir(parents=True)

    def wait_until(found: Callable[[], bool]) -> None:
        while not found():
            time.sleep(0.05)

    def train_both(lock: FileLock) -> None:
        wait_until(lambda: log.exists() and waits in log.read_text(encoding="utf-8"))
        (held / "left").touch()
        lock.release()
        wait_until((beaten / "beaten").exists)
        with FileLock(lock_path(beaten)):
            (beaten / "held").touch()
            wait_until(lambda: log.read_text(encoding="utf-8").count(waits) == 2)
            write_runs(sweep.logs, ["short_all"], parameters={"epochs": 3})

    lock = FileLock(lock_path(held), thread_local=False)
    lock.acquire()
    other = threading.Thread(target=train_both, args=(lock,), daemon=True)
    other.start()
    missing, shown = run(sweep)
    assert not missing
    other.join()
    assert not any("attempt" in line for line in shown)
    assert not (beaten / FAILURE).exists()
    assert not (beaten / "times").exists()  # it was trained once, by the other
    _, begin, _ = json.loads((held / "times").read_text(encoding="utf-8"))
    assert begin >= (held / "left").stat().st_mtime


def test_a_notebook_that_ends_well_ends_in_silence_and_a_broken_one_in_a_line(
    notebook: Path,
) -> None:
    sweep = sweep_of(notebook, "short_all")
    parameters = json.dumps(sweep.parameters_of("short_all", 0))
    sweep.runs[0].folder.path.mkdir(parents=True)
    command = [sys.executable, "-m", "labsweep.execute"]
    command += [str(notebook), str(sweep.runs[0].notebook), parameters]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    assert done.stdout + done.stderr == ""
    notebook.write_text('{"cells": [', encoding="utf-8")
    done = subprocess.run(command, capture_output=True, encoding="utf-8")
    (said,) = done.stderr.splitlines()
    assert said.startswith("labcnn: train.ipynb can't be executed (")
    assert (done.returncode, done.stdout) == (1, "")


def test_plain_snakemake_runs_the_same_sweep(
    notebook: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUB_RAISES", "mid_all")
    sweep = sweep_of(notebook, "short_all mid_all")
    settings = [f"{name}={value}" for name, value in sweep.parameters.items()]
    # Relative: Snakemake reads the values of --config as YAML.
    settings += ["logs=logs", "notebook=train.ipynb", "variants=[short_all,mid_all]"]
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


EDIT = """
import labcnn
home = Path(labcnn.__file__).parent
if variant == "long_all":
    result["provenance"]["numerics"] += 1
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
    for name in ("runs", "recipe"):
        with (home / f"{name}.py").open("a", encoding="utf-8") as file:
            file.write("\\ndef broken(:\\n")
"""


def test_code_that_is_edited_meanwhile_stops_no_run_and_is_named_by_new_ones(
    notebook: Path, tmp_path: Path
) -> None:
    """The result of what ran counts: here of newer code than the sweep's."""
    home = tmp_path / "checkout"
    for name in ("labcnn", "labsweep", "labreport", "notebooks", "workflow"):
        shutil.copytree(project_root() / name, home / name)
    made = nbformat.read(notebook, as_version=4)
    made.cells.append(new_code_cell(EDIT.strip()))
    nbformat.write(made, notebook)
    line = len((home / "labcnn" / "recipe.py").read_text(encoding="utf-8").splitlines()) + 2
    command = [sys.executable, "-X", "utf8", "-m", "labcnn.cli", "sweep", "epochs=3"]
    command += ["--notebook", str(notebook), "--logs", str(tmp_path / "logs"), "--jobs", "1"]
    done = subprocess.run(
        [*command, "--variants", "short_all long_all", "--retries", "0"],
        cwd=home, env={**os.environ, "PYTHONPATH": str(home)}, capture_output=True,
        encoding="utf-8",
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "long_all seed 0: done test accuracy 25.00% (ok)" in done.stdout
    (said,) = done.stderr.splitlines()
    assert "short_all seed 0 failed: SyntaxError: " in said
    assert f"{home}/labcnn/recipe.py, line {line}: " in said
    assert not (tmp_path / "logs" / RESULT.experiment / "long_all" / "seed0" / FAILURE).exists()
