"""Which runs a sweep has: variants x seeds of one notebook, and their folders."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from labcnn.data import resolve_dataset
from labcnn.errors import ParameterError
from labcnn.paths import logs_folder, project_root
from labcnn.recipe import Recipe, refuse_unknown, valid_values
from labcnn.request import RunRequest
from labcnn.runs import NOTEBOOK, RESULT, RunFolder, RunState, State, state
from labcnn.variants import REPORT_VARIANTS

#: Folder beside the variants', for Snakemake: what the sweep has brought up to date.
DONE = ".sweep"
#: Why a run is due that never finished.
NEW = "no result yet"

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

    recipe: Recipe
    folder: Path

    @property
    def variant(self) -> str:
        return self.recipe.variant

    @property
    def seed(self) -> int:
        return self.recipe.seed

    @property
    def result(self) -> Path:
        return self.folder / RESULT

    @property
    def notebook(self) -> Path:
        """The executed notebook."""
        return self.folder / NOTEBOOK

    @property
    def done(self) -> Path:
        """A file that Snakemake sees made once the run is up to date."""
        return self.folder.parents[1] / DONE / self.variant / f"seed{self.seed}"

    @property
    def files(self) -> RunFolder:
        return RunFolder(self.folder)

    @property
    def state(self) -> RunState:
        """Whether it is up to date, by its files alone: a process may be at it."""
        return state(self.files, self.recipe, ask_lock=False)

    @property
    def due(self) -> str:
        """Why it is to be run: a line; empty for a run that is up to date."""
        found = self.state
        if found.kind in (State.DONE, State.STALE):
            return "; ".join(found.reasons)
        return f"damaged: {found.reasons[0]}" if found.kind is State.DAMAGED else NEW

    def __str__(self) -> str:
        return f"{self.variant} seed {self.seed}"


@dataclass(frozen=True)
class Sweep:
    """Variants x seeds of one notebook with the same parameters.

    ``minutes`` is the time limit of an attempt at a run; None for none.

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
    minutes: float | None = None

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
        if self.minutes is not None and not 0 < self.minutes < math.inf:
            raise ParameterError(f"minutes={self.minutes!r} must be a number above 0")
        _ = self.runs  # checks every parameter

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Sweep":
        """A sweep from ``variants``, ``seeds``, ``logs``, ``notebook``, ``minutes`` and parameters.

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
        if "minutes" in given:
            made["minutes"] = number(given.pop("minutes"))
        given["dataset"] = resolve_dataset(given.get("dataset", "shapes"))
        return cls(**made, parameters=given)

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """All runs, seed by seed."""
        return tuple(self._run(variant, seed) for seed in self.seeds for variant in self.variants)

    def _run(self, variant: str, seed: int) -> Run:
        request = RunRequest.from_parameters(self.parameters_of(variant, seed))
        return Run(request.recipe, request.folder.path)

    def due(self) -> tuple[Run, ...]:
        """The runs that are missing, damaged or out of date."""
        return tuple(run for run in self.runs if run.due)

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
        own |= {"minutes": self.minutes} if self.minutes is not None else {}
        return {**self.parameters, **own, "logs": str(self.logs), "notebook": str(self.notebook)}

    def job_of(self, variant: str, seed: int) -> str:
        """The run as :mod:`labsweep.job` takes it, as JSON."""
        parameters = self.parameters_of(variant, seed)
        job = {"notebook": str(self.notebook), "parameters": parameters, "minutes": self.minutes}
        return json.dumps(job)


def assignments(texts: Iterable[str]) -> dict[str, Any]:
    """``["epochs=2", "augment=true"]`` -> ``{"epochs": 2, "augment": True}``."""
    made: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise ParameterError(f"{text!r} is not a parameter; write it as name=value")
        if name in made:
            raise ParameterError(
                f"{name} is given twice: {made[name]!r} and {parse_value(value)!r}"
            )
        made[name] = parse_value(value)
    return made


def parse_value(text: str) -> Any:
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


def number(text: Any) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        raise ParameterError(f"minutes={text!r} must be a number") from None


def whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        must_be = valid_values(Recipe, "seed")
        raise ParameterError(f"seed={text!r} isn't valid; it must be {must_be}") from None
