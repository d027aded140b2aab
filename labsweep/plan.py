"""What a sweep would run, and how long it should take by what was measured so far."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapreplace
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from labcnn.data import load_dataset
from labcnn.errors import DataError, ParameterError
from labcnn.recipe import CHOICES, Recipe
from labcnn.runs import RunResult, find_runs, state
from labsweep.launch import require_data_and_device, require_same_recipe
from labsweep.monitor import duration
from labsweep.sweep import Run, Sweep


class Speed(NamedTuple):
    """Images/s of a variant's training, by runs of it; or estimated, by runs of others."""

    images_per_second: float
    estimated: bool


@dataclass(frozen=True)
class VariantPlan:
    """What a sweep would run of one variant.

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


def plan(sweep: Sweep) -> list[VariantPlan]:
    """A line per variant, in the sweep's order.

    Raises
    ------
    RunError
        The experiment has runs of another recipe, so that the sweep would be refused.
    """
    require_same_recipe(sweep)
    try:
        device, threads, precision = this_device(sweep.parameters)
    except ParameterError:  # it isn't on this machine, which may only send the runs to others
        device, threads, precision = "", 0, ""
    measured = [
        result
        for result in load_results(sweep.logs)
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
        lines.append(VariantPlan(variant, len(runs), due, recipe.epochs, images, speed))
    return lines


def this_device(parameters: Mapping[str, Any]) -> tuple[str, int, str]:
    """The name of the device that runs have on this machine, their threads and precision."""
    from labcnn.training.hardware import choose_hardware  # imports torch

    found = choose_hardware(parameters.get("device", "auto"), parameters.get("precision", "auto"))
    return found.name, parameters["threads"], found.precision


def training_images(recipe: Recipe) -> int | None:
    """How many images an epoch has; None where the data set isn't there."""
    try:
        return len(load_dataset(recipe.dataset, recipe.fraction).train)
    except DataError:
        return None


def load_results(logs: Path) -> list[RunResult]:
    """All results of a folder of logs that are whole."""
    found = (state(run, ask_lock=False).result for run in find_runs(logs))
    return [result for result in found if result is not None]


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
        return Speed(median(own), estimated=False)
    if alike:
        from labcnn.models import model_size  # imports torch

        flops = median(speed * size for _, speed, size in alike)
        size = model_size(recipe.variant, recipe.width, size=recipe.last_size).flops
        return Speed(flops / size, estimated=True)
    return None


def comparable(found: Recipe, wanted: Recipe) -> bool:
    """Whether two recipes' steps cost the same, but for the network."""
    names = ["protocol", *(name for name, choice in CHOICES.items() if choice.cost)]
    return all(getattr(found, name) == getattr(wanted, name) for name in names)


def wall_seconds(lines: Iterable[VariantPlan], jobs: int) -> float | None:
    """How long the due runs take, ``jobs`` of them at a time; None if one's time isn't known."""
    seconds = [line.seconds for line in lines for _ in line.due]
    known = [each for each in seconds if each is not None]
    if len(known) < len(seconds):
        return None
    return makespan(sorted(known, reverse=True), jobs)


def makespan(seconds: Sequence[float], jobs: int) -> float:
    """When the last of ``jobs`` workers ends, each taking the next of ``seconds`` when free."""
    ends = [0.0] * jobs
    for each in seconds:
        heapreplace(ends, ends[0] + each)
    return max(ends)


def show_plan(sweep: Sweep, jobs: int, console: Console) -> None:
    """A line per variant, and the sum."""
    lines = plan(sweep)
    table = Table(box=None, pad_edge=False)
    table.add_column("variant", no_wrap=True)
    for column in ("runs", "due", "epochs", "images", "images/s", "a run"):
        table.add_column(column, no_wrap=True, justify="right")
    for line in lines:
        table.add_row(*_cells(line))
    console.print(table)
    if any(line.speed and line.speed.estimated for line in lines):
        console.print("~ estimated by the FLOP/s of other runs", highlight=False)
    if any(line.speed is None for line in lines):
        console.print("? nothing like it was measured yet", highlight=False)
    for why, count in Counter(why for line in lines for why in line.due.values()).items():
        console.print(f"{count} due: {why}", highlight=False, markup=False, soft_wrap=True)
    due = sum(len(line.due) for line in lines)
    seconds = wall_seconds(lines, jobs)
    took = "time not known" if seconds is None else f"at most about {duration(seconds)}"
    side = f"{jobs} side by side" if jobs > 1 else "one after another"
    summary = f"{sweep.experiment}: {due} of {len(sweep.runs)} runs are due, {side}: {took}"
    nothing = f"{sweep.experiment}: nothing is due"
    console.print(summary if due else nothing, highlight=False, soft_wrap=True)
    if due:
        try:
            require_data_and_device(sweep)
        except (DataError, ParameterError) as error:  # the runs may be meant for another one
            console.print(f"not here: {error}", highlight=False, markup=False, soft_wrap=True)


def _cells(line: VariantPlan) -> list[str]:
    about = "~" if line.speed and line.speed.estimated else ""
    return [
        line.variant,
        str(line.runs),
        str(len(line.due)),
        str(line.epochs),
        "?" if line.images is None else f"{line.images:,}",
        "?" if line.speed is None else f"{about}{line.speed.images_per_second:,.0f}",
        "?" if line.seconds is None else duration(line.seconds),
    ]
