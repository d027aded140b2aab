"""One attempt at one run of a sweep, as Snakemake starts it.

    python -m labsweep.job SWEEP.json VARIANT SEED ATTEMPT MARKER

The job makes the file MARKER once the run is up to date. That is Snakemake's output, and not the
result, which Snakemake might delete. If it fails, it writes ``failure.json``. While another process
trains the run, it waits, and does then what is left to do, which may be nothing.
"""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from labcnn.errors import LabError, LockedError, RunError, system_cause
from labcnn.files import write_text
from labcnn.runs import FAILURE, FailureKind, State
from labsweep.execute import CellFailed, KernelDied, execute
from labsweep.gpus import reserve_gpu
from labsweep.processes import end_children, terminate, when_starter_is_gone
from labsweep.sweep import Run, Sweep

#: How long a child process may take to end when it is asked to.
END_SECONDS = 5
#: Between two looks at whether another process still trains the run.
POLL_SECONDS = 1


class Stopped(SystemExit):
    """SIGTERM: leave through the ``finally`` blocks, so that the kernel is shut down too."""


@dataclass
class Job:
    """One attempt at one run; ``attempt`` counts from 1."""

    sweep: Sweep
    run: Run
    attempt: int
    time_is_up: bool = False
    waits_for: str = ""

    @property
    def up_to_date(self) -> bool:
        return self.run.state.kind is State.DONE

    def bring_up_to_date(self) -> int:
        """The exit code: 0 for a run that is up to date now."""
        while True:
            with self.limit_time():
                self.wait_for_others()
            if self.up_to_date:
                self._forget_failure()
                print("up to date")
                return 0
            with self.limit_time(), self.reserve_gpu() as gpu:
                # While this one waited for a GPU, another may have begun the run, or ended it.
                if self.run.folder.is_locked() or self.up_to_date:
                    continue
                print(f"GPU {gpu}" if gpu else "CPU", flush=True)
                if (code := self.train()) is not None:
                    return code

    @contextmanager
    def reserve_gpu(self) -> Iterator[str | None]:
        """Wait for a GPU; whom this waits for is printed, and written where the sweep reads it."""
        who = f"{self.run} of experiment {self.sweep.experiment}"
        with reserve_gpu(self.sweep.parameters, who, self.tell) as gpu:
            self.stop_telling()
            yield gpu

    def tell(self, line: str) -> None:
        """Say whom the job waits for."""
        self.waits_for = line
        print(line, flush=True)
        write_text(self.sweep.waiting(self.run), line)

    def stop_telling(self) -> None:
        """Take back what :meth:`tell` said."""
        self.waits_for = ""
        self.sweep.waiting(self.run).unlink(missing_ok=True)

    def wait_for_others(self) -> None:
        """Wait until no other process trains this run: a job that outlived its sweep, a person."""
        if not self.run.folder.is_locked():
            return
        self.tell("waiting for another process that trains this run")
        while self.run.folder.is_locked():
            time.sleep(POLL_SECONDS)
        self.stop_telling()

    def train(self) -> int | None:
        """The exit code; None where another process began the run while the kernel started."""
        parameters = self.sweep.parameters_of(self.run.variant, self.run.seed)
        if self.run.folder.finished:
            parameters["overwrite"] = True
        name, before = self.sweep.notebook.name, self.run.result_written
        fault: tuple[FailureKind, str] = "error", f"{name} ended without a result"
        try:
            execute(self.sweep.notebook, self.run.notebook, parameters)
        except KernelDied as error:
            fault = "died", str(error)
        except CellFailed as error:
            if error.kind == LockedError.__name__:
                return None
            fault = "error", error.cause
        except RunError as error:
            fault = "error", str(error)
        finally:
            end_children(END_SECONDS)
        # A run whose last cells failed is whole all the same: result.json proves it. And what ran
        # is what counts, also if the code was edited meanwhile and would give another result.
        if self.up_to_date or self.run.result_written != before:
            self._forget_failure()
            return 0
        self._record(*fault)
        return 1

    @contextmanager
    def limit_time(self) -> Iterator[None]:
        """Stop this process by SIGTERM when the attempt's minutes are over, and record that."""

        def stop() -> None:
            self.time_is_up = True
            terminate()

        minutes = self.sweep.minutes
        seconds = threading.TIMEOUT_MAX if minutes is None else 60 * minutes
        timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), stop)
        timer.daemon = True
        timer.start()
        try:
            yield
        except Stopped:
            if self.time_is_up and not self.up_to_date:
                waited = f", {self.waits_for}" if self.waits_for else ""
                self._record("time limit", f"not finished after {minutes:g} minutes{waited}")
            raise
        finally:
            timer.cancel()

    def _record(self, kind: FailureKind, message: str) -> None:
        print(f"labcnn: {message}", file=sys.stderr)
        self.run.folder.write_failure(kind, message, self.attempt)

    def _forget_failure(self) -> None:
        (self.run.folder.path / FAILURE).unlink(missing_ok=True)


def _stop(signum: int, frame: object) -> NoReturn:
    signal.signal(signum, signal.SIG_IGN)  # once is enough: the clean-up must not be cut short
    raise Stopped(128 + signum)


def main(file: str, variant: str, seed: str, attempt: str, marker: str) -> int:
    """Run one job and, if its run is up to date then, make the file ``marker``."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        sweep = Sweep.read(Path(file))
        job = Job(sweep, sweep.run(variant, int(seed)), int(attempt))
        when_starter_is_gone(terminate)
        code = job.bring_up_to_date()
    except LabError as error:
        print(f"labcnn: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"labcnn: {system_cause(error)}", file=sys.stderr)
        return 2
    if code == 0:
        Path(marker).parent.mkdir(parents=True, exist_ok=True)
        Path(marker).touch()
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
