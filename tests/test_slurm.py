"""`labcnn sweep --profile slurm` on a real Slurm: own GPUs, a killed sweep, and the same bits."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import psutil  # type: ignore[import-untyped]
import pytest
from slurm_cluster import Cluster, slurm_cluster
from waiting import wait_for

from labcnn.files import project_root
from labcnn.request import RunRequest
from labcnn.runs import GRADIENTS, HISTORY, PREDICTIONS, lock_path, read_result
from labcnn.training.trainer import fit
from labsweep.sweep import Run, Sweep

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

PARAMETERS = {"dataset": "shapes", "fraction": 0.05, "epochs": 1, "width": 4, "device": "cpu"}
VARIANTS, SEEDS = "short_all", "0 1"
#: For each thing that is waited for; a busy machine takes several times what an idle one does.
SECONDS = 240


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("slurm")


@pytest.fixture(scope="module")
def cluster(program: Callable[[str], str]) -> Iterator[Cluster]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PATH", f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
        with slurm_cluster(program) as running:
            yield running
        assert running.processes() == []


@pytest.fixture(scope="module")
def start(cluster: Cluster, folder: Path) -> Iterator[Callable[[Path], "subprocess.Popen[str]"]]:
    """A function that starts the sweep with its logs in a folder."""
    # The profile, but Snakemake asks Slurm at once how its jobs are: it waits 10 s more each time.
    ours = project_root() / "workflow" / "profiles" / "slurm" / "config.yaml"
    profile = folder / "profile" / ours.name
    profile.parent.mkdir()
    text, seconds = ours.read_text(encoding="utf-8"), "before-status-checks: "
    assert f"{seconds}5" in text
    profile.write_text(text.replace(f"{seconds}5", f"{seconds}1"), encoding="utf-8")
    command = [sys.executable, "-m", "labcnn.cli", "sweep", "--jobs", "2"]
    command += ["--profile", str(profile.parent)]
    command += [f"{name}={value}" for name, value in PARAMETERS.items()]
    command += ["--variants", VARIANTS, "--seeds", SEEDS]
    started = []

    with (folder / "printed.txt").open("w", encoding="utf-8") as printed:

        def start(logs: Path) -> "subprocess.Popen[str]":
            process = subprocess.Popen(
                [*command, "--logs", str(logs)],
                env=cluster.environment,
                stdout=printed,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
            )
            started.append(process)
            return process

        yield start
        for process in started:
            process.kill()
            process.wait()


@dataclass(frozen=True)
class Training:
    """A kernel that holds the lock of its run, inside a Slurm job."""

    job: int
    device: str
    run: Run
    kernel: psutil.Process


def sweep_in(logs: Path) -> Sweep:
    return Sweep.from_options({**PARAMETERS, "variants": VARIANTS, "seeds": SEEDS, "logs": logs})


def trainings(cluster: Cluster, sweep: Sweep) -> list[Training]:
    """What is being trained now, by the processes themselves."""
    found = []
    locks = {str(lock_path(run.folder.path)): run for run in sweep.runs}
    for kernel in cluster.processes():
        try:
            if "ipykernel_launcher" not in kernel.cmdline():
                continue
            own = kernel.environ()
            held = [locks[file.path] for file in kernel.open_files() if file.path in locks]
        except psutil.Error:
            continue
        job, device = int(own["SLURM_JOB_ID"]), own["CUDA_VISIBLE_DEVICES"]
        found += [Training(job, device, run, kernel) for run in held]
    return found


def stop_one(cluster: Cluster, sweep: Sweep) -> Training | None:
    """Suspend a kernel in the middle of its run, where no other run waits for it."""
    for training in trainings(cluster, sweep):
        training.kernel.suspend()
        held = {file.path for file in training.kernel.open_files()}
        shared = str(sweep.folder / ".experiment.lock")
        if shared not in held and not training.run.result.exists():
            return training
        training.kernel.resume()
    return None


def waiting(sweep: Sweep, run: Run) -> int | None:
    """The job that says that it waits for another process which trains this run."""
    logs = sweep.folder / ".snakemake" / "slurm_logs"
    for file in logs.rglob(f"{run.variant}_{run.seed}/*.log"):
        if "waiting for another process that trains this run" in file.read_text(encoding="utf-8"):
            return int(file.stem)
    return None


def finished(sweep: Sweep) -> list[Run]:
    return [run for run in sweep.runs if run.result.exists()]


def written(run: Run) -> tuple[int, int]:
    """Which file the result is, and when it was written."""
    now = run.result.stat()
    return now.st_ino, now.st_mtime_ns


def contents(run: Run) -> tuple[str, bytes, dict[str, tuple[str, bytes]]]:
    """All of a run that doesn't depend on the clock."""
    history = pd.read_csv(run.folder.path / HISTORY, dtype=str)
    timeless = history.drop(columns=["seconds", "images_per_second"]).to_csv()
    with np.load(run.folder.path / PREDICTIONS) as arrays:
        saved = {name: (str(arrays[name].dtype), arrays[name].tobytes()) for name in arrays}
    return timeless, (run.folder.path / GRADIENTS).read_bytes(), saved


@dataclass(frozen=True)
class Begun:
    """A sweep whose jobs are in the queue."""

    sweep: Sweep
    driver: "subprocess.Popen[str]"


@pytest.fixture(scope="module")
def begun(
    start: Callable[[Path], "subprocess.Popen[str]"], cluster: Cluster, folder: Path
) -> Begun:
    sweep = sweep_in(folder / "remote")
    driver = start(sweep.logs)
    wait_for("its jobs are there", lambda: len(cluster.jobs()) == len(sweep.runs), SECONDS)
    return Begun(sweep, driver)


@pytest.fixture(scope="module")
def standing(begun: Begun, cluster: Cluster) -> Training:
    """A kernel of the sweep that stands still."""
    return wait_for("a run trains", lambda: stop_one(cluster, begun.sweep), SECONDS)


@dataclass(frozen=True)
class Killed:
    """A sweep that was killed: one kernel stood still then, the other run was done."""

    sweep: Sweep
    standing: Training
    #: The jobs' states after it, by number.
    states: dict[int, str]
    #: The results that were there.
    written: dict[Run, tuple[int, int]]


@pytest.fixture(scope="module")
def killed(begun: Begun, standing: Training, cluster: Cluster) -> Killed:
    sweep, driver = begun.sweep, begun.driver
    wait_for("the other one is done", lambda: finished(sweep), SECONDS)
    workflow = psutil.Process(driver.pid).children(recursive=True)
    driver.kill()
    driver.wait()
    assert psutil.wait_procs(workflow, timeout=30)[1] == []
    states = {job.number: job.state for job in cluster.jobs()}
    return Killed(sweep, standing, states, {run: written(run) for run in finished(sweep)})


@dataclass(frozen=True)
class Resumed:
    """The same sweep, started again; in it a second job waits for the run that is trained still."""

    driver: "subprocess.Popen[str]"
    second: int
    trained: list[psutil.Process]
    granted: tuple[str, str]


@pytest.fixture(scope="module")
def resumed(
    killed: Killed, cluster: Cluster, start: Callable[[Path], "subprocess.Popen[str]"]
) -> Resumed:
    sweep, standing = killed.sweep, killed.standing
    driver = start(sweep.logs)
    second = wait_for("a second job waits", lambda: waiting(sweep, standing.run), SECONDS)
    trained = [each.kernel for each in trainings(cluster, sweep)]
    granted = cluster.granted(standing.job), cluster.granted(second)
    return Resumed(driver, second, trained, granted)


@pytest.fixture(scope="module")
def done(killed: Killed, resumed: Resumed, folder: Path) -> Sweep:
    """The sweep, after the kernel that stood still went on."""
    killed.standing.kernel.resume()
    code = resumed.driver.wait(SECONDS)
    assert code == 0, (folder / "printed.txt").read_text(encoding="utf-8")
    return killed.sweep


def test_the_cluster_has_two_gpus(cluster: Cluster) -> None:
    assert cluster.run("sinfo", "--noheader", "--format=%G").strip() == "gpu:2"


def test_a_sweep_submits_a_job_for_each_run(cluster: Cluster, begun: Begun) -> None:
    jobs = cluster.jobs()
    assert [job.resources for job in jobs] == ["gres:gpu:1"] * len(begun.sweep.runs)
    names = {job.comment.partition("_wildcards_")[2] for job in jobs}
    assert names == {f"{run.variant}_{run.seed}" for run in begun.sweep.runs}


def test_a_job_trains_on_the_gpu_that_it_was_given(cluster: Cluster, standing: Training) -> None:
    assert standing.device == cluster.granted(standing.job)


def test_jobs_outlive_a_killed_sweep(killed: Killed) -> None:
    assert killed.states[killed.standing.job] == "RUNNING"
    assert killed.standing.run not in killed.written


def test_the_same_sweep_again_waits_for_the_run_that_is_still_trained(
    killed: Killed, resumed: Resumed
) -> None:
    """In a second job, on a GPU of its own."""
    assert resumed.trained == [killed.standing.kernel]
    assert resumed.granted[0] == killed.standing.device
    assert {*resumed.granted} == {"0", "1"}


def test_nothing_ran_twice_nothing_was_broken_off_and_the_bits_are_those_of_runs_without_slurm(
    killed: Killed, done: Sweep, tmp_path: Path
) -> None:
    assert {run: written(run) for run in killed.written} == killed.written
    results = [read_result(run.result) for run in done.runs]
    assert [result.provenance.interruptions for result in results] == [0] * len(done.runs)
    local = sweep_in(tmp_path)
    for run in local.runs:
        fit(RunRequest.from_parameters(local.parameters_of(run.variant, run.seed)))
    assert [contents(run) for run in done.runs] == [contents(run) for run in local.runs]


def test_each_run_was_a_slurm_job_with_its_own_gpu(cluster: Cluster, done: Sweep) -> None:
    jobs = cluster.jobs()
    assert {job.state for job in jobs} == {"COMPLETED"}
    assert {job.resources for job in jobs} == {"gres:gpu:1"}
    names = {job.comment.partition("_wildcards_")[2] for job in jobs}
    assert names == {f"{run.variant}_{run.seed}" for run in done.runs}
    steps = cluster.steps()
    assert sorted(step.job for step in steps) == [job.number for job in jobs]
    assert {step.device for step in steps} == {"0", "1"}
    together = [pair for pair in combinations(steps, 2) if pair[0].overlaps(pair[1])]
    assert together
    assert [pair for pair in together if pair[0].device == pair[1].device] == []
