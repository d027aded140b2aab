"""A variant is one row: in a copy of the project it gets one, is trained, and is in the report."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from labcnn.files import data_folder, project_root

pytestmark = pytest.mark.system

ROW = '    "thrifty_v2": ("+thrifty2", {"norm": True, "dropout": True}),\n'
SMALL = ["dataset=shapes", "epochs=1", "width=4", "fraction=0.1"]
CHOSEN = ["--variants", "short_norm short_thrifty_v2", "--logs", "logs"]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with one row more: this variant and one of the report's, and their report."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("labcnn", "labsweep", "labreport", "notebooks", "workflow"):
        shutil.copytree(project_root() / name, folder / name)
    rows = folder / "labcnn" / "variants.py"
    text, last = rows.read_text(encoding="utf-8"), '    "all": ("+all",'
    assert text.count(last) == 1
    rows.write_text(text.replace(last, ROW + last), encoding="utf-8")
    labcnn(folder, "sweep", *SMALL, *CHOSEN)
    made = ["--formats", "html", "--output", "made", "--no-images"]
    labcnn(folder, "report", *SMALL, *CHOSEN, *made)
    return folder


def labcnn(folder: Path, *arguments: str) -> None:
    own = {"PYTHONPATH": str(folder), "LABCNN_DATA": str(data_folder())}
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-m", "labcnn.cli", *arguments],
        cwd=folder,
        env={**os.environ, **own},
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_variant_of_one_row_is_trained(copy: Path) -> None:
    results = copy.glob("logs/*/*/seed0/result.json")
    assert {path.parts[-3] for path in results} == {"short_norm", "short_thrifty_v2"}


def test_a_variant_of_one_row_is_in_the_report(copy: Path) -> None:
    page = (copy / "made" / "report.html").read_text(encoding="utf-8")
    page = re.sub(r"</?(?:span|wbr)[^>]*>", "", page)
    row = re.search(r"<tr[^>]*>\s*<td[^>]*>short\+thrifty_v2</td>(.*?)</tr>", page, re.DOTALL)
    assert row and "自定义模型" in page
    assert re.search(r">\d+\.\d\d \[\d+\.\d\d, \d+\.\d\d\]<", row[1])
