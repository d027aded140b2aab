"""The commands ``labcnn report | compare``. Each imports what it needs when it runs."""

import inspect
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from labcnn.errors import ParameterError
from labreport.title_block import LINES, variable
from labsweep.commands import Logs, Parameters, Seeds, Variants, read_options


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
    output: Annotated[
        Path | None, typer.Option(help="Folder to write to. None: report/<experiment>.")
    ] = None,
    *,
    lines: dict[str, str | None],
) -> None:
    """Execute the analysis notebook on the results that are there, and export the report.

    With --variants, the report is about these alone, of the newest experiment that has them all.
    With NAME=VALUE or --seeds, it is of that sweep's experiment. Runs of either that have no result
    are named, and the exit code is 1: the report is built without them.
    """
    from labcnn.files import logs_folder
    from labreport.build import (
        FORMATS,
        REPORTED,
        build_report,
        list_stale,
        reports_folder,
        require_finished,
    )
    from labreport.study import load_study, newest_experiment
    from labsweep.sweep import Run, Sweep

    wanted = formats.split()
    if not wanted or not set(wanted) <= set(FORMATS):
        raise ParameterError(f"formats={formats!r} must be one or more of {', '.join(FORMATS)}")
    if columns not in (None, 1, 2):
        raise ParameterError(f"columns={columns!r} must be 1 or 2")
    expected: tuple[Run, ...] = ()
    results = logs_folder(logs)
    if parameters or seeds:
        if experiment:
            raise ParameterError("--experiment and a sweep's parameters: give one of them")
        given = read_options(parameters, variants=variants, seeds=seeds, logs=logs)
        chosen = Sweep.from_options(given)
        experiment, expected = chosen.experiment, chosen.runs
    experiment = experiment or newest_experiment(results, (variants or "").split())
    texts = {
        name: value
        for name, value in {
            **lines,
            "variants": variants,
            "tuned": tuned,
            "columns": columns,
        }.items()
        if value
    }
    require_finished(results, experiment)
    study = load_study(results, experiment, only=(variants or "").split())
    print(f"experiment {experiment}")
    exported = build_report(
        results,
        experiment,
        output or reports_folder(experiment),
        texts | ({} if images else {"images": False}),
        wanted,
    )
    for path in exported or ():
        print(path)
    if exported is None:
        print("the report is up to date")
    for problem in study.problems:
        print(f"labcnn: left out: {problem}; the same sweep trains it anew", file=sys.stderr)
    if study.missing and not expected:
        named = ", ".join(study.missing) if variants else f"{len(study.missing)} of the 13 variants"
        print(f"labcnn: the report lacks {named}", file=sys.stderr)
    if stale := list_stale(results, experiment):
        print(f"labcnn: stale results: {len(stale)}, for example {stale[0]}", file=sys.stderr)
    if study.missing and variants and not expected:
        raise typer.Exit(1)
    found = [(run, run.state.kind) for run in expected]
    if missing := [f"{run} ({kind})" for run, kind in found if kind not in REPORTED]:
        print(f"labcnn: the report lacks {', '.join(missing)}", file=sys.stderr)
        raise typer.Exit(1)


def compare(
    variants: Annotated[list[str], typer.Argument(help="The first is compared with the others.")],
    experiment: Annotated[
        str | None, typer.Option(help="Folder in the logs. None: the newest that has them all.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="File for the curves and accuracies: .png, .svg or .pdf.")
    ] = None,
    logs: Logs = None,
) -> None:
    """Compare variants: test accuracy, and the difference from the first, with 95 % intervals."""
    from labreport.compare import compare, list_passed_over
    from labreport.formats import percent

    if plot and plot.suffix not in (".png", ".svg", ".pdf"):
        raise ParameterError(f"plot={str(plot)!r} must end in .png, .svg or .pdf")
    found = compare(*variants, experiment=experiment, logs=logs)
    if experiment is None:
        for other, why in list_passed_over(found, logs):
            print(f"labcnn: newer, but passed over: {other} ({why})", file=sys.stderr)
    print(f"experiment {found.study.experiment}, in percent")
    print(f"{'':20s} seeds   test accuracy           difference from {found.variants[0]}")
    for name, row in found.table.iterrows():
        apart = f"{row.difference:+6.2f} [{row['from']:+.2f}, {row.to:+.2f}]"
        print(
            f"{name:20s} {row.seeds:5.0f}  {percent(row.test / 100):>6} "
            f"[{row.low:.2f}, {row.high:.2f}]"
            + ("" if name == found.variants[0] else f"   {apart}")
        )
    for name in found.variants:
        if status := found.study.bad_status(name):
            print(f"{name}: {status}")
    others = found.findings[1:]
    if any(finding.borrowed for finding in others):
        print("one seed: how far seeds differ is borrowed from other variants of the experiment")
    elif any(finding.seeds == 1 for finding in others):
        print("one seed: the intervals don't know what another seed would change")
    if plot:
        found.plot().savefig(plot)
        print(plot)
