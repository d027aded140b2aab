"""ConvNet: one class; a variant's switches choose its layers."""

import hashlib
import math
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from labcnn.data.splits import IMAGE_SHAPE
from labcnn.runs import ModelSize
from labcnn.variants import RISING_ACTIVATIONS, Variant, get_variant


def convolution(
    in_width: int, out_width: int, kernel: int, norm: bool, stride: int = 1
) -> nn.Sequential:
    """A convolution that keeps (or, by ``stride``, divides) the size, and its normalisation.

    The bias is left out where batch normalisation follows: its own shift takes that place.
    """
    layer = nn.Conv2d(in_width, out_width, kernel, stride, kernel // 2, bias=not norm)
    return nn.Sequential(layer, nn.BatchNorm2d(out_width)) if norm else nn.Sequential(layer)


def activate(x: Tensor, name: str) -> Tensor:
    """The activation of that name; ReLU in place."""
    return F.relu(x, inplace=True) if name == "relu" else getattr(F, name)(x)


#: Added to the variances before the division, as some directions have almost none.
WHITENING_FLOOR = 5e-4
#: Standard deviation of the head's initial weights.
HEAD_STD = 0.01


class DoubleConv(nn.Module):
    """3x3 convolution, ReLU, 3x3 convolution, ReLU; with ``residual``, a shortcut around both.

    The shortcut joins before the last ReLU and is a 1x1 projection where the width changes:
    the basic block of He et al. 2016 (arXiv:1512.03385), N x C x H x W to N x C' x H x W. With
    ``pool``, 2x2 max-pooling follows; it is done before the last ReLU, which comes to the same for
    every activation that never falls, and leaves it a quarter of the numbers.
    """

    def __init__(self, in_width: int, out_width: int, variant: Variant, pool: bool = False) -> None:
        super().__init__()
        self.pool, self.activation = pool, variant.activation
        self.first = convolution(in_width, out_width, 3, variant.norm)
        self.second = convolution(out_width, out_width, 3, variant.norm)
        self.shortcut: nn.Module | None = None
        if variant.residual:
            same = in_width == out_width
            self.shortcut = (
                nn.Identity() if same else convolution(in_width, out_width, 1, variant.norm)
            )

    def extra_repr(self) -> str:
        return f"activation={self.activation}, pool={self.pool}"

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(activate(self.first(x), self.activation))
        if self.shortcut is not None:
            y += self.shortcut(x)
        if not self.pool:
            return activate(y, self.activation)
        if self.activation in RISING_ACTIVATIONS:
            return activate(F.max_pool2d(y, 2, ceil_mode=True), self.activation)
        return F.max_pool2d(activate(y, self.activation), 2, ceil_mode=True)


class Stage(nn.Sequential):
    """Double convolutions; 2x2 max-pooling in the last one."""

    def __init__(self, in_width: int, width: int, variant: Variant) -> None:
        count = variant.blocks_per_stage
        super().__init__(
            *(
                DoubleConv(width if k else in_width, width, variant, pool=k == count - 1)
                for k in range(count)
            )
        )


class ConvNet(nn.Module):
    """Stem, four stages, global average pooling, dropout if the variant has it, linear head.

    Parameters
    ----------
    variant : depth and switches.
    width : channels of the stem and the first stage; the stages have 1, 2, 4 and 8 times that.
    classes : number of classes C.
    dropout_rate : probability of dropping one of the head's inputs, where the variant has dropout.
    seed : decides the initial weights.

    Notes
    -----
    ``forward`` takes N x 3 x H x W, normalised, and gives logits, N x C.

    The stem is a 3x3 convolution of stride 2. Every convolution starts from He et al. 2015
    (arXiv:1502.01852), fan-in: the mode under which a plain net of 25 layers starts to learn.
    Where shortcuts add up without normalisation, each of the L branches ends in weights divided by
    the square root of L: else every block doubles the variance, and the long net starts with a loss
    in the hundreds (Hayou et al. 2021, arXiv:2010.12859). The head starts near zero, so every
    net's first loss is about ln C.

    Dropout stands where no normalisation follows: a batch normalisation after it would learn other
    statistics than it sees in evaluation mode (Li et al. 2019, arXiv:1801.05134;
    benchmarks/dropout_norm.md).

    Each layer's initial draw depends on the seed and the layer's name alone, so variants of one
    seed start from the same weights wherever they have the same layer.
    """

    def __init__(
        self, variant: Variant, width: int, classes: int, dropout_rate: float = 0.0, seed: int = 0
    ) -> None:
        super().__init__()
        widths = [width, width, 2 * width, 4 * width, 8 * width]
        self.activation = variant.activation
        self.stem = convolution(3, width, 3, variant.norm, stride=2)
        self.stages = nn.Sequential(
            *(Stage(before, after, variant) for before, after in pairwise(widths))
        )
        self.dropout = nn.Dropout(dropout_rate) if variant.dropout else nn.Identity()
        self.head = nn.Linear(widths[-1], classes)
        self.initialise(seed)

    @property
    def stem_convolution(self) -> nn.Conv2d:
        return cast(nn.Conv2d, self.stem[0])

    def forward(self, x: Tensor) -> Tensor:
        x = activate(self.stem(x), self.activation)
        x = self.stages(x).mean((2, 3))
        return self.head(self.dropout(x))

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """Draw all weights anew from ``seed``."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                std = HEAD_STD if module is self.head else math.sqrt(2 / module.weight[0].numel())
                # in float64, whose draws are the same on every kind of processor
                draws = torch.empty(module.weight.shape, dtype=torch.float64)
                module.weight.copy_(draws.normal_(0, std, generator=_generator(seed, name)))
                if module.bias is not None:
                    module.bias.zero_()
        blocks = [module for module in self.modules() if isinstance(module, DoubleConv)]
        for block in blocks:
            if block.shortcut is not None and len(block.second) == 1:  # without normalisation
                block.get_parameter("second.0.weight").div_(math.sqrt(len(blocks)))


@torch.no_grad()
def whiten(stem: nn.Conv2d, images: Tensor) -> None:
    """Set the stem's weights so that its outputs are uncorrelated, and freeze them.

    Half of the filters are the directions in which the images' patches vary most, scaled to
    variance 1 (the principal components); the others are their negatives, for the ReLU that
    follows. A net whose first layer is given learns faster (Page 2018, myrtle.ai; Jordan 2024,
    arXiv:2404.00498). ``images`` are N x 3 x H x W, normalised.
    """
    kernel, stride, half = stem.kernel_size[0], stem.stride[0], stem.out_channels // 2
    patches = F.unfold(images, kernel, stride=stride).transpose(1, 2).flatten(0, 1).double().cpu()
    variance, directions = torch.linalg.eigh(patches.T @ patches / len(patches))
    filters = (directions / (variance + WHITENING_FLOOR).sqrt()).T.flip(0)
    filters = filters.repeat(-(-half // len(filters)), 1)[:half].view(half, *stem.weight.shape[1:])
    stem.weight.copy_(torch.cat([filters, -filters, filters])[: stem.out_channels])
    stem.weight.requires_grad_(False)


def _generator(seed: int, name: str) -> torch.Generator:
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))


def model_size(
    variant_name: str, width: int = 32, classes: int = 200, size: int = IMAGE_SHAPE[0]
) -> ModelSize:
    """Count a variant's parameters, and its FLOPs on an image of ``size`` x ``size`` pixels."""
    with torch.device("meta"):
        model = ConvNet(get_variant(variant_name), width, classes).eval()
        image = torch.empty(1, IMAGE_SHAPE[2], size, size)
    counter = FlopCounterMode(display=False)
    with counter, torch.inference_mode():
        model(image)
    parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return ModelSize(parameters=parameters, flops=counter.get_total_flops())
