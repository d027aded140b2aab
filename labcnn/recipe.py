"""Recipe: every choice that decides one run's result; validated, frozen, hashable."""

import hashlib
import json
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from labcnn.errors import ParameterError
from labcnn.variants import VARIANTS, Variant, get_variant

Dataset = Literal["tiny-imagenet-200", "shapes"]
DATASETS: tuple[str, ...] = get_args(Dataset)
Model = TypeVar("Model", bound=BaseModel)

#: What a protocol sets. ``course`` is the original experiment; ``tuned`` is what the field knows.
#: How the values of ``course`` were chosen: benchmarks/protocol.md.
PROTOCOLS: dict[str, dict[str, Any]] = {
    "course": {
        "epochs": 18,
        "batch_size": 64,
        "optimizer": "sgd",
        "learning_rate": 0.01,
        "momentum": 0.9,
        "nesterov": False,
        "weight_decay": 0.0,
        "dropout_rate": 0.5,
        "label_smoothing": 0.0,
        "augment": False,
        "decay": "plateau",
        "decay_factor": 0.2,
        "decay_patience": 2,
        "patience": 5,
        "width": 32,
    },
    "tuned": {
        "epochs": 5,
        "batch_size": 256,
        "optimizer": "muon",
        "learning_rate": 0.1,
        "momentum": 0.6,
        "nesterov": True,
        "weight_decay": 0.0,
        "dropout_rate": 0.0,
        "label_smoothing": 0.1,
        "augment": True,
        "decay": "one_cycle",
        "decay_factor": 0.2,
        "decay_patience": 2,
        "patience": 1000,
        "width": 32,
        "whiten": True,
        "first_size": 32,
        "last_size": 48,
        "test_views": 6,
    },
}

#: What a data set changes in a protocol: the demo set is small and must be quick.
DATASET_DEFAULTS: dict[str, dict[str, dict[str, Any]]] = {
    "tiny-imagenet-200": {},
    "shapes": {
        "course": {
            "epochs": 6,
            "batch_size": 32,
            "learning_rate": 0.02,
            "width": 16,
        },
        "tuned": {"epochs": 6, "batch_size": 32, "width": 16},
    },
}

#: How a value that differs from the protocol's appears in an experiment's name.
NAME_PARTS: dict[str, str] = {
    "fraction": "{:g}pct",
    "epochs": "{}ep",
    "batch_size": "bs{}",
    "learning_rate": "lr{:g}",
    "width": "w{}",
    "momentum": "m{:g}",
    "nesterov": "nesterov-{}",
    "weight_decay": "wd{:g}",
    "dropout_rate": "do{:g}",
    "label_smoothing": "ls{:g}",
    "augment": "augment-{}",
    "decay": "{}",
    "decay_factor": "df{:g}",
    "decay_patience": "dp{}",
    "patience": "pat{}",
    "optimizer": "{}",
    "whiten": "whiten-{}",
    "first_size": "from{}px",
    "last_size": "to{}px",
    "test_views": "{}views",
}

#: What a recipe has that names none of these: the plain training that protocol ``course`` is.
PLAIN: dict[str, Any] = {
    "optimizer": "sgd",
    "whiten": False,
    "first_size": 64,
    "last_size": 64,
    "test_views": 1,
}


class Recipe(BaseModel):
    """Every choice that decides one run's result.

    Build it with :meth:`from_parameters`, which fills in the protocol's values.

    Attributes
    ----------
    momentum : of SGD and Muon; AdamW's first beta (its second is 0.999).
    dropout_rate : of the head's inputs, where the variant has dropout.
    decay_patience, patience : epochs in a row without a better validation accuracy after which the
        learning rate falls (where the variant has lr_decay), and after which training stops.
    whiten : the stem's weights are set to whiten patches of the training images, and stay so.
    first_size, last_size : height and width of the images in the first and in the last epoch, and
        straight in between; evaluation is at the last.
    test_views : of each validation and test image that the final evaluation averages over: itself;
        its mirror image; both of two shifted crops. (Of training images it sees themselves only.)
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    variant: str
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    dataset: Dataset = "shapes"
    protocol: Literal["course", "tuned"] = "course"
    fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    epochs: Annotated[int, Field(ge=1, le=10_000)]
    batch_size: Annotated[int, Field(ge=2, le=65_536)]
    learning_rate: Annotated[float, Field(gt=0, le=100)]
    width: Annotated[int, Field(ge=4, le=1024)]
    momentum: Annotated[float, Field(ge=0, lt=1)]
    nesterov: bool
    weight_decay: Annotated[float, Field(ge=0, le=1)]
    dropout_rate: Annotated[float, Field(ge=0, lt=1)]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    augment: bool
    decay: Literal["plateau", "one_cycle"]
    decay_factor: Annotated[float, Field(gt=0, lt=1)]
    decay_patience: Annotated[int, Field(ge=1, le=10_000)]
    patience: Annotated[int, Field(ge=1, le=10_000)]
    optimizer: Literal["sgd", "adamw", "muon"] = "sgd"
    whiten: bool = False
    first_size: Annotated[int, Field(ge=16, le=64)] = 64
    last_size: Annotated[int, Field(ge=16, le=64)] = 64
    test_views: Literal[1, 2, 6] = 1

    @field_validator("variant", mode="before")
    @classmethod
    def _known_variant(cls, name: Any) -> Any:
        get_variant(name)
        return name

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> "Recipe":
        if self.nesterov and not self.momentum:
            raise ParameterError(
                "momentum=0.0 isn't valid with nesterov=True; it must be above 0, or nesterov False"
            )
        if self.nesterov and self.optimizer == "adamw":
            raise ParameterError(
                "nesterov=True isn't valid with optimizer='adamw'; valid: nesterov False, or "
                "optimizer sgd or muon"
            )
        return self

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> "Recipe":
        """A recipe from what a user gave; ``None`` stands for the protocol's value.

        Raises
        ------
        ParameterError
            One line: the parameter, its value, and what is valid.
        """
        given = {name: value for name, value in parameters.items() if value is not None}
        refuse_unknown(given, cls.model_fields)
        variant: Any = given.get("variant")
        get_variant(variant)
        protocol = str(given.get("protocol", "course"))
        base = {
            **PROTOCOLS.get(protocol, PROTOCOLS["course"]),
            **DATASET_DEFAULTS.get(str(given.get("dataset", "shapes")), {}).get(protocol, {}),
        }
        return validated(cls, {**base, **given})

    @property
    def network(self) -> Variant:
        return VARIANTS[self.variant]

    @property
    def defaults(self) -> dict[str, Any]:
        """The values that this protocol has on this data set when nothing is said."""
        return (
            {"fraction": 1.0}
            | PLAIN
            | PROTOCOLS[self.protocol]
            | DATASET_DEFAULTS[self.dataset].get(self.protocol, {})
        )

    @property
    def experiment(self) -> str:
        """Readable name of the set of runs this one may be compared with."""
        parts: list[str] = [self.dataset]
        if self.protocol != "course":
            parts.append(self.protocol)
        for name, pattern in NAME_PARTS.items():
            value = getattr(self, name)
            if value != self.defaults[name]:
                shown = value * 100 if name == "fraction" else value
                parts.append(
                    pattern.format(str(shown).lower() if shown is True or shown is False else shown)
                )
        return "-".join(parts).replace("_", "-")

    @property
    def shared(self) -> dict[str, Any]:
        """What runs of one experiment have in common: all but variant and seed."""
        return self.model_dump(exclude={"variant", "seed"})

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that change when any field does."""
        text = json.dumps(self.model_dump(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def refuse_unknown(given: Mapping[str, Any], known: Mapping[str, Any] | list[str]) -> None:
    """Raise a :class:`ParameterError` for the first name of ``given`` that isn't ``known``."""
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ParameterError(
                f"unknown parameter {name}={given[name]!r}; {hint}valid: {', '.join(known)}"
            )


def validated(model: type[Model], values: Mapping[str, Any]) -> Model:
    """``model(**values)``, with pydantic's list of errors turned into one readable line."""
    try:
        return model(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        must_be = valid_values(model, name)
        raise ParameterError(
            f"{name}={first['input']!r} isn't valid; it must be {must_be}"
        ) from None


def valid_values(model: type[BaseModel], name: str) -> str:
    """What a field takes, in words: ``a whole number, at least 1 and at most 10000``."""
    schema = model.model_json_schema()["properties"][name]
    kinds = {"integer": "a whole number", "number": "a number", "boolean": "True or False"}
    options = schema.get("anyOf", [schema])
    chosen = next(option for option in options if option.get("type") != "null")
    if "description" in chosen:
        return str(chosen["description"])
    if "enum" in chosen:
        return "one of " + ", ".join(chosen["enum"])
    words = {
        "minimum": "at least",
        "exclusiveMinimum": "above",
        "maximum": "at most",
        "exclusiveMaximum": "below",
    }
    limits = [f"{word} {chosen[key]}" for key, word in words.items() if key in chosen]
    kind = kinds.get(chosen.get("type", ""), "a text")
    return f"{kind}, {' and '.join(limits)}" if limits else kind
