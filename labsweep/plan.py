"""What a sweep would run, and how long it should take by what was measured so far."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from heapq import heapreplace
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from labcnn.data import load_dataset
from labcnn.errors import DataError, ParameterError, RunError
from labcnn.recipe import CHOICES, Recipe
from labcnn.runs import RunResult, find_runs
from labsweep.grid import Run, Sweep


class Speed(NamedTuple):
    """Images/s of a variant's training: measured by ``runs`` of it, or estimated by others."""

    images_per_second: float
    runs: int
    estimated: bool


@dataclass(frozen=True)
class Line:
    """One variant of a plan.

    Attributes
    ----------
    due : its runs that are to be run, and why.
    epochs, images : of a run: at most so many epochs, of so many training images.
    speed : None where nothing was measured yet.
    """

    variant: str
    runs: int
    due: dict[Run, str]
    epochs: int
    images: int | None
    speed: Speed | None

    @property
    def seconds(self) -> float | None:
        """Of one run, if no early stopping ends it before: epochs x images / (images/s)."""
        if self.speed is None or self.images is None:
            return None
        return self.epochs * self.images / self.speed.images_per_second


def plan(sweep: Sweep) -> list[Line]:
    """A line per variant, in the sweep's order."""
    try:
        device, threads, precision = this_device(sweep.parameters)
    except ParameterError:  # it isn't on this machine, which may only send the runs to others
        device, threads, precision = "", 0, ""
    measured = [
        result
        for result in results_below(sweep.logs)
        if result.provenance.device_name == device
        and result.provenance.precision == precision
        and (result.provenance.device != "cpu" or result.provenance.threads == threads)
    ]
    images = training_images(sweep.runs[0].recipe)
    lines = []
    for variant in sweep.variants:
        runs = [run for run in sweep.runs if run.variant == variant]
        due = {run: why for run in runs if (why := run.due)}
        recipe = runs[0].recipe
        speed = speed_of(recipe, measured)
        lines.append(Line(variant, len(runs), due, recipe.epochs, images, speed))
    return lines


def this_device(parameters: Mapping[str, Any]) -> tuple[str, int, str]:
    """The name of the device that runs have on this machine, their threads and precision."""
    from labcnn.training.hardware import choose_hardware  # imports torch

    found = choose_hardware(parameters.get("device", "auto"), parameters.get("precision", "auto"))
    return found.name, parameters.get("threads", 1), found.precision


def training_images(recipe: Recipe) -> int | None:
    """How many images an epoch has; None where the data set isn't there."""
    try:
        return len(load_dataset(recipe.dataset, recipe.fraction).train)
    except DataError:
        return None


def results_below(logs: Path) -> list[RunResult]:
    """All results of a folder of logs that can be read."""
    found = []
    for run in find_runs(logs):
        with suppress(RunError):
            found.append(run.result())
    return found


def speed_of(recipe: Recipe, measured: Iterable[RunResult]) -> Speed | None:
    """A variant's speed by finished runs of its protocol and width: its own, else by FLOPs.

    Parameters
    ----------
    recipe : of the run to come.
    measured : the finished runs to go by.
    """
    alike = [
        (result.recipe.variant, result.timing.images_per_second, result.model.flops)
        for result in measured
        if comparable(result.recipe, recipe)
    ]
    own = [speed for variant, speed, _ in alike if variant == recipe.variant]
    if own:
        return Speed(median(own), len(own), estimated=False)
    if alike:
        from labcnn.models import model_size  # imports torch

        flops = median(speed * size for _, speed, size in alike)
        size = model_size(recipe.variant, recipe.width, size=recipe.last_size).flops
        return Speed(flops / size, len(alike), estimated=True)
    return None


def comparable(found: Recipe, wanted: Recipe) -> bool:
    """Whether two recipes' steps cost the same, but for the network."""
    names = ["protocol", *(name for name, choice in CHOICES.items() if choice.cost)]
    return all(getattr(found, name) == getattr(wanted, name) for name in names)


def wall_seconds(lines: Iterable[Line], places: int) -> float | None:
    """How long the due runs take on so many places, longest first; None if one isn't known."""
    seconds = [line.seconds for line in lines for _ in line.due]
    known = [each for each in seconds if each is not None]
    if len(known) < len(seconds):
        return None
    return busiest(sorted(known, reverse=True), places)


def busiest(seconds: Sequence[float], places: int) -> float:
    """When the last of ``places`` ends, each taking the next of ``seconds`` when it is free."""
    ends = [0.0] * places
    for each in seconds:
        heapreplace(ends, ends[0] + each)
    return max(ends)
