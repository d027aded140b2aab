"""Optimisers (SGD, AdamW, Muon), how the learning rate falls, and when training stops."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau

from labcnn.models import ConvNet
from labcnn.recipe import Recipe

#: The rates of what Muon doesn't train, as multiples of the recipe's: biases, norms and the stem,
#: then the head. Chosen on validation, by single runs of a prototype.
OTHERS_RATE, HEAD_RATE, OTHERS_MOMENTUM = 1.0, 3.0, 0.85
#: One cycle: part of the steps that warm up, and the start's and the end's fraction of the peak.
WARM_UP, START, END = 0.1, 1 / 25, 1 / 2500


def make_optimizer(model: ConvNet, recipe: Recipe) -> Optimizer:
    """The recipe's optimiser over the weights that are trained; group 0 has the recipe's rate."""
    trained = {name: w for name, w in model.named_parameters() if w.requires_grad}
    fused = next(model.parameters()).device.type in ("cpu", "cuda")
    if recipe.optimizer == "adamw":
        return AdamW(
            trained.values(),
            recipe.learning_rate,
            (recipe.momentum, 0.999),
            weight_decay=recipe.weight_decay,
            fused=fused,
        )
    if recipe.optimizer == "sgd":
        return SGD(
            trained.values(),
            recipe.learning_rate,
            recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=recipe.nesterov,
            fused=fused,
        )
    hidden = {name for name, w in trained.items() if w.ndim == 4 and not name.startswith("stem")}
    head = {name for name in trained if name.startswith("head")}
    rate = recipe.learning_rate
    groups = (
        (hidden, rate, recipe.momentum, True),
        (trained.keys() - hidden - head, OTHERS_RATE * rate, OTHERS_MOMENTUM, False),
        (head, HEAD_RATE * rate, OTHERS_MOMENTUM, False),
    )
    return Muon(
        {
            "params": [w for name, w in trained.items() if name in names],
            "lr": lr,
            "momentum": momentum,
            "nesterov": recipe.nesterov,
            "orthogonal": orthogonal,
        }
        for names, lr, momentum, orthogonal in groups
    )


class Muon(Optimizer):
    """Momentum whose step, for a convolution, is the nearest orthogonal matrix to it.

    Jordan et al. 2024 (kellerjordan.github.io/posts/muon). A convolution's weights, O x I x K x K,
    count as a matrix O x IKK. They are kept at the norm that an orthogonal matrix of that shape
    would have: what normalisation follows doesn't see their scale, and the rate means the same in
    every layer.

    A group has ``params``, ``lr``, ``momentum`` in (0, 1), ``nesterov`` and ``orthogonal``; without
    the last, its weights get the plain step of momentum.
    """

    def __init__(self, groups: Any) -> None:
        super().__init__(groups, {})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            beta = group["momentum"]
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(weight)
                momentum = state["momentum"].mul_(beta).add_(weight.grad)
                step = weight.grad.add(momentum, alpha=beta) if group["nesterov"] else momentum
                if group["orthogonal"]:
                    weight.mul_(math.sqrt(len(weight)) / weight.norm())
                    step = orthogonal(step.flatten(1)).view_as(step)
                weight.add_(step, alpha=-group["lr"])


def orthogonal(matrix: Tensor, iterations: int = 3) -> Tensor:
    """About U Vᵀ of the matrix U S Vᵀ, by Newton and Schulz's iteration, in bfloat16 or float64.

    The coefficients of Jordan et al. 2024 bring singular values near 1 (0.7 to 1.2) in few
    iterations instead of to 1 in many.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix if matrix.dtype == torch.float64 else matrix.bfloat16()
    x = x / (x.norm() + 1e-7)
    if tall := len(x) > x.shape[1]:
        x = x.T
    for _ in range(iterations):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.T if tall else x).to(matrix.dtype)


class Decay:
    """The learning rate's course: fixed, or falling where the variant's ``lr_decay`` is on.

    ``plateau``: times ``decay_factor`` after ``decay_patience`` epochs in a row without a better
    validation accuracy. ``one_cycle``: by steps, straight up and straight down
    (Smith & Topin 2017, arXiv:1708.07120).
    """

    def __init__(self, optimizer: Optimizer, recipe: Recipe, steps_per_epoch: int) -> None:
        self.scheduler: OneCycleLR | ReduceLROnPlateau | None = None
        if recipe.network.lr_decay and recipe.decay == "plateau":
            self.scheduler = ReduceLROnPlateau(
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
            self.scheduler = OneCycleLR(
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
        if isinstance(self.scheduler, OneCycleLR):
            self.scheduler.step()

    def after_epoch(self, val_accuracy: float) -> None:
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(val_accuracy)

    def state_dict(self) -> dict[str, Any]:
        return self.scheduler.state_dict() if self.scheduler else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self.scheduler:
            self.scheduler.load_state_dict(state)


class BestEpoch:
    """The weights of the epoch with the highest validation accuracy, and when to give up.

    Of equal epochs the first counts. ``exhausted`` after ``patience`` epochs without a new best.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.epoch: int | None = None
        self.accuracy = -1.0
        self.waited = 0
        self.weights: dict[str, Tensor] = {}

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
