"""train.ipynb as users run it: the papermill command, anywhere, with good and bad values."""

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from labcnn.files import project_root
from labcnn.notebook import assigned_names
from labcnn.request import RunRequest
from labcnn.runs import load_runs

NOTEBOOK = project_root() / "notebooks" / "train.ipynb"
SMOKE = {"dataset": "shapes", "fraction": 0.04, "epochs": 1, "width": 4, "threads": 1}
SMOKE |= {"first_size": 16, "last_size": 16}


def papermill(cwd, **given):
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", str(NOTEBOOK), "out.ipynb"]
    for name, value in given.items():
        command += ["-p", name, str(value)]
    return subprocess.run(command, cwd=cwd, capture_output=True, encoding="utf-8")


def outputs(path):
    """All text that the cells of an executed notebook put out."""
    cells = nbformat.read(path, as_version=4).cells
    return json.dumps([cell.get("outputs", []) for cell in cells], ensure_ascii=False)


@pytest.mark.system
def test_from_another_directory_with_spaces_and_chinese_characters(tmp_path, logs):
    home = tmp_path / "我的 实验"
    home.mkdir()
    done = papermill(cwd=home, variant="short_all", seed=2, **SMOKE)
    assert done.returncode == 0, done.stderr
    (row,) = load_runs(logs).table.itertuples()
    assert (row.variant, row.seed, row.epochs_run, row.threads) == ("short_all", 2, 1, 1)
    said = outputs(home / "out.ipynb")
    assert "演示数据" in said and said.count("image/png") == 4
    assert said.count("训练损失/准确率") == 1
    assert (home / "out.ipynb").stat().st_size < 1_000_000


@pytest.mark.system
def test_a_bad_parameter_stops_before_training(tmp_path, logs):
    done = papermill(cwd=tmp_path, varient="short_all", **SMOKE)
    assert done.returncode != 0
    (line,) = (line for line in done.stderr.splitlines() if "ParameterError: " in line)
    assert "varient='short_all'" in line and "did you mean 'variant'?" in line
    assert "Traceback" not in outputs(tmp_path / "out.ipynb")
    assert not logs.exists()


def test_parameters_are_literals_with_a_type_comment_and_all_of_them():
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    (cell,) = [c for c in cells if "parameters" in c.metadata.get("tags", [])]
    lines = cell.source.splitlines()
    assert lines[0] == "# parameters"
    for line in lines[1:]:
        value, comment = line.split("  # ")
        assert comment.split(":")[0].split(" ")[0] in {"str", "int", "float", "bool"}
        compile(value, "cell", "exec")
    assert sorted(assigned_names(cell.source)) == sorted(RunRequest.parameters())


def test_notebooks_are_stored_without_outputs_and_this_one_narrates():
    """No class, no loop over epochs, no path arithmetic in a cell."""
    for path in Path(NOTEBOOK.parent).glob("*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            assert not cell.get("outputs") and cell.get("execution_count") is None
            if cell.cell_type == "code" and path == NOTEBOOK:
                for word in ("class ", "for ", "while ", "def ", "Path("):
                    assert word not in cell.source, cell.source
