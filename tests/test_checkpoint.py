"""Exact resume: a run that was stopped anywhere ends with the bits of one that wasn't."""

import itertools
from unittest import mock

import pytest
import torch
from training_requests import request, weights_of, without_times

from labcnn.runs import CHECKPOINT
from labcnn.training import checkpoint, epoch, loop
from labcnn.training.loop import fit


@pytest.mark.parametrize(
    "parameters",
    [
        {"variant": "mid_all"},
        {"variant": "short_all", "decay": "one_cycle", "augment": True},
        {"variant": "short_all", "optimizer": "adamw", "learning_rate": 0.001},
    ],
)
def test_an_interrupted_run_resumes_to_the_same_bits(small_data, monkeypatch, capsys, parameters):
    whole = request(**parameters, epochs=4, experiment="whole")
    fit(whole, small_data)
    cut = request(**parameters, epochs=4, experiment="cut")
    real, calls = loop.train_epoch, itertools.count(1)
    closed = []
    monkeypatch.setattr(
        loop.Journal, "close", lambda journal: closed.append(journal.events.close())
    )

    def killed_in_epoch_3(*arguments):
        if next(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(loop, "train_epoch", killed_in_epoch_3)
    with pytest.raises(KeyboardInterrupt):
        fit(cut, small_data)
    assert len(closed) == 1
    assert not cut.folder.finished and (cut.folder.path / CHECKPOINT).exists()
    torch.manual_seed(99)
    saved = torch.load(cut.folder.path / CHECKPOINT, weights_only=True)
    saved["state"]["clock"] = {
        "started": "2001-02-03T04:05:06+00:00", "seconds": 1000.0, "interruptions": 0,
        "machines": saved["state"]["clock"]["machines"],
    }  # fmt: skip
    torch.save(saved, cut.folder.path / CHECKPOINT)
    capsys.readouterr()
    result = fit(cut, small_data)
    assert capsys.readouterr().out.count("train loss/acc") == 1  # the lines have a header again
    assert result.provenance.started == "2001-02-03T04:05:06+00:00"
    assert result.timing.total_seconds > 1000 and result.provenance.interruptions == 1
    assert next(calls) == 6  # 1 to 3, then 3 and 4 again as calls 4 and 5
    assert without_times(whole.folder.history()).equals(without_times(cut.folder.history()))
    assert whole.folder.gradients().equals(cut.folder.gradients())
    assert weights_of(whole.folder) == weights_of(cut.folder)
    assert not (cut.folder.path / CHECKPOINT).exists()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("cut", "is cut short or no checkpoint"),
        ("altered", "is cut short or no checkpoint"),
        ("older", "is of format 1, this labcnn needs 3"),
        ("foreign", "is of another run (learning_rate=0.5 instead of 0.02)"),
        ("no tensors only", "is cut short or no checkpoint"),
    ],
)
def test_an_unusable_checkpoint_is_named_and_set_aside(
    small_data, monkeypatch, damage, reason, capsys
):
    wanted = request(experiment="mine")
    path = wanted.folder.path / CHECKPOINT
    foreign = {"learning_rate": 0.5} if damage == "foreign" else {}
    interrupted(request(experiment="mine", **foreign), small_data)
    content = torch.load(path, weights_only=True)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "altered":  # a name that isn't UTF-8 any more
        path.write_bytes(path.read_bytes().replace(b"format", b"form\xff\xff"))
    elif damage == "older":
        torch.save(content | {"format": 1}, path)
    elif damage == "no tensors only":
        torch.save(content | {"state": wanted.folder}, path)
    bytes_before = path.read_bytes()
    fit(wanted, small_data)
    text = capsys.readouterr().out
    assert f"checkpoint.pt {reason}: set aside as checkpoint.pt.unusable, starting anew" in text
    assert path.with_name("checkpoint.pt.unusable").read_bytes() == bytes_before
    clean = request(experiment="clean")
    fit(clean, small_data)
    assert weights_of(clean.folder) == weights_of(wanted.folder)


def interrupted(wanted, data, after=1):
    """Stop a run as by Ctrl-C after its first ``after`` epochs."""
    real, calls = loop.train_epoch, itertools.count(1)

    def stopping(*arguments):
        if next(calls) > after:
            raise KeyboardInterrupt
        return real(*arguments)

    with mock.patch.object(loop, "train_epoch", stopping), pytest.raises(KeyboardInterrupt):
        fit(wanted, data)


def test_a_run_goes_on_in_the_middle_of_an_epoch(small_data, monkeypatch):
    """A checkpoint after every step; the run is stopped after each of them, one by one."""
    whole, cut = (request(variant="short_all", experiment=name) for name in ("whole", "cut"))
    fit(whole, small_data)
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN", 0)
    real, stops, steps = checkpoint.Checkpoint.save, 0, set()

    def stopping(self):
        real(self)
        position = len(self.parts["journal"].history), self.parts["totals"].steps
        if position not in steps:
            steps.add(position)
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.Checkpoint, "save", stopping)
    while not cut.folder.finished:
        stops += 1
        try:
            fit(cut, small_data)
        except KeyboardInterrupt:
            continue
    assert steps >= {(epoch, step) for epoch in (0, 1) for step in range(1, 9)}
    assert cut.folder.result().provenance.interruptions == stops - 1 == len(steps)
    assert without_times(whole.folder.history()).equals(without_times(cut.folder.history()))
    assert whole.folder.gradients().equals(cut.folder.gradients())
    assert weights_of(whole.folder) == weights_of(cut.folder)


def test_a_validation_that_is_stopped_costs_no_steps(small_data, monkeypatch):
    whole, cut = (request(epochs=1, experiment=name) for name in ("whole", "cut"))
    fit(whole, small_data)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "evaluate", mock.Mock(side_effect=KeyboardInterrupt))
        fit(cut, small_data)
    with monkeypatch.context() as patch:
        patch.setattr(epoch.Totals, "add", mock.Mock(side_effect=AssertionError))
        fit(cut, small_data)
    assert without_times(whole.folder.history()).equals(without_times(cut.folder.history()))
    assert weights_of(whole.folder) == weights_of(cut.folder)


def test_other_threads_are_said_when_a_run_goes_on(small_data, capsys):
    interrupted(request(), small_data)
    fit(request(threads=2), small_data)
    assert "begun with threads=1 and goes on with 2" in capsys.readouterr().out


def test_a_checkpoint_is_read_onto_the_cpu(small_data):
    """A full device must not make a whole checkpoint look like a cut one."""
    interrupted(request(), small_data)
    content = checkpoint.read(request().folder.path / CHECKPOINT)
    assert {t.device.type for t in content["state"]["model"].values()} == {"cpu"}


def test_what_a_killed_writer_left_is_removed(small_data):
    folder = request().folder.path
    folder.mkdir(parents=True)
    (folder / ".writing-checkpoint.pt.abc").write_bytes(b"half")
    fit(request(), small_data)
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize(("begun", "ended"), [("fp32", "bf16"), ("bf16", "fp32")])
def test_a_run_goes_on_in_another_precision(small_data, capsys, begun, ended):
    """As on another machine: said, and both are in the result."""
    wanted = {"variant": "short_all", "epochs": 3}
    interrupted(request(**wanted, precision=begun), small_data)
    result = fit(request(**wanted, precision=ended), small_data)
    assert f"begun with precision={begun} and goes on with {ended}" in capsys.readouterr().out
    assert [machine.precision for machine in result.provenance.machines] == [ended, begun]
    assert result.epochs_run == 3 and result.provenance.interruptions == 1
    again = fit(request(**wanted, precision=begun), small_data)
    assert again == result  # it is finished, in whichever precision it is asked for


def test_a_run_that_comes_back_to_its_machine_lists_each_once(small_data):
    for precision, after in (("fp32", 1), ("bf16", 1), ("fp32", 1)):
        interrupted(request(epochs=5, precision=precision), small_data, after)
    result = fit(request(epochs=5, precision="bf16"), small_data)
    assert [machine.precision for machine in result.provenance.machines] == ["bf16", "fp32"]


def test_an_experiment_takes_runs_of_any_precision(small_data):
    for seed, precision in enumerate(("fp32", "bf16", "fp64")):
        result = fit(request(seed=seed, precision=precision, epochs=1), small_data)
        assert result.provenance.precision == precision and result.provenance.earlier == ()
