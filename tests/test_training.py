"""The trainer: averages, statuses, files, what may be trained. Tiny nets, but the real thing."""

import dataclasses
import json
import math
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training_requests import numbers_of, request, train_epochs, trainer_of

from labcnn.data.batches import Batches, channel_statistics
from labcnn.data.splits import Split
from labcnn.errors import ParameterError, RunError
from labcnn.joining import start_run
from labcnn.models import ConvNet
from labcnn.runs import (
    EXPERIMENT,
    GRADIENT_COLUMNS,
    HISTORY_COLUMNS,
    SplitMetrics,
    load_runs,
)
from labcnn.training import hardware
from labcnn.training.checkpoint import gradient_norms, tag
from labcnn.training.evaluate import Evaluation, evaluate, judge
from labcnn.training.hardware import choose_hardware
from labcnn.training.optimizers import BestEpoch, Decay
from labcnn.training.trainer import fit

CPU = torch.device("cpu")


class FixedLogits(torch.nn.Module):
    """Answers with the logits of a table: an image's row is in its first two pixels."""

    def __init__(self, table):
        super().__init__()
        self.table = torch.nn.Parameter(table)

    def forward(self, x):
        return self.table[(x[:, 0, 0, 0] * 256 + x[:, 0, 0, 1]).round().long()]


def test_evaluation_averages_over_images_with_a_short_last_batch():
    """1,003 images in batches of 500: means of batch means would weigh the last 3 too much."""
    count = 1003
    table = torch.randn(count, 4, generator=torch.Generator().manual_seed(0)) * 3
    images = np.zeros((count, 64, 64, 3), np.uint8)
    images[:, 0, 0, 0], images[:, 0, 1, 0] = np.divmod(np.arange(count), 256)
    labels = np.arange(count) % 4
    batches = Batches(Split(images, labels), torch.zeros(3), torch.ones(3), CPU)
    result = evaluate(FixedLogits(table), batches, choose_hardware("cpu", "fp32"))

    by_hand_loss = by_hand_correct = 0.0
    for k in range(count):
        row = [float(v) for v in table[k]]
        total = sum(math.exp(v) for v in row)
        by_hand_loss += -math.log(math.exp(row[k % 4]) / total)
        by_hand_correct += row.index(max(row)) == k % 4
    assert result.metrics.loss == pytest.approx(by_hand_loss / count, rel=1e-5)
    assert result.metrics.accuracy == pytest.approx(by_hand_correct / count)
    assert result.metrics.count == count


def test_training_averages_over_images_with_a_short_last_batch(small_data):
    """With a rate of (almost) zero the net stands still, so the mean can be computed afterwards."""
    still = {"variant": "short_baseline", "learning_rate": 1e-30, "precision": "fp32"}
    wanted = request(**still, batch_size=50, first_size=64, last_size=64)
    trainer = trainer_of(wanted, small_data)
    row = trainer.train_epoch()
    ((x, y),) = trainer.batches["train"].in_order(120)
    with torch.no_grad():
        logits = trainer.model(x)
    assert row["train_loss"] == pytest.approx(F.cross_entropy(logits, y).item(), rel=1e-5)
    assert row["train_accuracy"] == pytest.approx((logits.argmax(1) == y).double().mean().item())


def test_a_runs_files(small_data, logs):
    wanted = request(seed=5)
    result = fit(wanted, small_data)
    folder = wanted.folder
    assert result == folder.result()
    names = {path.name for path in folder.path.iterdir()}
    assert names == {
        "result.json", "history.csv", "gradients.csv", "predictions.npz", "model.safetensors",
        "tensorboard",
    }  # fmt: skip
    history = folder.history()
    assert tuple(history.columns) == HISTORY_COLUMNS
    assert history.epoch.tolist() == [1, 2] and result.epochs_run == 2
    assert history.notna().all().all()
    gradients = folder.gradients()
    assert tuple(gradients.columns) == GRADIENT_COLUMNS
    assert set(gradients.epoch) == {0, 1, 2} and set(gradients.stage) == {0, 1, 2, 3, 4, 5}
    assert (gradients.gradient_norm > 0).all() and (gradients.weight_norm > 0).all()
    predictions = folder.predictions()
    for name, split in (("val", small_data.val), ("test", small_data.test)):
        assert predictions[f"{name}_label"].tolist() == split.labels.tolist()
        right = predictions[f"{name}_predicted"] == predictions[f"{name}_label"]
        assert getattr(result, name).accuracy == pytest.approx(right.mean())
        probability, of_label = (
            predictions[f"{name}_{column}"] for column in ("probability", "label_probability")
        )
        assert np.array_equal(of_label[right], probability[right])
        assert (of_label[~right] <= probability[~right]).all() and (of_label >= 0).all()
        assert getattr(result, name).loss == pytest.approx(-np.log(of_label).mean(), rel=1e-5)
    assert result.provenance.data_fingerprint == small_data.fingerprint
    assert result.provenance.threads == 1 and result.provenance.earlier == ()
    text = (folder.path / "result.json").read_text(encoding="utf-8")
    assert str(logs) not in text and "/" not in json.loads(text)["provenance"]["device_name"]

    events = EventAccumulator(str(folder.path / "tensorboard")).Reload()
    for column in HISTORY_COLUMNS[1:]:
        scalars = events.Scalars(tag(column))
        assert [s.step for s in scalars] == history.epoch.tolist()
        np.testing.assert_allclose([s.value for s in scalars], history[column], rtol=1e-6)


def test_the_best_epochs_net_is_the_one_that_is_judged(small_data):
    """Its validation accuracy is the best of the history, and its weights are saved."""
    wanted = request(variant="short_all", epochs=8, learning_rate=0.2)
    result = fit(wanted, small_data)
    history = wanted.folder.history()
    assert history.val_accuracy.idxmax() + 1 == result.best_epoch < 8
    assert result.val.accuracy == history.val_accuracy.max()
    losses = history.val_loss.tolist()
    assert result.val.loss == pytest.approx(losses[result.best_epoch - 1], rel=1e-6)
    assert result.val.loss != pytest.approx(losses[-1], rel=1e-3)


def test_test_images_are_not_needed_before_the_end(small_data):
    """Whatever the test set holds, training and the choice of the best epoch are the same."""
    other = dataclasses.replace(small_data, test=small_data.val)
    fit(request(experiment="one"), small_data)
    fit(request(experiment="two"), other)
    one, two = (numbers_of(request(experiment=name).folder) for name in ("one", "two"))
    assert one["history"] == two["history"] and one["weights"] == two["weights"]


def test_a_loss_that_is_not_finite_gives_diverged(small_data):
    wanted = request(variant="short_baseline", learning_rate=100.0, epochs=5, batch_size=2)
    result = fit(wanted, small_data)
    assert result.status == "diverged" and result.stopped == "diverged"
    assert result.epochs_run < 5
    assert math.isnan(wanted.folder.history().train_loss.iloc[-1])
    assert wanted.folder.finished and len(load_runs(wanted.folder.path.parents[2]).table) == 1


def test_weights_that_broke_in_the_last_step_give_diverged(small_data):
    """Every training loss was a number then; validation's isn't."""
    trainer = trainer_of(request(), small_data)
    trainer.resume()
    with torch.no_grad():
        trainer.model.head.bias.fill_(math.nan)
    row = trainer.evaluate_epoch()
    trainer.journal.history.append(row | {"train_loss": 1.0, "seconds": 1, "images_per_second": 1})
    assert trainer.stopped == "diverged"
    result = trainer.finish()
    assert (result.status, result.best_epoch, result.test.loss) == ("diverged", None, None)


def test_a_diverging_run_stops_within_the_epoch(small_data):
    trainer = trainer_of(request(variant="short_baseline", batch_size=2), small_data)
    with torch.no_grad():
        trainer.model.head.bias.fill_(math.nan)
    assert math.isnan(trainer.train_epoch()["train_loss"])
    assert trainer.totals.steps == 50  # of 60: the first look


def test_a_stuck_run_is_no_learning_and_one_that_learns_is_ok(small_data):
    stuck = fit(request(variant="long_baseline", learning_rate=1e-30), small_data)
    assert stuck.status == "no_learning" and "against chance" in stuck.reason
    result = fit(request(epochs=8, experiment="learns"), small_data)
    assert result.status == "ok" and result.test.accuracy > 0.6


def answers(correct):
    """An evaluation of 10,000 images of 200 classes, so many of them right."""
    label = np.repeat(np.arange(200), 50).astype(np.int16)
    predicted = np.where(np.arange(10_000) < correct, label, (label + 1) % 200).astype(np.int16)
    metrics = SplitMetrics(loss=1.0, accuracy=correct / 10_000, count=10_000)
    return Evaluation(metrics, label, predicted, label, label)


def test_chance_is_judged_by_an_exact_test():
    """Always one class gives exactly 50 right; a p-value below every float isn't said to be 0."""
    for correct, status in ((50, "no_learning"), (100, "ok")):
        found, _, p_value = judge(False, answers(correct))
        assert found == status
        assert judge(True, answers(correct))[0] == "diverged"
        below = (math.comb(10_000, k) * 0.005**k * 0.995 ** (10_000 - k) for k in range(correct))
        assert p_value == pytest.approx(1 - sum(below), rel=1e-3, abs=1e-9)
    # Of classes that aren't alike, always the largest is what a blind answer gets.
    uneven = answers(0)._replace(label=np.repeat([0, 1], [9000, 1000]))
    assert judge(False, uneven._replace(predicted=np.zeros(10_000)))[0] == "no_learning"
    assert "9000 of 10000 test images right, p < 2e-308" in judge(False, answers(9000))[1]


def test_a_finished_run_is_trained_again_only_by_overwrite(small_data, capsys):
    """And replaced only when the new one is complete."""
    first = fit(request(epochs=1), small_data)
    # with the demo set, which isn't small_data: not even loaded
    assert fit(request(epochs=1)) == first
    assert "早已完成" in capsys.readouterr().out
    folder = request(epochs=1).folder.path.parent
    (folder / ".seed0.new").write_bytes(b"")  # a file where the new run's folder should be
    with pytest.raises(RunError):
        fit(request(epochs=1, overwrite=True), small_data)
    assert request(epochs=1).folder.result() == first
    (folder / ".seed0.new").unlink()
    second = fit(request(epochs=1, overwrite=True), small_data)
    assert request(epochs=1).folder.result() == second != first
    assert {path.name for path in folder.iterdir()} <= {"seed0", ".seed0.lock"}


@pytest.mark.parametrize("left", [["history.csv", "train.ipynb"], ["train.ipynb"], []])
def test_an_overwrite_stopped_while_the_old_run_is_removed_loses_no_run(small_data, left):
    """A workflow writes the executed notebook before the kernel starts."""
    expected = fit(request(), small_data)
    path = request().folder.path
    path.rename(path.with_name(".seed0.new"))
    for name in left:
        path.mkdir(exist_ok=True)
        (path / name).write_text("{}", "utf-8")
    assert fit(request(), small_data) == expected == request().folder.result()
    assert (path / "tensorboard").is_dir() and len(request().folder.history()) == 2
    assert {path.name for path in path.parent.iterdir()} == {"seed0", ".seed0.lock"}


def test_a_stopped_overwrites_result_is_not_taken_for_the_next_ones(small_data):
    left = fit(request(), small_data)
    path = request().folder.path
    stopped = path.with_name(".seed0.new")
    shutil.copytree(path, stopped)
    text = (stopped / "result.json").read_text("utf-8")
    (stopped / "result.json").write_text(
        text.replace(left.provenance.started, "2020-01-01T00:00:00+00:00"), "utf-8"
    )
    assert not fit(request(overwrite=True), small_data).provenance.started.startswith("2020")


def test_data_of_another_fraction_is_refused(small_data, logs):
    """In a notebook the cell that loads the data may be older than the request."""
    with pytest.raises(RunError, match=r"fraction=1.* fraction=0\.5; load the data again"):
        fit(request(fraction=0.5), small_data)
    assert not logs.exists()


def test_an_experiment_takes_only_runs_that_can_be_compared(small_data):
    fit(request(experiment="mine"), small_data)
    fit(request(experiment="mine", variant="short_baseline", seed=3), small_data)
    with pytest.raises(
        RunError, match=r"epochs=3 can't join experiment 'mine', which has epochs=2"
    ):
        fit(request(experiment="mine", epochs=3), small_data)
    other = dataclasses.replace(small_data, fingerprint="1" * 64)
    with pytest.raises(RunError, match="data_fingerprint"):
        fit(request(experiment="mine", seed=4), other)
    record = request(experiment="mine").folder.path.parents[1] / EXPERIMENT
    assert json.loads(record.read_text(encoding="utf-8"))["epochs"] == 2


def test_a_run_alone_in_its_experiment_may_change_what_is_shared(small_data):
    train_epochs(request(experiment="mine", epochs=9), small_data)
    assert fit(request(experiment="mine", epochs=1), small_data).recipe.epochs == 1


def test_a_damaged_record_of_an_experiment_is_named(small_data):
    path = request().folder.path.parents[1] / EXPERIMENT
    train_epochs(request(seed=7), small_data)
    for text in ("{", "[1]"):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(RunError, match=r"experiment\.json: cut or foreign; delete it"):
            fit(request(), small_data)


def test_the_code_of_a_run_is_the_one_before_training(small_data, monkeypatch):
    """What is committed while it trains isn't what ran."""
    commits = iter(["before", "after"])
    answers = {"rev-parse": lambda: next(commits), "status": str, "ls-files": str}
    monkeypatch.setattr(hardware, "_git", lambda command, *_: answers[command]())
    trainer = trainer_of(request(epochs=1), small_data)
    assert next(commits) == "after"
    result = trainer.train()
    assert result.provenance.git_commit == "before" and result.provenance.git_dirty is False


def test_a_repository_that_does_not_hold_the_package_is_not_its_commit(tmp_path, monkeypatch):
    for command in (["init", "-q"], ["-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-q",
                    "--allow-empty", "-m", "not ours"]):  # fmt: skip
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    monkeypatch.setattr(hardware, "project_root", lambda: tmp_path)
    code = hardware.inspect_code()
    assert (code.commit, code.dirty) == (None, None)


def test_two_processes_never_train_one_run(small_data):
    """While one trains, a second one is refused (one process does: the lock is per open file)."""
    with start_run(request(), "0" * 64), pytest.raises(RunError, match="another process"):
        fit(request(), small_data)
    assert fit(request(), small_data).epochs_run == 2


def test_a_device_that_is_not_there_is_refused(small_data, logs, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ParameterError, match=r"device='cuda' .*auto, cpu"):
        fit(request(device="cuda"), small_data)
    assert not logs.exists()


def test_a_finished_run_that_is_damaged_is_not_shown_as_its_result(small_data):
    fit(request(epochs=1), small_data)
    (request(epochs=1).folder.path / "history.csv").write_text("epoch\n", encoding="utf-8")
    with pytest.raises(RunError, match=r"history\.csv: .*; overwrite=True trains the run anew"):
        fit(request(epochs=1), small_data)


def test_steps_can_be_compiled(small_data, monkeypatch):
    """torch.compile itself takes minutes: what stands in for it is called for the steps alone."""
    steps = []

    def compile_to_count(model):
        def step(x):
            steps.append(len(x))
            return model(x)

        return step

    monkeypatch.setattr(torch, "compile", compile_to_count)
    assert not fit(request(epochs=1), small_data).provenance.compiled and not steps
    result = fit(request(epochs=1, compile=True, experiment="compiled"), small_data)
    assert result.provenance.compiled and sum(steps) == len(small_data.train)


def test_early_stopping_and_decay_follow_validation_accuracy():
    best = BestEpoch(patience=2)
    model = torch.nn.Linear(1, 1)
    for epoch, accuracy in enumerate([0.1, 0.3, 0.3, 0.2], 1):
        assert not best.exhausted
        best.update(epoch, accuracy, model)
    assert best.exhausted and best.epoch == 2

    recipe = request(variant="short_lrdecay", decay_patience=2, decay_factor=0.5).recipe
    optimizer = torch.optim.SGD(model.parameters(), recipe.learning_rate)
    decay = Decay(optimizer, recipe, 10)
    rates = []
    for accuracy in [0.1, 0.2, 0.2, 0.2, 0.2, 0.3]:
        decay.after_epoch(accuracy)
        rates.append(optimizer.param_groups[0]["lr"] / recipe.learning_rate)
    assert rates == [1, 1, 1, 0.5, 0.5, 0.5]


def test_one_cycle_of_few_steps():
    """With one step of warm-up torch divides by zero."""
    for steps in range(1, 12):
        recipe = request(variant="short_lrdecay", decay="one_cycle", epochs=1).recipe
        optimizer = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), recipe.learning_rate)
        decay = Decay(optimizer, recipe, steps)
        for _ in range(steps):
            optimizer.step()
            decay.after_step()


def test_probing_gradients_does_not_move_the_training(small_data):
    model = ConvNet(request(variant="long_all").recipe.network, 4, 4, 0.5)
    batches = Batches(small_data.train, *channel_statistics(small_data.train), CPU)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    random = torch.get_rng_state()
    rows = gradient_norms(model, *batches.take(batches.spread(32)), epoch=1)
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert len(rows) == 1 + 24 + 3 + 1  # stem, convolutions, projections, head
    assert pd.DataFrame(rows).stage.is_monotonic_increasing
