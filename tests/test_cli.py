"""The command line: what it prints, its exit codes, and that it starts at once."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from fake_runs import write_runs
from nbformat.v4 import new_code_cell, new_notebook
from typer.testing import CliRunner

from labcnn.cli import app, main
from labcnn.errors import RunError
from labcnn.files import project_root
from labcnn.runs import PREDICTIONS, RESULT, RunFolder
from labcnn.variants import VARIANTS
from labreport.build import build_report


def labcnn(home: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a command of the checkout ``home``."""
    command = [sys.executable, "-X", "utf8", "-m", "labcnn.cli", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(home)}
    return subprocess.run(command, capture_output=True, encoding="utf-8", cwd=home, env=environment)


def test_help_names_every_command_and_loads_nothing_heavy() -> None:
    """Nor does the state of the data."""
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from labcnn.cli import app\n"
        "print(CliRunner().invoke(app, ['--help']).output)\n"
        "heavy = {'torch', 'pandas', 'numpy', 'snakemake', 'papermill'} & set(sys.modules)\n"
        "assert CliRunner().invoke(app, ['data', 'status']).exit_code == 0\n"
        "heavy |= {'torch', 'pandas', 'PIL', 'tqdm', 'requests'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)\n"
    )
    command = [sys.executable, "-X", "utf8", "-c", code]
    done = subprocess.run(command, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    commands = {line.split()[1] for line in done.stdout.splitlines() if len(line.split()) > 3}
    assert {"data", "variants", "doctor", "plan", "sweep", "runs", "report"} <= commands


#: Arguments, and what the line about them names.
WRONG = (
    (["sweep", "varient=short_all"], "varient='short_all'; did you mean 'variant'"),
    (["sweep", "seeds=1"], "seeds='1': write it as --seeds"),
    (["report", "epochs=2", "--experiment", "mine"], "one of them"),
    (["report", "--formats", "exe"], "formats='exe' must be one or more of html, pdf, docx"),
    (["report", "--formats", ""], "formats='' must be"),
    (["runs", "nope"], "experiment='nope' has no run in"),
)


def test_an_error_is_one_line_and_code_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    subtests: pytest.Subtests,
) -> None:
    logs = ["--logs", str(tmp_path / "logs")]
    for arguments, named in WRONG:
        with subtests.test(" ".join(arguments)):
            monkeypatch.setattr(sys, "argv", ["labcnn", *arguments, *logs])
            with pytest.raises(SystemExit) as ended:
                main()
            assert ended.value.code == 2
            (line,) = capsys.readouterr().err.splitlines()
            assert line.startswith("labcnn: ") and named in line
            assert not (tmp_path / "logs").exists()


def test_variants_prints_all_with_their_sizes() -> None:
    done = CliRunner().invoke(app, ["variants"], env={"COLUMNS": "120"})
    rows = [line.replace("*", " ").split() for line in done.output.splitlines()]
    listed = {row[0]: row for row in rows if row and row[0] in VARIANTS}
    assert list(listed) == list(VARIANTS)
    parameters = {name: int(row[-2].replace(",", "")) for name, row in listed.items()}
    assert parameters["short_baseline"] < parameters["mid_baseline"] < parameters["long_baseline"]
    assert parameters["long_lrdecay"] == parameters["long_baseline"] < parameters["long_residual"]


def test_relative_folders_of_the_environment_hold_for_child_processes_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LABCNN_DATA", "data")
    monkeypatch.setenv("LABCNN_LOGS", "../logs")
    monkeypatch.setattr(sys, "argv", ["labcnn", "--version"])
    with pytest.raises(SystemExit):
        main()
    assert os.environ["LABCNN_DATA"] == str(tmp_path / "data")
    assert os.environ["LABCNN_LOGS"] == str(tmp_path.parent / "logs")


def examine() -> dict[str, tuple[str, str]]:
    """What `labcnn doctor` says: a word and a text for each thing."""
    lines = CliRunner().invoke(app, ["doctor"]).output.splitlines()
    return {name: (word, text) for word, name, text in (line.split(None, 2) for line in lines)}


def test_doctor_looks_at_everything_and_survives_what_is_broken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = examine()
    assert list(found) == ["python", "torch", "device", "fonts", "data", "disk"]
    assert [found[name][0] for name in ("python", "torch", "fonts")] == ["ok"] * 3
    monkeypatch.setitem(sys.modules, "torch", None)
    word, text = examine()["torch"]
    assert word == "warn" and "torch" in text


def write_notebook(path: Path) -> None:
    """A short analysis: it prints its parameters, and refuses an author."""
    parameters = (
        '# parameters\nexperiment = ""\nlogs = ""\nlog_links = ""\nauthor = ""\ntuned = ""\n'
        "images = True"
    )
    cells = [
        new_code_cell(parameters, metadata={"tags": ["parameters"]}),
        new_code_cell("if author == 'nobody':\n    raise ValueError('no author')\nauthor"),
        new_code_cell("print(f'{author=} {log_links=} {tuned=} {images=}')"),
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)


@pytest.mark.system
def test_a_report_is_built_again_only_when_something_changed(tmp_path: Path) -> None:
    notebook, output = tmp_path / "analysis.ipynb", tmp_path / "report"
    write_notebook(notebook)
    (run,) = write_runs(tmp_path / "logs", ["short_all"])

    def build(author: str = "张三") -> list[Path] | None:
        given = {"author": author}
        return build_report(tmp_path / "logs", "shapes", output, given, ["html"], notebook)

    page = output / "report.html"
    assert build() == [page]
    assert "张三" in page.read_text(encoding="utf-8")
    assert build() is None
    with pytest.raises(RunError, match=r"analysis\.ipynb failed: ValueError: no author; see .*"):
        build("nobody")
    page.unlink()
    assert build() == [page]
    (run.path / RESULT).write_text('{"format": 1}', encoding="utf-8")
    assert build() == [page]
    failed = RunFolder(run.path.parents[1] / "long_all" / "seed0")
    failed.write_failure("died", "killed", 1)  # the report names it
    assert build() == [page]
    write_runs(tmp_path / "logs", ["short_all"], parameters={"protocol": "tuned"})  # its 14th row
    assert build() == [page]
    assert build() is None


@pytest.mark.system
def test_a_report_gets_its_options_and_says_what_is_stale_and_missing(tmp_path: Path) -> None:
    home = tmp_path / "checkout"
    for name in ("labcnn", "labsweep", "labreport", "notebooks"):
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(project_root() / name, home / name, ignore=skip)
    write_notebook(home / "notebooks" / "analysis.ipynb")
    logs = home / "out" / "logs"
    stale, cut = write_runs(logs, ["short_all", "short_norm"])
    text = json.loads((stale.path / RESULT).read_text(encoding="utf-8"))
    text["provenance"]["numerics"] = 0
    (stale.path / RESULT).write_text(json.dumps(text), encoding="utf-8")
    (cut.path / PREDICTIONS).unlink()
    RunFolder(logs / "shapes" / "mid_all" / "seed0").write_failure("died", "killed", 2)
    variants = "short_all short_norm mid_all long_all"
    answer = labcnn(
        home, "report", "dataset=shapes", "--variants", variants, "--logs", str(logs), "--formats",
        "html", "--output", str(home / "out"), "--author", "王小明", "--tuned", "x", "--no-images",
    )  # fmt: skip
    assert answer.returncode == 1, answer.stderr
    executed = nbformat.read(home / "out" / "report.ipynb", 4)
    printed = executed.cells[-1].outputs[0].text.strip()
    assert printed == "author='王小明' log_links='logs' tuned='x' images=False"
    assert (home / "out" / "report.html").exists()
    numerics = "short_all seed 0: made by code of numerics 0"
    assert f"stale results: 1, for example {numerics}" in answer.stderr
    lacks = "short_norm seed 0 (damaged), mid_all seed 0 (failed), long_all seed 0 (not begun)"
    assert f"the report lacks {lacks}" in answer.stderr
    write_runs(logs, ["short_all", "long_norm"], parameters={"width": 8})
    variants = "short_all long_norm"  # of the experiment that has both, not of the demo set's
    answer = labcnn(
        home, "report", "--variants", variants, "--logs", str(logs), "--formats", "html",
        "--output", str(home / "chosen"),
    )  # fmt: skip
    assert (answer.returncode, answer.stdout.splitlines()[0]) == (0, "experiment shapes-w8")


def make(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the Makefile with a target that shows what the commands are given."""
    code = 'import os, sys; print([*sys.argv[1:], os.environ["LABCNN_AUTHOR"]])'
    show = f"""
show:
\t@set -f; {sys.executable} -c '{code}' $(RUNS) $(HOW) $(call several,REPORT_OPTIONS)
"""
    source = (project_root() / "Makefile").read_text(encoding="utf-8")
    (folder / "Makefile").write_text(source + show, encoding="utf-8")
    command = ["make", "-s", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8")


def test_make_passes_values_on_as_they_are(tmp_path: Path) -> None:
    """No quote, dollar or backtick is read by make or the shell; a misspelt name is refused."""
    text = """王"小"明 `echo hi` $x $(HOME) # 'a' & 100%"""
    given = {"AUTHOR": text, "DATASET": text, "SEEDS": "0 1", "PROFILE": "$(shell id)"}
    several = {"PARAMS": "width=* epochs=$(id)", "REPORT_OPTIONS": "--columns 2"}
    done = make(tmp_path, "show", *(f"{name}={each}" for name, each in (given | several).items()))
    assert ast.literal_eval(done.stdout) == [
        f"dataset={text}", "width=*", "epochs=$(id)", "--seeds=0 1", "--profile=$(shell id)",
        "--columns", "2", text,
    ]  # fmt: skip
    assert ast.literal_eval(make(tmp_path, "show").stdout) == ["dataset=shapes", "--seeds=0", ""]
    done = make(tmp_path, "show", "SEED=3")
    assert done.returncode == 2 and done.stdout == ""
    assert "unknown variable SEED; valid: DATASET " in done.stderr
