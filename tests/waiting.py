"""Waits of the tests: for a condition, not for a time that is enough on some machine."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(what: str, find: Callable[[], T | None], seconds: float, pause: float = 0.1) -> T:
    """What ``find`` gives as soon as it is true; a :class:`TimeoutError` after so many seconds."""
    limit = time.monotonic() + seconds
    while not (found := find()):
        if time.monotonic() > limit:
            raise TimeoutError(f"waited {seconds} s until {what}")
        time.sleep(pause)
    return found
