"""The commands ``labcnn plan | sweep | runs``. Each imports what it needs when it runs."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from labcnn.errors import ParameterError

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


def read_options(parameters: list[str] | None, **own: Any) -> dict[str, Any]:
    """NAME=VALUE arguments and options together; an option's name isn't a parameter."""
    from labcnn.request import parse_assignments

    given = parse_assignments(parameters or [])
    for name in own:
        if name in given:
            raise ParameterError(f"{name}={given[name]!r}: write it as --{name}")
    return {**given, **own}


def plan(
    parameters: Parameters = None,
    variants: Variants = None,
    seeds: Seeds = None,
    jobs: Jobs = None,
    logs: Logs = None,
) -> None:
    """Say what a sweep would run and how long it should take; runs nothing."""
    from rich.console import Console

    from labsweep.gpus import default_jobs
    from labsweep.launch import SnakemakeOptions
    from labsweep.plan import show_plan
    from labsweep.sweep import Sweep

    given = read_options(parameters, variants=variants, seeds=seeds, logs=logs)
    chosen = Sweep.from_options(given)
    options = SnakemakeOptions(default_jobs(chosen.parameters) if jobs is None else jobs)
    show_plan(chosen, options.jobs, Console())


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

    from labsweep.gpus import default_jobs
    from labsweep.launch import SnakemakeOptions, profile_folder, run_sweep
    from labsweep.plan import show_plan
    from labsweep.sweep import Sweep

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


def runs(
    experiment: Annotated[
        str | None, typer.Argument(help="Folder in the logs. None: all of them.")
    ] = None,
    logs: Logs = None,
) -> None:
    """List all runs with their state, and why a finished one is stale; changes nothing."""
    from rich.console import Console

    from labcnn.files import logs_folder
    from labsweep.monitor import show_runs

    show_runs(logs_folder(logs), experiment, Console())
