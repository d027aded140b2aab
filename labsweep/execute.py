"""Execute a notebook.

    python -m labsweep.execute NOTEBOOK EXECUTED '{"variant": "short_all", "seed": 0}'

is ``papermill NOTEBOOK EXECUTED -p name value ...`` with one difference: kernels that start
together on TCP can be given the same port (papermill #511); Unix sockets in a private folder can't
clash, and nobody else on the machine can listen to them.
"""

import json
import os
import re
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from labcnn.errors import RunError, system_cause
from labsweep.processes import require_files

#: In bytes, on posix: the system's limit for a socket's path is about 100.
LONGEST_TMPDIR = 70
ANSI = re.compile(r"\x1b\[[0-9;]*m")


class CellFailed(RunError):
    """A cell raised: ``kind`` is its error's class, ``cause`` the error as one line."""

    def __init__(self, text: str, cause: str, kind: str) -> None:
        super().__init__(text)
        self.cause, self.kind = cause, kind


class KernelDied(RunError):
    """The notebook's kernel ended in the middle: killed, or out of memory."""


def execute(
    notebook: Path, executed: Path, parameters: Mapping[str, Any], *, save_each_cell: bool = True
) -> None:
    """Execute ``notebook`` in its folder; ``executed`` is written after every cell, or at the end.

    Raises
    ------
    CellFailed
        A cell raised: one line with its error, and where the executed notebook is.
    RunError
        The notebook can't be executed at all.
    KernelDied
        Something ended the kernel.
    """
    require_files()
    papermill = _import_papermill()
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config

    os.environ.setdefault("PYTHONUTF8", "1")  # for the kernel
    executed.parent.mkdir(parents=True, exist_ok=True)
    short = tempfile.gettempdir()
    if len(os.fsencode(short)) > LONGEST_TMPDIR:
        short = "/tmp"
    with tempfile.TemporaryDirectory(
        prefix="labcnn-", dir=short, ignore_cleanup_errors=True
    ) as sockets:
        config = Config()
        # Asked to shut down, a kernel is interrupted first, and may print that as an error.
        config.NotebookClient.shutdown_kernel = "immediate"
        if os.name == "posix":
            config.KernelManager.transport = "ipc"
            config.KernelManager.ip = str(Path(sockets) / "k")
        # Not in the home folder, which may not be writable.
        config.KernelManager.connection_file = str(Path(sockets) / "kernel.json")
        try:
            papermill.execute_notebook(
                _literal(notebook),
                _literal(executed),
                dict(parameters),
                progress_bar=False,
                request_save_on_cell_execute=save_each_cell,
                cwd=notebook.parent,
                config=config,
            )
        except PapermillExecutionError as error:
            message = ANSI.sub("", f"{error.ename}: {error.evalue}").splitlines()[0]
            if not error.evalue.strip():  # not even its traceback could be made
                message = _last_error(executed) or message
            text = f"{notebook.name} failed: {message}; see {executed}"
            raise CellFailed(text, message, error.ename) from None
        except DeadKernelError:
            raise KernelDied(
                f"{notebook.name}: its kernel died; was it killed, or is memory used up?"
            ) from None
        except Exception as error:  # a notebook that isn't one fails in many places
            if cause := system_cause(error):
                raise RunError(f"{executed} can't be made: {cause}") from error
            first, *_ = [*str(error).strip().splitlines(), ""]
            raise RunError(
                f"{notebook.name} can't be executed ({type(error).__name__}: {first})"
            ) from error


def _last_error(executed: Path) -> str:
    """The last line of what a notebook's cells wrote to stderr; empty if there is none."""
    cells = json.loads(executed.read_bytes())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    texts = ["".join(output["text"]) for output in outputs if output.get("name") == "stderr"]
    lines = [line for text in texts for line in text.splitlines() if line.strip()]
    return ANSI.sub("", lines[-1]).strip() if lines else ""


def _literal(path: Path) -> str:
    """A path as papermill takes it: it puts parameters in for names in braces."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _import_papermill() -> ModuleType:
    """papermill, 1.3 s sooner (of 1.7 s; a run waits for it).

    jsonschema, which checks notebooks, compiles the grammar of international web addresses as soon
    as it can import ``rfc3987_syntax``, a package that comes with JupyterLab. It has no switch for
    that, and notebooks have no such addresses: so it doesn't find the package here.
    """
    package = "rfc3987_syntax"
    hidden = package not in sys.modules
    if hidden:
        sys.modules[package] = None  # type: ignore[assignment]
    try:
        import papermill
    finally:
        if hidden:
            del sys.modules[package]
    return papermill


def _stop(signum: int, frame: object) -> NoReturn:
    """Leave through the ``finally`` blocks, so that the kernel is shut down too."""
    raise SystemExit(128 + signum)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    try:
        execute(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
    except RunError as failure:
        sys.exit(f"labcnn: {failure}")
