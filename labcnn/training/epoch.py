"""One epoch of training: the steps, and what is summed up over them."""

import time
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from labcnn.data.batches import Batches
from labcnn.recipe import Recipe
from labcnn.training.checkpoint import Checkpoint
from labcnn.training.hardware import Hardware, at_least_float32
from labcnn.training.schedules import Decay, image_size

#: Steps between two looks at whether the loss is still finite: each look waits for the device.
STEPS_PER_LOOK = 50


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
        return {
            "rate": self.rate,
            "steps": self.steps,
            "images": self.images,
            "loss": self.loss,
            "correct": self.correct,
            "seconds": self.seconds,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rate, self.steps, self.images = state["rate"], state["steps"], state["images"]
        self.loss = state["loss"].to(self.device, self.dtype)
        self.correct = state["correct"].to(self.device)
        self._begin = time.perf_counter() - state["seconds"]


def train_epoch(
    model: nn.Module,
    batches: Batches,
    optimizer: Optimizer,
    decay: Decay,
    recipe: Recipe,
    epoch: int,
    hardware: Hardware,
    totals: Totals,
    checkpoint: Checkpoint | None = None,
) -> dict[str, Any]:
    """One pass over the training images, or the rest of one; the history's training columns.

    Loss and accuracy are means over the images, each under the weights of its own step. The host
    looks at them only every :data:`STEPS_PER_LOOK` steps, and ends the epoch if the loss isn't
    finite.
    """
    model.train()
    size = image_size(recipe, epoch)
    for x, y in batches.shuffled(
        recipe.batch_size, recipe.seed, epoch, recipe.augment, size, start=totals.steps
    ):
        with hardware.autocast():
            logits = at_least_float32(model(x))
        loss = F.cross_entropy(logits, y, label_smoothing=recipe.label_smoothing)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        decay.after_step()
        totals.add(loss, logits, y)
        if totals.steps % STEPS_PER_LOOK == 0 and not totals.loss.isfinite():
            break
        if checkpoint is not None:
            checkpoint.save_if_due()
    hardware.synchronise()
    return {
        "epoch": epoch,
        "train_loss": totals.loss.item() / totals.images,
        "train_accuracy": totals.correct.item() / totals.images,
        "learning_rate": totals.rate,
        "images_per_second": totals.images / totals.seconds,
    }
