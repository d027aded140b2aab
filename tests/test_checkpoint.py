"""Exact resume: a run that was stopped anywhere ends with the bits of one that wasn't."""

import io

import pytest
import torch
from training_requests import numbers_of, request, train_epochs, trainer_of

from labcnn.runs import CHECKPOINT
from labcnn.training import checkpoint
from labcnn.training.trainer import fit


@pytest.mark.parametrize(
    "parameters",
    [
        {"variant": "short_all", "decay_patience": 1},
        {"variant": "short_all", "decay": "one_cycle", "augment": True, "optimizer": "adamw",
         "learning_rate": 0.001},
    ],
)  # fmt: skip
def test_an_interrupted_run_resumes_to_the_same_bits(small_data, capsys, parameters):
    whole = request(**parameters, epochs=3, experiment="whole")
    fit(whole, small_data)
    cut = request(**parameters, epochs=3, experiment="cut")
    train_epochs(cut, small_data, 2)
    assert not cut.folder.finished and (cut.folder.path / CHECKPOINT).exists()
    torch.manual_seed(99)
    content = checkpoint.read(cut.folder.path / CHECKPOINT)
    # a full device must not make a whole checkpoint look like a cut one
    assert {t.device.type for t in content["state"]["model"].values()} == {"cpu"}
    content["state"]["clock"] |= {"started": "2001-02-03T04:05:06+00:00", "seconds": 1000.0}
    torch.save(content, cut.folder.path / CHECKPOINT)
    capsys.readouterr()
    result = fit(cut, small_data)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "从检查点继续：已完成 2 轮又 0 步。"
    assert [line.split()[0] for line in lines[2:]] == ["1", "2", "3"]  # the table is whole again
    assert result.provenance.started == "2001-02-03T04:05:06+00:00"
    assert result.timing.total_seconds > 1000 and result.provenance.interruptions == 1
    assert numbers_of(whole.folder) == numbers_of(cut.folder)
    assert not (cut.folder.path / CHECKPOINT).exists()


def test_a_run_goes_on_in_the_middle_of_an_epoch(small_data, monkeypatch):
    """A checkpoint after every step; the run is stopped after each of them, one by one."""
    whole, cut = (request(variant="short_all", experiment=name) for name in ("whole", "cut"))
    fit(whole, small_data)
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN", 0)
    real, stops, positions = checkpoint.Checkpoint.save, 0, set()

    def stopping(self, trainer):
        real(self, trainer)
        position = trainer.epoch, trainer.totals.steps
        if position not in positions:
            positions.add(position)
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.Checkpoint, "save", stopping)
    while not cut.folder.finished:
        stops += 1
        try:
            fit(cut, small_data)
        except KeyboardInterrupt:
            continue
    assert positions >= {(epoch, step) for epoch in (1, 2) for step in range(1, 9)}
    assert cut.folder.result().provenance.interruptions == stops - 1 == len(positions)
    assert numbers_of(whole.folder) == numbers_of(cut.folder)


def test_a_validation_that_is_stopped_costs_no_steps(small_data):
    whole, cut = (request(epochs=1, experiment=name) for name in ("whole", "cut"))
    fit(whole, small_data)
    trainer = trainer_of(cut, small_data)
    trainer.resume()
    trainer.evaluate_epoch = lambda: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        trainer.run_epoch()
    trainer = trainer_of(cut, small_data)
    trainer.resume()
    assert trainer.totals.steps == 8 and trainer.epoch == 1
    fit(cut, small_data)
    assert numbers_of(whole.folder) == numbers_of(cut.folder)


def change_a_bit(whole):
    """In a tensor, by a disk or a copy: torch itself would take it over."""
    content = bytearray(whole)
    content[len(content) // 2] ^= 1
    return bytes(content)


def packed(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def test_an_unusable_checkpoint_is_named_and_set_aside(small_data, capsys, subtests):
    """Then the run begins anew; what a killed writer left goes as well."""
    wanted, foreign = (
        request(epochs=1, experiment=name, learning_rate=rate)
        for name, rate in (("mine", 0.02), ("foreign", 0.5))
    )
    for each in (wanted, foreign):
        train_epochs(each, small_data)
    path = wanted.folder.path / CHECKPOINT
    aside = path.with_name("checkpoint.pt.unusable")
    whole, content = path.read_bytes(), torch.load(path, weights_only=True)
    damaged = {
        "cut": (whole[:-100], "is cut short or no checkpoint"),
        "a name that isn't UTF-8": (
            whole.replace(b"format", b"form\xff\xff"), "is cut short or no checkpoint",
        ),
        "older": (packed(content | {"format": 1}), "is of format 1, this labcnn needs 4"),
        "not tensors only": (
            packed(content | {"state": wanted.folder}), "is cut short or no checkpoint",
        ),
        "a changed bit": (change_a_bit(whole), "is damaged (in "),
        "foreign": (
            (foreign.folder.path / CHECKPOINT).read_bytes(),
            "is of another run (learning_rate=0.5 instead of 0.02)",
        ),
    }  # fmt: skip
    capsys.readouterr()
    for name, (content, reason) in damaged.items():
        with subtests.test(name):
            path.write_bytes(content)
            assert trainer_of(wanted, small_data).checkpoint.load() is None
            said = capsys.readouterr().out
            assert said.startswith(f"checkpoint.pt {reason}") and said.count("\n") == 1
            assert said.endswith(": set aside as checkpoint.pt.unusable, starting anew\n")
            assert aside.read_bytes() == content and not path.exists()
    path.write_bytes(damaged["a changed bit"][0])
    (path.parent / ".writing-checkpoint.pt.abc").write_bytes(b"half")
    fit(wanted, small_data)
    assert aside.exists() and not list(path.parent.glob(".*"))
    clean = request(epochs=1, experiment="clean")
    fit(clean, small_data)
    assert numbers_of(clean.folder) == numbers_of(wanted.folder)


def test_a_run_goes_on_in_another_precision_or_with_other_threads(small_data, capsys):
    """As on another machine: said, and the result lists each machine once, the last one first."""
    wanted = {"epochs": 4, "batch_size": 60}  # two threads on a busy core wait for each other
    for precision in ("fp32", "bf16", "fp32"):
        train_epochs(request(**wanted, precision=precision), small_data)
    result = fit(request(**wanted, precision="fp32", threads=2), small_data)
    text = capsys.readouterr().out
    assert "made with precision=fp32, the run goes on with bf16" in text
    assert "made with precision=bf16, the run goes on with fp32" in text
    assert "made with threads=1, the run goes on with 2" in text
    machines = [(machine.precision, machine.threads) for machine in result.provenance.machines]
    assert machines[0] == ("fp32", 2) and sorted(machines[1:]) == [("bf16", 1), ("fp32", 1)]
    assert result.epochs_run == 4 and result.provenance.interruptions == 3
    again = fit(request(**wanted, precision="bf16"), small_data)
    assert again == result  # it is finished, in whichever precision it is asked for
