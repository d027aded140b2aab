"""A sweep: variants x seeds of one notebook, and what of it is to be run."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from labcnn.data import resolve_dataset
from labcnn.errors import ParameterError
from labcnn.files import logs_folder, project_root, write_text
from labcnn.recipe import Recipe, refuse_unknown, validate
from labcnn.request import RunRequest
from labcnn.runs import NOTEBOOK, RESULT, RunFolder, RunState, State, state
from labcnn.variants import REPORT_VARIANTS

#: Folder beside the variants': the sweep's file, and what Snakemake has brought up to date.
OWN_FOLDER = ".sweep"
#: Why a run is due that never finished.
NEW = "no result yet"

#: Seeds that "0-2" and the like may stand for.
LONGEST_RANGE = 1000
#: Parameters of the notebook that a sweep sets itself, and what to use in their place.
SET_BY_SWEEP = {
    "variant": "--variants",
    "seed": "--seeds",
    "overwrite": "papermill with -p overwrite True, or delete the run's folder",
}


def written(path: Path) -> int:
    """When a file was written, in nanoseconds; 0 where there is none."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


@dataclass(frozen=True)
class Run:
    """One run of a sweep and the folder its files are in."""

    recipe: Recipe
    folder: RunFolder

    @property
    def variant(self) -> str:
        return self.recipe.variant

    @property
    def seed(self) -> int:
        return self.recipe.seed

    @property
    def result(self) -> Path:
        return self.folder.path / RESULT

    @property
    def result_written(self) -> int:
        """When the result was written, in nanoseconds; 0: never."""
        return written(self.result)

    @property
    def notebook(self) -> Path:
        """The executed notebook."""
        return self.folder.path / NOTEBOOK

    @property
    def state(self) -> RunState:
        """Whether it is up to date, by its files; another process may be training it."""
        return state(self.folder, ask_lock=False)

    @property
    def due(self) -> str:
        """Why it is to be run: a line; empty for a run that is up to date."""
        found = self.state
        if found.kind in (State.DONE, State.STALE):
            return "; ".join(found.reasons)
        return f"damaged: {found.reasons[0]}" if found.kind is State.DAMAGED else NEW

    def __str__(self) -> str:
        return f"{self.variant} seed {self.seed}"


class Sweep(BaseModel):
    """Variants x seeds of one notebook with the same parameters.

    A user's values are checked by :meth:`from_options`. Every other process of the sweep reads the
    file that :meth:`write` makes.

    Attributes
    ----------
    parameters : of the notebook, the same for all runs.
    minutes : the time limit of an attempt at a run; None for none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    variants: Annotated[tuple[str, ...], Field(min_length=1)] = REPORT_VARIANTS
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)
    parameters: dict[str, Any]
    logs: Path = Field(default_factory=logs_folder)
    notebook: Path = Field(default_factory=lambda: project_root() / "notebooks" / "train.ipynb")
    minutes: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    @field_validator("variants", "seeds", mode="before")
    @classmethod
    def _words(cls, given: Any) -> Any:
        """``"a b"``, ``"a,b"`` or a list of them: its words, each once; ``"0-2"``: 0, 1 and 2."""
        if isinstance(given, list | tuple):
            return tuple(dict.fromkeys(given))
        words: dict[Any, None] = {}
        for word in str(given).replace(",", " ").split():
            first, _, last = word.partition("-")
            if first.isdecimal() and last.isdecimal():
                between = range(int(first), int(last) + 1)
                if not 0 < len(between) <= LONGEST_RANGE:
                    raise ValueError(f"{word} is no range of seeds, such as 0-2")
                words |= dict.fromkeys(between)
            else:
                words[word] = None
        if not words:
            raise ValueError("it must name one at least")
        return tuple(words)

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> "Sweep":
        """A sweep from what a user gave: the model's fields and the notebook's parameters by name.

        A text is read as ``papermill -p`` reads it. None is the default; that of ``dataset`` is
        ``shapes``. ``dataset=auto`` is resolved now, so that all runs have the same; ``threads`` is
        1, as runs go side by side.

        Raises
        ------
        ParameterError
            One line for the first variant, seed or parameter that isn't valid.
        """
        values = {n: parse_value(v) if isinstance(v, str) else v for n, v in options.items()}
        given = {name: value for name, value in values.items() if value is not None}
        names = [name for name in cls.model_fields if name != "parameters"]
        own = {name: given.pop(name) for name in names if name in given}
        for name in given:
            if name in SET_BY_SWEEP:
                raise ParameterError(
                    f"{name}={given[name]!r} can't be set for a sweep; use {SET_BY_SWEEP[name]}"
                )
        refuse_unknown(given, RunRequest.parameters())
        given["dataset"] = resolve_dataset(given.get("dataset", "shapes"))
        if isinstance(file := given.get("variants_file"), str):
            given["variants_file"] = str(Path(file).expanduser().resolve())
        if "logs" in own:
            own["logs"] = logs_folder(str(own["logs"]))
        if "notebook" in own:
            own["notebook"] = Path(str(own["notebook"])).expanduser().resolve()
        sweep = validate(cls, {**own, "parameters": {"threads": 1, **given}})
        if not sweep.notebook.is_file():
            raise ParameterError(f"notebook={str(sweep.notebook)!r}: there is no such file")
        _ = sweep.runs  # makes a request of each, which checks the parameters
        return sweep

    @classmethod
    def read(cls, path: Path) -> "Sweep":
        """The sweep of a file that :meth:`write` made."""
        return cls.model_validate_json(path.read_bytes())

    def write(self) -> Path:
        """Write the sweep into its experiment's folder: a file for each different one."""
        text = self.model_dump_json(indent=2)
        name = hashlib.sha256(text.encode()).hexdigest()[:12]
        path = self.folder / OWN_FOLDER / f"{name}.json"
        write_text(path, text)
        return path

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """All runs, seed by seed."""
        return tuple(self.run(variant, seed) for seed in self.seeds for variant in self.variants)

    def run(self, variant: str, seed: int) -> Run:
        """One of the runs."""
        request = RunRequest.from_parameters(self.parameters_of(variant, seed))
        return Run(request.recipe, request.folder)

    def due(self) -> tuple[Run, ...]:
        """The runs that are missing, damaged or out of date."""
        return tuple(run for run in self.runs if run.due)

    @property
    def folder(self) -> Path:
        """Folder of the experiment."""
        return self.runs[0].folder.path.parents[1]

    @property
    def experiment(self) -> str:
        return self.folder.name

    def parameters_of(self, variant: str, seed: int) -> dict[str, Any]:
        """What the notebook is given for one run."""
        own = {"variant": variant, "seed": seed, "logs": str(self.logs)}
        return {**self.parameters, **own}

    def waiting(self, run: Run) -> Path:
        """The file in which a run's job says whom it waits for, while it does."""
        return self.folder / marker(run.variant, run.seed).with_suffix(".waiting")


def parse_value(text: str) -> Any:
    """The value that ``papermill -p NAME TEXT`` would pass on: a constant, a number or a text.

    But ``007`` stays a text: it may be a name.
    """
    constants = {"True": True, "False": False, "None": None}
    if text in constants:
        return constants[text]
    if text.isdecimal() and text != str(int(text)):
        return text
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            pass
    return text


def marker(variant: str, seed: int | str) -> Path:
    """The empty file that a run's job makes once the run is up to date: Snakemake's output.

    Below the experiment's folder, where Snakemake works: it would read braces in a whole path.
    """
    return Path(OWN_FOLDER) / variant / f"seed{seed}"
