"""What a report's notebook is given, checked as a run's parameters are."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from labcnn.recipe import Switch, validate

#: papermill passes a name of digits on as a number.
Text = Annotated[str, Field(strict=False, coerce_numbers_to_str=True)]


class ReportRequest(BaseModel):
    """The parameters of analysis.ipynb but the lines of the title block.

    Attributes
    ----------
    experiment : its folder's name; None is the one with the newest results.
    variants : those that the report is about, separated by spaces; None: all.
    tuned : the experiment of the last row; None is the data set's own, where it is there.
    logs : folder of results; None is the usual one.
    log_links : the folder of results as seen from the report, to link to; empty: no links.
    images : whether to show images of the data set.
    columns : of the text on paper.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    experiment: Text | None = None
    variants: Text | None = None
    tuned: Text | None = None
    logs: Text | None = None
    log_links: Text = ""
    images: Switch = True
    columns: Literal[1, 2] = 1

    @property
    def chosen(self) -> tuple[str, ...]:
        """The names in ``variants``; none: all."""
        return tuple((self.variants or "").split())

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> "ReportRequest":
        """A request from a notebook's parameters; those of the title block are left to that.

        Raises
        ------
        ParameterError
            One line: the parameter, its value, and what is valid.
        """
        return validate(cls, {n: v for n, v in parameters.items() if n in cls.model_fields})
