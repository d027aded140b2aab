"""Where things are: found from the package, so that notebooks run from any directory."""

import os
from pathlib import Path

DATA_VARIABLE = "LABCNN_DATA"
LOGS_VARIABLE = "LABCNN_LOGS"


def project_root() -> Path:
    """The checkout this package stands in, or the current directory for a plain install."""
    checkout = Path(__file__).resolve().parents[1]
    return checkout if (checkout / "notebooks" / "train.ipynb").exists() else Path.cwd()


def data_folder() -> Path:
    """Folder of downloads and decoded caches: ``$LABCNN_DATA``, else ``data/`` of the checkout."""
    given = os.environ.get(DATA_VARIABLE)
    return Path(given).expanduser().resolve() if given else project_root() / "data"


def logs_folder(given: str | Path | None = None) -> Path:
    """Folder of results: ``given``, else ``$LABCNN_LOGS``, else ``report/logs`` of the checkout."""
    chosen = given or os.environ.get(LOGS_VARIABLE)
    return Path(chosen).expanduser().resolve() if chosen else project_root() / "report" / "logs"
