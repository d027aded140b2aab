"""What processes need, and how they end: with the one that started them, and all they started."""

import os
import resource
import signal
import threading
import time
from collections.abc import Callable

import psutil  # type: ignore[import-untyped]

from labcnn.errors import RunError

#: In the environment of a process: the number of the one that it must not outlive. That needn't be
#: its parent, which may be a shell in between.
STARTED_BY = "LABCNN_STARTED_BY"
POLL_SECONDS = 0.5
#: The files that a kernel with torch needs to open.
FILES = 256


def when_starter_is_gone(then: Callable[[], object]) -> None:
    """Call ``then`` from a thread once the process that :data:`STARTED_BY` names has ended.

    However it ended: a process that is killed can't tell those it has started.
    """
    number = os.environ.get(STARTED_BY)
    if number is None:
        return
    try:
        starter = psutil.Process(int(number))
    except psutil.NoSuchProcess:
        then()
        return

    def watch() -> None:
        while is_alive(starter):
            time.sleep(POLL_SECONDS)
        then()

    threading.Thread(target=watch, daemon=True).start()


def is_alive(process: psutil.Process) -> bool:
    """Whether it still runs; a zombie doesn't, nor does another process with its number."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def terminate() -> None:
    """SIGTERM to this process, whose handler may clean up."""
    os.kill(os.getpid(), signal.SIGTERM)


def end_children(seconds: float) -> None:
    """End what this process has started: by SIGTERM, and what is left then by SIGKILL.

    Each is given ``seconds`` to work.
    """
    children = psutil.Process().children(recursive=True)
    for act in (psutil.Process.terminate, psutil.Process.kill):
        for child in children:
            try:
                act(child)
            except psutil.NoSuchProcess:
                pass
        _, children = psutil.wait_procs(children, timeout=seconds)


def require_files() -> None:
    """Raise a :class:`RunError` if this process may open fewer files than a notebook needs.

    Near the limit, a kernel's libraries fail or end without a word. It is raised if it may be.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if not 0 <= soft < FILES:
        return
    if 0 <= hard < FILES:
        raise RunError(
            f"this process may open {hard} files (ulimit -n), too few for a notebook: allow {FILES}"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, hard))
