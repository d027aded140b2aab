"""Real processes killed at any moment, mid-write included, end with the bits of one left alone."""

import json
import subprocess
import sys

import kill_runs
import pytest

from labcnn.files import project_root

SCRIPT = project_root() / "benchmarks" / "kill_runs.py"


@pytest.mark.system
def test_killed_at_drawn_moments_and_within_drawn_writes(tmp_path):
    """The script itself, in a process without threads, as its children are forks of it.

    One kill of each case: among them is everything that has a state of its own.
    """
    output = tmp_path / "record.json"
    done = subprocess.run(
        [sys.executable, SCRIPT, "--kills", "8", "--each", "1", "--seed", "5", "--output", output],
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads(output.read_text(encoding="utf-8"))["fit"]
    assert record["kills"] >= 8 and record["identical"] == record["runs"] >= 8
    mid_write = {place for place in record["places"] if ":" in place}
    assert mid_write and mid_write < record["places"].keys()


def test_the_script_sees_what_differs_and_what_is_left(tmp_path):
    """Else a thousand kills would prove nothing."""
    whole = {"history": "a", "weights": "b"}
    assert kill_runs.compared(whole, dict(whole)) == []
    assert kill_runs.compared(whole, {"history": "a", "weights": "c"}) == ["weights"]
    assert kill_runs.compared(whole, {"history": "a"}) == ["weights"]
    folder = tmp_path / "killed" / "short_all" / "seed0"
    folder.mkdir(parents=True)
    assert kill_runs.leftovers(tmp_path) == []
    (folder / ".writing-history.csv.abc").touch()
    (folder / "checkpoint.pt").touch()
    folder.with_name(".seed0.new").mkdir()
    assert len(kill_runs.leftovers(tmp_path)) == 3


WRITES = """
import sys
from pathlib import Path

import pytest
sys.path.insert(0, {benchmarks!r})
import kill_runs
from kill_runs import CASES, FOLDER, RENAMES, STAGES, Blow, Victim
from small_data import small_data
kill_runs.warm_up(small_data(noise=50), Path("warm").resolve())
victim = Victim(CASES[0] | {{"epochs": 1}}, small_data(noise=50), Path("runs").resolve())
blows = [Blow(file=name, stage=stage, nth=2 if name == "checkpoint.pt" else 1)
         for name in ("checkpoint.pt", "history.csv", "predictions.npz", "result.json")
         for stage in STAGES]
renames = [Blow(file=FOLDER, stage=stage) for stage in RENAMES]
overwriting = next(case for case in CASES if case.get("overwrite"))
replacing = Victim(overwriting | {{"epochs": 1}}, small_data(noise=50), Path("over").resolve())
for each, blows in ((victim, blows), (replacing, renames)):
    outcome = each.suffer(iter(blows), "killed")
    assert outcome.killed == [f"{{b.file}}: {{b.stage}}" for b in blows], outcome.killed
    assert outcome.differences == [], outcome.differences
"""


@pytest.mark.system
def test_killed_in_each_stage_of_each_files_writing(tmp_path):
    """One run, sixteen times: half of the bytes, all of them, before and after the rename.

    Another, that overwrites an old one, around the rename of the new folder.
    """
    script = WRITES.format(benchmarks=str(SCRIPT.parent))
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stdout + done.stderr
