"""Which GPU a run gets, and how many runs this machine has room for."""

import multiprocessing
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from labcnn.errors import ParameterError
from labsweep import gpus
from labsweep.gpus import PER_GPU, VISIBLE, cores, default_jobs, find_gpus, lock_folder, reserve_gpu


@pytest.fixture(autouse=True)
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (VISIBLE, PER_GPU, *gpus.SCHEDULERS):
        monkeypatch.delenv(name, raising=False)


TWO_GPUS = """GPU 0: NVIDIA H100 (UUID: GPU-aa1)
GPU 1: NVIDIA H100 (UUID: GPU-bb1)
  MIG 3g.40gb     Device  0: (UUID: MIG-b1)
  MIG 3g.40gb     Device  1: (UUID: MIG-b2)"""


def nvidia_smi(folder: Path, text: str) -> None:
    script = folder / "nvidia-smi"
    script.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    script.chmod(0o755)


def test_gpus_are_the_visible_ones_else_what_the_driver_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_gpus() == ()
    with reserve_gpu({}) as gpu:
        assert gpu is None
        assert VISIBLE not in os.environ
    nvidia_smi(tmp_path, "echo 'NVIDIA-SMI has failed'; exit 9")
    assert find_gpus() == ()
    nvidia_smi(tmp_path, f"echo '{TWO_GPUS}'")
    assert find_gpus() == ("GPU-aa1", "MIG-b1", "MIG-b2")  # the second one is cut in slices
    for given, seen in (("1", ("1",)), ("2, 0", ("2", "0")), ("", ()), ("-1", ())):
        monkeypatch.setenv(VISIBLE, given)
        assert find_gpus() == seen


def test_there_is_room_for_a_run_on_each_gpu_else_on_each_core(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VISIBLE, "0,1,2")
    assert default_jobs({"device": "cuda"}) == 3
    assert default_jobs({"device": "cpu"}) == cores() >= 1
    monkeypatch.setenv(PER_GPU, "4")
    assert default_jobs({}) == 12
    monkeypatch.setenv(PER_GPU, "1.5")
    with pytest.raises(ParameterError, match=f"{PER_GPU}='1.5'"):
        default_jobs({})
    monkeypatch.setenv(VISIBLE, "")
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert default_jobs({}) == default_jobs({"device": "mps"}) == 1  # a Mac has one GPU
    assert default_jobs({"device": "cpu"}) == cores()


def test_every_gpu_gets_a_run_before_one_gets_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PER_GPU, "2")
    held = []
    for expected in ("a", "b/c", "a", "b/c"):
        monkeypatch.setenv(VISIBLE, "a,b/c")  # each process has the whole list
        context = reserve_gpu({})
        assert context.__enter__() == expected
        assert os.environ[VISIBLE] == expected
        held.append(context)
    held[1].__exit__(None, None, None)
    monkeypatch.setenv(VISIBLE, "a,b/c")
    with reserve_gpu({}) as gpu:
        assert gpu == "b/c"
    monkeypatch.setenv("SLURM_JOB_ID", "7")  # the devices of a scheduler's job are others
    with reserve_gpu({}) as gpu:
        assert gpu == "a"
    for context in (held[0], *held[2:]):
        context.__exit__(None, None, None)


def test_a_number_a_uuid_and_its_beginning_are_one_gpu_and_a_slice_is_one_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvidia_smi(tmp_path, f"echo '{TWO_GPUS}'")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv(VISIBLE, "GPU-aa1")
    with reserve_gpu({}):
        for same in ("GPU-a", "0"):
            monkeypatch.setenv(VISIBLE, f"{same},MIG-b1")
            with reserve_gpu({}) as other:
                assert other == "MIG-b1"
        with reserve_gpu({}) as other:
            monkeypatch.setenv(VISIBLE, "MIG-b1,MIG-b2")
            with reserve_gpu({}) as third:
                assert third == "MIG-b2"


def hold(taken: str) -> None:
    with reserve_gpu({}, "long_all seed 3 of experiment mine"):
        Path(taken).touch()
        time.sleep(600)


def test_who_waits_says_for_whom_and_a_killed_process_frees_its_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the TMPDIR of each is."""
    monkeypatch.setenv(VISIBLE, "0")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    taken = tmp_path / "taken"
    process = multiprocessing.get_context("spawn").Process(target=hold, args=(str(taken),))
    process.start()
    while not taken.exists():
        assert process.is_alive()
        time.sleep(0.05)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "other"))
    said: list[str] = []

    def kill(line: str) -> None:
        said.append(line)
        process.kill()

    with reserve_gpu({}, "short_all seed 0", kill) as gpu:
        assert gpu == "0"
    process.join()
    holder = f"long_all seed 3 of experiment mine (process {process.pid})"
    assert said == [f"waiting for a GPU: 0 is held by {holder}"]


def test_the_locks_folder_is_one_that_nobody_else_can_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = lock_folder().parent
    assert private.is_relative_to(tmp_path)
    assert private.stat().st_mode & 0o077 == 0
    private.chmod(0o777)
    assert not lock_folder().is_relative_to(tmp_path)
    monkeypatch.setenv("HOME", "/dev/null/nowhere")
    assert lock_folder().parent.stat().st_mode & 0o022 == 0


#: A machine whose control groups, here of version 2 or 1, give half a CPU or more.
QUOTAS = [
    ({"cpu.max": "50000 100000"}, 1),
    ({"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 1),
    ({"cpu.max": "max 100000"}, None),
    ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
]
#: Shows the cores with each of the control groups in the place of the machine's, and on one core.
SHOW = """
import os, subprocess, sys
from labsweep.gpus import cores
for groups in sys.argv[1:]:
    subprocess.run(["mount", "--bind", groups, "/sys/fs/cgroup"], check=True)
    print(cores())
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
print(cores())
"""


def test_cores_are_those_it_may_run_on_and_within_its_containers_quota(
    program: Callable[[str], str], tmp_path: Path
) -> None:
    folders = []
    for number, (files, _) in enumerate(QUOTAS):
        folders.append(tmp_path / f"groups{number}")
        for name, text in files.items():
            path = folders[-1] / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    command = [program("unshare"), "--mount", "--map-root-user", sys.executable, "-c", SHOW]
    done = subprocess.run([*command, *folders], capture_output=True, encoding="utf-8")
    allowed = len(os.sched_getaffinity(0))
    expected = [quota or allowed for _, quota in QUOTAS] + [1]
    assert [int(line) for line in done.stdout.splitlines()] == expected, done.stderr
