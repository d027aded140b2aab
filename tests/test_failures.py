"""What a machine runs out of: one line, nothing half-written, nothing lost, and it goes on."""

import errno
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap

import pytest
import tiny_folder
import torch
from training_requests import request, weights_of, without_times

from labcnn.data import cache, load_dataset, tiny_imagenet
from labcnn.errors import DataError, RunError
from labcnn.paths import project_root
from labcnn.runs import CHECKPOINT, RunFolder
from labcnn.training import checkpoint, loop
from labcnn.training.trainer import fit

pytestmark = pytest.mark.system

#: What the scripts below begin with: tiny data and requests, in a process of their own.
BEGIN = f"""
import json, os, resource, signal, subprocess, sys
from functools import partial
from pathlib import Path
import torch
sys.path[:0] = [{str(project_root() / "tests")!r}, {str(project_root() / "benchmarks")!r}]
from small_data import small_data
from training_requests import request
from labcnn.errors import RunError
from labcnn.runs import CHECKPOINT
from labcnn.training import checkpoint, loop
from labcnn.training.trainer import fit

def error_of(wanted):
    try:
        fit(wanted, small_data(noise=50))
    except RunError as error:
        return str(error)

def temporary(logs):
    return [path.name for path in Path(logs).rglob(".writing-*")]
"""


def python(script, *before, cwd):
    """What a script prints last, as JSON; it runs in a process of its own, after ``before``."""
    done = subprocess.run(
        [*before, sys.executable, "-c", BEGIN + textwrap.dedent(script)],
        cwd=cwd,
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def own_mounts(program):
    """The command before another, in which that may mount file systems that nobody else sees."""
    command = [program("unshare"), "--mount", "--map-root-user"]
    if subprocess.run([*command, "true"], capture_output=True).returncode:
        message = "user namespaces aren't permitted here"
        (pytest.fail if os.environ.get("LABCNN_REQUIRE_ALL") else pytest.skip)(message)
    return command


def same(whole, cut):
    """Whether two runs have the same bits."""
    return (
        without_times(whole.history()).equals(without_times(cut.history()))
        and whole.gradients().equals(cut.gradients())
        and weights_of(whole) == weights_of(cut)
    )


DISK = """
    disk = Path("disk")
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", disk], check=True)
    wanted = request(variant="short_all", epochs=3, experiment="cut", logs=str(disk / "logs"))
    path, real, said = wanted.folder.path, loop.train_epoch, {}

    def filling(*arguments):  # others use the disk too
        row = real(*arguments)
        if row["epoch"] == 2:
            with (disk / "others").open("wb", 0) as file:
                for size in (4096, 1):
                    try:
                        while file.write(b"x" * size):
                            pass
                    except OSError:
                        pass
        return row

    def state():
        content = checkpoint.read(path / CHECKPOINT)
        return len(content["state"]["journal"]["history"]), temporary(disk)

    loop.train_epoch = filling
    said["full"], said["after full"] = error_of(wanted), state()
    loop.train_epoch = real
    said["still full"] = error_of(wanted)
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    said["read-only"], said["after read-only"] = error_of(wanted), state()
    subprocess.run(["mount", "-o", "remount,rw,size=20m", disk], check=True)
    said["room"] = error_of(wanted)
    whole = request(variant="short_all", epochs=3, experiment="whole")
    fit(whole, small_data(noise=50))
    subprocess.run(["cp", "-r", path, "rescued"], check=True)
    subprocess.run(["cp", "-r", whole.folder.path, "whole"], check=True)
    print(json.dumps(said))
"""


def test_a_full_and_then_read_only_disk(own_mounts, tmp_path):
    said = python(DISK, *own_mounts, cwd=tmp_path)
    for name in ("full", "still full", "read-only"):
        assert "\n" not in said[name] and "goes on from its last checkpoint" in said[name]
    assert "No space left on device; make room" in said["full"]
    assert "Read-only file system; make" in said["read-only"]
    # the first epoch's checkpoint is whole, and nothing lies half-written beside it
    assert said["after full"] == said["after read-only"] == [1, []]
    assert said["room"] is None
    assert same(RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "rescued"))


MEMORY = """
    real = loop.train_epoch

    def starved(work, *arguments, **named):
        signal.alarm(60)  # a thread that can't start may be waited for without end
        size = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
        size *= resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
        hoard = []  # what the process has got, but doesn't use
        for piece in (2**20, 2**14, 2**10):
            try:
                while True:
                    hoard.append(torch.empty(piece, dtype=torch.uint8))
            except (RuntimeError, MemoryError):
                pass
        del hoard[:3]  # Python gets by with that, the tensors don't
        try:
            return work(*arguments, **named)
        except BaseException as error:
            hoard.clear()
            Path("starved").write_text(repr(error), encoding="utf-8")
            raise

    def interrupted(*arguments):
        if arguments[5] == 2:
            raise RunError("stopped")
        return real(*arguments)

    wanted = request(epochs=2, batch_size=120, width=32, experiment="cut")
    loop.train_epoch = interrupted
    assert error_of(wanted) == "stopped"
    loop.train_epoch = real
    if not os.fork():  # a limit can't be lifted again
        loop.train_epoch = partial(starved, real)
        Path("said").write_text(error_of(wanted) or "no error", encoding="utf-8")
        os._exit(0)
    status = os.wait()[1]
    if not os.fork():  # the same while the checkpoint is read
        torch.load = partial(starved, torch.load)
        Path("said loading").write_text(error_of(wanted) or "no error", encoding="utf-8")
        os._exit(0)
    status |= os.wait()[1]
    names = sorted(path.name for path in wanted.folder.path.iterdir())
    left = temporary(wanted.folder.path)
    kept = len(checkpoint.read(wanted.folder.path / CHECKPOINT)["state"]["journal"]["history"])
    fit(wanted, small_data(noise=50))
    fit(request(epochs=2, batch_size=120, width=32, experiment="whole"), small_data(noise=50))
    said = [Path(name).read_text(encoding="utf-8") for name in ("said", "said loading")]
    print(json.dumps([status, said, names, left, kept]))
"""


def test_out_of_memory_on_the_cpu(tmp_path):
    pytest.importorskip("resource")
    status, said, names, left, kept = python(MEMORY, cwd=tmp_path)
    assert status == 0
    for line in said:
        # of oneDNN one only hears that it "could not create a primitive"
        assert re.match(r"(co.*, probably )?out of memory with batch_size=120 and width=32;", line)
        assert "\n" not in line and "goes on from its last checkpoint" in line
    # and so it does: a checkpoint that can't be read for want of memory isn't taken for a cut one
    assert names == ["checkpoint.pt", "gradients.csv", "history.csv", "tensorboard"]
    assert "can't allocate memory" in (tmp_path / "starved").read_text(encoding="utf-8")
    assert left == [] and kept == 1
    whole, cut = (
        request(epochs=2, batch_size=120, width=32, experiment=name).folder
        for name in ("whole", "cut")
    )
    assert same(whole, cut)


def fails_in_epoch_2(monkeypatch, error):
    """Let the first step of the second epoch end in ``error``."""
    real, calls = loop.train_epoch, itertools.count(1)

    def failing(*arguments):
        if next(calls) == 2:
            raise error
        return real(*arguments)

    monkeypatch.setattr(loop, "train_epoch", failing)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has ..."),
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("could not create a primitive"),
        RuntimeError("can't start new thread"),
        RuntimeError("MPS backend out of memory (MPS allocated: 17.9 GB)"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 6 bytes."),
    ],
)  # fmt: skip
def test_out_of_memory_is_one_line_and_goes_on(small_data, monkeypatch, error):
    with monkeypatch.context() as patched:
        fails_in_epoch_2(patched, error)
        with pytest.raises(
            RunError, match=r"^(\D+, probably )?out of memory with batch_size=16 and width=4"
        ) as said:
            fit(request(experiment="cut"), small_data)
    assert "\n" not in str(said.value)
    unclear = "create" in str(error) or "thread" in str(error)
    assert str(said.value).startswith(f"{error}, probably") == unclear
    for name in ("cut", "whole"):
        fit(request(experiment=name), small_data)
    assert same(request(experiment="whole").folder, request(experiment="cut").folder)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        ZeroDivisionError("x"),
        KeyboardInterrupt(),
    ],
)
def test_an_error_of_the_program_stays_what_it_is(small_data, monkeypatch, error):
    """With its traceback: it isn't the machine's."""
    fails_in_epoch_2(monkeypatch, error)
    with pytest.raises(type(error)) as raised:
        fit(request(), small_data)
    assert raised.value is error


@pytest.mark.parametrize("damage", ["a bit", "a block"])
def test_a_damaged_checkpoint_is_named_and_set_aside(small_data, monkeypatch, capsys, damage):
    """Bytes of a tensor that a disk or a copy has changed: torch itself would take them over."""
    with monkeypatch.context() as patched:
        fails_in_epoch_2(patched, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            fit(request(experiment="cut"), small_data)
    path = request(experiment="cut").folder.path / CHECKPOINT
    weights = checkpoint.read(path)["state"]["model"]["stages.3.0.second.0.weight"]
    whole, tensor = path.read_bytes(), weights.contiguous(memory_format=torch.channels_last)
    at = whole.index(tensor.permute(0, 2, 3, 1).numpy().tobytes())
    new = bytes([whole[at] ^ 1]) if damage == "a bit" else bytes(4096)
    path.write_bytes(whole[:at] + new + whole[at + len(new) :])
    torch.load(path, weights_only=True)
    for name in ("cut", "whole"):
        fit(request(experiment=name), small_data)
    assert "checkpoint.pt is damaged (in " in capsys.readouterr().out
    assert path.with_name("checkpoint.pt.unusable").exists()
    assert same(request(experiment="whole").folder, request(experiment="cut").folder)


NOTEBOOK = """
    disk = Path("disk")
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40k", "none", disk], check=True)
    given = {"dataset": "shapes", "fraction": 0.04, "epochs": 2, "width": 4, "threads": 1}
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", NOTEBOOK, "out.ipynb"]
    for name, value in {**given, "logs": disk.resolve()}.items():
        command += ["-p", name, str(value)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8")
    print(json.dumps([done.returncode, done.stderr.strip().splitlines()[-1]]))
"""


def test_a_full_disk_through_the_notebook(own_mounts, tmp_path):
    notebook = str(project_root() / "notebooks" / "train.ipynb")
    script = NOTEBOOK.replace("NOTEBOOK", repr(notebook))
    code, last = python(script, *own_mounts, cwd=tmp_path)
    assert code != 0
    assert "RunError: " in last and "No space left on device; make room and run the same" in last
    assert "Traceback" not in (tmp_path / "out.ipynb").read_text(encoding="utf-8")


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """The folder of a prepared, very small Tiny ImageNet."""
    monkeypatch.setenv("LABCNN_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(tiny_folder, "TRAIN", 10)  # fewer can't be split
    assert tiny_imagenet.fetch(str(tiny_folder.write_tiny(tmp_path)))
    return tiny_imagenet.folder()


def wanted_of_tiny(**parameters):
    small = {"dataset": "tiny-imagenet-200", "fraction": 1.0, "epochs": 3, "batch_size": 8}
    return request(**(small | parameters))


def altered(path):
    """Another content of the same size; its time of change becomes that of now."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    with path.open("rb+") as file:
        file.write(content)


def test_a_content_changed_between_two_runs_is_named(tiny):
    """Its size is the same: only the content tells."""
    load_dataset("tiny-imagenet-200")
    altered(tiny / "test_images.npy")
    with pytest.raises(DataError, match=r"the images or labels were changed; run `labcnn data f"):
        fit(wanted_of_tiny())


def test_a_mere_copy_is_verified_anew_and_works(tiny, tmp_path, monkeypatch):
    before = load_dataset("tiny-imagenet-200").fingerprint
    calls = []
    real = cache.fingerprint
    monkeypatch.setattr(cache, "fingerprint", lambda *a: calls.append(1) or real(*a))
    load_dataset("tiny-imagenet-200")
    assert calls == []
    shutil.copytree(tiny, tmp_path / "copy" / tiny.name, copy_function=shutil.copyfile)
    monkeypatch.setenv("LABCNN_DATA", str(tmp_path / "copy"))
    for _ in range(2):
        assert load_dataset("tiny-imagenet-200").fingerprint == before
    assert calls == [1]


READ_ONLY = """
    from labcnn.data import load_dataset
    data = Path(os.environ["LABCNN_DATA"])
    (data / "tiny-imagenet-200" / "verified.json").unlink(missing_ok=True)
    subprocess.run(["mount", "--bind", data, data], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", data], check=True)
    try:
        (data / "x").touch()
        sys.exit("it can be written")
    except OSError:
        pass
    small = {"dataset": "tiny-imagenet-200", "epochs": 1, "batch_size": 8}
    result = fit(request(**small))
    print(json.dumps([result.status, (data / "tiny-imagenet-200" / "verified.json").exists()]))
"""


def test_a_data_folder_that_others_own(tiny, own_mounts, tmp_path):
    load_dataset("tiny-imagenet-200")
    status, remembered = python(READ_ONLY, *own_mounts, cwd=tmp_path)
    assert status in ("ok", "no_learning") and not remembered


HOLDING = """
    fit(request(epochs=1, experiment="alone"), small_data(noise=50))
    real = loop.train_epoch

    def waiting(*arguments):
        print("training", flush=True)
        sys.stdin.readline()
        return real(*arguments)

    loop.train_epoch = waiting
    fit(request(epochs=1), small_data(noise=50))
    print("finished", flush=True)
    fit(request(epochs=1, seed=1), small_data(noise=50))
"""


def test_a_second_process_says_so_and_stops(small_data, tmp_path):
    """The first one goes on to the same result; a killed one's lock is free."""
    with subprocess.Popen(
        [sys.executable, "-c", BEGIN + textwrap.dedent(HOLDING)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    ) as other:
        lines = iter(other.stdout.readline, "")
        first, second = request(epochs=1), request(epochs=1, seed=1)
        refused = r"variant=short_norm seed={} .* is being trained by another process"
        assert "training\n" in lines
        with pytest.raises(RunError, match=refused.format(0)):
            fit(first, small_data)
        other.stdin.write("\n")
        other.stdin.flush()
        assert "finished\n" in lines
        assert same(request(epochs=1, experiment="alone").folder, first.folder)
        assert "training\n" in lines
        with pytest.raises(RunError, match=refused.format(1)):
            fit(second, small_data)
        other.kill()  # the operating system frees the lock
    assert fit(second, small_data).epochs_run == 1
