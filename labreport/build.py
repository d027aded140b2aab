"""Build the report: execute the analysis notebook on what is there, and export it."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from labcnn.data import cache
from labcnn.errors import ReportError
from labcnn.files import project_root
from labcnn.runs import (
    FAILURE,
    GRADIENTS,
    HISTORY,
    PREDICTIONS,
    RESULT,
    State,
    find_runs,
    state,
)
from labreport.export import ExportError, export_report
from labsweep.execute import execute

STEM = "report"
DIGEST = ".report.sha256"
FORMATS = ("html", "pdf", "docx")
#: Modules of labcnn that a report is made with.
SHARED = ("recipe", "runs", "variants")
#: States of a run whose result a report shows.
REPORTED = (State.DONE, State.STALE)


def build_report(
    logs: Path,
    experiment: str,
    folder: Path,
    parameters: Mapping[str, str | int],
    formats: Sequence[str] = FORMATS,
    notebook: Path | None = None,
) -> list[Path] | None:
    """Write ``report.ipynb`` and its exports into ``folder``.

    Parameters
    ----------
    logs : folder of results; ``experiment`` is the folder in it that the report is about.
    parameters : further ones of the notebook: lines of the title block, tuned, images, columns.
    formats : ``html``, ``pdf``, ``docx``.
    notebook : None is ``notebooks/analysis.ipynb``.

    Returns
    -------
    list of Path, or None
        The exported files; None if they were made from the same results, parameters and code.

    Raises
    ------
    ReportError
        There is no finished run, or a format is unknown.
    RunError
        The notebook failed: says where it is.
    """
    require_finished(logs, experiment)
    notebook = notebook or project_root() / "notebooks" / "analysis.ipynb"
    own = {"experiment": experiment, "logs": str(logs), "log_links": link_to_logs(folder, logs)}
    given = {**own, **parameters}
    read = list_inputs(logs, experiment, str(parameters.get("tuned", "")))
    # Where the data is prepared, there are images to show.
    settings = given, list(formats), cache.list_prepared()
    digest = fingerprint([notebook, *read], settings)
    stamp, exports = folder / DIGEST, [folder / f"{STEM}.{each}" for each in formats]
    if all(path.exists() for path in [stamp, *exports]):
        if stamp.read_text(encoding="utf-8") == digest:
            return None
        stamp.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    executed = folder / f"{STEM}.ipynb"
    execute(notebook, executed, given, save_each_cell=False)
    try:
        export_report(executed, folder, formats, STEM)
    except ExportError as error:
        raise ReportError(str(error)) from None
    stamp.write_text(digest, encoding="utf-8")
    return exports


def reports_folder(experiment: str) -> Path:
    """Where an experiment's report goes unless a folder is named: ``report/<experiment>``."""
    folder = project_root() / "report" / experiment
    if folder == project_root() / "report" / "logs":
        raise ReportError(
            f"experiment={experiment!r} is called as the folder of logs: give --output"
        )
    return folder


def require_finished(logs: Path, experiment: str) -> None:
    """Raise a :class:`ReportError` if an experiment has no finished run."""
    if not find_runs(logs, experiment):
        known = sorted({run.experiment for run in find_runs(logs)})
        valid = f"; valid: {', '.join(known)}" if known else ""
        raise ReportError(f"experiment {experiment!r} has no finished run in {logs}{valid}")


def list_stale(logs: Path, experiment: str) -> list[str]:
    """Results that the code or the data here would give differently: a line each."""
    found = [(run, state(run, ask_lock=False)) for run in find_runs(logs, experiment)]
    return [
        f"{run.variant} seed {run.seed}: {'; '.join(its.reasons)}"
        for run, its in found
        if its.kind is State.STALE
    ]


def link_to_logs(folder: Path, logs: Path) -> str:
    """The folder of results as a report in ``folder`` links to it; empty where it isn't inside.

    A link that leaves the report's folder would name this machine's, and break when sent on.
    """
    path = Path(os.path.relpath(logs.resolve(), folder.resolve())).as_posix()
    return "" if path.startswith("..") or Path(path).is_absolute() else path


def list_inputs(logs: Path, experiment: str, tuned: str = "") -> list[Path]:
    """The code, and the results of the experiment and of the tuned one that may be its last row."""
    beside = [logs / tuned] if tuned else logs.glob("*-tuned")
    results = [file for part in (logs / experiment, *beside) for file in list_results(part)]
    return [*list_sources(), *sorted(results)]


def list_results(folder: Path) -> list[Path]:
    """The files below an experiment's folder that the report is made from."""
    names = (RESULT, HISTORY, GRADIENTS, PREDICTIONS, FAILURE)
    runs = find_runs(folder.parent, folder.name, names)
    return [path for run in runs for name in names if (path := run.path / name).exists()]


def list_sources() -> list[Path]:
    """The code that makes the report: an export is redone when it changes, not for the rest."""
    package = Path(__file__).parent
    shared = [package.parent / "labcnn" / f"{name}.py" for name in SHARED]
    kept = [path for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    return sorted([*shared, *kept])


def fingerprint(files: Iterable[Path], settings: object) -> str:
    """A digest of the files' places and contents, and of the settings."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for path in files:
        digest.update(str(path).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
