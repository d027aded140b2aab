"""What is left of an attempt that failed: a small file in the run's folder."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from labcnn.files import write_text

FAILURE = "failure.json"

Kind = Literal["error", "died", "time limit"]


class Failure(BaseModel):
    """Why the latest attempt at a run ended without a result.

    ``kind``: ``error`` (a cell raised, or the notebook can't be executed), ``died`` (its kernel was
    killed, or ran out of memory) or ``time limit``; ``attempt`` counts from 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    message: str
    attempt: int
    when: str

    def __str__(self) -> str:
        return self.message if self.kind == "error" else f"{self.kind}: {self.message}"


def record(folder: Path, kind: Kind, message: str, attempt: int) -> Failure:
    """Write ``failure.json`` into a run's folder."""
    when = datetime.now(UTC).isoformat(timespec="seconds")
    failure = Failure(kind=kind, message=message, attempt=attempt, when=when)
    write_text(folder / FAILURE, failure.model_dump_json(indent=2) + "\n")
    return failure


def read(folder: Path) -> Failure | None:
    """The failure that a run's folder holds; None without one."""
    try:
        return Failure.model_validate_json((folder / FAILURE).read_bytes())
    except (OSError, ValidationError):
        return None
