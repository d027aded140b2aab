"""End this process when another one is gone, or when its time is up."""

import os
import signal
import threading
import time
from collections.abc import Callable

import psutil  # type: ignore[import-untyped]

#: In a child's environment: the process that it must not outlive.
PARENT = "LABCNN_PARENT"
#: In the environment of a Snakemake that `labcnn sweep` starts: that process.
DRIVER = "LABCNN_DRIVER"
POLL_SECONDS = 0.5


def alive(process: psutil.Process) -> bool:
    """Whether the process still runs: not a zombie, nor a later process with the same number."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def when_gone(pid: int, then: Callable[[], object]) -> None:
    """Watch a process from a thread; call ``then`` once it is gone, however it ended."""
    try:
        process = psutil.Process(pid)
    except psutil.NoSuchProcess:
        then()
        return

    def watch() -> None:
        while alive(process):
            time.sleep(POLL_SECONDS)
        then()

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


def watch_parent() -> None:
    """End this process by SIGTERM when the one that :data:`PARENT` names is gone."""
    if pid := os.environ.get(PARENT):
        when_gone(int(pid), terminate)


def when_over(seconds: float, then: Callable[[], object]) -> threading.Timer:
    """Call ``then`` from a thread when ``seconds`` have passed, unless the timer is cancelled."""
    timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), then)
    timer.daemon = True
    timer.start()
    return timer


def terminate() -> None:
    """SIGTERM to this process, whose handler may clean up."""
    os.kill(os.getpid(), signal.SIGTERM)


def end_children(grace: float) -> None:
    """End what this process has started and left: SIGTERM, and SIGKILL after ``grace`` seconds."""
    children = psutil.Process().children(recursive=True)
    for act in ("terminate", "kill"):
        for child in children:
            try:
                getattr(child, act)()
            except psutil.NoSuchProcess:
                pass
        _, children = psutil.wait_procs(children, timeout=grace)
