"""Is a run's folder whole? A file cut in copying is named, not read as a result."""

from collections.abc import Callable
from zipfile import BadZipFile, is_zipfile

import pandas as pd

from labcnn.runs import (
    GRADIENT_COLUMNS,
    GRADIENTS,
    HISTORY,
    HISTORY_COLUMNS,
    PREDICTIONS,
    RESULT,
    RunFolder,
)


def damage(run: RunFolder) -> str:
    """A line that names the file of a run that is cut; empty for a whole run."""
    result = run.result()
    wholes: dict[str, Callable[[], bool]] = {
        HISTORY: lambda: len(run.history()[list(HISTORY_COLUMNS)]) == result.epochs_run,
        GRADIENTS: lambda: _complete(run.gradients()[list(GRADIENT_COLUMNS)], result.epochs_run),
        PREDICTIONS: lambda: (
            is_zipfile(run.path / PREDICTIONS)  # numpy leaves a cut one open
            and len(run.predictions()["test_predicted"]) == result.test.count
        ),
    }
    for name, whole in wholes.items():
        try:
            if not whole():
                return f"{run.path / name}: cut, not the length that {RESULT} says"
        except (OSError, ValueError, KeyError, EOFError, BadZipFile):
            return f"{run.path / name}: cut or foreign, can't be read"
    return ""


def _complete(gradients: pd.DataFrame, epochs_run: int) -> bool:
    """Every layer in every epoch, but perhaps the last of a run that diverged in it."""
    epochs, layers = gradients["epoch"], gradients["layer"]
    square = len(gradients) == epochs.nunique() * layers.nunique()
    return square and int(epochs.max()) >= epochs_run - 1
