"""One run of a sweep, as Snakemake starts it: bring the run up to date, or leave a record why not.

    python -m labsweep.job '{"notebook": ..., "parameters": ..., "minutes": null}' ATTEMPT DONE

DONE is a file that is made at the end: Snakemake's output, so that no result is one that Snakemake
might delete. Whatever else is asked of the run, another process may be at it: the job waits then,
and takes over what is left, which may be nothing.
"""

import json
import math
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from labcnn.errors import LabError, LockedError, RunError
from labcnn.execute import CellFailed, KernelDied, execute
from labcnn.request import RunRequest
from labcnn.runs import FAILURE, NOTEBOOK, FailureKind, RunFolder, State, state
from labsweep import lifeline
from labsweep.slots import slot

#: How long a process may take to leave by itself when it has been told to.
GRACE_SECONDS = 5
#: Between two looks at whether another process still trains the run.
POLL_SECONDS = 1


class Stopped(SystemExit):
    """SIGTERM: leave through the ``finally`` blocks, so that the kernel is shut down too."""


@dataclass
class Job:
    """One attempt at one run.

    Attributes
    ----------
    notebook : the notebook of one run.
    parameters : what it is given; ``overwrite`` is the job's own to say.
    minutes : the attempt's time limit, waiting for others left out; None for none.
    attempt : counts from 1.
    """

    notebook: Path
    parameters: Mapping[str, Any]
    minutes: float | None
    attempt: int
    late: bool = False

    def __post_init__(self) -> None:
        self.request = RunRequest.from_parameters(self.parameters)

    @property
    def folder(self) -> RunFolder:
        return self.request.folder

    @property
    def done(self) -> bool:
        """Whether the run is up to date."""
        return state(self.folder, self.request.recipe, ask_lock=False).kind is State.DONE

    def run(self) -> int:
        """The exit code: 0 for a run that is up to date now."""
        while True:
            self.wait_for_others()
            if self.done:
                (self.folder.path / FAILURE).unlink(missing_ok=True)
                print("up to date")
                return 0
            with slot(self.parameters) as gpu:
                # While this one waited for a GPU, another may have begun the run, or ended it.
                if self.folder.is_locked() or self.done:
                    continue
                print(f"GPU {gpu}" if gpu else "CPU", flush=True)
                if (code := self._execute()) is not None:
                    return code

    def wait_for_others(self) -> None:
        """Wait until no other process trains this run: a job that outlived its sweep, a person."""
        if self.folder.is_locked():
            print("waiting for another process that trains this run", flush=True)
        while self.folder.is_locked():
            time.sleep(POLL_SECONDS)

    def _execute(self) -> int | None:
        """The exit code; None where another process began the run while the kernel started."""
        seconds = math.inf if self.minutes is None else 60 * self.minutes
        limit = lifeline.when_over(seconds, self._time_is_up)
        again = {"overwrite": True} if self.folder.finished else {}
        fault: tuple[FailureKind, str] = "error", f"{self.notebook.name} ended without a result"
        try:
            execute(self.notebook, self.folder.path / NOTEBOOK, {**self.parameters, **again})
        except KernelDied as error:
            fault = "died", str(error)
        except CellFailed as error:
            if error.kind == LockedError.__name__:
                return None
            fault = "error", error.cause
        except RunError as error:
            fault = "error", str(error)
        except Stopped:
            if self.late and not self.done:
                self._record("time limit", f"not finished after {self.minutes:g} minutes")
            raise
        finally:
            limit.cancel()
            lifeline.end_children(GRACE_SECONDS)
        # A run whose last cells failed is whole all the same: result.json proves it.
        if self.done:
            (self.folder.path / FAILURE).unlink(missing_ok=True)
            return 0
        self._record(*fault)
        return 1

    def _time_is_up(self) -> None:
        self.late = True
        lifeline.terminate()

    def _record(self, kind: FailureKind, message: str) -> None:
        print(f"labcnn: {self.folder.write_failure(kind, message, self.attempt)}", file=sys.stderr)


def _stop(signum: int, frame: object) -> NoReturn:
    signal.signal(signum, signal.SIG_IGN)  # once is enough: the clean-up must not be cut short
    raise Stopped(128 + signum)


def main(description: str, attempt: str, done: str) -> int:
    """Run one job and, if its run is up to date then, make the file ``done``."""
    signal.signal(signal.SIGTERM, _stop)
    given = json.loads(description)
    try:
        job = Job(Path(given["notebook"]), given["parameters"], given["minutes"], int(attempt))
        lifeline.watch_parent()
        code = job.run()
    except LabError as error:
        print(f"labcnn: {error}", file=sys.stderr)
        return 2
    if code == 0:
        Path(done).parent.mkdir(parents=True, exist_ok=True)
        Path(done).touch()
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
