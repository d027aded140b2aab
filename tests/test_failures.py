"""What a machine runs out of: one line, nothing half-written, nothing lost, and it goes on."""

import errno
import json
import os
import re
import resource
import signal
import subprocess
import sys
import textwrap
import time

import pytest
import tiny_folder
import torch
from small_data import small_data as make_data
from training_requests import numbers_of, request, train_epochs
from typer.testing import CliRunner

from labcnn.cli import app
from labcnn.errors import DataError, RunError, explain_system_errors
from labcnn.files import project_root
from labcnn.runs import CHECKPOINT, HISTORY
from labcnn.training.trainer import fit

#: What the scripts below begin with; they run in processes of their own.
BEGIN = f"""
import json, os, resource, signal, subprocess, sys
from pathlib import Path
sys.path[:0] = [{str(project_root() / "tests")!r}, {str(project_root() / "benchmarks")!r}]
from small_data import small_data
from training_requests import request
from labcnn.errors import RunError
from labcnn.training.trainer import fit
"""


def script(text):
    return [sys.executable, "-c", BEGIN + textwrap.dedent(text)]


def printed(text, *before, cwd):
    """What a script prints last, as JSON; ``before`` is a command that starts it."""
    done = subprocess.run([*before, *script(text)], cwd=cwd, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def long_request(experiment, **given):
    """A run of enough epochs to be met in the middle; they take a few seconds."""
    whole = {"first_size": 64, "last_size": 64}
    return request(experiment=experiment, epochs=8, patience=100, **whole, **given)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bits of such a run that nothing stopped."""
    wanted = long_request("whole", logs=str(tmp_path_factory.mktemp("whole")))
    fit(wanted, make_data(noise=20))
    return numbers_of(wanted.folder)


def wait_for_epoch(wanted, epoch):
    """Wait until a run has finished an epoch."""
    history = wanted.folder.path / HISTORY
    while not history.exists() or len(history.read_text("utf-8").splitlines()) <= epoch:
        time.sleep(0.005)


class CtrlC:
    """Watches a run, and presses it in the second step of an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def steps(self, batches, epoch, first, count):
        for step, batch in enumerate(batches):
            if (epoch, step) == (self.epoch, 1):
                os.kill(os.getpid(), signal.SIGINT)
            yield batch

    def after_epoch(self, history):
        pass


def test_a_run_stopped_by_ctrl_c_goes_on(small_data, whole):
    cut = long_request("cut")
    # A shell lets what it starts in the background ignore the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            fit(cut, small_data, CtrlC(epoch=3))
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(cut.folder.history()) == 2
    assert not cut.folder.finished
    fit(cut, small_data)
    assert numbers_of(cut.folder) == whole


def test_a_file_that_cannot_be_written_costs_nothing_that_is_saved(small_data, whole, capsys):
    cut = long_request("cut")
    train_epochs(cut, small_data, 2)
    path = cut.folder.path / CHECKPOINT
    size, before = path.stat().st_size, resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, before[1]))
    try:
        with pytest.raises(
            RunError, match=r"File too large; make room; the same run again"
        ) as full:
            fit(cut, small_data)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "\n" not in str(full.value) and "goes on from its last checkpoint" in str(full.value)
    assert list(cut.folder.path.rglob(".writing-*")) == []
    assert path.stat().st_size == size
    capsys.readouterr()
    fit(cut, small_data)
    assert "已完成 2 轮又 0 步" in capsys.readouterr().out
    assert numbers_of(cut.folder) == whole


def test_a_folder_that_cannot_be_made_is_named(small_data, tmp_path):
    (tmp_path / "file").touch()
    wanted = request(logs=str(tmp_path / "file" / "logs"))
    with pytest.raises(RunError, match=r"a folder that can be written \(logs=\.\.\.") as error:
        fit(wanted, small_data)
    assert "\n" not in str(error.value)


MEMORY = """
    data = small_data(noise=50)
    fit(request(epochs=1, experiment="small"), data)  # what is loaded once, is loaded now
    wanted = request(epochs=1, batch_size=120, width=64, first_size=64, last_size=64)
    size = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
    limit = size * resource.getpagesize() + 200 * 2**20  # an activation of a batch takes 126 MB
    signal.alarm(120)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    try:
        fit(wanted, data)
    except RunError as error:
        left = [path.name for path in wanted.folder.path.rglob(".writing-*")]
        print(json.dumps([str(error), wanted.folder.finished, left]))
"""


@pytest.mark.system
def test_out_of_memory_on_the_cpu(tmp_path):
    line, finished, left = printed(MEMORY, cwd=tmp_path)
    # of oneDNN one only hears that it "could not create a primitive"
    assert re.match(r"(co.*, probably )?out of memory.*, with batch_size=120 and width=64;", line)
    assert "\n" not in line and "goes on from its last checkpoint" in line
    assert not finished and left == []


def test_out_of_memory_of_any_device_is_one_line(tmp_path):
    """An error of the program stays what it is, with its traceback: it isn't the machine's."""
    for error in (
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has ..."),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("could not create a primitive"),
    ):
        with (
            pytest.raises(
                RunError,
                match=r"^(\D+, probably )?out of memory.*, with batch_size=16 and width=4",
            ) as raised,
            explain_system_errors(tmp_path, "batch_size=16 and width=4"),
        ):
            raise error
        assert "\n" not in str(raised.value)
    error = RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    with pytest.raises(RuntimeError) as raised, explain_system_errors(tmp_path, ""):
        raise error
    assert raised.value is error


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """The folder of a prepared, very small Tiny ImageNet."""
    monkeypatch.setenv("LABCNN_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(tiny_folder, "TRAIN", 10)  # fewer can't be split
    official = tiny_folder.write_tiny(tmp_path)
    done = CliRunner().invoke(app, ["data", "fetch", "--from", str(official)])
    assert done.exit_code == 0, done.output
    return tmp_path / "data"


def test_images_that_changed_since_they_were_fetched_are_not_trained_on(tiny):
    """Their file's size is the same: only the content tells."""
    images = max(tiny.rglob("*.npy"), key=lambda path: path.stat().st_size)
    content = bytearray(images.read_bytes())
    content[-1] ^= 1
    images.write_bytes(content)
    wanted = request(dataset="tiny-imagenet-200", epochs=1, batch_size=8)
    with pytest.raises(DataError, match=r"changed.*labcnn data fetch"):
        fit(wanted)
    assert not wanted.folder.path.exists()


@pytest.fixture
def own_mounts(program):
    """The command before another, in which that may mount file systems that nobody else sees."""
    command = [program("unshare"), "--mount", "--map-root-user"]
    if subprocess.run([*command, "true"], capture_output=True).returncode:
        message = "user namespaces aren't permitted here"
        (pytest.fail if os.environ.get("LABCNN_REQUIRE_ALL") else pytest.skip)(message)
    return command


READ_ONLY = """
    data = os.environ["LABCNN_DATA"]
    subprocess.run(["mount", "--bind", data, data], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", data], check=True)
    try:
        Path(data, "x").touch()
        sys.exit("it can be written")
    except OSError:
        pass
    result = fit(request(dataset="tiny-imagenet-200", epochs=1, batch_size=8))
    print(json.dumps(result.status))
"""


@pytest.mark.system
@pytest.mark.usefixtures("tiny")
def test_a_data_folder_that_others_own(own_mounts, tmp_path):
    assert printed(READ_ONLY, *own_mounts, cwd=tmp_path) in ("ok", "no_learning")


@pytest.mark.system
def test_a_second_process_is_refused_until_the_first_is_killed(small_data, whole, tmp_path):
    """The operating system frees a killed one's lock; the second goes on to the same result."""
    logs = tmp_path / "logs"
    text = f"""
        fit(request(experiment="cut", epochs=8, patience=100, first_size=64, last_size=64,
                    logs={str(logs)!r}), small_data(noise=20))
    """
    cut = long_request("cut")
    with subprocess.Popen(script(text)) as other:
        wait_for_epoch(cut, 1)
        other.send_signal(signal.SIGSTOP)  # it holds the run, and doesn't finish meanwhile
        with pytest.raises(RunError, match=r"variant=short_norm seed=0 .* by another process"):
            fit(cut, small_data)
        assert other.poll() is None and not cut.folder.finished
        other.kill()
    fit(cut, small_data)
    assert cut.folder.result().provenance.interruptions == 1
    assert numbers_of(cut.folder) == whole
