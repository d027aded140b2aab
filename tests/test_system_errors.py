"""Whatever the machine refuses a command: one line with the path and the cause, and code 2."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from fake_runs import write_runs
from filelock import FileLock

from labcnn.files import project_root
from labcnn.runs import lock_path

pytestmark = pytest.mark.system

Start = Callable[[str], str]


def labcnn(*arguments: object, before: Sequence[str] = ()) -> "subprocess.CompletedProcess[str]":
    """Run a command; ``before`` is another that starts it."""
    command = [*before, sys.executable, "-X", "utf8", "-m", "labcnn.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120)


def only_line(done: "subprocess.CompletedProcess[str]") -> str:
    """The one line on stderr of a command that was refused."""
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("labcnn: ")
    return line


@pytest.fixture
def reader(program: Start) -> list[str]:
    """The command before another, in which that is bound by permissions; root isn't otherwise."""
    if os.getuid():
        return []
    return [program("setpriv"), "--inh-caps=-all", "--bounding-set=-all"]


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """Logs with a finished run and one whose lock is held, in folders that may only be read."""
    logs = tmp_path / "read-only"
    _, held = write_runs(logs, ["short_all", "mid_all"])
    folders = [logs, *(path for path in logs.rglob("*") if path.is_dir())]
    with FileLock(lock_path(held.path)):
        for folder in folders:
            folder.chmod(0o555)
        yield logs
    for folder in folders:
        folder.chmod(0o755)


def test_runs_are_listed_by_who_may_only_read(read_only: Path, reader: list[str]) -> None:
    done = labcnn("runs", "--logs", read_only, before=reader)
    assert done.returncode == 0 and done.stderr == ""
    states = {line.split("\t")[1]: line.split("\t")[3] for line in done.stdout.splitlines()}
    assert states == {"short_all": "done", "mid_all": "running"}


def test_a_folder_that_cannot_be_written_is_named(read_only: Path, reader: list[str]) -> None:
    logs = ["--logs", read_only]
    line = only_line(labcnn("sweep", *logs, "--variants", "long_all", before=reader))
    assert f"{read_only}/shapes" in line and "Permission denied" in line
    output = read_only / "report"
    line = only_line(labcnn("report", *logs, "--output", output, before=reader))
    assert line == f"labcnn: {output}: Permission denied"
    done = labcnn("plan", *logs, "--variants", "long_all", before=reader)
    assert done.returncode == 0 and "1 of 1 runs are due" in done.stdout


@pytest.mark.parametrize(
    ("size", "failed"), [("200k", ""), ("1200k", "checkpoint.pt: No space left on device")]
)
def test_a_full_disk_is_named_by_a_sweep(
    program: Start, tmp_path: Path, size: str, failed: str
) -> None:
    """At its start, and when it became full in the middle."""
    disk = tmp_path / "disk"
    disk.mkdir()
    options = f"--logs {disk} --variants short_norm --retries 0"
    given = "fraction=0.04 epochs=1 width=16 first_size=16 last_size=16"
    sweep = f"{sys.executable} -X utf8 -m labcnn.cli sweep {given} {options}"
    mounted = f"mount -t tmpfs -o size={size} none {disk} && {sweep}"
    command = [program("unshare"), "--mount", "--map-root-user", "sh", "-c", mounted]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120)
    line = only_line(done)
    assert f"labcnn: {disk}/shapes-4pct-1ep-w16" in line and "No space left on device" in line
    assert failed in done.stdout


@pytest.mark.parametrize(
    ("limit", "named"),
    [
        ("ulimit -n 64", "may open 64 files (ulimit -n), too few for a notebook: allow 256"),
        ("ulimit -v 4500000", "out of memory: this process may have 4.3 GiB of addresses"),
    ],
)
def test_a_limit_of_the_process_is_named(limit: str, named: str, tmp_path: Path) -> None:
    limited = ["sh", "-c", f'{limit}; exec "$@"', "sh"]
    logs = tmp_path / "logs"
    done = labcnn("sweep", "--logs", logs, "--variants", "short_norm", before=limited)
    assert named in only_line(done)
    assert not logs.exists()


def test_a_notebook_by_hand_names_too_little_memory(tmp_path: Path) -> None:
    """Torch's import hangs or fails anywhere there."""
    notebook = project_root() / "notebooks" / "train.ipynb"
    papermill = Path(sys.executable).with_name("papermill")
    command = [str(each) for each in (papermill, notebook, tmp_path / "out.ipynb")]
    limited = ["sh", "-c", 'ulimit -v 4500000; exec "$@"', "sh", *command]
    done = subprocess.run(
        [*limited, "-p", "logs", str(tmp_path / "logs")], capture_output=True, encoding="utf-8"
    )
    assert done.returncode and "4.3 GiB of addresses (ulimit -v)" in done.stderr
    assert not (tmp_path / "logs").exists()


def test_a_limit_that_may_be_raised_is_raised(tmp_path: Path) -> None:
    limited = ["sh", "-c", 'ulimit -Sn 64; exec "$@"', "sh"]
    given = ["fraction=0.04", "epochs=1", "width=4", "first_size=16", "last_size=16"]
    given += ["--variants", "short_norm"]
    done = labcnn("sweep", *given, "--logs", tmp_path / "logs", before=limited)
    assert done.returncode == 0, done.stderr
