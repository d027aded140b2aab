"""Training one run: from a request to a saved result."""

import math
from contextlib import closing, suppress
from typing import Any, Literal, cast

import torch
from torch import nn

from labcnn.data import ImageData, load_dataset
from labcnn.data.batches import Batches, channel_statistics
from labcnn.data.splits import first_of_each_class
from labcnn.errors import RunError
from labcnn.files import remove_leftovers
from labcnn.models import ConvNet, whiten
from labcnn.recipe import Recipe
from labcnn.request import RunRequest
from labcnn.runs import CHECKPOINT, RunFolder, RunResult
from labcnn.training.checkpoint import Checkpoint, Stateful
from labcnn.training.clock import Clock
from labcnn.training.epoch import Totals, train_epoch
from labcnn.training.evaluate import FinalOutputs, evaluate
from labcnn.training.experiment import (
    join_experiment,
    only_process,
    publish,
    require_equal,
    restore,
    working_folder,
)
from labcnn.training.failures import in_one_line
from labcnn.training.hardware import Hardware, choose_hardware, fast_bf16
from labcnn.training.journal import Journal
from labcnn.training.optimizers import make_optimizer
from labcnn.training.probes import PROBE_SIZE, layer_norms
from labcnn.training.provenance import run_identity, run_maker, running_code, this_machine
from labcnn.training.results import save_result
from labcnn.training.schedules import BestEpoch, Decay
from labcnn.training.trained import save_model

#: Training images of each class on which each epoch's net is evaluated as validation images are.
EVALUATED_PER_CLASS = 10


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
        another process trains the same run. During it: the disk is full or can't be written, or
        memory is used up; what is done up to then is kept, and the same request goes on from there.
    """
    hardware = choose_hardware(request.device, request.precision, request.threads)
    if request.folder.finished and not request.overwrite:
        return load_finished(request)
    if data is None:
        data = load_dataset(request.recipe.dataset, request.recipe.fraction)
    require_data(request.recipe, data)
    if request.precision == "bf16" and hardware.device.type == "cpu" and not fast_bf16("cpu"):
        print(
            "precision=bf16 is slower than fp32 on this processor, up to 13 times where it has no "
            "bfloat16 of its own; auto takes fp32 here"
        )
    with in_one_line(request), only_process(request):
        restore(request)
        if request.folder.finished and not request.overwrite:  # by another process, meanwhile
            return load_finished(request)
        join_experiment(request, data.fingerprint)
        work = working_folder(request)
        remove_leftovers(work.path)
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


def load_finished(request: RunRequest) -> RunResult:
    """The result of a finished run; prints that it wasn't trained now.

    Raises
    ------
    RunError
        The finished run has another recipe: names the first field that differs.
    """
    result = request.folder.result()
    require_equal(request.experiment_name, result.recipe.shared, request.recipe.shared)
    with suppress(OSError):  # left by a process that was killed between its result and this
        (request.folder.path / CHECKPOINT).unlink(missing_ok=True)
    print("This run is finished: here is its saved result. overwrite=True trains it anew.")
    return result


def train(request: RunRequest, hardware: Hardware, data: ImageData, folder: RunFolder) -> RunResult:
    """Train a run, or the rest of an interrupted one, and write all its files into ``folder``."""
    recipe, device = request.recipe, hardware.device
    machine = this_machine(hardware, request.compile)
    clock, code = Clock(machine), running_code()
    mean, std = (each.to(hardware.dtype) for each in channel_statistics(data.train))
    splits = {"train": data.train, "val": data.val, "test": data.test}
    batches = {name: Batches(split, mean, std, device) for name, split in splits.items()}
    part = Batches(first_of_each_class(data.train, EVALUATED_PER_CLASS), mean, std, device)
    torch.manual_seed(recipe.seed)
    model = ConvNet(recipe.network, recipe.width, data.classes, recipe.dropout_rate, recipe.seed)
    model = model.to(device, hardware.dtype).to(memory_format=torch.channels_last)
    if recipe.whiten:
        some, _ = batches["train"].take(batches["train"].spread(1000), recipe.first_size)
        whiten(model.stem_convolution, some)
    stepped = cast(nn.Module, torch.compile(model)) if request.compile else model
    optimizer = make_optimizer(model, recipe)
    decay = Decay(optimizer, recipe, math.ceil(len(batches["train"]) / recipe.batch_size))
    best, journal = BestEpoch(recipe.patience), Journal(folder)
    totals, outputs = Totals(device, hardware.dtype), FinalOutputs()
    probe = batches["train"].take(batches["train"].spread(PROBE_SIZE))

    parts: dict[str, Stateful] = {"model": model, "optimizer": optimizer, "decay": decay}
    parts |= {"best": best, "journal": journal, "clock": clock, "totals": totals}
    parts |= {"outputs": outputs}
    checkpoint = Checkpoint(
        folder.path / CHECKPOINT,
        run_identity(recipe, data),
        run_maker(machine, code),
        parts,
        device,
    )
    if checkpoint.load():
        clock.interruptions += 1
        print(f"Resuming after epoch {len(journal.history)} and {totals.steps} steps.")
    else:
        journal.gradients = layer_norms(model, *probe, epoch=0)
        totals.reset(rate=recipe.learning_rate)
    journal.open_events()

    with closing(journal):
        while (stopped := reason_to_stop(journal, best, recipe)) is None:
            epoch = len(journal.history) + 1
            row = train_epoch(
                stepped, batches["train"], optimizer, decay, recipe, epoch, hardware, totals,
                checkpoint,
            )  # fmt: skip
            if math.isfinite(row["train_loss"]):
                checkpoint.save()  # a validation that is interrupted costs itself, no steps
            for name, images in (("train_eval", part), ("val", batches["val"])):
                found = evaluate(model, images, hardware, size=recipe.last_size).metrics
                row |= {f"{name}_loss": nan_if_none(found.loss), f"{name}_accuracy": found.accuracy}
            row["seconds"] = totals.seconds
            if is_finite(row):
                best.update(epoch, row["val_accuracy"], model)
                decay.after_epoch(row["val_accuracy"])
            journal.add(row, layer_norms(model, *probe, epoch=epoch))
            totals.reset(rate=optimizer.param_groups[0]["lr"])
            checkpoint.save()

    if best.weights:
        model.load_state_dict(best.weights)
    views = {"train": 1, "val": recipe.test_views, "test": recipe.test_views}
    evaluations = {
        name: evaluate(
            model, split, hardware, outputs.of(name), checkpoint, recipe.last_size, views[name]
        )
        for name, split in batches.items()
    }
    save_model(folder.path, model, recipe, hardware.precision, data.class_names, mean, std)
    result = save_result(folder, request, data, evaluations, journal, best, stopped, clock, code)
    checkpoint.remove()
    return result


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
