"""The lines of the report's title block: one table for notebook, command line and document."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from labreport import words

PREFIX = "LABCNN_"


def _line(default: str = "", *, about: str) -> str:
    line: str = field(default=default, metadata={"about": about})
    return line


@dataclass(frozen=True)
class TitleBlock:
    """What stands above the report, line by line; an empty line is left out.

    A field is a parameter of ``notebooks/analysis.ipynb``, an option of ``labcnn report`` and (in
    capitals, with ``LABCNN_`` before it) a variable of the environment.
    """

    title: str = _line(words.TITLE, about="title")
    subtitle: str = _line(about="subtitle")
    author: str = _line(about="author")
    student_number: str = _line(about="student number")
    course: str = _line(about="course")
    date: str = _line(about="date, as 2026-01-31")

    @classmethod
    def from_parameters(cls, values: Mapping[str, Any]) -> "TitleBlock":
        """The lines among a notebook's parameters; papermill may have made numbers of some."""
        return cls(**{line: str(values[line]) for line in LINES if line in values})


#: Each line's name, and what it is in English.
LINES: dict[str, str] = {line.name: line.metadata["about"] for line in fields(TitleBlock)}


def variable(line: str) -> str:
    """The environment's variable that gives a line: ``LABCNN_AUTHOR``."""
    return PREFIX + line.upper()
