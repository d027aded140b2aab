"""Training one run: the loop over its epochs, from a request to saved files."""

import math
import time
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import asdict
from statistics import harmonic_mean
from typing import Any, Literal, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labcnn.data import ImageData, load_dataset
from labcnn.data.batches import Batches, channel_statistics
from labcnn.data.splits import first_of_each_class
from labcnn.errors import Interrupted, RunError, explain_system_errors
from labcnn.files import remove_leftovers, write_arrays, write_text
from labcnn.joining import publish, require_equal, start_run, working_folder
from labcnn.models import ConvNet, model_size, whiten
from labcnn.recipe import Recipe
from labcnn.request import RunRequest
from labcnn.runs import (
    CHECKPOINT,
    NUMERICS,
    PREDICTIONS,
    RESULT,
    RunFolder,
    RunResult,
    Timing,
    require_whole,
    write_class_names,
)
from labcnn.training.checkpoint import (
    PROBE_SIZE,
    Checkpoint,
    Journal,
    gradient_norms,
    random_state,
    set_random_state,
)
from labcnn.training.evaluate import Evaluation, evaluate, judge
from labcnn.training.hardware import (
    Clock,
    Hardware,
    choose_hardware,
    fast_bf16,
    inspect_code,
    make_provenance,
)
from labcnn.training.optimizers import BestEpoch, Decay, make_optimizer
from labcnn.training.trained_net import save_model
from labcnn.variants import BUILT_IN

#: Steps between two looks at whether the loss is still finite: each look waits for the device.
STEPS_PER_LOOK = 50
#: Training images of each class on which each epoch's net is evaluated as validation images are.
EVALUATED_PER_CLASS = 10
FINISHED = {
    "en": "This run is finished: here is its saved result. overwrite=True trains it anew.",
    "zh": "这次运行早已完成，以下是保存的结果；overwrite = True 则重新训练。",
}
#: Training images whose patches a whitened stem is made from.
WHITENING_IMAGES = 1000


class Watcher(Protocol):
    """Sees how far a run is, and shows it; changes nothing."""

    def steps(self, batches: Iterable[Any], epoch: int, first: int, count: int) -> Iterable[Any]:
        """The batches of an epoch, whose steps before ``first`` of ``count`` are done."""

    def after_epoch(self, history: list[dict[str, Any]]) -> None:
        """Called with the rows of ``history.csv`` so far."""


def fit(
    request: RunRequest, data: ImageData | None = None, watcher: Watcher | None = None
) -> RunResult:
    """Train what ``request`` asks for and save it; of a finished run, return the saved result.

    ``data`` is the request's, if it is loaded already.

    Raises
    ------
    ParameterError, DataError, RunError
        Before any training: the device, the data or the experiment doesn't fit the request, or
        another process trains the same run. During it: disk or memory is used up; what is done up
        to then is kept, and the same request goes on from there.
    Interrupted
        By Ctrl-C, or the notebook's stop button.
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
    recipe, run = request.recipe, request.folder
    needs = f"batch_size={recipe.batch_size} and width={recipe.width}"
    with explain_system_errors(run.path, needs), start_run(request, data.fingerprint):
        if run.finished and not request.overwrite:  # by another process, meanwhile
            return load_finished(request)
        work = working_folder(run)
        remove_leftovers(work.path)
        trainer = Trainer(request, data, hardware, work, watcher)
        try:
            result = trainer.train()
        except KeyboardInterrupt:
            raise Interrupted(
                f"stopped in epoch {trainer.epoch} of {recipe.epochs}; run this again to go on "
                "from the last checkpoint"
            ) from None
        if work != run:
            publish(run.path)
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

    A :class:`RunError` if it has another recipe, or one of its files is damaged.
    """
    result = request.folder.result()
    require_equal(request.experiment_name, result.recipe.shared, request.recipe.shared)
    try:
        require_whole(request.folder, result)
    except RunError as error:
        raise RunError(f"{error}; overwrite=True trains the run anew") from None
    with suppress(OSError):  # left by a process that was killed between its result and this
        (request.folder.path / CHECKPOINT).unlink(missing_ok=True)
    print(FINISHED[request.language])
    return result


class Trainer:
    """One run while it is trained.

    ``resume``, then ``run_epoch`` until ``stopped`` says why training is over, then ``finish``:
    that is what :meth:`train` does. After each of them, and every 40 seconds within an epoch, a
    checkpoint has everything that decides the run's future; a new Trainer goes on from it to the
    same bits. ``folder`` gets the run's files.
    """

    def __init__(
        self,
        request: RunRequest,
        data: ImageData,
        hardware: Hardware,
        folder: RunFolder,
        watcher: Watcher | None = None,
    ) -> None:
        self.request, self.data, self.hardware, self.folder = request, data, hardware, folder
        self.watcher = watcher
        self.recipe = recipe = request.recipe
        self.code, machine = inspect_code(), hardware.describe(compiled=request.compile)
        device, dtype = hardware.device, hardware.dtype

        self.mean, self.std = (each.to(dtype) for each in channel_statistics(data.train))
        part = first_of_each_class(data.train, EVALUATED_PER_CLASS)
        splits = {"train": data.train, "train_eval": part, "val": data.val, "test": data.test}
        self.batches = {
            name: Batches(split, self.mean, self.std, device) for name, split in splits.items()
        }
        train = self.batches["train"]
        self.probe = train.take(train.spread(PROBE_SIZE))

        torch.manual_seed(recipe.seed)
        model = ConvNet(
            recipe.network, recipe.width, data.classes, recipe.dropout_rate, recipe.seed
        )
        self.model = model.to(device, dtype).to(memory_format=torch.channels_last)
        if recipe.whiten:
            some = train.spread(WHITENING_IMAGES)
            whiten(model.stem_convolution, train.take(some, recipe.first_size)[0])
        self.compiled = cast(nn.Module, torch.compile(model)) if request.compile else model
        self.optimizer = make_optimizer(model, recipe)
        self.steps_per_epoch = math.ceil(len(train) / recipe.batch_size)
        self.decay = Decay(self.optimizer, recipe, self.steps_per_epoch)
        self.best = BestEpoch(recipe.patience)
        self.totals = Totals(device, dtype)
        self.journal = Journal(folder, request.language)
        self.clock = Clock(machine)
        identity = recipe.model_dump(mode="json") | {
            "data_fingerprint": data.fingerprint,
            "numerics": NUMERICS,
        }
        if recipe.variant not in BUILT_IN:  # whose name doesn't say what it is
            identity["network"] = asdict(recipe.network)
        code = {"commit": self.code.commit, "torch": self.code.versions["torch"]}
        maker = machine.model_dump() | code
        self.checkpoint = Checkpoint(folder.path / CHECKPOINT, identity, maker)

    def train(self) -> RunResult:
        """Train the run, or what is left of it, and save its result."""
        self.resume()
        with closing(self.journal):
            while self.stopped is None:
                self.run_epoch()
        return self.finish()

    def run_epoch(self) -> None:
        """Train one epoch, or the rest of one; evaluate, and note what came out."""
        row: dict[str, Any] = self.train_epoch()
        if math.isfinite(row["train_loss"]):
            self.checkpoint.save(self)  # a validation that is interrupted costs itself, no steps
        row |= self.evaluate_epoch() | {"seconds": self.totals.seconds}
        if is_finite(row):
            self.best.update(row["epoch"], row["val_accuracy"], self.model)
            self.decay.after_epoch(row["val_accuracy"])
        self.journal.add(row, gradient_norms(self.model, *self.probe, epoch=row["epoch"]))
        self.totals.reset(self.learning_rate)
        self.checkpoint.save(self)
        if self.watcher:
            self.watcher.after_epoch(self.journal.history)

    def train_epoch(self) -> dict[str, Any]:
        """Take the epoch's steps; the training columns of the history.

        Loss and accuracy are means over the images, each under the weights of its own step. The
        host looks at them only every :data:`STEPS_PER_LOOK` steps, and ends the epoch if the loss
        isn't finite.
        """
        recipe, totals = self.recipe, self.totals
        size = recipe.image_size(self.epoch)
        self.model.train()
        batches: Iterable[tuple[Tensor, Tensor]] = self.batches["train"].shuffled(
            recipe.batch_size, recipe.seed, self.epoch, recipe.augment, size, start=totals.steps
        )
        if self.watcher:
            batches = self.watcher.steps(batches, self.epoch, totals.steps, self.steps_per_epoch)
        for x, y in batches:
            with self.hardware.autocast():
                logits = self.compiled(x).to(self.hardware.dtype)
            loss = F.cross_entropy(logits, y, label_smoothing=recipe.label_smoothing)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            self.decay.after_step()
            totals.add(loss, logits, y)
            if totals.steps % STEPS_PER_LOOK == 0 and not totals.loss.isfinite():
                break
            self.checkpoint.save_if_due(self)
        self.hardware.synchronise()
        return {
            "epoch": self.epoch,
            "train_loss": totals.loss.item() / totals.images,
            "train_accuracy": totals.correct.item() / totals.images,
            "learning_rate": totals.rate,
            "images_per_second": totals.images / totals.seconds,
        }

    def evaluate_epoch(self) -> dict[str, float]:
        """The history's columns of evaluation: of a part of the training images, of validation."""
        row = {}
        for name in ("train_eval", "val"):
            found = evaluate(
                self.model, self.batches[name], self.hardware, self.recipe.last_size
            ).metrics
            row[f"{name}_loss"] = math.nan if found.loss is None else found.loss
            row[f"{name}_accuracy"] = found.accuracy
        return row

    def finish(self) -> RunResult:
        """Evaluate the best epoch's net on all splits, of test for the first time; save it all."""
        assert self.stopped is not None
        if self.best.weights:
            self.model.load_state_dict(self.best.weights)
        views = {"train": 1, "val": self.recipe.test_views, "test": self.recipe.test_views}
        evaluations = {
            name: evaluate(
                self.model, self.batches[name], self.hardware, self.recipe.last_size, count
            )
            for name, count in views.items()
        }
        save_model(
            self.folder.path, self.model, self.recipe, self.hardware.precision,
            self.data.class_names, self.mean, self.std,
        )  # fmt: skip
        arrays = {
            f"{name}_{column}": getattr(evaluations[name], column)
            for name in ("val", "test")
            for column in ("label", "predicted", "probability", "label_probability")
        }
        write_arrays(self.folder.path / PREDICTIONS, arrays, compressed=True)
        result = self._describe_result(evaluations, self.stopped)
        write_class_names(self.folder.path.parents[1], self.data.class_names)
        write_text(self.folder.path / RESULT, result.model_dump_json(indent=2) + "\n")
        self.checkpoint.remove()
        return result

    def _describe_result(
        self, evaluations: dict[str, Evaluation], stopped: Literal["diverged", "early", "cap"]
    ) -> RunResult:
        """What ``result.json`` says; written last, it proves the run whole."""
        recipe, history, classes = self.recipe, self.journal.history, self.data.classes
        status, reason, p_value = judge(stopped == "diverged", evaluations["test"])
        seconds = sum(row["seconds"] for row in history)
        size = model_size(recipe.variant, recipe.width, classes, recipe.last_size)
        return RunResult(
            experiment=self.request.experiment_name,
            recipe=recipe,
            network=recipe.network,
            status=status,
            reason=reason,
            train=evaluations["train"].metrics,
            val=evaluations["val"].metrics,
            test=evaluations["test"].metrics,
            classes=classes,
            best_epoch=self.best.epoch,
            epochs_run=len(history),
            stopped=stopped,
            chance_p_value=p_value,
            timing=Timing(
                train_seconds=seconds,
                total_seconds=self.clock.seconds,
                seconds_per_epoch=seconds / len(history),
                images_per_second=harmonic_mean(row["images_per_second"] for row in history),
            ),
            model=size,
            provenance=make_provenance(self.data.fingerprint, self.code, self.clock),
        )

    @property
    def epoch(self) -> int:
        """The epoch that is trained now or next, from 1."""
        return len(self.journal.history) + 1

    @property
    def learning_rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    @property
    def stopped(self) -> Literal["diverged", "early", "cap"] | None:
        """Why training is over; None if it isn't."""
        history = self.journal.history
        if history and not is_finite(history[-1]):
            return "diverged"
        if self.best.exhausted:
            return "early"
        return "cap" if len(history) >= self.recipe.epochs else None

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one, else begin."""
        if state := self.checkpoint.load():
            self.load_state_dict(state)
            self.clock.interruptions += 1
            self.journal.print_history(self.totals.steps)
        else:
            self.journal.gradients = gradient_norms(self.model, *self.probe, epoch=0)
            self.totals.reset(self.recipe.learning_rate)
        self.journal.open_events()

    @property
    def _parts(self) -> dict[str, Any]:
        return {
            "model": self.model, "optimizer": self.optimizer, "decay": self.decay,
            "best": self.best, "totals": self.totals, "journal": self.journal, "clock": self.clock,
        }  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides the run's future: tensors and plain values."""
        state = {name: part.state_dict() for name, part in self._parts.items()}
        return state | {"random": random_state(self.hardware.device)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, part in self._parts.items():
            part.load_state_dict(state[name])
        set_random_state(state["random"], self.hardware.device)


class Totals:
    """Where an epoch stands: its steps and images so far, and the sums over them.

    The sums stay on the device, so that no step waits for it. ``seconds`` counts over all the
    processes that an interrupted epoch took.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype = torch.float32) -> None:
        self.device, self.dtype = device, dtype
        self.reset(rate=0.0)

    def reset(self, rate: float) -> None:
        """Begin an epoch, at this learning rate."""
        self.rate = rate
        self.steps = self.images = 0
        self.loss = torch.zeros((), device=self.device, dtype=self.dtype)
        self.correct = torch.zeros((), device=self.device, dtype=torch.int64)
        self._begin = time.perf_counter()

    def add(self, loss: Tensor, logits: Tensor, y: Tensor) -> None:
        """Count a step: the mean loss of a batch, its logits N x C and labels N."""
        self.steps += 1
        self.images += len(y)
        self.loss += loss.detach() * len(y)
        self.correct += (logits.detach().argmax(1) == y).sum()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._begin

    def state_dict(self) -> dict[str, Any]:
        names = ("rate", "steps", "images", "loss", "correct", "seconds")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rate, self.steps, self.images = state["rate"], state["steps"], state["images"]
        self.loss = state["loss"].to(self.device, self.dtype)
        self.correct = state["correct"].to(self.device)
        self._begin = time.perf_counter() - state["seconds"]


def is_finite(row: dict[str, Any]) -> bool:
    """Whether an epoch's losses, of train and validation, are numbers."""
    return math.isfinite(row["train_loss"]) and math.isfinite(row["val_loss"])
