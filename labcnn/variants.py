"""The networks that are compared, as data: a depth and four switches."""

from dataclasses import dataclass, fields

from labcnn.errors import ParameterError, list_valid

#: Double convolutions in each of the four stages.
BLOCKS_PER_STAGE = {"short": 1, "mid": 2, "long": 3}


@dataclass(frozen=True)
class Variant:
    """One network of the study.

    Attributes
    ----------
    depth : ``short``, ``mid`` or ``long``: one, two or three double convolutions per stage.
    lr_decay : the learning rate falls as the protocol says; without it, it is fixed.
    norm : batch normalisation after every convolution.
    dropout : dropout before the head.
    residual : each double convolution gets a shortcut connection.
    """

    depth: str
    lr_decay: bool = False
    norm: bool = False
    dropout: bool = False
    residual: bool = False

    @property
    def switches(self) -> tuple[str, ...]:
        """Names of the switches that are on, in the order of the fields."""
        return tuple(f.name for f in fields(self) if f.name != "depth" and getattr(self, f.name))

    @property
    def blocks_per_stage(self) -> int:
        return BLOCKS_PER_STAGE[self.depth]


#: A suffix of a variant's name: the label the original table writes, and the switches it turns on.
ABLATIONS: dict[str, tuple[str, dict[str, bool]]] = {
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


def label(name: str) -> str:
    """As the original table writes it: ``short_norm`` -> ``Shortbaseline+normalization``."""
    get_variant(name)
    depth, suffix = name.split("_", 1)
    return f"{depth.capitalize()}baseline{ABLATIONS[suffix][0]}"
