"""Real processes killed at any moment, mid-write included, end with the bits of one left alone."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import kill_runs
import pytest

from labcnn.files import project_root

SCRIPT = project_root() / "benchmarks" / "kill_runs.py"
#: A process that imports and warms up once, and has no threads, as the runs are forks of it. For
#: each line that it reads, a fork of it executes a script; it answers with the fork's exit code.
PARENT = f"""
import json, os, sys, traceback
from pathlib import Path
sys.path.insert(0, {str(SCRIPT.parent)!r})
import kill_runs
from small_data import small_data
kill_runs.warm_up(small_data(noise=50), Path("warm").resolve())
for line in sys.stdin:
    script, folder, arguments = json.loads(line)
    child = os.fork()
    if not child:
        os.chdir(folder)
        said = os.open("said.txt", os.O_CREAT | os.O_WRONLY)
        os.dup2(said, 1)
        os.dup2(said, 2)
        sys.argv[1:] = arguments
        code = 1
        try:
            exec(script, globals())
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)
    answer = {{"code": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}}
    print(json.dumps(answer), flush=True)
"""
#: One kill of two of the cases.
TWO = "kill_runs.CASES = kill_runs.CASES[{first}::4]\nkill_runs.main()"
Run = Callable[..., None]


@pytest.fixture(scope="module")
def run_script(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A function that executes a script in a folder, with arguments; it must end well."""
    folder = tmp_path_factory.mktemp("parent")
    with subprocess.Popen(
        [sys.executable, "-c", PARENT],
        cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8",
    ) as parent:  # fmt: skip
        assert parent.stdin and parent.stdout
        asked, answers = parent.stdin, parent.stdout

        def run(script: str, *arguments: object, folder: Path) -> None:
            print(json.dumps([script, str(folder), [*map(str, arguments)]]), file=asked, flush=True)
            while not (answer := answers.readline()).startswith('{"code"'):
                assert answer, "the parent of the runs has ended"
            said = (folder / "said.txt").read_text(encoding="utf-8")
            assert json.loads(answer) == {"code": 0}, said

        yield run
        asked.close()


@pytest.mark.system
def test_a_script_that_fails_fails_its_test(run_script, tmp_path):
    with pytest.raises(AssertionError, match="nothing was killed"):
        run_script("sys.exit('nothing was killed')", folder=tmp_path)


@pytest.mark.system
@pytest.mark.parametrize(("first", "seed"), [(0, 10), (1, 2), (2, 1), (3, 0)])
def test_killed_at_a_drawn_moment_and_within_a_drawn_write(run_script, tmp_path, first, seed):
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
from kill_runs import CASES, FOLDER, RENAMES, STAGES, Blow, Victim
data = small_data(noise=50)
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
def test_killed_in_each_stage_of_a_files_writing(run_script, tmp_path, file):
    """Half of the bytes, all of them, before and after the rename.

    Of a run that overwrites an old one, around the rename of the new folder.
    """
    run_script(WRITES.format(file=file), folder=tmp_path)
