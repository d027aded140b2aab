"""The last row: the same kind of network trained by the protocol ``tuned``."""

from pathlib import Path

from labcnn.errors import ReportError
from labcnn.paths import logs_folder
from labcnn.runs import find_runs
from labreport.study import Study, load_study


def load_tuned(
    study: Study, logs: str | Path | None = None, experiment: str | None = None
) -> Study | None:
    """The experiment of protocol ``tuned`` that belongs beside a study; None without one.

    Parameters
    ----------
    logs : as for :func:`labreport.study.load_study`.
    experiment : its folder's name; None is ``<data set>-tuned`` where it has a finished run on the
        same data.

    Raises
    ------
    ReportError
        The experiment that was given has no finished run, is of another protocol or of other data.
    """
    name = experiment or f"{study.recipe.dataset}-tuned"
    if name == study.experiment:
        return None
    if experiment is None and not find_runs(logs_folder(logs), name):
        return None
    try:
        found = load_study(logs, name)
    except ReportError:
        if experiment is None:
            return None
        raise
    fault = _fault(study, found)
    if fault and experiment is not None:
        raise ReportError(f"tuned={experiment!r} {fault}")
    return None if fault else found


def _fault(study: Study, found: Study) -> str:
    if found.recipe.protocol != "tuned":
        return f"has protocol={found.recipe.protocol!r}; it must be 'tuned'"
    prints = [
        next(iter(s.results.values())).provenance.data_fingerprint[:12] for s in (study, found)
    ]
    if prints[0] != prints[1]:
        return f"was made from other data ({prints[1]}) than {study.experiment!r} ({prints[0]})"
    return ""
