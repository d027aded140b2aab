"""Recipe: every choice that decides one run's result; validated, frozen, hashable."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from labcnn.errors import ParameterError
from labcnn.variants import VARIANTS, Variant, get_variant

Dataset = Literal["tiny-imagenet-200", "shapes"]
DATASETS: tuple[str, ...] = get_args(Dataset)
Model = TypeVar("Model", bound=BaseModel)

Protocol = Literal["course", "tuned"]


@dataclass(frozen=True)
class Choice:
    """What a field of the recipe is when nothing is said, and its word in an experiment's name.

    Attributes
    ----------
    word : the pattern for a value that isn't the default one.
    course : in the original experiment's protocol; how it was chosen: benchmarks/protocol.md.
    tuned : in the protocol of what the field knows by now; as in ``course`` if not given.
    demo : in both, on the demo set ``shapes``, which is small and must be quick.
    demo_course : on the demo set in ``course`` only.
    cost : whether a step's time depends on it.
    """

    word: str
    course: Any
    tuned: Any = None
    demo: Any = None
    demo_course: Any = None
    cost: bool = False

    def default(self, dataset: str, protocol: str) -> Any:
        """The value when nothing is said."""
        own = [self.tuned] if protocol == "tuned" else []
        if dataset == "shapes":
            own = [*([self.demo_course] if protocol == "course" else []), self.demo, *own]
        return next((value for value in own if value is not None), self.course)


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
    protocol: Protocol = "course"
    fraction: Annotated[float, Field(gt=0, le=1), Choice("{:g}pct", 1.0)] = 1.0
    epochs: Annotated[int, Field(ge=1, le=10_000), Choice("{}ep", 18, tuned=5, demo=4)]
    batch_size: Annotated[
        int, Field(ge=2, le=65_536), Choice("bs{}", 64, tuned=256, demo=32, cost=True)
    ]
    learning_rate: Annotated[
        float, Field(gt=0, le=100), Choice("lr{:g}", 0.01, tuned=0.1, demo_course=0.02)
    ]
    width: Annotated[int, Field(ge=4, le=1024), Choice("w{}", 32, demo=12, cost=True)]
    momentum: Annotated[float, Field(ge=0, lt=1), Choice("m{:g}", 0.9, tuned=0.6)]
    nesterov: Annotated[bool, Choice("nesterov-{}", False, tuned=True)]
    weight_decay: Annotated[float, Field(ge=0, le=1), Choice("wd{:g}", 0.0)]
    dropout_rate: Annotated[float, Field(ge=0, lt=1), Choice("do{:g}", 0.5, tuned=0.0)]
    label_smoothing: Annotated[float, Field(ge=0, lt=1), Choice("ls{:g}", 0.0, tuned=0.1)]
    augment: Annotated[bool, Choice("augment-{}", False, tuned=True)]
    decay: Annotated[Literal["plateau", "one_cycle"], Choice("{}", "plateau", tuned="one_cycle")]
    decay_factor: Annotated[float, Field(gt=0, lt=1), Choice("df{:g}", 0.2)]
    decay_patience: Annotated[int, Field(ge=1, le=10_000), Choice("dp{}", 2)]
    patience: Annotated[int, Field(ge=1, le=10_000), Choice("pat{}", 5, tuned=1000)]
    optimizer: Annotated[Literal["sgd", "adamw", "muon"], Choice("{}", "sgd", tuned="muon")]
    whiten: Annotated[bool, Choice("whiten-{}", False, tuned=True)]
    first_size: Annotated[
        int, Field(ge=16, le=64), Choice("from{}px", 64, tuned=32, demo=24, cost=True)
    ]
    last_size: Annotated[
        int, Field(ge=16, le=64), Choice("to{}px", 64, tuned=48, demo=24, cost=True)
    ]
    test_views: Annotated[Literal[1, 2, 6], Choice("{}views", 1, tuned=6)]

    @field_validator("variant", mode="before")
    @classmethod
    def _known_variant(cls, name: Any) -> Any:
        get_variant(name)
        return name

    @model_validator(mode="after")
    def _fits_the_optimizer(self) -> "Recipe":
        if self.nesterov and not self.momentum:
            raise ParameterError(
                "momentum=0.0 isn't valid with nesterov=True; it must be above 0, or nesterov False"
            )
        if self.optimizer == "muon" and self.weight_decay:
            raise ParameterError(
                f"weight_decay={self.weight_decay!r} isn't valid with optimizer='muon', which "
                "keeps the weights' norms; it must be 0"
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
        usual = defaults(str(given.get("dataset", "shapes")), str(given.get("protocol", "course")))
        return validate(cls, {**usual, **given})

    @classmethod
    def from_saved(cls, values: Mapping[str, Any]) -> "Recipe":
        """The recipe of a saved run.

        A field that is younger than the run has the value of protocol ``course``, under which
        training computes what it did without the field (golden trajectories hold that).
        """
        return cls(**complete(values))

    @property
    def network(self) -> Variant:
        return VARIANTS[self.variant]

    @property
    def defaults(self) -> dict[str, Any]:
        """The values that this protocol has on this data set when nothing is said."""
        return defaults(self.dataset, self.protocol)

    @property
    def experiment(self) -> str:
        """Readable name of the set of runs this one may be compared with."""
        parts: list[str] = [self.dataset]
        if self.protocol != "course":
            parts.append(self.protocol)
        for name, default in self.defaults.items():
            if (value := getattr(self, name)) != default:
                shown = value * 100 if name == "fraction" else value
                word = CHOICES[name].word
                parts.append(word.format(str(shown).lower() if isinstance(shown, bool) else shown))
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


#: The choices of the recipe by field, in the order of an experiment's name.
CHOICES: dict[str, Choice] = {
    name: choice
    for name, field in Recipe.model_fields.items()
    for choice in field.metadata
    if isinstance(choice, Choice)
}


def defaults(dataset: str, protocol: str) -> dict[str, Any]:
    """The values of a protocol on a data set when nothing is said."""
    return {name: choice.default(dataset, protocol) for name, choice in CHOICES.items()}


def complete(values: Mapping[str, Any]) -> dict[str, Any]:
    """A saved recipe's values, with those of fields that came later: see `Recipe.from_saved`."""
    return {name: choice.course for name, choice in CHOICES.items()} | dict(values)


def refuse_unknown(given: Mapping[str, Any], known: Mapping[str, Any] | list[str]) -> None:
    """Raise a :class:`ParameterError` for the first name of ``given`` that isn't ``known``."""
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ParameterError(
                f"unknown parameter {name}={given[name]!r}; {hint}valid: {', '.join(known)}"
            )


def validate(model: type[Model], values: Mapping[str, Any]) -> Model:
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
        return "one of " + ", ".join(map(str, chosen["enum"]))
    words = {
        "minimum": "at least",
        "exclusiveMinimum": "above",
        "maximum": "at most",
        "exclusiveMaximum": "below",
    }
    limits = [f"{word} {chosen[key]}" for key, word in words.items() if key in chosen]
    kind = kinds.get(chosen.get("type", ""), "a text")
    return f"{kind}, {' and '.join(limits)}" if limits else kind
