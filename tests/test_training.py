"""The loop: averages, statuses, files, resuming. Tiny nets on tiny data, but the real thing."""

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
from training_requests import request, weights_of, without_times

from labcnn.data.batches import Batches, channel_statistics
from labcnn.errors import ParameterError, RunError
from labcnn.models import ConvNet
from labcnn.runs import (
    EXPERIMENT,
    GRADIENT_COLUMNS,
    HISTORY_COLUMNS,
    RunFolder,
    load_runs,
)
from labcnn.training import epoch as epoch_module
from labcnn.training import loop, provenance
from labcnn.training.epoch import Totals, train_epoch
from labcnn.training.evaluate import evaluate, reestimate_norm
from labcnn.training.hardware import choose_hardware, kept_random_state
from labcnn.training.journal import tag
from labcnn.training.loop import fit
from labcnn.training.schedules import BestEpoch, Decay
from labcnn.training.verdict import judge


class FixedLogits(torch.nn.Module):
    """Answers with the logits of a table: image k of a batch is recognised by its first pixel."""

    def __init__(self, table):
        super().__init__()
        self.table = torch.nn.Parameter(table)

    def forward(self, x):
        return self.table[x[:, 0, 0, 0].round().long()]


def test_evaluation_averages_over_images_with_a_short_last_batch(small_data, monkeypatch):
    """23 images in batches of 10: means of batch means would weigh the last 3 images too much."""
    monkeypatch.setattr("labcnn.training.evaluate.BATCH_SIZE", 10)
    table = torch.randn(23, 4, generator=torch.Generator().manual_seed(0)) * 3
    images = np.zeros((23, 64, 64, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(23)
    labels = np.arange(23) % 4
    split = dataclasses.replace(small_data.test, images=images, labels=labels)
    batches = Batches(split, torch.zeros(3), torch.ones(3), torch.device("cpu"))
    result = evaluate(FixedLogits(table), batches, choose_hardware("cpu", "fp32"))

    by_hand_loss = by_hand_correct = 0.0
    for k in range(23):
        row = [float(v) for v in table[k]]
        total = sum(math.exp(v) for v in row)
        by_hand_loss += -math.log(math.exp(row[k % 4]) / total)
        by_hand_correct += row.index(max(row)) == k % 4
    assert result.metrics.loss == pytest.approx(by_hand_loss / 23, rel=1e-5)
    assert result.metrics.accuracy == pytest.approx(by_hand_correct / 23)
    assert result.metrics.count == 23
    assert result.probability.max() <= 1


def test_training_averages_over_images_with_a_short_last_batch(small_data):
    """With a rate of (almost) zero the net stands still, so the mean can be computed afterwards."""
    recipe = request(variant="short_baseline", batch_size=50, learning_rate=1e-30).recipe
    hardware = choose_hardware("cpu", "fp32", 1)
    model = ConvNet(recipe.network, 4, 4, seed=0)
    batches = Batches(small_data.train, *channel_statistics(small_data.train), hardware.device)
    optimizer = torch.optim.SGD(model.parameters(), recipe.learning_rate)
    row = train_epoch(
        model, batches, optimizer, Decay(optimizer, recipe, 3), recipe, 1, hardware,
        Totals(hardware.device),
    )  # fmt: skip
    (x, y), *rest = batches.in_order(120)
    assert not rest
    with torch.no_grad():
        logits = model(x)
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
    assert result.provenance.threads == 1
    text = (folder.path / "result.json").read_text(encoding="utf-8")
    assert str(logs) not in text and "/" not in json.loads(text)["provenance"]["device_name"]


def test_tensorboard_events_agree_with_the_history(small_data):
    wanted = request()
    fit(wanted, small_data)
    events = EventAccumulator(str(wanted.folder.path / "tensorboard")).Reload()
    history = wanted.folder.history()
    for column in HISTORY_COLUMNS[1:]:
        scalars = events.Scalars(tag(column))
        assert [s.step for s in scalars] == history.epoch.tolist()
        np.testing.assert_allclose([s.value for s in scalars], history[column], rtol=1e-6)


def test_the_best_epochs_weights_are_restored(small_data, monkeypatch):
    accuracies = iter([0.5, 0.9, 0.7])
    seen = []
    real = loop.evaluate

    def scripted(model, batches, *others, **named):
        result = real(model, batches, *others, **named)
        if len(batches.images) == len(small_data.val) and (value := next(accuracies, None)):
            seen.append(model.head.weight.detach().clone())
            return result._replace(metrics=result.metrics.model_copy(update={"accuracy": value}))
        if len(batches) == len(small_data.test):
            assert torch.equal(model.head.weight, seen[1])
            assert not torch.equal(model.head.weight, seen[2])
        return result

    monkeypatch.setattr(loop, "evaluate", scripted)
    result = fit(request(epochs=3), small_data)
    assert result.best_epoch == 2 and len(seen) == 3


def test_test_data_is_read_once_after_training(small_data, monkeypatch):
    order = []
    real_evaluate, real_epoch = loop.evaluate, loop.train_epoch

    def evaluate_(model, batches, *others, **named):
        order.append({120: "train", 40: "val", 30: "test"}[len(batches)])
        return real_evaluate(model, batches, *others, **named)

    def epoch_(*arguments):
        order.append("epoch")
        return real_epoch(*arguments)

    monkeypatch.setattr(loop, "evaluate", evaluate_)
    monkeypatch.setattr(loop, "train_epoch", epoch_)
    fit(request(epochs=3), small_data)
    assert order.count("test") == 1
    assert order.index("test") > max(k for k, what in enumerate(order) if what == "epoch")


def test_a_loss_that_is_not_finite_gives_diverged(small_data):
    wanted = request(variant="short_baseline", learning_rate=100.0, epochs=5, batch_size=2)
    result = fit(wanted, small_data)
    assert result.status == "diverged" and result.stopped == "diverged"
    assert result.epochs_run < 5
    assert math.isnan(wanted.folder.history().train_loss.iloc[-1])
    assert wanted.folder.finished and len(load_runs(wanted.folder.path.parents[2]).table) == 1


def test_a_validation_loss_that_is_not_finite_gives_diverged(small_data, monkeypatch):
    """The last step's update can break the weights while every training loss was a number."""
    real = loop.train_epoch

    def broken(model, *arguments):
        row = real(model, *arguments)
        with torch.no_grad():
            model.head.weight.fill_(math.nan)
        return row

    monkeypatch.setattr(loop, "train_epoch", broken)
    result = fit(request(), small_data)
    assert (result.status, result.epochs_run, result.best_epoch) == ("diverged", 1, None)


def test_a_run_alone_in_its_experiment_may_change_what_is_shared(small_data, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "train_epoch", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        fit(request(experiment="mine", epochs=9), small_data)
    assert fit(request(experiment="mine", epochs=1), small_data).recipe.epochs == 1


def test_a_diverging_run_stops_within_the_epoch(small_data, monkeypatch):
    monkeypatch.setattr(epoch_module, "STEPS_PER_LOOK", 3)
    steps = []
    real = F.cross_entropy

    def poisoned(logits, y, **options):
        steps.append(len(y))
        return real(logits, y, **options) * (math.nan if len(steps) == 4 else 1)

    monkeypatch.setattr(epoch_module.F, "cross_entropy", poisoned)
    recipe = request(variant="short_baseline").recipe
    hardware = choose_hardware("cpu", "fp32", 1)
    model = ConvNet(recipe.network, 4, 4)
    batches = Batches(small_data.train, *channel_statistics(small_data.train), hardware.device)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    row = train_epoch(
        model, batches, optimizer, Decay(optimizer, recipe, 8), recipe, 1, hardware,
        Totals(hardware.device),
    )  # fmt: skip
    assert math.isnan(row["train_loss"])
    assert len(steps) == 6  # of 8: the look after step 6 is the first one after the fault


def test_a_stuck_run_is_no_learning(small_data):
    result = fit(request(variant="long_baseline", learning_rate=1e-30), small_data)
    assert result.status == "no_learning"
    assert "against chance" in result.reason


def test_a_run_that_learns_is_ok(small_data):
    result = fit(request(epochs=8), small_data)
    assert result.status == "ok" and result.test.accuracy > 0.6


@pytest.mark.parametrize(
    ("correct", "status"), [(50, "no_learning"), (60, "no_learning"), (100, "ok")]
)
def test_chance_is_judged_by_an_exact_test(correct, status):
    """10,000 images of 200 classes: always one class gives exactly 50 right."""
    label = np.repeat(np.arange(200), 50).astype(np.int16)
    predicted = np.where(np.arange(10_000) < correct, label, (label + 1) % 200)
    metrics = type("M", (), {"count": 10_000})()
    test = type("E", (), {"metrics": metrics, "label": label, "predicted": predicted})()
    verdict = judge(False, test, 200)
    assert verdict.status == status
    assert judge(True, test, 200).status == "diverged"
    tail = 1 - sum(math.comb(10_000, k) * 0.005**k * 0.995 ** (10_000 - k) for k in range(correct))
    assert verdict.p_value == pytest.approx(tail, rel=1e-3, abs=1e-9)


def test_a_finished_run_is_not_trained_again(small_data, monkeypatch, capsys):
    first = fit(request(), small_data)
    monkeypatch.setattr(loop, "train", lambda *_: pytest.fail("trained again"))
    assert fit(request()) == first
    assert "finished" in capsys.readouterr().out


def test_overwrite_replaces_a_run_only_when_the_new_one_is_complete(small_data, monkeypatch):
    first = fit(request(), small_data)
    real = loop.save_result
    monkeypatch.setattr(loop, "save_result", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        fit(request(overwrite=True), small_data)
    assert request().folder.result() == first
    monkeypatch.setattr(loop, "save_result", real)
    second = fit(request(overwrite=True), small_data)
    assert request().folder.result() == second
    assert second.provenance.started >= first.provenance.started
    left = {path.name for path in request().folder.path.parent.iterdir()}
    assert left <= {"seed0", ".seed0.lock"}


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("new_is_whole", [False, True])
@pytest.mark.parametrize("started_again", [False, True])
def test_an_overwrite_stopped_between_its_two_renames_loses_no_run(
    small_data, monkeypatch, new_is_whole, started_again, overwrite
):
    fit(request(), small_data)
    path = request().folder.path
    old, new = (path.with_name(f".seed0.{name}") for name in ("old", "new"))
    path.rename(old)
    shutil.copytree(old, new)
    text = (old / "result.json").read_text(encoding="utf-8")
    (new / "result.json").write_text(
        text.replace('"total_seconds": ', '"total_seconds": 1'), "utf-8"
    )
    if not new_is_whole:
        (new / "result.json").unlink()
    expected = RunFolder(new if new_is_whole else old).result()
    if started_again:  # a workflow writes the executed notebook before the kernel starts
        path.mkdir()
        (path / "train.ipynb").write_text("{}", "utf-8")

    trained = []

    def train(wanted, hardware, data, work):
        assert not work.finished
        trained.append((wanted.folder.result(), work.path.name))
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "train", train)
    if overwrite:
        with pytest.raises(KeyboardInterrupt):
            fit(request(overwrite=True), small_data)
        assert trained == [(expected, ".seed0.new")]
    else:
        assert fit(request(), small_data) == expected
        assert not trained
    assert request().folder.result() == expected
    assert (request().folder.path / "tensorboard").is_dir()
    assert not old.exists()


def test_a_stopped_overwrites_result_is_not_taken_for_the_next_ones(small_data, monkeypatch):
    fit(request(), small_data)
    path = request().folder.path
    shutil.copytree(path, path.with_name(".seed0.new"))

    def train(wanted, hardware, data, work):
        assert work.path.name == ".seed0.new" and not work.finished
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "train", train)
    with pytest.raises(KeyboardInterrupt):
        fit(request(overwrite=True), small_data)
    assert request().folder.finished


def test_data_of_another_fraction_is_refused(small_data, logs):
    """In a notebook the cell that loads the data may be older than the request."""
    with pytest.raises(RunError, match=r"fraction=1.* fraction=0\.5; load the data again"):
        fit(request(fraction=0.5), small_data)
    assert not logs.exists()


def test_same_seed_same_bits_other_seed_other_bits(small_data, logs):
    for name in ("one", "two"):
        fit(request(variant="short_all", experiment=name), small_data)
    fit(request(variant="short_all", experiment="one", seed=1), small_data)
    one, two, other = (
        RunFolder(logs / where / "short_all" / seed)
        for where, seed in (("one", "seed0"), ("two", "seed0"), ("one", "seed1"))
    )
    assert without_times(one.history()).equals(without_times(two.history()))
    assert one.gradients().equals(two.gradients())
    assert weights_of(one) == weights_of(two) != weights_of(other)


def test_an_experiment_takes_only_runs_that_can_be_compared(small_data):
    fit(request(experiment="mine"), small_data)
    fit(request(experiment="mine", variant="long_all", seed=3), small_data)
    with pytest.raises(
        RunError, match=r"epochs=3 can't join experiment 'mine', which has epochs=2"
    ):
        fit(request(experiment="mine", epochs=3), small_data)
    other = dataclasses.replace(small_data, fingerprint="1" * 64)
    with pytest.raises(RunError, match="data_fingerprint"):
        fit(request(experiment="mine", seed=4), other)
    recorded = request(experiment="mine").folder.path.parents[1] / EXPERIMENT
    assert json.loads(recorded.read_text(encoding="utf-8"))["epochs"] == 2


@pytest.mark.parametrize("text", ["{", "[1]", "<<<<<<< ours"])
def test_a_damaged_record_of_an_experiment_is_named(small_data, text):
    path = request().folder.path.parents[1] / EXPERIMENT
    fit(request(seed=7), small_data)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RunError, match=r"experiment\.json: cut or foreign; delete it"):
        fit(request(), small_data)


def test_an_accelerators_random_state_is_kept(monkeypatch):
    """torch.manual_seed also seeds Apple's MPS, which torch's fork_rng would leave so."""
    states = [torch.tensor([7])]
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda: states[-1])
    monkeypatch.setattr(torch.mps, "set_rng_state", states.append)
    with kept_random_state(torch.device("mps")):
        states.append(torch.tensor([0]))
    assert states[-1].item() == 7


def test_the_code_of_a_run_is_the_one_before_training(small_data, monkeypatch):
    """What is committed while it trains isn't what ran."""
    commits = iter(["before", "after"])
    answers = {"rev-parse": lambda: next(commits), "status": str, "ls-files": str}
    monkeypatch.setattr(provenance, "_git", lambda command, *_: answers[command]())
    real = loop.train_epoch

    def commits_meanwhile(*arguments):
        assert next(commits) == "after"
        return real(*arguments)

    monkeypatch.setattr(loop, "train_epoch", commits_meanwhile)
    result = fit(request(epochs=1), small_data)
    assert result.provenance.git_commit == "before" and result.provenance.git_dirty is False


def test_a_repository_that_does_not_hold_the_package_is_not_its_commit(tmp_path, monkeypatch):
    for command in (["init", "-q"], ["-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-q",
                    "--allow-empty", "-m", "not ours"]):  # fmt: skip
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    monkeypatch.setattr(provenance, "project_root", lambda: tmp_path)
    code = provenance.running_code()
    assert (code.commit, code.dirty) == (None, None)


def test_two_processes_never_train_one_run(small_data, monkeypatch):
    """While one trains, a second one is refused (one process does: the lock is per open file)."""
    real = loop.train

    def meanwhile(*arguments):
        with pytest.raises(RunError, match="another process"):
            fit(request(), small_data)
        return real(*arguments)

    monkeypatch.setattr(loop, "train", meanwhile)
    fit(request(), small_data)


def test_a_device_that_is_not_there_is_refused(small_data, logs, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ParameterError, match=r"device='cuda' .*auto, cpu"):
        fit(request(device="cuda"), small_data)
    assert not logs.exists()


def test_steps_can_be_compiled(small_data, monkeypatch):
    """torch.compile itself takes minutes: what stands in for it is called for the steps alone."""
    compiled = []

    def compiling(model):
        compiled.append(model)
        return model

    monkeypatch.setattr(torch, "compile", compiling)
    assert not fit(request(), small_data).provenance.compiled and not compiled
    result = fit(request(compile=True, experiment="compiled"), small_data)
    assert result.provenance.compiled and len(compiled) == 1


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


@pytest.mark.parametrize("steps", range(1, 9))
def test_one_cycle_of_few_steps(steps):
    recipe = request(variant="short_lrdecay", decay="one_cycle", epochs=1).recipe
    optimizer = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), recipe.learning_rate)
    decay = Decay(optimizer, recipe, steps)
    for _ in range(steps):
        optimizer.step()
        decay.after_step()


@pytest.mark.parametrize("variant", ["short_norm", "short_lrdecay"])
def test_only_variants_with_lr_decay_change_the_rate(variant):
    recipe = request(variant=variant, decay="one_cycle").recipe
    optimizer = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), recipe.learning_rate)
    decay = Decay(optimizer, recipe, 10)
    rates = []
    for _ in range(20):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        decay.after_step()
    if recipe.network.lr_decay:
        assert max(rates) == pytest.approx(recipe.learning_rate) and rates[-1] < 0.1 * max(rates)
    else:
        assert set(rates) == {recipe.learning_rate}


def test_probing_gradients_does_not_move_the_training(small_data):
    model = ConvNet(request(variant="long_all").recipe.network, 4, 4, 0.5)
    batches = Batches(small_data.train, *channel_statistics(small_data.train), torch.device("cpu"))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    random = torch.get_rng_state()
    rows = loop.layer_norms(model, *batches.take(batches.spread(32)), epoch=1)
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert len(rows) == 1 + 24 + 3 + 1  # stem, convolutions, projections, head
    assert pd.DataFrame(rows).stage.is_monotonic_increasing


def test_statistics_taken_anew_are_those_of_the_inputs():
    """Of known inputs: the mean over batches of their means and variances, with dropout off."""
    torch.manual_seed(0)
    norm = torch.nn.BatchNorm2d(2, momentum=0.3)
    model = torch.nn.Sequential(torch.nn.Dropout(0.5), norm)
    inputs = [
        torch.randn(6, 2, 4, 4) * torch.tensor([2.0, 5.0]).view(1, 2, 1, 1) + k for k in (1, 4)
    ]
    hardware = choose_hardware("cpu", "fp32", 1)
    reestimate_norm(model, inputs, hardware)
    flat = [x.transpose(0, 1).flatten(1) for x in inputs]
    torch.testing.assert_close(norm.running_mean, sum(x.mean(1) for x in flat) / 2)
    torch.testing.assert_close(norm.running_var, sum(x.var(1) for x in flat) / 2)
    assert norm.momentum == 0.3 and not any(module.training for module in model.modules())
    reestimate_norm(
        model, inputs, hardware, dropout=True
    )  # at rate 0.5 the variance doubles, or so
    assert (norm.running_var > 1.5 * sum(x.var(1) for x in flat) / 2).all()


def test_a_net_with_statistics_of_one_batch_answers_as_it_did_in_training_on_it():
    torch.manual_seed(0)
    recipe = request(variant="mid_all", dropout_rate=0.0).recipe
    model = ConvNet(recipe.network, 4, 4, recipe.dropout_rate).double()
    x = torch.randn(64, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        trained = model.train()(x)
        for module in model.modules():  # whatever they were
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.fill_(7)
        reestimate_norm(model, [x], choose_hardware("cpu", "fp64", 1))
        evaluated = model(x)
    # n / (n - 1) apart: running variances are unbiased, those of a batch aren't
    torch.testing.assert_close(evaluated, trained, rtol=0.02, atol=0.002)
