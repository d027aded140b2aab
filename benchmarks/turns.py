"""Taking turns: each contestant in a process of its own, asleep while another works."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

PROGRAM = Path(__file__).parent / "contestants.py"

#: What a contestant is told, see ``contestants.py``; several in a list run at the same time.
Options = dict[str, Any]
Entry = Options | list[Options]


class Contestant:
    """A loop of ``contestants.py``; its memory, threads and caches are nobody else's."""

    def __init__(self, options: Options) -> None:
        self.kind = options["kind"]
        self.errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            encoding="utf-8",
        )

    def answer(self) -> Any:
        """The next line of its output.

        Raises
        ------
        RuntimeError
            It has ended: the last line of what it said.
        """
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            said = self.errors.read().strip().splitlines() or ["nothing said"]
            raise RuntimeError(f"contestant {self.kind} has ended: {said[-1]}")
        return json.loads(line)

    def begin(self, seconds: float) -> None:
        """Start a turn; :meth:`answer` waits for its end and gives the rate."""
        assert self.process.stdin is not None
        try:
            print(seconds, file=self.process.stdin, flush=True)
        except BrokenPipeError:  # it has ended: its answer says why
            pass

    def end_input(self) -> None:
        """Let the process end; :meth:`close` waits for it."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.close()
        except BrokenPipeError:  # it has ended already
            pass

    def close(self, wait: float = 10) -> None:
        """End the process and its workers, by force if they are there after ``wait`` seconds."""
        try:
            self.process.wait(wait)
        except subprocess.TimeoutExpired:
            kill_children(self.process.pid)
            self.process.kill()
            self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.errors.close()


def kill_children(pid: int | None = None) -> None:
    """Leave none of the processes behind that a process (this one) has started, nor theirs."""
    children = psutil.Process(pid).children(recursive=True)
    for child in children:
        try:
            child.kill()
        except psutil.NoSuchProcess:
            pass
    psutil.wait_procs(children, timeout=10)


@contextmanager
def started(options: Sequence[Options]) -> Iterator[list[Contestant]]:
    """Contestants that are warm: they start together, and each has worked for a moment."""
    contestants: list[Contestant] = []
    try:
        for each in options:
            contestants.append(Contestant(each))
        for contestant in contestants:
            contestant.answer()
        yield contestants
    except (KeyboardInterrupt, SystemExit):
        kill_children()  # don't wait for the end of a turn
        raise
    finally:
        for contestant in contestants:
            contestant.end_input()
        for contestant in contestants:
            contestant.close()


def together(contestants: Sequence[Contestant], seconds: float) -> float:
    """One turn of all at once: the sum of their rates."""
    for each in contestants:
        each.begin(seconds)
    return sum(float(each.answer()) for each in contestants)


def interleaved(
    entries: Mapping[str, Entry], rounds: int, seconds: float
) -> list[dict[str, float]]:
    """Let the entries take turns, ``rounds`` times; per round, each one's rate by name."""
    lists = {name: each if isinstance(each, list) else [each] for name, each in entries.items()}
    with started([options for each in lists.values() for options in each]) as contestants:
        rest = iter(contestants)
        groups = {name: [next(rest) for _ in each] for name, each in lists.items()}
        return [
            {name: together(group, seconds) for name, group in groups.items()}
            for _ in range(rounds)
        ]
