"""Run a notebook by papermill, its kernel reached through sockets in a folder of its own.

``papermill NOTEBOOK EXECUTED -p name value ...`` with one difference: kernels that start together
on TCP can be given the same port (papermill #511); Unix sockets in a private folder can't clash.

    python run_notebook.py NOTEBOOK EXECUTED '{"variant": "short_all", "seed": 0}'
"""

import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

# jsonschema's check of URIs, which notebooks have no use for, compiles a grammar: 1.5 s a run.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]

import papermill  # noqa: E402
from papermill.exceptions import PapermillExecutionError  # noqa: E402
from traitlets.config import Config  # noqa: E402


def run(notebook: Path, executed: Path, parameters: dict[str, object]) -> None:
    """Execute ``notebook`` with ``parameters``; ``executed`` is written after every cell."""
    os.environ["PYTHONUTF8"] = "1"
    executed.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="labcnn-", ignore_cleanup_errors=True) as sockets:
        config = Config()
        if os.name == "posix":
            # A short name: the system's limit for a socket's path is about 100 characters.
            config.KernelManager.transport = "ipc"
            config.KernelManager.ip = str(Path(sockets) / "k")
        papermill.execute_notebook(
            notebook, executed, parameters, progress_bar=False, cwd=notebook.parent, config=config
        )


def _stop(signum: int, frame: object) -> NoReturn:
    """Leave through the ``finally`` blocks, so that the kernel is shut down too."""
    raise SystemExit(128 + signum)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    try:
        run(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
    except PapermillExecutionError as error:
        sys.exit(f"{sys.argv[2]}: {error.ename}: {error.evalue}")
