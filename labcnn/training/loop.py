"""Training one run: from a request to a saved result."""

import math
import time
from contextlib import closing
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD, Optimizer

from labcnn.data import ImageData, load_dataset
from labcnn.data.batches import Batches, channel_statistics
from labcnn.errors import RunError
from labcnn.network import ConvNet
from labcnn.recipe import Recipe
from labcnn.request import RunRequest
from labcnn.runs import CHECKPOINT, RunFolder, RunResult
from labcnn.training.checkpoint import load_checkpoint, save_checkpoint
from labcnn.training.clock import Clock
from labcnn.training.evaluate import evaluate
from labcnn.training.experiment import (
    join_experiment,
    only_process,
    publish,
    require_equal,
    restore,
    working_folder,
)
from labcnn.training.hardware import Hardware, choose_hardware
from labcnn.training.journal import Journal
from labcnn.training.probes import PROBE_SIZE, layer_norms
from labcnn.training.provenance import running_code
from labcnn.training.results import save_result
from labcnn.training.schedules import BestEpoch, Decay

#: Steps between two looks at whether the loss is still finite: each look waits for the device.
STEPS_PER_LOOK = 50


def fit(request: RunRequest, data: ImageData | None = None) -> RunResult:
    """Train what ``request`` asks for and save it; of a finished run, return the saved result.

    Parameters
    ----------
    request : what to train.
    data : the request's data set, if it is loaded already.

    Raises
    ------
    ParameterError, DataError, RunError
        Before any training: the device, the data or the experiment doesn't fit the request, or
        another process trains the same run.
    """
    hardware = choose_hardware(request.device, request.recipe.precision, request.threads)
    if request.folder.finished and not request.overwrite:
        return saved(request)
    if data is None:
        data = load_dataset(request.recipe.dataset, request.recipe.fraction)
    require_data(request.recipe, data)
    with only_process(request):
        restore(request)
        if request.folder.finished and not request.overwrite:  # by another process, meanwhile
            return saved(request)
        join_experiment(request, hardware.precision, data.fingerprint)
        work = working_folder(request)
        result = train(request, hardware, data, work)
        publish(work, request)
    return result


def require_data(recipe: Recipe, data: ImageData) -> None:
    """Raise a :class:`RunError` if ``data`` isn't what the recipe says it is.

    A notebook's cells run in any order: a result must not name a fraction it wasn't trained on.
    """
    if (data.name, data.fraction) != (recipe.dataset, recipe.fraction):
        raise RunError(
            f"the data given is {data.name} with fraction={data.fraction:g}, the run is of "
            f"{recipe.dataset} with fraction={recipe.fraction:g}; load the data again"
        )


def saved(request: RunRequest) -> RunResult:
    """The result of a finished run, said to be so.

    Raises
    ------
    RunError
        The finished run has another recipe: names the first field that differs.
    """
    result = request.folder.result()
    require_equal(request.experiment_name, result.recipe.shared, request.recipe.shared)
    print("This run is finished: here is its saved result. overwrite=True trains it anew.")
    return result


def train(request: RunRequest, hardware: Hardware, data: ImageData, folder: RunFolder) -> RunResult:
    """Train a run, or the rest of an interrupted one, and write all its files into ``folder``."""
    recipe, device = request.recipe, hardware.device
    clock, code = Clock(), running_code()
    mean, std = channel_statistics(data.train)
    batches = {
        name: Batches(split, mean, std, device)
        for name, split in (("train", data.train), ("val", data.val), ("test", data.test))
    }
    torch.manual_seed(recipe.seed)
    model = ConvNet(recipe.network, recipe.width, data.classes, recipe.dropout_rate, recipe.seed)
    model = model.to(device).to(memory_format=torch.channels_last)
    optimizer = SGD(
        model.parameters(),
        recipe.learning_rate,
        recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.nesterov,
        fused=device.type in ("cpu", "cuda"),
    )
    decay = Decay(optimizer, recipe, math.ceil(len(batches["train"]) / recipe.batch_size))
    best, journal = BestEpoch(recipe.patience), Journal(folder)
    probe = batches["train"].take(batches["train"].spread(PROBE_SIZE))

    parts: dict[str, Any] = {"model": model, "optimizer": optimizer}
    parts |= {"decay": decay, "best": best, "journal": journal, "clock": clock}
    key = f"{recipe.digest} {data.fingerprint} {hardware.precision}"
    checkpoint = folder.path / CHECKPOINT
    if state := load_checkpoint(checkpoint, key, device):
        for name, part in parts.items():
            part.load_state_dict(state[name])
        print(f"Resuming after epoch {len(journal.history)}.")
    else:
        journal.gradients = layer_norms(model, *probe, epoch=0)
    journal.open_events()

    with closing(journal):
        while (stopped := reason_to_stop(journal, best, recipe)) is None:
            epoch = len(journal.history) + 1
            begin = time.perf_counter()
            row = train_epoch(model, batches["train"], optimizer, decay, recipe, epoch, hardware)
            val = evaluate(model, batches["val"], hardware).metrics
            row |= {"val_loss": nan_if_none(val.loss), "val_accuracy": val.accuracy}
            row["seconds"] = time.perf_counter() - begin
            if is_finite(row):
                best.update(epoch, val.accuracy, model)
                decay.after_epoch(val.accuracy)
            journal.add(row, layer_norms(model, *probe, epoch=epoch))
            states = {name: part.state_dict() for name, part in parts.items()}
            save_checkpoint(checkpoint, key, states, device)

    if best.weights:
        model.load_state_dict(best.weights)
    evaluations = {name: evaluate(model, split, hardware) for name, split in batches.items()}
    result = save_result(
        folder, request, hardware, data, evaluations, journal, best, stopped, clock, code
    )
    checkpoint.unlink(missing_ok=True)
    return result


def train_epoch(
    model: nn.Module,
    batches: Batches,
    optimizer: Optimizer,
    decay: Decay,
    recipe: Recipe,
    epoch: int,
    hardware: Hardware,
) -> dict[str, Any]:
    """One pass over the training images; gives the training columns of the history's row.

    Loss and accuracy are means over the images, each under the weights of its own step. They stay
    on the device: the host looks only every :data:`STEPS_PER_LOOK` steps, and ends the epoch if
    the loss isn't finite.
    """
    model.train()
    begin, rate = time.perf_counter(), optimizer.param_groups[0]["lr"]
    loss_sum = torch.zeros((), device=hardware.device)
    correct = torch.zeros((), device=hardware.device, dtype=torch.int64)
    seen = 0
    steps = batches.shuffled(recipe.batch_size, recipe.seed, epoch, recipe.augment)
    for step, (x, y) in enumerate(steps, 1):
        with hardware.autocast():
            logits = model(x).float()
        loss = F.cross_entropy(logits, y, label_smoothing=recipe.label_smoothing)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        decay.after_step()
        loss_sum += loss.detach() * len(y)
        correct += (logits.detach().argmax(1) == y).sum()
        seen += len(y)
        if step % STEPS_PER_LOOK == 0 and not loss_sum.isfinite():
            break
    hardware.synchronise()
    return {
        "epoch": epoch,
        "train_loss": loss_sum.item() / seen,
        "train_accuracy": correct.item() / seen,
        "learning_rate": rate,
        "images_per_second": seen / (time.perf_counter() - begin),
    }


def reason_to_stop(
    journal: Journal, best: BestEpoch, recipe: Recipe
) -> Literal["diverged", "early", "cap"] | None:
    """Why training is over after the epochs in ``journal``; None if it isn't."""
    if journal.history and not is_finite(journal.history[-1]):
        return "diverged"
    if best.exhausted:
        return "early"
    return "cap" if len(journal.history) >= recipe.epochs else None


def is_finite(row: dict[str, Any]) -> bool:
    """Whether an epoch's losses, of train and validation, are numbers."""
    return math.isfinite(row["train_loss"]) and math.isfinite(row["val_loss"])


def nan_if_none(value: float | None) -> float:
    return math.nan if value is None else value
