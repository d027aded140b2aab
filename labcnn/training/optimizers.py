"""Optimisers: SGD and AdamW, and Muon for how far the same net goes."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, AdamW, Optimizer

from labcnn.models import ConvNet
from labcnn.recipe import Recipe

#: The rates of what Muon doesn't train, as multiples of the recipe's: biases, norms and the stem,
#: then the head. Chosen on validation, by single runs of a prototype.
OTHERS_RATE, HEAD_RATE, OTHERS_MOMENTUM = 1.0, 3.0, 0.85


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

    Parameters
    ----------
    groups : each with ``params``, ``lr``, ``momentum`` in (0, 1), ``nesterov``, and
        ``orthogonal``: whether it is of convolutions that are trained so; others get the plain step
        of momentum.
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
    """About U Vᵀ of the matrix U S Vᵀ, by Newton and Schulz's iteration.

    In bfloat16, which is exact enough for it; a float64 matrix stays float64.

    Five terms with the coefficients of Jordan et al. 2024: they bring singular values near 1 (0.7
    to 1.2) in few iterations instead of to 1 in many.
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
