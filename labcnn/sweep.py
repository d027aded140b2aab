"""A sweep: variants x seeds of one notebook, and the run folders they make."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from labcnn.data import resolve_dataset
from labcnn.errors import ParameterError
from labcnn.paths import logs_folder, project_root
from labcnn.recipe import refuse_unknown
from labcnn.request import RunRequest
from labcnn.runs import NOTEBOOK, RESULT
from labcnn.variants import REPORT_VARIANTS

#: Parameters of the notebook that a sweep gives itself, and what to use in their place.
OWN = {
    "variant": "--variants",
    "seed": "--seeds",
    "logs": "--logs",
    "overwrite": "papermill with -p overwrite True, or delete the run's folder",
}


@dataclass(frozen=True)
class Run:
    """One run of a sweep and the folder its files are in."""

    variant: str
    seed: int
    epochs: int
    folder: Path

    @property
    def result(self) -> Path:
        return self.folder / RESULT

    @property
    def notebook(self) -> Path:
        """The executed notebook."""
        return self.folder / NOTEBOOK

    def __str__(self) -> str:
        return f"{self.variant} seed {self.seed}"


@dataclass(frozen=True)
class Sweep:
    """Variants x seeds of one notebook with the same parameters.

    Raises
    ------
    ParameterError
        One line for the first variant, seed or parameter that isn't valid.
    """

    variants: tuple[str, ...] = REPORT_VARIANTS
    seeds: tuple[int, ...] = (0,)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    logs: Path = field(default_factory=logs_folder)
    notebook: Path = field(default_factory=lambda: project_root() / "notebooks" / "train.ipynb")

    def __post_init__(self) -> None:
        refuse_unknown(self.parameters, RunRequest.parameters())
        for name in self.parameters:
            if name in OWN:
                raise ParameterError(
                    f"{name}={self.parameters[name]!r} can't be set for a sweep; use {OWN[name]}"
                )
        if not self.variants or not self.seeds:
            raise ParameterError("a sweep needs at least one variant and one seed")
        if not self.notebook.is_file():
            raise ParameterError(f"notebook={str(self.notebook)!r}: there is no such file")
        _ = self.runs  # checks every parameter

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Sweep":
        """A sweep from ``variants``, ``seeds``, ``logs``, ``notebook`` and parameters, as text.

        ``None`` stands for the default; ``dataset`` is ``shapes`` then, and ``auto`` is resolved
        now, so that all runs have the same.
        """
        given = {name: value for name, value in config.items() if value is not None}
        made: dict[str, Any] = {}
        if "variants" in given:
            made["variants"] = tuple(dict.fromkeys(words(given.pop("variants"))))
        if "seeds" in given:
            made["seeds"] = tuple(dict.fromkeys(whole_number(s) for s in words(given.pop("seeds"))))
        if "logs" in given:
            made["logs"] = logs_folder(given.pop("logs"))
        if "notebook" in given:
            made["notebook"] = Path(given.pop("notebook")).expanduser().resolve()
        given["dataset"] = resolve_dataset(given.get("dataset", "shapes"))
        return cls(**made, parameters=given)

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """All runs, seed by seed."""
        return tuple(self._run(variant, seed) for seed in self.seeds for variant in self.variants)

    def _run(self, variant: str, seed: int) -> Run:
        request = RunRequest.from_parameters(self.parameters_of(variant, seed))
        return Run(variant, seed, request.recipe.epochs, request.folder.path)

    @property
    def folder(self) -> Path:
        """Folder of the experiment."""
        return self.runs[0].folder.parents[1]

    @property
    def experiment(self) -> str:
        return self.folder.name

    def parameters_of(self, variant: str, seed: int) -> dict[str, Any]:
        """What the notebook is given for one run: one thread, as runs go side by side."""
        own = {"variant": variant, "seed": seed, "logs": str(self.logs)}
        return {"threads": 1, **self.parameters, **own}

    @property
    def config(self) -> dict[str, Any]:
        """What :meth:`from_config` makes this sweep from."""
        own = {"variants": list(self.variants), "seeds": list(self.seeds)}
        return {**self.parameters, **own, "logs": str(self.logs), "notebook": str(self.notebook)}


def assignments(texts: Iterable[str]) -> dict[str, Any]:
    """``["epochs=2", "augment=true"]`` -> ``{"epochs": 2, "augment": True}``."""
    made = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise ParameterError(f"{text!r} is not a parameter; write it as name=value")
        made[name] = typed(value)
    return made


def typed(text: str) -> Any:
    """A number, truth value or None where the text is one in JSON's or Python's spelling."""
    spelled = {"True": "true", "False": "false", "None": "null"}.get(text, text)
    try:
        value = json.loads(spelled)
    except json.JSONDecodeError:
        return text
    return text if isinstance(value, list | dict) else value


def words(given: Any) -> list[str]:
    """``"a b"``, ``"a,b"`` or a list of them: its words."""
    parts = given if isinstance(given, list | tuple) else str(given).replace(",", " ").split()
    return [str(part) for part in parts]


def whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ParameterError(f"seed={text!r} must be a whole number") from None
