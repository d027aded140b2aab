"""The lines of the report's title block: one table for notebook, command line and document."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from labreport import words

PREFIX = "LABCNN_"


def line(default: str = "", *, about: str, word: str | None) -> Any:
    """A line of the title block.

    Parameters
    ----------
    about : what it is, in the help of the command line.
    word : what stands before it in the report; None for title and subtitle, which stand alone.
    """
    return field(default=default, metadata={"about": about, "word": word})


@dataclass(frozen=True)
class TitleBlock:
    """What stands above the report, in this order; an empty line is left out.

    A field is a parameter of ``notebooks/analysis.ipynb``, an option of ``labcnn report`` and (in
    capitals, with ``LABCNN_`` before it) a variable of the environment.
    """

    title: str = line(words.TITLE, about="title", word=None)
    subtitle: str = line(about="subtitle", word=None)
    course: str = line(about="course", word=words.COURSE)
    author: str = line(about="author", word=words.AUTHOR)
    student_number: str = line(about="student number", word=words.STUDENT_NUMBER)
    date: str = line(about="date, as 2026-01-31", word=words.DATE)

    @classmethod
    def from_parameters(cls, values: Mapping[str, Any]) -> "TitleBlock":
        """The lines among a notebook's parameters; papermill may have made numbers of some."""
        return cls(**{f.name: str(values[f.name]) for f in fields(cls) if f.name in values})

    @property
    def lines(self) -> list[tuple[str, str]]:
        """Word and value of each line below title and subtitle."""
        given = [(f.metadata["word"], getattr(self, f.name)) for f in fields(self)]
        return [(word, value) for word, value in given if word is not None and value]


#: Each line's name, and what it is in English.
LINES: dict[str, str] = {each.name: each.metadata["about"] for each in fields(TitleBlock)}


def variable(name: str) -> str:
    """The environment's variable that gives a line: ``LABCNN_AUTHOR``."""
    return PREFIX + name.upper()
