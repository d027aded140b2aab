"""Run the due runs of a sweep with Snakemake, and watch them."""

import ast
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rich.console import Console

from labcnn.data import load_dataset
from labcnn.errors import ParameterError, RunError, require_addresses, system_cause
from labcnn.files import TEMPORARY, project_root
from labcnn.joining import require_equal, shared_by_results
from labsweep.gpus import find_gpus, home_cache, is_apple
from labsweep.monitor import Display, Monitor, RunPhase, counts
from labsweep.processes import STARTED_BY, require_files
from labsweep.sweep import OWN_FOLDER, Run, Sweep

LOG = "sweep.log"
POLL_SECONDS = 0.5
STOP_SECONDS = 10
MOST_RETRIES = 100
#: Bytes that a sweep's folder must have room for.
ROOM = 2**20


@dataclass(frozen=True)
class SnakemakeOptions:
    """Where and how Snakemake executes a sweep's runs; a :class:`ParameterError` for wrong ones.

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


def run_sweep(sweep: Sweep, options: SnakemakeOptions, console: Console) -> dict[Run, RunPhase]:
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
    require_same_recipe(sweep)
    monitor = Monitor(sweep, options.retries + 1)
    if options.profile is None and any(monitor.due.values()):
        require_data_and_device(sweep)
    phases = monitor.phases()
    if any(monitor.due.values()):
        require_files()
        require_addresses()
        require_room(sweep.folder)
    code = 0
    if any(each.phase == "waiting" for each in phases.values()):
        with Display(console) as display, start_snakemake(sweep, options) as process:
            while (ended := process.poll()) is None:
                display.show(phases)
                time.sleep(POLL_SECONDS)
                phases = monitor.phases()
            code = ended
            phases = monitor.phases(ended=True)
            display.show(phases)
    console.print(f"{sweep.experiment}: {counts(phases)}", highlight=False)
    missing = {run: each for run, each in phases.items() if each.phase != "done"}
    if missing:
        require_room(sweep.folder)
    if missing and (broken := find_syntax_error()):  # saved while others ran
        stopped = RunPhase("failed", broken)
        missing = {r: stopped if each.phase == "waiting" else each for r, each in missing.items()}
    log = sweep.folder / LOG
    if missing and code < 0:
        name = signal.Signals(-code).name
        failed = [f"{run} ({failure})" for run in missing if (failure := run.folder.failure())]
        also = f"; failed: {', '.join(failed)}" if failed else ""
        raise RunError(f"snakemake was ended by {name}; the same command goes on from here{also}")
    if missing and all(each.phase == "waiting" for each in missing.values()):
        raise RunError(f"snakemake ended with code {code}, see {log}: {last_line(log)}")
    return missing


def require_same_recipe(sweep: Sweep) -> None:
    """Raise a :class:`RunError` if the experiment has runs that differ in what they should share.

    Each run would stop for that itself; this says it once.
    """
    mine, theirs = sweep.runs[0].recipe.shared, shared_by_results(sweep.logs, sweep.experiment)
    require_equal(sweep.experiment, {**mine, **theirs}, mine)


def require_data_and_device(sweep: Sweep) -> None:
    """Raise an error if this machine lacks the data or the device that each of the runs needs.

    Each run would fail for itself, after its kernel has started; this says it once.
    """
    recipe = sweep.runs[0].recipe
    load_dataset(recipe.dataset, recipe.fraction)
    device = sweep.parameters.get("device", "auto")
    # By nvidia-smi and not by torch, which would hold memory of the GPU as long as the sweep lasts.
    if (device == "cuda" and not find_gpus()) or (device == "mps" and not is_apple()):
        raise ParameterError(f"device={device!r} isn't on this machine")


def find_syntax_error() -> str:
    """The file and line of the code that Python can't read; empty where it can."""
    for package in ("labcnn", "labsweep"):
        for path in sorted(Path(__file__).parents[1].joinpath(package).rglob("*.py")):
            try:
                ast.parse(path.read_bytes(), path)
            except SyntaxError as error:
                return f"SyntaxError: {path}, line {error.lineno}: {error.msg}"
    return ""


def require_room(folder: Path) -> None:
    """Raise a :class:`RunError` that names the cause, if a small file can't be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=TEMPORARY) as file:
            file.write(bytes(ROOM))
            file.flush()
    except OSError as error:
        raise RunError(f"{folder} can't be written: {system_cause(error)}") from None


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
def start_snakemake(sweep: Sweep, options: SnakemakeOptions) -> Iterator["subprocess.Popen[bytes]"]:
    """Snakemake as a child process that is gone, with all it started, when the block is left."""
    command = [
        sys.executable, "-m", "snakemake", "--nocolor",
        "--cores" if options.profile is None else "--jobs", str(options.jobs),
        "--retries", str(options.retries),
        "--snakefile", str(project_root() / "workflow" / "Snakefile"),
        "--configfile", str(sweep.write()), "--directory", str(sweep.folder),
    ]  # fmt: skip
    if options.profile is not None:
        command += ["--workflow-profile", str(options.profile)]
    own = {"PYTHONUTF8": "1", "OMP_NUM_THREADS": "1", STARTED_BY: str(os.getpid())}
    if not can_write(Path(os.environ.get("XDG_CACHE_HOME") or home_cache())):
        own["XDG_CACHE_HOME"] = str(sweep.folder / OWN_FOLDER / "cache")
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
            stop(process, remote=options.profile is not None)


def can_write(folder: Path) -> bool:
    """Whether files can be made in a folder, which may have to be made itself."""
    there = next(each for each in (folder, *folder.parents) if each.exists())
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


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
