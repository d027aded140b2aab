"""The parameters of analysis.ipynb: as papermill passes them on, checked before any work."""

from dataclasses import fields
from typing import Any

import nbformat
import pytest

from labcnn.errors import ParameterError
from labcnn.files import project_root
from labcnn.notebook import assigned_names
from labreport.request import ReportRequest
from labreport.title_block import TitleBlock
from labsweep.sweep import parse_value


def test_the_notebook_has_the_requests_parameters_and_the_title_blocks() -> None:
    cells = nbformat.read(project_root() / "notebooks" / "analysis.ipynb", as_version=4).cells
    (cell,) = [each for each in cells if "parameters" in each.metadata.get("tags", [])]
    title_block = [each.name for each in fields(TitleBlock)]
    assert set(assigned_names(cell.source)) == {*ReportRequest.model_fields, *title_block}


def test_words_for_false_and_names_of_digits_are_read_as_they_are_meant() -> None:
    for word in ("false", "no", False):
        assert not ReportRequest.from_parameters({"images": word}).images
    assert ReportRequest.from_parameters({"experiment": 7, "author": "x"}).experiment == "7"
    assert (parse_value("007"), parse_value("7"), parse_value("0"), parse_value("0.5")) == (
        "007", 7, 0, 0.5,
    )  # fmt: skip


def test_a_wrong_value_is_one_line() -> None:
    wrong: dict[str, tuple[Any, str]] = {
        "images": ("maybe", "images='maybe' isn't valid"),
        "columns": (7, "columns=7 isn't valid: Input should be 1 or 2"),
        "logs": (["a"], r"logs=\['a'\] isn't valid"),
    }
    for name, (value, said) in wrong.items():
        with pytest.raises(ParameterError, match=said) as error:
            ReportRequest.from_parameters({name: value})
        assert "\n" not in str(error.value)
