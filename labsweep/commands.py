"""The commands of runs: plan, sweep, list, export, delete. Each imports what it needs."""

import sys
from collections.abc import Iterable
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
Seeds = Annotated[str | None, typer.Option(help="Seeds, as '0 1 2' or 0-2. None: 0.")]
Jobs = Annotated[
    int | None,
    typer.Option(help="Runs side by side. None: one per GPU, or per core without one."),
]
#: On a cluster: jobs in its queue at once.
CLUSTER_JOBS = 100
Logs = Annotated[Path | None, typer.Option(help="Folder of results. None: report/logs.")]


def read_options(parameters: list[str] | None, **own: Any) -> dict[str, Any]:
    """NAME=VALUE arguments and options together; an option's name isn't a parameter."""
    given = parse_assignments(parameters or [])
    for name in own:
        if name in given:
            raise ParameterError(f"{name}={given[name]!r}: write it as --{name}")
    return {**given, **own}


def parse_assignments(texts: Iterable[str]) -> dict[str, str]:
    """``["epochs=2", "augment=true"]`` -> ``{"epochs": "2", "augment": "true"}``."""
    made: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise ParameterError(f"{text!r} is not a parameter; write it as name=value")
        if name in made:
            raise ParameterError(f"{name} is given twice: {made[name]} and {value}")
        made[name] = value
    return made


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


def experiments(logs: Logs = None) -> None:
    """List the experiments: their runs by state, and when the last one finished."""
    from rich.console import Console

    from labcnn.files import logs_folder
    from labsweep.monitor import show_experiments

    show_experiments(logs_folder(logs), Console())


def export(
    output: Annotated[Path, typer.Argument(help="Folder for runs.csv and histories.csv.")],
    experiment: Annotated[
        str | None, typer.Option(help="Folder in the logs. None: all of them.")
    ] = None,
    logs: Logs = None,
) -> None:
    """Write all finished runs as one tidy table, and all their epochs as another."""
    import pandas as pd

    from labcnn.files import logs_folder, write_text
    from labcnn.runs import load_runs

    table, problems = load_runs(logs_folder(logs), experiment)
    for problem in problems:
        print(f"labcnn: left out: {problem}", file=sys.stderr)
    if table.empty:
        raise ParameterError(f"no finished run in {logs_folder(logs) / (experiment or '')}")
    names = ["experiment", "variant", "seed"]
    histories = pd.concat(
        [
            pd.DataFrame([row[names]] * len(epochs)).reset_index(drop=True).join(epochs)
            for _, row in table.iterrows()
            for epochs in [row["folder"].history()]
        ]
    )
    runs = table.assign(folder=[str(run.path) for run in table["folder"]])
    for name, content in (("runs.csv", runs), ("histories.csv", histories)):
        write_text(output / name, content.to_csv(index=False, lineterminator="\n"))
        print(f"{output / name}: {len(content)} rows")


def delete(
    run: Annotated[Path, typer.Argument(help="Folder of a run: …/EXPERIMENT/VARIANT/seedK.")],
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Delete a run with its model, after asking; a run that is trained now is refused."""
    import shutil

    from labcnn.runs import BEGUN, RunFolder, State, find_runs, lock_path, new_path, state

    folder = RunFolder(run.expanduser().resolve())
    if not folder.path.is_dir() or not folder.path.name.removeprefix("seed").isdecimal():
        raise ParameterError(f"run={str(run)!r} is no run's folder; `labcnn runs` lists them")
    kind = state(folder).kind
    if kind is State.RUNNING:
        raise ParameterError(f"run={str(run)!r} is being trained; stop it first")
    if not yes:
        typer.confirm(f"Delete {folder.path} ({kind})?", abort=True)
    for path in (folder.path, new_path(folder.path)):
        shutil.rmtree(path, ignore_errors=path != folder.path or not path.exists())
    lock_path(folder.path).unlink(missing_ok=True)
    experiment = folder.path.parents[1]
    if not find_runs(experiment.parent, experiment.name, BEGUN):  # it was the last one
        shutil.rmtree(experiment, ignore_errors=True)
    print(f"deleted {folder.path}")
