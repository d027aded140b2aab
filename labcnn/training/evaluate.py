"""A model's loss, accuracy and predictions on one split."""

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from labcnn.data.batches import Batches
from labcnn.runs import SplitMetrics
from labcnn.training.hardware import Hardware

BATCH_SIZE = 500


class Evaluation(NamedTuple):
    """Metrics over a split, and each image's label, predicted class and its probability."""

    metrics: SplitMetrics
    label: np.ndarray
    predicted: np.ndarray
    probability: np.ndarray


def evaluate(model: nn.Module, batches: Batches, hardware: Hardware) -> Evaluation:
    """Run ``model`` in evaluation mode over all of ``batches``.

    Sums are divided by the number of images once, so a short last batch weighs what it should.
    The loss is plain cross-entropy in nats, without label smoothing.
    """
    model.eval()
    losses, predicted, probability, labels = [], [], [], []
    with torch.inference_mode():
        for x, y in batches.in_order(BATCH_SIZE):
            with hardware.autocast():
                logits = model(x)
            log_probability = F.log_softmax(logits.float(), dim=1)
            losses.append(F.nll_loss(log_probability, y, reduction="none"))
            best, at = log_probability.max(1)
            predicted.append(at)
            probability.append(best.exp())
            labels.append(y)
    label, at = torch.cat(labels).cpu(), torch.cat(predicted).cpu()
    loss = torch.cat(losses).cpu().double().mean().item()
    accuracy = (label == at).double().mean().item()
    return Evaluation(
        SplitMetrics(
            loss=loss if math.isfinite(loss) else None, accuracy=accuracy, count=len(batches)
        ),
        label.numpy().astype(np.int16),
        at.numpy().astype(np.int16),
        torch.cat(probability).cpu().numpy().astype(np.float32),
    )
