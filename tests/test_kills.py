"""Real processes killed at any moment, mid-write included, end with the bits of one left alone."""

import json
import subprocess
import sys

import kill_runs
import pytest

from labcnn.files import project_root

SCRIPT = project_root() / "benchmarks" / "kill_runs.py"
#: Begins a script whose process has no threads, as its children are forks of it.
BEGIN = f"""
import sys
sys.path.insert(0, {str(SCRIPT.parent)!r})
import kill_runs
"""
#: One kill of two of the cases.
TWO = "kill_runs.CASES = kill_runs.CASES[{first}::4]\nkill_runs.main()"


def run_script(text, *arguments, folder):
    command = [sys.executable, "-c", BEGIN + text, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.system
@pytest.mark.parametrize(("first", "seed"), [(0, 10), (1, 2), (2, 1), (3, 0)])
def test_killed_at_a_drawn_moment_and_within_a_drawn_write(tmp_path, first, seed):
    """The script itself, on each of its cases once: all that has a state of its own is in one."""
    output = tmp_path / "record.json"
    given = ["--kills", 2, "--each", 1, "--seed", seed, "--output", output]
    run_script(TWO.format(first=first), *given, folder=tmp_path)
    record = json.loads(output.read_text(encoding="utf-8"))["fit"]
    assert record["kills"] >= 2 and record["identical"] == record["runs"] >= 2
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


#: One run, killed in each stage of the writing of a file.
WRITES = """
from pathlib import Path
from kill_runs import CASES, FOLDER, RENAMES, STAGES, Blow, Victim
from small_data import small_data
data = small_data(noise=50)
kill_runs.warm_up(data, Path("warm").resolve())
case = CASES[0] if {file!r} != FOLDER else next(case for case in CASES if case.get("overwrite"))
stages = STAGES if {file!r} != FOLDER else RENAMES
nth = 2 if {file!r} == "checkpoint.pt" else 1
blows = [Blow(file={file!r}, stage=stage, nth=nth) for stage in stages]
outcome = Victim(case | {{"epochs": 1}}, data, Path("runs").resolve()).suffer(iter(blows), "killed")
assert outcome.killed == [f"{{b.file}}: {{b.stage}}" for b in blows], outcome.killed
assert outcome.differences == [], outcome.differences
"""


@pytest.mark.system
@pytest.mark.parametrize(
    "file", ["checkpoint.pt", "history.csv", "predictions.npz", "result.json", kill_runs.FOLDER]
)
def test_killed_in_each_stage_of_a_files_writing(tmp_path, file):
    """Half of the bytes, all of them, before and after the rename.

    Of a run that overwrites an old one, around the rename of the new folder.
    """
    run_script(WRITES.format(file=file), folder=tmp_path)
