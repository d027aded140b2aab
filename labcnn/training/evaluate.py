"""What a net says of the images of a split, measured."""

import math
import sys
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import binomtest
from torch import Tensor, nn

from labcnn.data.batches import Batches
from labcnn.data.splits import IMAGE_SHAPE
from labcnn.runs import SIGNIFICANCE, SplitMetrics, Status
from labcnn.training.hardware import Hardware

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


def evaluate(
    model: nn.Module,
    batches: Batches,
    hardware: Hardware,
    size: int = IMAGE_SHAPE[0],
    views: int = 1,
) -> Evaluation:
    """Run ``model`` in evaluation mode over all of ``batches``.

    Means are taken over the images at once, so a short last batch weighs what it should. The loss
    is plain cross-entropy in nats, without label smoothing: minus the logarithm of the label's
    probability.

    ``size`` is the images' height and width; the probabilities of an image's ``views`` are
    averaged (:func:`views_of`).
    """
    columns = []
    model.eval()
    with torch.inference_mode():
        for x, y in batches.in_order(BATCH_SIZE, size):
            log_probability = mean_log_probability(model, views_of(x, views), hardware)
            best, predicted = log_probability.max(1)
            columns.append((F.nll_loss(log_probability, y, reduction="none"), predicted, best))
    losses, predicted, best = (torch.cat(column).cpu() for column in zip(*columns, strict=True))
    label = batches.labels.cpu()[batches.rows]
    loss = losses.double().mean().item()
    return Evaluation(
        SplitMetrics(
            loss=loss if math.isfinite(loss) else None,
            accuracy=(label == predicted).double().mean().item(),
            count=len(batches),
        ),
        label.numpy().astype(np.int16),
        predicted.numpy().astype(np.int16),
        best.exp().numpy().astype(np.float32),
        losses.neg().exp().numpy().astype(np.float32),
    )


def judge(diverged: bool, test: Evaluation) -> tuple[Status, str, float]:
    """A run's status, the reason in words, and the p-value of its test accuracy against chance.

    ``diverged`` if a loss wasn't finite, else ``no_learning`` or ``ok`` by the exact one-sided
    binomial test of the number of correct test images against what the best constant answer gets:
    the share of the most frequent class, 1 / C on a balanced test set.
    """
    count = test.metrics.count
    chance = int(np.bincount(test.label).max()) / count
    correct = int((test.label == test.predicted).sum())
    p_value = float(binomtest(correct, count, chance, alternative="greater").pvalue)
    p = f"p = {p_value:.3g}" if p_value else f"p < {sys.float_info.min:.0e}"
    reason = f"{correct} of {count} test images right, {p} against chance"
    if diverged:
        return "diverged", f"the training loss wasn't finite; {reason}", p_value
    return "ok" if p_value <= SIGNIFICANCE else "no_learning", reason, p_value


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
        logs.append(F.log_softmax(logits.to(hardware.dtype), dim=1) + math.log(weight))
    if len(logs) == 1:
        return logs[0]
    return torch.stack(logs).logsumexp(0) - math.log(sum(weight for weight, _ in views))
