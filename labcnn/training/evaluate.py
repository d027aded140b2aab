"""A model's loss, accuracy and predictions on one split."""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labcnn.data.batches import Batches
from labcnn.data.images import IMAGE_SHAPE
from labcnn.runs import SplitMetrics
from labcnn.training.checkpoint import Checkpoint
from labcnn.training.hardware import Hardware, at_least_float32

BATCH_SIZE = 500


class Evaluation(NamedTuple):
    """Metrics over a split; of each image its label, the predicted class and the probabilities.

    ``probability`` is that of the predicted class, ``label_probability`` that of the label.
    """

    metrics: SplitMetrics
    label: np.ndarray
    predicted: np.ndarray
    probability: np.ndarray
    label_probability: np.ndarray


class Outputs:
    """What a model said of a split's images so far: loss, class and its probability, by image."""

    def __init__(self) -> None:
        self.batches: list[tuple[Tensor, Tensor, Tensor]] = []

    @property
    def images(self) -> int:
        return sum(len(loss) for loss, _, _ in self.batches)

    def joined(self) -> tuple[Tensor, Tensor, Tensor]:
        """The three columns, N each, on the CPU, where those from a checkpoint are already."""
        loss, predicted, probability = (
            torch.cat([part.cpu() for part in column]) for column in zip(*self.batches, strict=True)
        )
        return loss, predicted, probability


class FinalOutputs:
    """The outputs on all splits, as a part of a checkpoint: of train alone it can take minutes."""

    def __init__(self) -> None:
        self.splits: dict[str, Outputs] = {}

    def of(self, split: str) -> Outputs:
        return self.splits.setdefault(split, Outputs())

    def state_dict(self) -> dict[str, Any]:
        return {name: outputs.joined() for name, outputs in self.splits.items() if outputs.batches}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, columns in state.items():
            self.of(name).batches = [columns]


def evaluate(
    model: nn.Module,
    batches: Batches,
    hardware: Hardware,
    outputs: Outputs | None = None,
    checkpoint: Checkpoint | None = None,
    size: int = IMAGE_SHAPE[0],
    views: int = 1,
) -> Evaluation:
    """Run ``model`` in evaluation mode over all of ``batches``.

    Sums are divided by the number of images once, so a short last batch weighs what it should.
    The loss is plain cross-entropy in nats, without label smoothing: minus the logarithm of the
    label's probability.

    Parameters
    ----------
    outputs : of the first images, if they are known already; gets those of the others.
    checkpoint : saved now and then.
    size : height and width of the images.
    views : of each image, whose probabilities are averaged: see :func:`views_of`.
    """
    outputs = outputs or Outputs()
    model.eval()
    with torch.inference_mode():
        for x, y in batches.in_order(BATCH_SIZE, size, start=outputs.images):
            log_probability = mean_log_probability(model, views_of(x, views), hardware)
            loss = F.nll_loss(log_probability, y, reduction="none")
            best, at = log_probability.max(1)
            outputs.batches.append((loss, at, best.exp()))
            if checkpoint is not None:
                checkpoint.save_if_due()
    each_loss, predicted, probability = outputs.joined()
    label = batches.labels.cpu()[batches.rows]
    loss_mean = each_loss.double().mean().item()
    accuracy = (label == predicted).double().mean().item()
    return Evaluation(
        SplitMetrics(
            loss=loss_mean if math.isfinite(loss_mean) else None,
            accuracy=accuracy,
            count=len(batches),
        ),
        label.numpy().astype(np.int16),
        predicted.numpy().astype(np.int16),
        probability.numpy().astype(np.float32),
        each_loss.neg().exp().numpy().astype(np.float32),
    )


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
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    model.train(dropout)
    for norm in norms:
        norm.train().reset_running_stats()
        norm.momentum = None  # torch's word for the mean over all batches
    with torch.no_grad():
        for x in inputs:
            with hardware.autocast():
                model(x)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()


def views_of(x: Tensor, count: int) -> list[tuple[float, Tensor]]:
    """Images N x C x H x W as the net gets to see them, each view with its weight.

    One is the images; two are they and their mirror images; six are both of these, and at half
    the weight both of the images shifted by two pixels to the upper left and to the lower right.
    """
    views = [(1.0, x)]
    if count == 6:
        height, width = x.shape[2:]
        wide = F.pad(x, (2, 2, 2, 2), "reflect")
        views += [(0.5, wide[:, :, at : at + height, at : at + width]) for at in (0, 4)]
    if count > 1:
        views += [(weight, view.flip(3)) for weight, view in views]
    return views


def mean_log_probability(
    model: nn.Module, views: list[tuple[float, Tensor]], hardware: Hardware
) -> Tensor:
    """The logarithm of the class probabilities, N x K, weighted over the views."""
    logs = []
    for weight, x in views:
        with hardware.autocast():
            logits = model(x.contiguous(memory_format=torch.channels_last))
        logs.append(F.log_softmax(at_least_float32(logits), dim=1) + math.log(weight))
    if len(logs) == 1:
        return logs[0]
    return torch.stack(logs).logsumexp(0) - math.log(sum(weight for weight, _ in views))
