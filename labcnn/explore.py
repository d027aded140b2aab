"""Looking inside small nets: what explore.ipynb measures, and its short trainings."""

import copy
from collections.abc import Iterable, Mapping
from functools import cached_property, partial
from typing import Annotated, Any

import pandas as pd
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import MultiStepLR
from torch.optim.swa_utils import update_bn

from labcnn.data import ImageData, load_dataset, resolve_dataset
from labcnn.data.batches import Batches, channel_statistics
from labcnn.models import ConvNet, DoubleConv
from labcnn.recipe import Dataset, defaults, validate
from labcnn.training.checkpoint import PROBE_SIZE, keep_random_state, stage_of
from labcnn.training.evaluate import evaluate
from labcnn.training.hardware import Hardware, choose_hardware
from labcnn.variants import Variant

MOMENTUM = 0.9
SMOOTHED_STEPS = 20
#: The modes of evaluation, by the names that benchmarks/dropout_norm.json has.
IN_TRAINING, AS_TRAINED = "in training", "as trained"
ANEW_WITH_DROPOUT, ANEW = "statistics anew, dropout on", "statistics anew, dropout off"


def activation_scales(model: nn.Module, x: Tensor) -> pd.DataFrame:
    """Root mean square of what each double convolution puts out, in training mode.

    Works on a copy: neither the model's statistics nor the random state moves.

    Parameters
    ----------
    x : a batch, N x 3 x H x W.

    Returns
    -------
    DataFrame
        A row per double convolution in the order of the forward pass: ``block`` (from 1),
        ``stage`` (1 to 4), ``scale``.
    """
    rows: list[dict[str, Any]] = []

    def note(stage: int, module: nn.Module, inputs: Any, output: Tensor) -> None:
        scale = output.double().square().mean().sqrt().item()
        rows.append({"block": len(rows) + 1, "stage": stage, "scale": scale})

    model = copy.deepcopy(model).train()
    for name, module in model.named_modules():
        if isinstance(module, DoubleConv):
            module.register_forward_hook(partial(note, stage_of(name)))
    with keep_random_state(x.device), torch.no_grad():
        torch.manual_seed(0)
        model(x)
    return pd.DataFrame(rows)


def reestimate_norm(
    model: nn.Module, inputs: Iterable[Tensor], hardware: Hardware, *, dropout: bool = False
) -> None:
    """Take the means and variances of the batch normalisations anew; nothing else changes.

    What training leaves is a moving average that saw the net with dropout on. Where dropout changes
    the variance that a normalisation sees, the net in evaluation mode needs other statistics (Li et
    al. 2019, arXiv:1801.05134).

    Parameters
    ----------
    inputs : batches N x 3 x H x W of the training images, shuffled: those of a batch in the order
        of classes vary too little. Each batch has the same weight.
    dropout : leave dropout on, as in training.
    """
    dropouts = [module for module in model.modules() if isinstance(module, nn.Dropout)]
    rates = [module.p for module in dropouts]
    for module in dropouts:
        module.p *= dropout
    with hardware.autocast():
        update_bn(inputs, model)
    for module, rate in zip(dropouts, rates, strict=True):
        module.p = rate
    model.eval()


def stack(frames: Mapping[str, pd.DataFrame], column: str) -> pd.DataFrame:
    """One tidy frame of several; ``column``, the first, has the name of each row's frame."""
    return pd.concat(frames, names=[column]).reset_index(column).reset_index(drop=True)


class Trials(BaseModel):
    """Short trainings of small nets, on the CPU, by gradient descent with momentum.

    Not the loop of runs: here each step is a row, the rate falls at a step that is chosen, and
    nothing is kept.

    Attributes
    ----------
    dataset, fraction : the images, as for a run; a folder of pictures too.
    size : their height and width.
    width, batch_size, epochs, seed : of every net and its training.
    threads : of the CPU.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    dataset: Dataset
    fraction: Annotated[float, Field(gt=0, le=1)]
    size: Annotated[int, Field(ge=24, le=64)]
    width: Annotated[int, Field(ge=4, le=1024)]
    batch_size: Annotated[int, Field(ge=2, le=65_536)]
    epochs: Annotated[int, Field(ge=1, le=10_000)]
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    threads: Annotated[int, Field(ge=1)]

    @classmethod
    def from_parameters(cls, parameters: dict[str, Any]) -> "Trials":
        """Raise a :class:`ParameterError`, one line, if a value isn't valid."""
        dataset = resolve_dataset(parameters["dataset"])
        return validate(cls, {**parameters, "dataset": dataset})

    @cached_property
    def hardware(self) -> Hardware:
        return choose_hardware("cpu", "fp32", self.threads)

    @cached_property
    def data(self) -> ImageData:
        return load_dataset(self.dataset, self.fraction)

    @cached_property
    def batches(self) -> dict[str, Batches]:
        """Of the training and the validation images."""
        mean, std = channel_statistics(self.data.train)
        splits = {"train": self.data.train, "val": self.data.val}
        device = self.hardware.device
        return {name: Batches(split, mean, std, device) for name, split in splits.items()}

    def probe(self) -> tuple[Tensor, Tensor]:
        """A batch of training images N x 3 x H x W and labels N, always the same."""
        train = self.batches["train"]
        return train.take(train.spread(PROBE_SIZE), self.size)

    def build(self, variant: Variant) -> ConvNet:
        """A net with its initial weights; dropout has the rate of protocol ``course``."""
        rate = defaults("shapes", "course")["dropout_rate"]
        return ConvNet(variant, self.width, self.data.classes, rate, self.seed)

    def train(
        self,
        model: nn.Module,
        learning_rate: float,
        epochs: int | None = None,
        fall_after: float = 1.0,
    ) -> pd.DataFrame:
        """Train ``model``, until the last step or the first loss that isn't finite.

        Every call sees the same batches in the same order, and draws the same dropout.

        Parameters
        ----------
        epochs : None is that of the trials.
        fall_after : part of the steps after which the rate is multiplied by the ``decay_factor`` of
            protocol ``course``; 1 leaves it fixed.

        Returns
        -------
        DataFrame
            A row per ``step`` (from 1): ``loss`` and ``accuracy`` (0-1) of its batch before the
            step, ``mean_loss`` over the last :data:`SMOOTHED_STEPS`, and the ``learning_rate``.
        """
        epochs = epochs or self.epochs
        steps = -(-len(self.batches["train"]) // self.batch_size) * epochs
        optimizer = SGD(model.parameters(), learning_rate, MOMENTUM)
        falls = [round(fall_after * steps)]
        decay = MultiStepLR(optimizer, falls, defaults("shapes", "course")["decay_factor"])
        torch.manual_seed(self.seed)
        model.train()
        rows: list[dict[str, float]] = []
        for x, y in self._shuffled(epochs):
            logits = model(x)
            loss = F.cross_entropy(logits, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rows.append(
                {
                    "step": len(rows) + 1,
                    "loss": loss.item(),
                    "accuracy": (logits.argmax(1) == y).double().mean().item(),
                    "learning_rate": float(optimizer.param_groups[0]["lr"]),
                }
            )
            if not loss.isfinite():
                break
            decay.step()
        history = pd.DataFrame(rows)
        history["mean_loss"] = history["loss"].rolling(SMOOTHED_STEPS, min_periods=1).mean()
        return history

    def evaluate_modes(self, model: nn.Module) -> pd.DataFrame:
        """Accuracy (0-1) and loss on the validation images in four modes, of copies of the model.

        ``in training``: in training mode, with dropout and each batch's own statistics; the others
        in evaluation mode. ``as trained``: with the statistics that training left, a moving
        average. ``statistics anew, …``: after :func:`reestimate_norm` on the training images.
        """
        nets = {AS_TRAINED: copy.deepcopy(model)}
        for mode, dropout in ((ANEW_WITH_DROPOUT, True), (ANEW, False)):
            nets[mode] = copy.deepcopy(model)
            torch.manual_seed(self.seed)
            inputs = (x for x, _ in self._shuffled(1))
            reestimate_norm(nets[mode], inputs, self.hardware, dropout=dropout)
        rows: list[dict[str, Any]] = [{"mode": IN_TRAINING, **self._evaluate_in_training(model)}]
        for mode, net in nets.items():
            found = evaluate(net, self.batches["val"], self.hardware, self.size).metrics
            rows.append({"mode": mode, "accuracy": found.accuracy, "loss": found.loss})
        return pd.DataFrame(rows)

    @torch.no_grad()
    def _evaluate_in_training(self, model: nn.Module) -> dict[str, float]:
        model, val = copy.deepcopy(model).train(), self.batches["val"]
        torch.manual_seed(self.seed)
        correct = loss = 0.0
        for x, y in val.shuffled(self.batch_size, self.seed, epoch=0, size=self.size):
            logits = model(x)
            correct += (logits.argmax(1) == y).sum().item()
            loss += F.cross_entropy(logits, y, reduction="sum").item()
        return {"accuracy": correct / len(val), "loss": loss / len(val)}

    def _shuffled(self, epochs: int) -> Iterable[tuple[Tensor, Tensor]]:
        for epoch in range(1, epochs + 1):
            yield from self.batches["train"].shuffled(
                self.batch_size, self.seed, epoch, size=self.size
            )
