"""How the learning rate falls, and when training stops."""

from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, ReduceLROnPlateau

from labcnn.recipe import Recipe

#: One cycle: part of the steps that warm up, and the start's and the end's fraction of the peak.
WARM_UP, START, END = 0.1, 1 / 25, 1 / 2500


class Decay:
    """The learning rate's course: fixed, or falling where the variant's ``lr_decay`` is on.

    ``plateau``: times ``decay_factor`` after ``decay_patience`` epochs in a row without a better
    validation accuracy. ``one_cycle``: by steps, straight up and straight down
    (Smith & Topin 2017, arXiv:1708.07120).
    """

    def __init__(self, optimizer: Optimizer, recipe: Recipe, steps_per_epoch: int) -> None:
        self.by_step: LRScheduler | None = None
        self.by_epoch: ReduceLROnPlateau | None = None
        if recipe.network.lr_decay and recipe.decay == "plateau":
            self.by_epoch = ReduceLROnPlateau(
                # torch counts the epochs that are let pass before the one that lowers the rate
                optimizer,
                "max",
                recipe.decay_factor,
                recipe.decay_patience - 1,
                threshold=0,
            )
        elif recipe.network.lr_decay:
            steps = recipe.epochs * steps_per_epoch
            if steps * WARM_UP == 1:  # torch divides by the number of the warm-up's last step: 0
                steps += 1
            self.by_step = OneCycleLR(
                optimizer,
                [group["lr"] for group in optimizer.param_groups],
                total_steps=steps,
                pct_start=WARM_UP,
                anneal_strategy="linear",
                div_factor=1 / START,
                final_div_factor=START / END,
                cycle_momentum=False,
            )

    def after_step(self) -> None:
        if self.by_step is not None:
            self.by_step.step()

    def after_epoch(self, val_accuracy: float) -> None:
        if self.by_epoch is not None:
            self.by_epoch.step(val_accuracy)

    def state_dict(self) -> dict[str, Any]:
        scheduler = self.by_step or self.by_epoch
        return scheduler.state_dict() if scheduler else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        scheduler = self.by_step or self.by_epoch
        if scheduler:
            scheduler.load_state_dict(state)


class BestEpoch:
    """The weights of the epoch with the highest validation accuracy, and when to give up.

    Of equal epochs the first counts. ``exhausted`` after ``patience`` epochs without a new best.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.epoch: int | None = None
        self.accuracy = -1.0
        self.waited = 0
        self.weights: dict[str, torch.Tensor] = {}

    def update(self, epoch: int, accuracy: float, model: nn.Module) -> None:
        self.waited += 1
        if accuracy > self.accuracy:
            self.epoch, self.accuracy, self.waited = epoch, accuracy, 0
            self.weights = {name: t.detach().clone() for name, t in model.state_dict().items()}

    @property
    def exhausted(self) -> bool:
        return self.waited >= self.patience

    def state_dict(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k != "patience"}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        vars(self).update(state)


def image_size(recipe: Recipe, epoch: int) -> int:
    """Height and width of the images in an epoch, 1 to ``epochs``; grows by multiples of 8."""
    first, last = recipe.first_size, recipe.last_size
    if epoch == recipe.epochs or first == last:
        return last
    return first + round((last - first) * (epoch - 1) / (recipe.epochs - 1) / 8) * 8
