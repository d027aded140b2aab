"""A model's loss, accuracy and predictions on one split."""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labcnn.data.batches import Batches
from labcnn.runs import SplitMetrics
from labcnn.training.checkpoint import Checkpoint
from labcnn.training.hardware import Hardware

BATCH_SIZE = 500


class Evaluation(NamedTuple):
    """Metrics over a split, and each image's label, predicted class and its probability."""

    metrics: SplitMetrics
    label: np.ndarray
    predicted: np.ndarray
    probability: np.ndarray


class Outputs:
    """What a model said of a split's images so far: loss, class and its probability, by image."""

    def __init__(self) -> None:
        self.batches: list[tuple[Tensor, Tensor, Tensor]] = []

    @property
    def images(self) -> int:
        return sum(len(loss) for loss, _, _ in self.batches)

    def joined(self) -> tuple[Tensor, Tensor, Tensor]:
        """The three columns, N each, on the CPU."""
        loss, predicted, probability = (
            torch.cat(column).cpu() for column in zip(*self.batches, strict=True)
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
) -> Evaluation:
    """Run ``model`` in evaluation mode over all of ``batches``.

    Sums are divided by the number of images once, so a short last batch weighs what it should.
    The loss is plain cross-entropy in nats, without label smoothing.

    Parameters
    ----------
    outputs : of the first images, if they are known already; gets those of the others.
    checkpoint : saved now and then.
    """
    outputs = outputs or Outputs()
    model.eval()
    with torch.inference_mode():
        for x, y in batches.in_order(BATCH_SIZE, start=outputs.images):
            with hardware.autocast():
                logits = model(x)
            log_probability = F.log_softmax(logits.float(), dim=1)
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
    )
