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

pytestmark = pytest.mark.system

NOTEBOOK = project_root() / "notebooks" / "train.ipynb"
SMOKE = {"dataset": "shapes", "fraction": 0.04, "epochs": 1, "width": 4, "threads": 1}


def papermill(*parameters, cwd, notebook=NOTEBOOK, **given):
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", str(notebook), "out.ipynb"]
    for name, value in [*parameters, *given.items()]:
        command += ["-p", name, str(value)]
    return subprocess.run(command, cwd=cwd, capture_output=True, encoding="utf-8")


def outputs(path):
    """All text that the cells of an executed notebook put out."""
    cells = nbformat.read(path, as_version=4).cells
    return json.dumps([cell.get("outputs", []) for cell in cells], ensure_ascii=False)


def test_from_another_directory_with_spaces_and_chinese_characters(tmp_path, logs):
    home = tmp_path / "我的 实验"
    home.mkdir()
    done = papermill(cwd=home, variant="short_all", seed=2, **SMOKE)
    assert done.returncode == 0, done.stderr
    (row,) = load_runs(logs).table.itertuples()
    assert (row.variant, row.seed, row.epochs_run, row.threads) == ("short_all", 2, 1, 1)
    said = outputs(home / "out.ipynb")
    assert "Demo data" in said and "image/png" in said
    assert said.count("epoch   train loss/acc") == 1

    started = row.folder.result().provenance.started
    again = papermill(cwd=home, variant="short_all", seed=2, **SMOKE)
    assert again.returncode == 0
    assert "This run is finished" in outputs(home / "out.ipynb")
    assert row.folder.result().provenance.started == started
    anew = papermill(cwd=home, variant="short_all", seed=2, overwrite="true", **SMOKE)
    assert anew.returncode == 0, anew.stderr
    assert row.folder.result().provenance.started > started


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("varient", "short_all", ["varient='short_all'", "did you mean 'variant'?"]),
        ("variant", "shrot_all", ["variant='shrot_all'", "did you mean 'short_all'?"]),
        ("epochs", "1e3", ["epochs=1000.0", "valid integer"]),
    ],
)
def test_a_bad_parameter_stops_before_training(name, value, words, tmp_path, logs):
    given = {k: v for k, v in SMOKE.items() if k != name}
    done = papermill((name, value), cwd=tmp_path, **given)
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if "ParameterError: " in line]
    assert len(lines) == 1
    assert all(word in lines[0] for word in words)
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


def test_notebooks_are_stored_without_outputs():
    for path in Path(NOTEBOOK.parent).glob("*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            assert not cell.get("outputs") and cell.get("execution_count") is None


def test_the_notebook_does_not_compute():
    """It narrates: no class, no loop over epochs, no path arithmetic in a cell."""
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        if cell.cell_type == "code":
            for word in ("class ", "for ", "while ", "def ", "Path("):
                assert word not in cell.source, cell.source
