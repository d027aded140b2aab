"""The networks that are compared, as data: a depth and what is switched on; and one's own."""

import re
import runpy
import traceback
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from labcnn.errors import ParameterError, list_valid

#: Double convolutions in each of the four stages.
BLOCKS_PER_STAGE = {"short": 1, "mid": 2, "long": 3}
MOST_BLOCKS = 50
#: Functions of torch.nn.functional that never fall, and others.
RISING_ACTIVATIONS = ("relu", "leaky_relu", "elu", "tanh")
ACTIVATIONS = (*RISING_ACTIVATIONS, "gelu", "silu", "mish")


@dataclass(frozen=True)
class Variant:
    """One network of the study.

    Attributes
    ----------
    depth : ``short``, ``mid`` or ``long``: one, two or three double convolutions per stage; or
        another word, with ``blocks``.
    lr_decay : the learning rate falls as the protocol says; without it, it is fixed.
    norm : batch normalisation after every convolution.
    dropout : dropout before the head.
    residual : each double convolution gets a shortcut connection.
    activation : one of :data:`ACTIVATIONS`.
    blocks : double convolutions per stage of a depth that has no number yet.

    Raises
    ------
    ParameterError
        A field isn't valid.
    """

    depth: str
    lr_decay: bool = False
    norm: bool = False
    dropout: bool = False
    residual: bool = False
    activation: str = "relu"
    blocks: int | None = None

    def __post_init__(self) -> None:
        known = ", ".join(BLOCKS_PER_STAGE)
        if self.depth in BLOCKS_PER_STAGE:
            if self.blocks is not None:
                raise ParameterError(
                    f"blocks={self.blocks!r} isn't valid with depth={self.depth!r}, which has "
                    f"{BLOCKS_PER_STAGE[self.depth]}; valid: another word for the depth"
                )
        elif not re.fullmatch("[a-z][a-z0-9]*", self.depth):
            raise ParameterError(
                f"depth={self.depth!r} isn't valid; it must be {known}, or a word of small letters "
                "and digits"
            )
        elif type(self.blocks) is not int or not 1 <= self.blocks <= MOST_BLOCKS:
            raise ParameterError(
                f"blocks={self.blocks!r} isn't valid with depth={self.depth!r}; it must be a whole "
                f"number from 1 to {MOST_BLOCKS} (the depths {known} have their own)"
            )
        if self.activation not in ACTIVATIONS:
            raise ParameterError(
                f"activation={self.activation!r} isn't valid; valid: {', '.join(ACTIVATIONS)}"
            )

    @property
    def switches(self) -> tuple[str, ...]:
        """Names of the switches that are on, in the order of the fields."""
        return tuple(f.name for f in fields(self) if f.type is bool and getattr(self, f.name))

    @property
    def blocks_per_stage(self) -> int:
        return self.blocks or BLOCKS_PER_STAGE[self.depth]


#: A suffix of a variant's name: the label the original table writes, and the switches it turns on.
ABLATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "baseline": ("", {}),
    "lrdecay": ("+learningratedecay", {"lr_decay": True}),
    "norm": ("+normalization", {"norm": True}),
    "dropout": ("+dropout", {"dropout": True}),
    "residual": ("+residualblock", {"residual": True}),
    "all": ("+all", {"lr_decay": True, "norm": True, "dropout": True, "residual": True}),
}

VARIANTS: dict[str, Variant] = {
    f"{depth}_{suffix}": Variant(depth, **switches)
    for depth in BLOCKS_PER_STAGE
    for suffix, (_, switches) in ABLATIONS.items()
}

#: The 13 rows of the report, in the order of the original's table.
REPORT_VARIANTS: tuple[str, ...] = (
    "short_baseline",
    "long_baseline",
    "short_lrdecay",
    "long_lrdecay",
    "short_norm",
    "long_norm",
    "short_dropout",
    "long_dropout",
    "short_residual",
    "long_residual",
    "short_all",
    "long_all",
    "mid_all",
)


def get_variant(name: str) -> Variant:
    """The variant called ``name``; a :class:`ParameterError` lists the valid names."""
    try:
        return VARIANTS[name]
    except (KeyError, TypeError):
        raise ParameterError(
            f"variant={name!r} is unknown; {list_valid(str(name), VARIANTS)}"
        ) from None


#: Those that are the project's, and not one's own.
BUILT_IN = frozenset(VARIANTS)


def register(name: str, variant: Variant) -> None:
    """Add a network of one's own; from then on, it is a variant as all others are.

    Its name is its depth and a word: ``short_gelu``. A name that is one's own already gets the new
    network; results of the old one are out of date then. A :class:`ParameterError`: the name isn't
    valid, or is one of the project's.
    """
    if not isinstance(variant, Variant):
        raise ParameterError(f"{name}={variant!r} isn't valid; it must be a Variant(...)")
    if not isinstance(name, str) or not re.fullmatch(rf"{variant.depth}_[a-z0-9+]+", name):
        raise ParameterError(
            f"variant={name!r} isn't valid for depth={variant.depth!r}; it must be "
            f"{variant.depth}_ and a word of small letters, digits and '+'"
        )
    if name in BUILT_IN and variant != VARIANTS[name]:
        raise ParameterError(f"variant={name!r} is one of the project's; choose another name")
    VARIANTS[name] = variant


def register_file(path: str | Path) -> None:
    """Run a Python file that registers variants; a :class:`ParameterError` names its line."""
    try:
        runpy.run_path(str(path))
    except ParameterError as error:
        raise ParameterError(f"variants_file={str(path)!r}: {error}") from None
    except Exception as error:
        steps = traceback.extract_tb(error.__traceback__)[::-1]
        line = next((f", line {each.lineno}" for each in steps if each.filename == str(path)), "")
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ParameterError(f"variants_file={str(path)!r}{line}: {reason}") from None


def label(name: str) -> str:
    """As the original table writes it: ``short_norm`` -> ``Shortbaseline+normalization``.

    One's own is called by its name.
    """
    get_variant(name)
    depth, suffix = name.split("_", 1)
    if name not in BUILT_IN:
        return name
    return f"{depth.capitalize()}baseline{ABLATIONS[suffix][0]}"
