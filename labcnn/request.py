"""What a user asks for: a recipe, and where and how to run it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from labcnn.data import resolve_dataset
from labcnn.files import logs_folder
from labcnn.recipe import Recipe, Switch, refuse_unknown, validate
from labcnn.runs import RunFolder, learn_variant
from labcnn.variants import VARIANTS, register_file


class RunRequest(BaseModel):
    """A recipe, and how and where to run it: provenance, which the result lists.

    Attributes
    ----------
    precision : of the forward pass: ``bf16``, ``fp32``, or ``auto``: bf16 where the device is
        faster in it. In ``fp64`` all is float64: slow, and the same on any CPU to 1e-8.
    device : ``auto`` takes CUDA, then Apple's MPS, then the CPU.
    threads : CPU threads; None takes what torch takes, usually all cores. (Different numbers of
        threads give results that differ in the last bits, so they are recorded.)
    compile : run the training steps through ``torch.compile``: minutes of preparation, faster steps
        on a GPU; the last bits differ.
    experiment : folder name of the runs to compare with; None derives it from the recipe.
    overwrite : train anew even if the run is finished.
    logs : folder of all experiments; None is ``report/logs``.
    language : of what the notebook shows.
    variants_file : a Python file that registers one's own variants.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    recipe: Recipe
    precision: Literal["auto", "bf16", "fp32", "fp64"] = "auto"
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    compile: Switch = False
    #: (papermill passes a name of digits on as a number.)
    experiment: (
        Annotated[
            str,
            Field(pattern=r"^[\w][\w.+-]*$", strict=False, coerce_numbers_to_str=True),
        ]
        | None
    ) = None
    overwrite: Switch = False
    logs: str | None = None
    language: Literal["zh", "en"] = "zh"
    variants_file: str | None = None

    @classmethod
    def parameters(cls) -> list[str]:
        """All names a user may set, the recipe's first."""
        return [*Recipe.model_fields, *(name for name in cls.model_fields if name != "recipe")]

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> "RunRequest":
        """A request from what a user gave; returns and raises as :meth:`Recipe.from_parameters`."""
        refuse_unknown(parameters, cls.parameters())
        given = {name: value for name, value in parameters.items() if value is not None}
        if isinstance(file := given.get("variants_file"), str):
            register_file(file)
        elif isinstance(name := given.get("variant"), str) and name not in VARIANTS:
            learn_variant(name, logs_folder(given.get("logs")))
        given["dataset"] = resolve_dataset(given.get("dataset", "auto"))
        recipe = {name: given.pop(name) for name in Recipe.model_fields if name in given}
        return validate(cls, {**given, "recipe": Recipe.from_parameters(recipe)})

    @property
    def experiment_name(self) -> str:
        return self.experiment or self.recipe.experiment

    @property
    def folder(self) -> RunFolder:
        return RunFolder.of(Path(logs_folder(self.logs)), self.experiment_name, self.recipe)
