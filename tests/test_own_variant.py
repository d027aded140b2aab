"""A variant is one row: in a copy of the project it gets one, is trained, and is in the report."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from labcnn.files import project_root

pytestmark = pytest.mark.system

ROW = '    "thrifty_v2": ("+thrifty2", {"norm": True, "dropout": True}),\n'


def test_a_variant_is_one_row(tmp_path: Path) -> None:
    for name in ("labcnn", "labsweep", "labreport", "notebooks", "workflow"):
        skip = shutil.ignore_patterns("__pycache__", ".snakemake")
        shutil.copytree(project_root() / name, tmp_path / name, ignore=skip)
    rows = tmp_path / "labcnn" / "variants.py"
    text, last = rows.read_text(encoding="utf-8"), '    "all": ("+all",'
    assert text.count(last) == 1
    rows.write_text(text.replace(last, ROW + last), encoding="utf-8")

    def labcnn(*arguments: str) -> str:
        python = [sys.executable, "-X", "utf8", "-m", "labcnn.cli"]
        done = subprocess.run(
            [*python, *arguments], cwd=tmp_path, capture_output=True, encoding="utf-8",
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "mid_thrifty_v2" in labcnn("variants")
    small = ["dataset=shapes", "epochs=1", "width=4", "fraction=0.1"]
    chosen = ["--variants", "short_norm short_thrifty_v2", "--logs", str(tmp_path / "logs")]
    labcnn("sweep", *small, *chosen)
    labcnn("report", *small, *chosen, "--formats", "html", "--output", str(tmp_path / "made"))
    page = (tmp_path / "made" / "report.html").read_text(encoding="utf-8")
    row = re.search(r"<tr[^>]*>\s*<td[^>]*>Shortbaseline\+thrifty2</td>(.*?)</tr>", page, re.DOTALL)
    assert row
    accuracies = re.findall(r">(\d+\.\d\d)<", row[1])
    assert len(accuracies) == 3
