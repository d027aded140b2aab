"""Gradient and weight norms per layer, on one fixed batch: do gradients fade on the way back?"""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labcnn.training.hardware import kept_random_state

PROBE_SIZE = 128


def layer_norms(model: nn.Module, x: Tensor, y: Tensor, epoch: int) -> list[dict[str, Any]]:
    """Euclidean norms of each convolution's and the head's weights and their gradients.

    Works in the weights' own type, on a copy in training mode: neither the model's statistics nor
    the random state of the training moves.

    Parameters
    ----------
    x, y : the probe batch, N x 3 x H x W and N.
    epoch : written into the rows; 0 is before training.

    Returns
    -------
    list
        A row per layer from the stem to the head, with :data:`labcnn.runs.GRADIENT_COLUMNS`.
    """
    model = copy.deepcopy(model).train()
    with kept_random_state(x.device), torch.enable_grad():
        torch.manual_seed(0)
        F.cross_entropy(model(x), y).backward()
    return [
        {
            "epoch": epoch,
            "layer": name,
            "stage": _stage(name),
            "gradient_norm": module.weight.grad.norm().item(),
            "weight_norm": module.weight.detach().norm().item(),
        }
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and module.weight.grad is not None
    ]


def _stage(name: str) -> int:
    """0 for the stem, 1 to 4 for the stages, 5 for the head, from a layer's name."""
    top, *rest = name.split(".")
    return {"stem": 0, "head": 5}[top] if top != "stages" else int(rest[0]) + 1
