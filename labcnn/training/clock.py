"""When a run began, how long it has been at work, and on what."""

import time
from datetime import UTC, datetime
from typing import Any

from labcnn.runs import Machine


class Clock:
    """Counts over all the processes that an interrupted run took.

    ``started`` is the beginning of the first, in ISO 8601; ``seconds`` leaves out the time between
    them, and what one of them did after its last checkpoint. ``interruptions`` is how many there
    were before this one; ``earlier`` what they ran on, where it isn't ``machine``.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.earlier: list[Machine] = []
        self.started = now()
        self.interruptions = 0
        self._begin = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._begin

    def state_dict(self) -> dict[str, Any]:
        return {
            "started": self.started,
            "seconds": self.seconds,
            "interruptions": self.interruptions,
            "machines": [each.model_dump() for each in (*self.earlier, self.machine)],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.started, self.interruptions = state["started"], state["interruptions"]
        self._begin -= state["seconds"]
        before = [Machine(**each) for each in state["machines"]]
        self.earlier = [each for each in before if each != self.machine]


def now() -> str:
    """The time in ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
