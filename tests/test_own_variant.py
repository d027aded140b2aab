"""A variant is one row: in a copy of the project it gets one, is trained, and is in the report."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from docx import Document

from labcnn.files import data_folder, project_root
from labcnn.request import RunRequest
from labcnn.runs import RunFolder
from labcnn.training.trainer import fit

pytestmark = pytest.mark.system

ROW = '    "thrifty_v2": ("+thrifty2", {"norm": True, "dropout": True}),\n'
RECIPE = {"dataset": "shapes", "epochs": 1, "width": 4, "fraction": 0.1, "precision": "fp32"}
SMALL = [f"{name}={value}" for name, value in RECIPE.items()]
OTHER = {**RECIPE, "variant": "short_norm", "device": "cpu", "threads": 1}
FIT = f"""
from labcnn.request import RunRequest
from labcnn.training.trainer import fit
fit(RunRequest.from_parameters({OTHER | {"logs": "logs"}}))
"""
OWN = "short_thrifty_v2"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with one row more."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("labcnn", "labsweep", "labreport", "notebooks", "workflow"):
        shutil.copytree(project_root() / name, folder / name)
    rows = folder / "labcnn" / "variants.py"
    text, last = rows.read_text(encoding="utf-8"), '    "all": ("+all",'
    assert text.count(last) == 1
    rows.write_text(text.replace(last, ROW + last), encoding="utf-8")
    return folder


def python(folder: Path, *arguments: str) -> None:
    own = {"PYTHONPATH": str(folder), "LABCNN_DATA": str(data_folder())}
    done = subprocess.run(
        [sys.executable, "-X", "utf8", *arguments],
        cwd=folder,
        env={**os.environ, **own},
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stdout + done.stderr


def labcnn(folder: Path, command: str, *arguments: str) -> None:
    python(folder, "-m", "labcnn.cli", command, *SMALL, "--logs", "logs", *arguments)


def test_a_row_changes_no_other_variant(copy: Path, logs: Path) -> None:
    python(copy, "-c", FIT)
    fit(RunRequest.from_parameters(OTHER))
    (theirs,), (ours,) = (list(each.glob("*/short_norm/seed0")) for each in (copy / "logs", logs))
    times = ["seconds", "images_per_second"]
    kept, found = (RunFolder(path).history().drop(columns=times) for path in (ours, theirs))
    assert kept.equals(found)


def test_a_variant_of_one_row_is_trained(copy: Path) -> None:
    labcnn(copy, "sweep", "--variants", OWN)
    assert [path.parts[-2] for path in copy.glob(f"logs/*/{OWN}/*/result.json")] == ["seed0"]


def test_a_variant_of_one_row_is_in_the_report(copy: Path) -> None:
    made = ["--formats", "docx", "--output", "made", "--no-images"]
    labcnn(copy, "report", "--variants", f"short_norm {OWN}", *made)
    report = Document(str(copy / "made" / "report.docx"))
    assert "自定义模型" in "".join(paragraph.text for paragraph in report.paragraphs)
    rows = [[read(cell.text) for cell in row.cells] for t in report.tables for row in t.rows]
    row = next(cells for cells in rows if cells[0] == "short+thrifty_v2")
    assert [text for text in row if re.fullmatch(r"\d+\.\d\d \[\d+\.\d\d, \d+\.\d\d\]", text)]


def read(text: str) -> str:
    """A cell's text without what says only where its lines may break."""
    return text.replace("\u200b", "").replace("\xa0", " ")
