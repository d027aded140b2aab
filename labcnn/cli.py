"""The command line: ``labcnn data | variants | doctor | plan | sweep | runs | report``.

Each command imports what it needs when it runs, so that ``labcnn --help`` answers at once.
"""

import inspect
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from labcnn.errors import LabError, ParameterError, system_cause
from labreport.title_block import LINES, variable

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)

Parameters = Annotated[
    list[str] | None,
    typer.Argument(metavar="NAME=VALUE", help="Parameters of the notebook, as dataset=shapes."),
]
Variants = Annotated[
    str | None, typer.Option(help="Variants, separated by spaces. None: the report's 13.")
]
Seeds = Annotated[str | None, typer.Option(help="Seeds, separated by spaces. None: 0.")]
Jobs = Annotated[
    int | None,
    typer.Option(help="Runs side by side. None: one per GPU, or per core without one."),
]
#: On a cluster: jobs in its queue at once.
CLUSTER_JOBS = 100
Logs = Annotated[Path | None, typer.Option(help="Folder of results. None: report/logs.")]


def title_block_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each line of the title block; it gets them as ``lines``.

    The Makefile gives them by the environment.
    """

    @wraps(command)
    def with_lines(**given: Any) -> None:
        lines = {name: given.pop(name) for name in LINES}
        command(**given, lines=lines)

    options = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=None,
            annotation=Annotated[
                str | None, typer.Option(help=f"The report's {about}.", envvar=variable(name))
            ],
        )
        for name, about in LINES.items()
    ]  # fmt: skip
    signature = inspect.signature(command)
    own = [p for p in signature.parameters.values() if p.name != "lines"]
    changed = signature.replace(parameters=[*own, *options])
    with_lines.__signature__ = changed  # type: ignore[attr-defined]
    return with_lines


def read_options(parameters: list[str] | None, **own: Any) -> dict[str, Any]:
    """NAME=VALUE arguments and options together; an option's name isn't a parameter."""
    from labcnn.request import parse_assignments

    given = parse_assignments(parameters or [])
    for name in own:
        if name in given:
            raise ParameterError(f"{name}={given[name]!r}: write it as --{name}")
    return {**given, **own}


@app.callback()
def labcnn() -> None:
    """CNN ablations on Tiny ImageNet-200, from notebook to report."""


@app.command(
    context_settings={
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        "help_option_names": [],
    }
)
def data(context: typer.Context) -> None:
    """Get Tiny ImageNet-200 (data fetch), or see what is there (data status)."""
    from labcnn.data.commands import data_app

    data_app(context.args, prog_name="labcnn data")


@app.command()
def variants() -> None:
    """List the networks with their switches, parameters and FLOPs."""
    from rich.console import Console
    from rich.table import Table

    from labcnn.models import model_size
    from labcnn.variants import REPORT_VARIANTS, VARIANTS, label

    table = Table(
        box=None,
        pad_edge=False,
        caption="* in the report; width 32, 200 classes; FLOPs of a forward pass of one image",
        caption_justify="left",
    )
    table.add_column("")
    table.add_column("name", no_wrap=True)
    table.add_column("label", no_wrap=True)
    table.add_column("switches")
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_column("MFLOPs", justify="right", no_wrap=True)
    for name, variant in VARIANTS.items():
        size = model_size(name)
        table.add_row(
            "*" if name in REPORT_VARIANTS else "",
            name,
            label(name),
            " ".join(variant.switches),
            f"{size.parameters:,}",
            f"{size.flops / 1e6:,.1f}",
        )
    Console().print(table)


@app.command()
def doctor() -> None:
    """Say what this machine and this installation have."""
    from labcnn.doctor import findings

    for finding in findings():
        print(f"{'ok  ' if finding.good else 'warn'}  {finding.name:7s} {finding.text}")


@app.command()
def plan(
    parameters: Parameters = None,
    variants: Variants = None,
    seeds: Seeds = None,
    jobs: Jobs = None,
    logs: Logs = None,
) -> None:
    """Say what a sweep would run and how long it should take; runs nothing."""
    from rich.console import Console

    from labsweep import Sweep
    from labsweep.gpus import default_jobs
    from labsweep.launch import SnakemakeOptions
    from labsweep.plan import show_plan

    given = read_options(parameters, variants=variants, seeds=seeds, logs=logs)
    chosen = Sweep.from_options(given)
    options = SnakemakeOptions(default_jobs(chosen.parameters) if jobs is None else jobs)
    show_plan(chosen, options.jobs, Console())


@app.command()
def sweep(
    parameters: Parameters = None,
    variants: Variants = None,
    seeds: Seeds = None,
    jobs: Jobs = None,
    logs: Logs = None,
    notebook: Annotated[
        Path | None, typer.Option(help="Notebook of one run. None: notebooks/train.ipynb.")
    ] = None,
    minutes: Annotated[
        str | None, typer.Option(help="Time limit of an attempt at a run. None: no limit.")
    ] = None,
    retries: Annotated[int, typer.Option(help="Further attempts at a run that failed.")] = 1,
    profile: Annotated[
        str | None,
        typer.Option(help="Snakemake profile: slurm, or a folder. None: this machine."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="As `labcnn plan`.")] = False,
) -> None:
    """Run the training notebook for every variant and seed that has no result, or a stale one."""
    from rich.console import Console

    from labsweep import Sweep
    from labsweep.gpus import default_jobs
    from labsweep.launch import SnakemakeOptions, profile_folder, run_sweep
    from labsweep.plan import show_plan

    given = read_options(
        parameters, variants=variants, seeds=seeds, logs=logs, notebook=notebook, minutes=minutes
    )
    chosen = Sweep.from_options(given)
    folder = profile_folder(profile) if profile else None
    if jobs is None:
        jobs = default_jobs(chosen.parameters) if folder is None else CLUSTER_JOBS
    options = SnakemakeOptions(jobs, retries, folder)
    if dry_run:
        show_plan(chosen, options.jobs, Console())
        return
    try:
        missing = run_sweep(chosen, options, Console())
    except KeyboardInterrupt:
        print("labcnn: stopped; the same command goes on from here", file=sys.stderr)
        raise typer.Exit(130) from None
    for run, now in missing.items():
        print(f"labcnn: {run} failed: {now.text}; see {run.notebook}", file=sys.stderr)
    if missing:
        raise typer.Exit(1)


@app.command()
def runs(
    experiment: Annotated[
        str | None, typer.Argument(help="Folder in the logs. None: all of them.")
    ] = None,
    logs: Logs = None,
) -> None:
    """List all runs with their state, and why a finished one is stale; changes nothing."""
    from rich.console import Console

    from labcnn.paths import logs_folder
    from labsweep.monitor import show_runs

    show_runs(logs_folder(logs), experiment, Console())


@app.command()
@title_block_options
def report(
    parameters: Parameters = None,
    variants: Variants = None,
    seeds: Seeds = None,
    experiment: Annotated[
        str | None,
        typer.Option(help="Folder in the logs. None: that of NAME=VALUE, or the newest."),
    ] = None,
    tuned: Annotated[
        str | None,
        typer.Option(help="Folder in the logs for the last row. None: the data set's, if there."),
    ] = None,
    images: Annotated[
        bool, typer.Option(help="Show images of the data set, where it is prepared.")
    ] = True,
    formats: Annotated[str, typer.Option(help="Files to write.")] = "html pdf docx",
    columns: Annotated[
        int | None, typer.Option(help="Columns of the text on paper, 1 or 2. None: 1.")
    ] = None,
    logs: Logs = None,
    output: Annotated[Path | None, typer.Option(help="Folder to write to. None: report.")] = None,
    *,
    lines: dict[str, str | None],
) -> None:
    """Execute the analysis notebook on the results that are there, and export the report.

    With NAME=VALUE, --variants or --seeds, the runs of that sweep that have no result are named,
    and the exit code is 1: the report is built without them.
    """
    from labcnn.paths import logs_folder, project_root
    from labreport.build import (
        FORMATS,
        REPORTED,
        build_report,
        list_stale,
        require_finished,
    )
    from labreport.study import newest_experiment
    from labsweep import Run, Sweep

    wanted = formats.split()
    if not wanted or not set(wanted) <= set(FORMATS):
        raise ParameterError(f"formats={formats!r} must be one or more of {', '.join(FORMATS)}")
    if columns not in (None, 1, 2):
        raise ParameterError(f"columns={columns!r} must be 1 or 2")
    expected: tuple[Run, ...] = ()
    results = logs_folder(logs)
    if parameters or variants or seeds:
        if experiment:
            raise ParameterError("--experiment and a sweep's parameters: give one of them")
        given = read_options(parameters, variants=variants, seeds=seeds, logs=logs)
        chosen = Sweep.from_options(given)
        experiment = chosen.experiment
        expected = chosen.runs
    experiment = experiment or newest_experiment(results)
    texts = {
        name: value
        for name, value in {**lines, "tuned": tuned, "columns": columns}.items()
        if value
    }
    require_finished(results, experiment)
    print(f"experiment {experiment}")
    exported = build_report(
        results,
        experiment,
        output or project_root() / "report",
        texts | ({} if images else {"images": False}),
        wanted,
    )
    for path in exported or ():
        print(path)
    if exported is None:
        print("the report is up to date")
    if stale := list_stale(results, experiment):
        print(f"labcnn: stale results: {len(stale)}, for example {stale[0]}", file=sys.stderr)
    found = [(run, run.state.kind) for run in expected]
    if missing := [f"{run} ({kind})" for run, kind in found if kind not in REPORTED]:
        print(f"labcnn: the report lacks {', '.join(missing)}", file=sys.stderr)
        raise typer.Exit(1)


def main() -> None:
    """Run the command line; an error meant for people is one line, and exit code 2."""
    try:
        app()
    except LabError as error:
        print(f"labcnn: {error}", file=sys.stderr)
        sys.exit(2)
    except Exception as error:
        cause = system_cause(error)
        if not cause:
            raise
        print(f"labcnn: {cause}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
