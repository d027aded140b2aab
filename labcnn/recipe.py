"""Recipe: every choice that decides one run's result; validated, frozen, hashable."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from labcnn.errors import ParameterError, list_valid
from labcnn.variants import VARIANTS, Variant, get_variant

#: Data sets by name; the others are one's own pictures.
DATASETS = ("tiny-imagenet-200", "cifar10", "shapes")
Protocol = Literal["course", "tuned"]
#: True or False; also as text, in which ``papermill -p augment true`` passes it on.
Switch = Annotated[bool, Field(strict=False)]
Model = TypeVar("Model", bound=BaseModel)


def is_own(dataset: str) -> bool:
    """Whether a data set's name is one of one's own pictures: ``own-`` and their folder's name."""
    return re.fullmatch(r"own-\w[\w-]{0,63}", dataset) is not None


def require_dataset(name: Any) -> str:
    """``name``; a :class:`ParameterError` if it can't be a data set's."""
    if not isinstance(name, str) or not (name in DATASETS or is_own(name)):
        raise ParameterError(
            f"dataset={name!r} is unknown, and there is no such folder; valid: auto, "
            f"{', '.join(DATASETS)}, or a folder of class folders with pictures (later by its "
            "name, own-...)"
        )
    return name


Dataset = Annotated[str, BeforeValidator(require_dataset)]


@dataclass(frozen=True)
class Choice:
    """A field's word in an experiment's name, and its value where that isn't the field's default.

    Attributes
    ----------
    word : the pattern for a value that isn't the one of protocol and data set.
    tuned : in the protocol of what the field knows by now.
    demo : in both protocols, on the demo set ``shapes``, which is small and must be quick.
    demo_course : on the demo set in ``course`` only.
    cost : whether a step's time depends on it.
    """

    word: str
    tuned: Any = None
    demo: Any = None
    demo_course: Any = None
    cost: bool = False


class Recipe(BaseModel):
    """Every choice that decides one run's result.

    Build it with :meth:`from_parameters`, which fills in the protocol's values. The fields' own
    defaults are those of ``course``, the original experiment's protocol (how they were chosen:
    benchmarks/protocol.md). Under them training computes what it did before a field was added
    (golden trajectories hold that): a saved recipe without the field is read with its default.

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
    fraction: Annotated[float, Field(gt=0, le=1), Choice("{:g}pct")] = 1.0
    epochs: Annotated[int, Field(ge=1, le=10_000), Choice("{}ep", tuned=5, demo=4)] = 18
    batch_size: Annotated[
        int, Field(ge=2, le=65_536), Choice("bs{}", tuned=256, demo=32, cost=True)
    ] = 64
    learning_rate: Annotated[
        float, Field(gt=0, le=100), Choice("lr{:g}", tuned=0.1, demo_course=0.02)
    ] = 0.01
    width: Annotated[int, Field(ge=4, le=1024), Choice("w{}", demo=12, cost=True)] = 32
    momentum: Annotated[float, Field(ge=0, lt=1), Choice("m{:g}", tuned=0.6)] = 0.9
    nesterov: Annotated[Switch, Choice("nesterov-{}", tuned=True)] = False
    weight_decay: Annotated[float, Field(ge=0, le=1), Choice("wd{:g}")] = 0.0
    dropout_rate: Annotated[float, Field(ge=0, lt=1), Choice("do{:g}", tuned=0.0)] = 0.5
    label_smoothing: Annotated[float, Field(ge=0, lt=1), Choice("ls{:g}", tuned=0.1)] = 0.0
    augment: Annotated[Switch, Choice("augment-{}", tuned=True)] = False
    decay: Annotated[Literal["plateau", "one_cycle"], Choice("{}", tuned="one_cycle")] = "plateau"
    decay_factor: Annotated[float, Field(gt=0, lt=1), Choice("df{:g}")] = 0.2
    decay_patience: Annotated[int, Field(ge=1, le=10_000), Choice("dp{}")] = 2
    patience: Annotated[int, Field(ge=1, le=10_000), Choice("pat{}", tuned=1000)] = 5
    optimizer: Annotated[Literal["sgd", "adamw", "muon"], Choice("{}", tuned="muon")] = "sgd"
    whiten: Annotated[Switch, Choice("whiten-{}", tuned=True)] = False
    first_size: Annotated[
        int, Field(ge=16, le=64), Choice("from{}px", tuned=32, demo=24, cost=True)
    ] = 64
    last_size: Annotated[
        int, Field(ge=16, le=64), Choice("to{}px", tuned=48, demo=24, cost=True)
    ] = 64
    test_views: Annotated[Literal[1, 2, 6], Choice("{}views", tuned=6)] = 1

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

    def image_size(self, epoch: int) -> int:
        """Height and width of the images in an epoch, 1 to ``epochs``; grows by multiples of 8."""
        first, last = self.first_size, self.last_size
        if epoch == self.epochs or first == last:
            return last
        return first + round((last - first) * (epoch - 1) / (self.epochs - 1) / 8) * 8


#: The choices of the recipe by field, in the order of an experiment's name.
CHOICES: dict[str, Choice] = {
    name: choice
    for name, field in Recipe.model_fields.items()
    for choice in field.metadata
    if isinstance(choice, Choice)
}


def defaults(dataset: str, protocol: str) -> dict[str, Any]:
    """The values of a protocol on a data set when nothing is said.

    The ``learning_rate``, say, is 0.01; 0.1 in ``tuned``; on the demo set, 0.02 in ``course``.
    """
    values, demo = dict[str, Any](), dataset == "shapes"
    for name, choice in CHOICES.items():
        candidates = (
            choice.demo_course if demo and protocol == "course" else None,
            choice.demo if demo else None,
            choice.tuned if protocol == "tuned" else None,
            Recipe.model_fields[name].default,
        )
        values[name] = next(value for value in candidates if value is not None)
    return values


def refuse_unknown(given: Mapping[str, Any], known: Iterable[str]) -> None:
    """Raise a :class:`ParameterError` for the first name of ``given`` that isn't ``known``."""
    for name in given:
        if name not in known:
            raise ParameterError(
                f"unknown parameter {name}={given[name]!r}; {list_valid(name, known)}"
            )


def validate(model: type[Model], values: Mapping[str, Any]) -> Model:
    """``model(**values)``; of pydantic's errors, the first as a :class:`ParameterError`."""
    try:
        return model(**values)
    except ValidationError as error:
        first = error.errors()[0]
        reason = first["msg"].removeprefix("Value error, ")
        raise ParameterError(
            f"{first['loc'][0]}={first['input']!r} isn't valid: {reason}"
        ) from None
