"""Which GPU a run gets, and how many runs fit."""

import multiprocessing
import os
import platform
import time
from pathlib import Path

import pytest

from labcnn.errors import ParameterError
from labsweep import slots


@pytest.fixture(autouse=True)
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in (slots.VISIBLE, slots.PER_GPU, *slots.SCHEDULERS):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def no_nvidia(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")


def nvidia_smi(folder: Path, text: str) -> None:
    script = folder / "nvidia-smi"
    script.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    script.chmod(0o755)


def test_the_list_of_visible_devices_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(tmp_path, "echo GPU-aa; echo GPU-bb")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert slots.gpus() == ("GPU-aa", "GPU-bb")
    for given, seen in (("1", ("1",)), ("2, 0", ("2", "0")), ("", ()), ("-1", ())):
        monkeypatch.setenv(slots.VISIBLE, given)
        assert slots.gpus() == seen


def test_a_machine_without_a_driver_or_with_a_broken_one_has_no_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert slots.gpus() == ()
    nvidia_smi(tmp_path, "echo 'NVIDIA-SMI has failed'; exit 9")
    assert slots.gpus() == ()


@pytest.mark.usefixtures("no_nvidia")
def test_a_cpu_has_a_run_per_core_and_needs_no_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    assert slots.places({}) == slots.cores() >= 1
    with slots.slot({}) as gpu:
        assert gpu is None
        assert slots.VISIBLE not in os.environ


def test_places_follow_the_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(slots.VISIBLE, "0,1,2")
    assert slots.places({"device": "cuda"}) == 3
    assert slots.places({"device": "cpu"}) == slots.cores()
    monkeypatch.setenv(slots.PER_GPU, "4")
    assert slots.places({}) == 12
    for wrong in ("0", "two", "1.5", "-1"):
        monkeypatch.setenv(slots.PER_GPU, wrong)
        with pytest.raises(ParameterError, match=f"{slots.PER_GPU}='{wrong}'"):
            slots.places({})


def test_a_mac_with_one_gpu_has_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(slots.VISIBLE, "")
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert slots.places({}) == slots.places({"device": "mps"}) == 1
    assert slots.places({"device": "cpu"}) == slots.cores()


def test_slots_are_taken_round_by_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(slots.VISIBLE, "a,b/c")
    monkeypatch.setenv(slots.PER_GPU, "2")
    held = []
    for expected in ("a", "b/c", "a", "b/c"):
        monkeypatch.setenv(slots.VISIBLE, "a,b/c")  # each process has the whole list
        context = slots.slot({})
        assert context.__enter__() == expected
        assert os.environ[slots.VISIBLE] == expected
        held.append(context)
    held[1].__exit__(None, None, None)
    monkeypatch.setenv(slots.VISIBLE, "a,b/c")
    with slots.slot({}) as gpu:
        assert gpu == "b/c"
    for context in (held[0], *held[2:]):
        context.__exit__(None, None, None)


def test_slots_of_another_schedulers_job_are_other_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(slots.VISIBLE, "0")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with slots.slot({}) as first:
        monkeypatch.setenv("SLURM_JOB_ID", "8")
        with slots.slot({}) as second:
            assert first == second == "0"


def hold(folder: str, taken: str) -> None:
    slots.tempfile.tempdir = folder
    with slots.slot({}):
        Path(taken).touch()
        time.sleep(600)


def test_a_killed_process_frees_its_slot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(slots.VISIBLE, "0")
    taken = tmp_path / "taken"
    process = multiprocessing.get_context("spawn").Process(
        target=hold, args=(str(tmp_path), str(taken))
    )
    process.start()
    while not taken.exists():
        assert process.is_alive()
        time.sleep(0.05)
    process.kill()
    with slots.slot({}) as gpu:
        assert gpu == "0"
    process.join()
