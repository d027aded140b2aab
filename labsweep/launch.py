"""Run the missing runs of a sweep with Snakemake, and watch them."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rich.console import Console

from labcnn.data import tiny_imagenet
from labcnn.errors import ParameterError, RunError
from labcnn.files import write_text
from labcnn.paths import project_root
from labcnn.runs import find_runs
from labcnn.training.experiment import require_equal
from labsweep import lifeline
from labsweep.grid import DONE, Run, Sweep
from labsweep.progress import Display, Progress, Watch, counts
from labsweep.slots import gpus, is_apple

LOG = "sweep.log"
POLL_SECONDS = 0.5
STOP_SECONDS = 10
MOST_RETRIES = 100


@dataclass(frozen=True)
class Place:
    """Where and how a sweep's runs are executed; a :class:`ParameterError` for what can't be.

    Attributes
    ----------
    jobs : runs side by side.
    retries : further attempts at a run that failed.
    profile : a folder of Snakemake's settings, for a cluster; None is this machine.
    """

    jobs: int
    retries: int = 1
    profile: Path | None = None

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise ParameterError(f"jobs={self.jobs!r} must be at least 1")
        if not 0 <= self.retries <= MOST_RETRIES:
            raise ParameterError(f"retries={self.retries!r} must be from 0 to {MOST_RETRIES}")


def run_sweep(sweep: Sweep, place: Place, console: Console) -> dict[Run, Progress]:
    """Run what is due; a run that fails doesn't stop the others.

    Returns
    -------
    dict
        The runs that aren't up to date now, each with what went wrong.

    Raises
    ------
    RunError
        The experiment has runs of another recipe, or Snakemake could not start the runs or was
        killed.
    DataError, ParameterError
        This machine hasn't the data, or the device, that the runs need.
    KeyboardInterrupt
        After the runs have been stopped.
    """
    refuse_foreign(sweep)
    watch = Watch(sweep, place.retries + 1)
    if place.profile is None and any(watch.why.values()):
        refuse_this_machine(sweep)
    states = watch.states()
    code = 0
    if any(state.kind == "waiting" for state in states.values()):
        with Display(console) as display, snakemake(sweep, place) as process:
            while (ended := process.poll()) is None:
                display.show(states)
                time.sleep(POLL_SECONDS)
                states = watch.states()
            code = ended
            states = watch.states(ended=True)
            display.show(states)
    console.print(f"{sweep.experiment}: {counts(states)}", highlight=False)
    missing = {run: state for run, state in states.items() if state.kind != "done"}
    log = sweep.folder / LOG
    if missing and code < 0:
        name = signal.Signals(-code).name
        failed = [f"{run} ({failure})" for run in missing if (failure := run.files.failure())]
        also = f"; failed: {', '.join(failed)}" if failed else ""
        raise RunError(f"snakemake was ended by {name}; the same command goes on from here{also}")
    if missing and all(state.kind == "waiting" for state in missing.values()):
        raise RunError(f"snakemake ended with code {code}, see {log}: {last_line(log)}")
    return missing


def refuse_foreign(sweep: Sweep) -> None:
    """Raise a :class:`RunError` if the experiment's runs have another recipe than the sweep's.

    Each run would refuse it for itself; here it is said once.
    """
    for run in find_runs(sweep.logs, sweep.experiment):
        try:
            theirs = run.result().recipe.shared
        except RunError:  # damaged: it will be replaced
            continue
        require_equal(sweep.experiment, theirs, sweep.runs[0].recipe.shared)
        return


def refuse_this_machine(sweep: Sweep) -> None:
    """Raise an error if this machine lacks what each of the runs needs: the data, the device.

    Each run would fail for itself, after a kernel's start; here it is said once.
    """
    recipe = sweep.runs[0].recipe
    if recipe.dataset == tiny_imagenet.NAME:
        tiny_imagenet.load()
    device = sweep.parameters.get("device", "auto")
    # By nvidia-smi and not by torch, which would hold memory of the GPU as long as the sweep lasts.
    if (device == "cuda" and not gpus()) or (device == "mps" and not is_apple()):
        raise ParameterError(f"device={device!r} isn't on this machine")


def profile_folder(name: str) -> Path:
    """A profile of ``workflow/profiles``, or a folder with a ``config.yaml``.

    Raises
    ------
    ParameterError
        There is none: names those there are.
    """
    ours = project_root() / "workflow" / "profiles"
    for folder in (ours / name, Path(name).expanduser().resolve()):
        if (folder / "config.yaml").is_file():
            return folder
    known = ", ".join(sorted(path.parent.name for path in ours.glob("*/config.yaml")))
    raise ParameterError(
        f"profile={name!r} is neither one of workflow/profiles ({known}) nor a folder with a "
        "config.yaml"
    )


@contextmanager
def snakemake(sweep: Sweep, place: Place) -> Iterator["subprocess.Popen[bytes]"]:
    """Snakemake as a child process that is gone, with all it started, when the block is left."""
    text = json.dumps(sweep.config)
    # Kept, for a cluster's jobs read it too; one file for each different sweep.
    config = sweep.folder / DONE / f"{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
    write_text(config, text)
    command = [
        sys.executable, "-m", "snakemake", "--nocolor",
        "--cores" if place.profile is None else "--jobs", str(place.jobs),
        "--retries", str(place.retries),
        "--snakefile", str(project_root() / "workflow" / "Snakefile"),
        "--configfile", str(config), "--directory", str(sweep.folder),
    ]  # fmt: skip
    if place.profile is not None:
        command += ["--workflow-profile", str(place.profile)]
    own = {"PYTHONUTF8": "1", "OMP_NUM_THREADS": "1", lifeline.DRIVER: str(os.getpid())}
    with (sweep.folder / LOG).open("a", encoding="utf-8") as log:
        print(f"\n=== {datetime.now():%Y-%m-%d %H:%M:%S}", file=log, flush=True)
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **own},
            start_new_session=True,  # Ctrl-C reaches this process alone, which passes it on
        )
        try:
            with _terminate_as_interrupt():
                yield process
        finally:
            stop(process, remote=place.profile is not None)


def stop(process: "subprocess.Popen[bytes]", remote: bool = False) -> None:
    """End the process and its whole group; kernels end by themselves when their parent does.

    On a cluster (``remote``), Snakemake itself is interrupted first: it cancels its jobs then.
    """
    if process.poll() is not None:
        return
    signals = [signal.SIGTERM, signal.SIGKILL]
    for number in ([signal.SIGINT] if remote else []) + signals:
        os.killpg(process.pid, number)
        try:
            process.wait(timeout=STOP_SECONDS)
            return
        except subprocess.TimeoutExpired:
            continue


@contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """SIGTERM and a closed terminal stop the runs just as Ctrl-C does."""

    def interrupt(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {each: signal.signal(each, interrupt) for each in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8").splitlines()]
    return next((line for line in reversed(lines) if line), "(nothing)")
