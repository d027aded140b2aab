"""The command line: what it prints, its exit codes, and that it starts at once."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import nbformat
import pytest
from fake_runs import write_runs
from nbformat.v4 import new_code_cell, new_notebook
from typer.testing import CliRunner

from labcnn.cli import app, config
from labcnn.doctor import findings
from labcnn.errors import ParameterError, ReportError, RunError
from labcnn.paths import project_root
from labcnn.runs import PREDICTIONS, RESULT, RunFolder
from labcnn.variants import VARIANTS
from labreport.build import build_report, newest_experiment
from labreport.study import load_study


def labcnn(*arguments: str, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-X", "utf8", "-m", "labcnn.cli", *arguments]
    return subprocess.run(command, capture_output=True, encoding="utf-8", cwd=cwd)


def test_help_names_every_command_and_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from labcnn.cli import app\n"
        "print(CliRunner().invoke(app, ['--help']).output)\n"
        "heavy = {'torch', 'pandas', 'numpy', 'snakemake', 'papermill'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)\n"
    )
    command = [sys.executable, "-X", "utf8", "-c", code]
    done = subprocess.run(command, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    commands = {line.split()[1] for line in done.stdout.splitlines() if len(line.split()) > 3}
    assert {"data", "variants", "doctor", "sweep", "report"} <= commands


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["sweep", "epochs=-3"], "epochs=-3"),
        (["sweep", "varient=short_all"], "varient='short_all'"),
        (["sweep", "--variants", "shrot_all"], "variant='shrot_all'"),
        (["sweep", "epochs"], "'epochs'"),
        (["report", "--experiment", "nothing"], "'nothing'"),
        (["report", "epochs=2", "--experiment", "mine"], "one of them"),
    ],
)
def test_an_error_is_one_line_and_code_2(tmp_path: Path, arguments: list[str], named: str) -> None:
    done = labcnn(*arguments, "--logs", str(tmp_path / "logs"))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("labcnn: ")
    assert named in line
    assert not (tmp_path / "logs").exists()


def test_data_passes_its_arguments_on() -> None:
    done = CliRunner().invoke(app, ["data", "fetch", "--help"])
    assert done.exit_code == 0
    assert "--from" in done.output
    assert CliRunner().invoke(app, ["data", "nonsense"]).exit_code == 2


def test_variants_prints_all_with_their_sizes() -> None:
    done = CliRunner().invoke(app, ["variants"], env={"COLUMNS": "120"})
    rows = [line.replace("*", " ").split() for line in done.output.splitlines()]
    listed = {row[0]: row for row in rows if row and row[0] in VARIANTS}
    assert list(listed) == list(VARIANTS)
    parameters = {name: int(row[-2].replace(",", "")) for name, row in listed.items()}
    assert parameters["short_baseline"] < parameters["mid_baseline"] < parameters["long_baseline"]
    assert parameters["long_lrdecay"] == parameters["long_baseline"] < parameters["long_residual"]


def test_doctor_looks_at_everything_and_survives_what_is_broken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = {finding.name: finding for finding in findings()}
    assert list(found) == ["python", "torch", "device", "fonts", "data", "disk"]
    assert found["python"].good and found["torch"].good and found["fonts"].good
    monkeypatch.setitem(sys.modules, "torch", None)
    broken = {finding.name: finding for finding in findings()}["torch"]
    assert not broken.good
    assert "torch" in broken.text


@pytest.fixture
def results(tmp_path: Path) -> Path:
    run = tmp_path / "logs" / "shapes" / "short_all" / "seed0"
    run.mkdir(parents=True)
    (run / RESULT).write_text("{}", encoding="utf-8")
    return run


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    parameters = (
        'experiment = ""\nlogs = ""\nlog_links = ""\nauthor = ""\ntuned = ""\nimages = True'
    )
    cells = [
        new_code_cell(parameters, metadata={"tags": ["parameters"]}),
        new_code_cell("if author == 'nobody':\n    raise ValueError('no author')\nauthor"),
        new_code_cell("print(f'{log_links=} {tuned=} {images=}')"),
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = tmp_path / "analysis.ipynb"
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    return path


def test_a_report_is_built_again_only_when_something_changed(
    tmp_path: Path, results: Path, notebook: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def export(executed: Path, folder: Path, formats: Iterable[str], stem: str) -> None:
        for each in formats:
            text = executed.read_text(encoding="utf-8")
            (folder / f"{stem}.{each}").write_text(text, encoding="utf-8")

    def build(author: str = "张三") -> list[Path] | None:
        given = {"author": author}
        return build_report(tmp_path / "logs", "shapes", output, given, ["html"], notebook)

    monkeypatch.setattr("labreport.export.export_report", export)
    output = tmp_path / "report"
    assert build() == [output / "report.html"]
    assert "张三" in (output / "report.html").read_text(encoding="utf-8")
    assert build() is None
    with pytest.raises(RunError, match=r"analysis\.ipynb failed: ValueError: no author; see .*"):
        build("nobody")
    assert build() == [output / "report.html"]
    (results / RESULT).write_text('{"format": 1}', encoding="utf-8")
    assert build() is not None
    (output / "report.html").unlink()
    assert build() is not None
    assert build() is None
    failed = RunFolder(results.parents[1] / "long_all" / "seed0")
    failed.write_failure("died", "killed", 1)  # the report names it
    assert build() is not None
    write_runs(tmp_path / "logs", ["short_all"], parameters={"protocol": "tuned"})  # its 14th row
    assert build() is not None
    assert build() is None


def test_options_of_the_report_reach_its_notebook(
    tmp_path: Path, results: Path, notebook: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(folder: Path, *options: str) -> str:
        given = ["report", "--experiment", "shapes", "--logs", str(tmp_path / "logs")]
        chosen = ["--output", str(folder), "--formats", "html", *options]
        answer = CliRunner().invoke(app, [*given, *chosen])
        assert answer.exit_code == 0, answer.output
        executed = nbformat.read(folder / "report.ipynb", 4)
        return str(executed.cells[-1].outputs[0].text).strip()

    def export(executed: Path, folder: Path, formats: Iterable[str], stem: str) -> None:
        for each in formats:
            (folder / f"{stem}.{each}").touch()

    monkeypatch.setattr("labreport.export.export_report", export)
    monkeypatch.setattr("labreport.build.project_root", lambda: tmp_path / "project")
    home = tmp_path / "project" / "notebooks"
    home.mkdir(parents=True)
    notebook.rename(home / "analysis.ipynb")
    beside, apart = tmp_path, tmp_path / "apart"
    assert said(beside) == "log_links='logs' tuned='' images=True"
    assert said(apart, "--tuned", "x", "--no-images") == "log_links='' tuned='x' images=False"


def test_a_report_says_what_is_stale_and_what_became_of_the_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labreport.build.build_report", lambda *given, **more: [])
    (stale,) = write_runs(tmp_path, ["short_all"])
    text = json.loads((stale.path / RESULT).read_text(encoding="utf-8"))
    text["provenance"]["numerics"] = 0
    (stale.path / RESULT).write_text(json.dumps(text), encoding="utf-8")
    RunFolder(tmp_path / "shapes" / "mid_all" / "seed0").write_failure("died", "killed", 2)
    given = ["report", "dataset=shapes", "--variants", "short_all mid_all long_all"]
    answer = CliRunner().invoke(app, [*given, "--logs", str(tmp_path)])
    assert answer.exit_code == 1
    assert (
        "stale results: 1, for example short_all seed 0: made by code of numerics 0"
        in answer.output
    )
    assert "lacks mid_all seed 0 (failed), long_all seed 0 (not begun)" in answer.output
    (stale.path / PREDICTIONS).unlink()
    answer = CliRunner().invoke(app, [*given, "--logs", str(tmp_path)])
    assert answer.exit_code == 1
    assert "lacks short_all seed 0 (damaged), mid_all" in answer.output
    with pytest.raises(RunError, match=r"predictions\.npz is missing"):
        stale.predictions()


def test_the_report_is_about_the_newest_experiment(tmp_path: Path) -> None:
    (folder,) = write_runs(tmp_path, ["mid_all"])
    text = json.loads((folder.path / RESULT).read_text(encoding="utf-8"))
    assert newest_experiment(tmp_path) == "shapes"
    other = tmp_path / "other" / "mid_all" / "seed0" / RESULT
    other.parent.mkdir(parents=True)
    other.write_text("{}", encoding="utf-8")
    assert newest_experiment(tmp_path) == "shapes"
    text["experiment"] = "other"
    text["provenance"]["finished"] = "2999-01-01T00:00:00+00:00"
    other.write_text(json.dumps(text), encoding="utf-8")
    assert newest_experiment(tmp_path) == "other"
    (tuned,) = write_runs(tmp_path, ["short_all"], parameters={"protocol": "tuned"})
    text["recipe"] = tuned.result().recipe.model_dump()
    text |= {"experiment": "shapes-tuned"}
    text["provenance"]["finished"] = "3999-01-01T00:00:00+00:00"
    (tuned.path / RESULT).write_text(json.dumps(text), encoding="utf-8")
    assert newest_experiment(tmp_path) == "other"
    other.unlink()
    assert newest_experiment(tmp_path) == load_study(tmp_path).experiment == "shapes"
    shutil.rmtree(tmp_path / "shapes")
    assert newest_experiment(tmp_path) == "shapes-tuned"
    with pytest.raises(ReportError, match="sweep"):
        newest_experiment(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["logs", "seeds", "variants", "notebook"])
def test_an_options_name_is_not_taken_as_a_parameter(name: str) -> None:
    with pytest.raises(ParameterError, match=f"{name}='x': write it as --{name}"):
        config([f"{name}=x"], **{name: None})


def test_make_passes_texts_on_as_they_are(tmp_path: Path) -> None:
    """No quote, dollar or backtick of a title is read by make or the shell."""
    text = """王"小"明 `echo hi` $x $(HOME) # 'a' & 100%"""
    show = """$(PYTHON) -c 'import os; print(os.environ["LABCNN_AUTHOR"])'"""
    source = (project_root() / "Makefile").read_text(encoding="utf-8")
    (tmp_path / "Makefile").write_text(f"{source}\nshow:\n\t@{show}\n", encoding="utf-8")
    done = subprocess.run(
        ["make", "-s", "show", f"AUTHOR={text}", f"PYTHON={sys.executable}"],
        cwd=tmp_path, capture_output=True, encoding="utf-8", check=True,
    )  # fmt: skip
    assert done.stdout.rstrip("\n") == text
