"""Run the missing runs of a sweep with Snakemake, and watch them."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from rich.console import Console

from labcnn.errors import RunError
from labcnn.paths import project_root
from labcnn.progress import Display, State, Watch, counts
from labcnn.sweep import Run, Sweep

LOG = "sweep.log"
POLL_SECONDS = 0.5
STOP_SECONDS = 10


def run_sweep(sweep: Sweep, jobs: int, console: Console) -> dict[Run, State]:
    """Run what is missing, ``jobs`` runs side by side; a run that fails doesn't stop the others.

    Returns
    -------
    dict
        The runs that have no result now, each with what went wrong.

    Raises
    ------
    RunError
        Snakemake itself could not start the runs.
    KeyboardInterrupt
        After the runs have been stopped.
    """
    watch = Watch(sweep)
    states = watch.states()
    code = 0
    if any(state.kind == "waiting" for state in states.values()):
        with Display(console) as display, snakemake(sweep, jobs) as process:
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
    if missing and all(state.kind == "waiting" for state in missing.values()):
        raise RunError(f"snakemake ended with code {code}, see {log}: {last_line(log)}")
    return missing


@contextmanager
def snakemake(sweep: Sweep, jobs: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Snakemake as a child process that is gone, with all it started, when the block is left."""
    sweep.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="labcnn-") as folder:
        config = Path(folder) / "sweep.json"
        config.write_text(json.dumps(sweep.config), encoding="utf-8")
        command = [
            sys.executable, "-m", "snakemake", "--cores", str(jobs), "--nocolor",
            "--snakefile", str(project_root() / "workflow" / "Snakefile"),
            "--configfile", str(config), "--directory", str(sweep.folder),
        ]  # fmt: skip
        with (sweep.folder / LOG).open("a", encoding="utf-8") as log:
            print(f"\n=== {datetime.now():%Y-%m-%d %H:%M:%S}", file=log, flush=True)
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUTF8": "1", "OMP_NUM_THREADS": "1"},
                start_new_session=True,  # Ctrl-C reaches this process alone, which passes it on
            )
            try:
                with _terminate_as_interrupt():
                    yield process
            finally:
                stop(process)


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End the process and its whole group; kernels end by themselves when their parent does."""
    if process.poll() is not None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
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
