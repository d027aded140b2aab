"""Taking turns: each contestant in a process of its own, asleep while another works."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
        print(seconds, file=self.process.stdin, flush=True)

    def close(self) -> None:
        """End the process: by the end of its input, or by force."""
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.errors.close()


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
    finally:
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
