"""Which GPU a run gets, and how many runs this machine has room for."""

import multiprocessing
import os
import platform
import time
from pathlib import Path

import pytest

from labcnn.errors import ParameterError
from labsweep import gpus
from labsweep.gpus import PER_GPU, VISIBLE, cores, default_jobs, find_gpus, reserve_gpu


@pytest.fixture(autouse=True)
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in (VISIBLE, PER_GPU, *gpus.SCHEDULERS):
        monkeypatch.delenv(name, raising=False)


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
    nvidia_smi(tmp_path, "echo GPU-aa; echo GPU-bb")
    assert find_gpus() == ("GPU-aa", "GPU-bb")
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


def hold(folder: str, taken: str) -> None:
    gpus.tempfile.tempdir = folder
    with reserve_gpu({}):
        Path(taken).touch()
        time.sleep(600)


def test_a_killed_process_frees_its_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "0")
    taken = tmp_path / "taken"
    process = multiprocessing.get_context("spawn").Process(
        target=hold, args=(str(tmp_path), str(taken))
    )
    process.start()
    while not taken.exists():
        assert process.is_alive()
        time.sleep(0.05)
    process.kill()
    with reserve_gpu({}) as gpu:
        assert gpu == "0"
    process.join()
