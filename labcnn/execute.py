"""Run a notebook by papermill, its kernel reached through sockets in a folder of its own.

``papermill NOTEBOOK EXECUTED -p name value ...`` with one difference: kernels that start together
on TCP can be given the same port (papermill #511); Unix sockets in a private folder can't clash,
and nobody else on the machine can listen to them.

    python -m labcnn.execute NOTEBOOK EXECUTED '{"variant": "short_all", "seed": 0}'
"""

import json
import os
import re
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from labcnn.errors import RunError


class CellFailed(RunError):
    """A cell raised.

    ``cause`` is its error as one line, without the notebook's place; ``kind`` the error's class.
    """

    def __init__(self, text: str, cause: str, kind: str) -> None:
        super().__init__(text)
        self.cause, self.kind = cause, kind


class KernelDied(RunError):
    """The notebook's kernel ended in the middle: killed, or out of memory."""


ANSI = re.compile(r"\x1b\[[0-9;]*m")


def execute(notebook: Path, executed: Path, parameters: Mapping[str, Any]) -> None:
    """Execute ``notebook`` in its folder; ``executed`` is written after every cell.

    Raises
    ------
    CellFailed
        A cell raised: one line with its error, and where the executed notebook is.
    RunError
        The notebook can't be executed at all.
    KernelDied
        Something ended the kernel.
    """
    # jsonschema's check of URIs, which notebooks have no use for, compiles a grammar: 1.5 s a run.
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config

    os.environ.setdefault("PYTHONUTF8", "1")  # for the kernel
    executed.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="labcnn-", ignore_cleanup_errors=True) as sockets:
        config = Config()
        config.NotebookClient.kernel_manager_class = "labcnn.kernel.QuietKernelManager"
        if os.name == "posix":
            # A short name: the system's limit for a socket's path is about 100 characters.
            config.KernelManager.transport = "ipc"
            config.KernelManager.ip = str(Path(sockets) / "k")
        try:
            papermill.execute_notebook(
                notebook,
                executed,
                dict(parameters),
                progress_bar=False,
                cwd=notebook.parent,
                config=config,
            )
        except PapermillExecutionError as error:
            message = ANSI.sub("", f"{error.ename}: {error.evalue}").splitlines()[0]
            text = f"{notebook.name} failed: {message}; see {executed}"
            raise CellFailed(text, message, error.ename) from None
        except DeadKernelError:
            raise KernelDied(
                f"{notebook.name}: its kernel died; was it killed, or is memory used up?"
            ) from None
        except Exception as error:  # a notebook that isn't one fails in many places
            first, *_ = [*str(error).strip().splitlines(), ""]
            raise RunError(
                f"{notebook.name} can't be executed ({type(error).__name__}: {first})"
            ) from error


def _stop(signum: int, frame: object) -> NoReturn:
    """Leave through the ``finally`` blocks, so that the kernel is shut down too."""
    raise SystemExit(128 + signum)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    try:
        execute(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
    except RunError as failure:
        sys.exit(f"labcnn: {failure}")
