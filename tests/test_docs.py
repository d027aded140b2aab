"""What docs/ says is so: its commands run, at smoke size, and its messages are the code's."""

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.metadata import entry_points
from itertools import pairwise
from pathlib import Path

import nbformat
import numpy as np
import pytest
from docx import Document
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell
from PIL import Image
from typer.core import TyperGroup
from typer.main import get_command

from labcnn.cli import app
from labcnn.files import data_folder, project_root
from labcnn.recipe import Recipe
from labcnn.request import RunRequest

ROOT = project_root()
PAGES = ["tutorial", "reading", "troubleshooting", "how-to"]
READMES = [ROOT / "README.md", ROOT / "README.zh-CN.md", ROOT / "data" / "README.md"]
SMALL = {"epochs": 1, "width": 4, "fraction": 0.04, "first_size": 16, "last_size": 16}
EXPERIMENT = Recipe.from_parameters({"variant": "short_norm", **SMALL}).experiment

#: The blocks that can't run here, by their first line, and why. They are fenced as ``sh``, those
#: that run as ``bash`` and ``python``, and what is no command as ``text``.
NOT_RUN = {
    "make setup": "installs",
    "LABCNN_RUNS_PER_GPU=2 labcnn sweep dataset=tiny-imagenet-200 --seeds 0-2": "GPU, real data",
    "wsl --install -d Ubuntu-24.04": "Windows",
    "sudo apt update && sudo apt install -y make git python3-venv": "network, installs",
    "make PYTHON=python3.12 setup": "installs",
    "git clone REPOSITORY labcnn": "network, installs",
    "labcnn data fetch --from /kaggle/input/tiny-imagenet-200": "Kaggle",
    "make lab PORT=8888 ADDRESS=0.0.0.0": "a server; test_jupyterlab.py starts one",
    "export PIP_INDEX_URL=ADDRESS": "network, installs",
    "python3 -m pip download -c constraints.txt -d wheels '.[train,report,lab]' 'setuptools>=77'": (
        "network, gigabytes"
    ),
    "pip install --no-index --find-links wheels -c constraints.txt -e '.[train,report,lab]'": (
        "installs"
    ),
    "labcnn data fetch --from tiny-imagenet-200.zip": "real data",
    'make sweep PROFILE=slurm DATASET=tiny-imagenet-200 SEEDS="0 1 2"': (
        "a cluster; test_slurm.py starts one"
    ),
    "labcnn data fetch": "network",
    "papermill notebooks/train.ipynb out.ipynb -p dataset pictures -p variant short_norm": (
        "pictures that a test of own pictures makes"
    ),
    "labcnn data fetch cifar10": "network",
    "pip install -c constraints.txt -e '.[onnx]'": "installs",
    "tensorboard --logdir report/logs": "a server",
}
#: Programs whose options aren't looked up.
FOREIGN = {
    "apt", "cd", "conda", "cp", "echo", "export", "flock", "git", "snakemake", "source", "srun",
    "wsl",
}  # fmt: skip


def page(name: str, language: str = "") -> str:
    return (ROOT / "docs" / f"{name}{language}.md").read_text(encoding="utf-8")


def blocks(text: str) -> list[tuple[str, str]]:
    """The fenced blocks: their language and content, without the indent of a list."""
    found = re.findall(r"^( *)```(\w*)\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)
    return [(kind, re.sub(f"^{indent}", "", inner, flags=re.M)) for indent, kind, inner in found]


def runnable(name: str) -> list[str]:
    """The commands of a page that run here, one after the other."""
    scripts = [block.replace("\\\n", " ") for kind, block in blocks(page(name)) if kind == "bash"]
    return [line for script in scripts for line in script.splitlines()]


#: Page after page, each once; those of the tutorial come first.
COMMANDS = [*dict.fromkeys(command for name in PAGES for command in runnable(name))]
TUTORIAL = len({*runnable(PAGES[0])})
SWEEP = next(k for k, command in enumerate(COMMANDS) if command.startswith("labcnn sweep"))
#: Networks of the tutorial's sweep that it needn't train: one process trains both, in the time
#: that a notebook's kernel takes to start.
BEFORE = ("short_baseline", "short_gelu")
FIT = """
from labcnn.request import RunRequest
from labcnn.training.trainer import fit
for variant in {variants}:
    fit(RunRequest.from_parameters(dict({parameters}, variant=variant)))
"""


def commands(text: str) -> Iterator[list[str]]:
    """The commands of a page as words, without comments and variables before them.

    Those of its blocks, and those within its sentences.
    """
    inner = re.findall(r"`((?:labcnn|make) [^`]+?)(?: …)?`", text)
    for block in [*inner, *(block for kind, block in blocks(text) if kind in ("bash", "sh"))]:
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.shlex(line, posix=True, punctuation_chars=True)
            words.whitespace_split = True
            command: list[str] = []
            for word in [*words, ";"]:
                if set(word) <= set("&|;"):
                    if command:
                        yield command
                    command = []
                elif command or (word != "sudo" and not re.match("[A-Z_]+=", word)):
                    command.append(word)


def shrink(script: str) -> str:
    """The same commands at smoke size."""
    script = script.replace("--seeds 0-2", "--seeds 0-0")
    script = script.replace("logs/shapes/", f"logs/{EXPERIMENT}/")
    script = script.replace('["LABCNN_LOGS"] = "logs"', '["LABCNN_LOGS"] = "report/logs"')
    given = " ".join(f"{name}={value}" for name, value in SMALL.items())
    papermill = " ".join(f"-p {name} {value}" for name, value in SMALL.items())
    script = re.sub(r"^labcnn (sweep|plan)\b.*", rf"\g<0> {given}", script, flags=re.M)
    script = re.sub(r"^papermill .*train.*", rf"\g<0> {papermill}", script, flags=re.M)
    return re.sub(r"^labcnn report\b.*", r"\g<0> --formats docx", script, flags=re.M)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout without results, with a picture in it."""
    home = tmp_path_factory.mktemp("checkout")
    skip = shutil.ignore_patterns("__pycache__")
    for name in ("labcnn", "labsweep", "labreport", "notebooks", "workflow"):
        shutil.copytree(ROOT / name, home / name, ignore=skip)
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    Image.fromarray(pixels).save(home / "cat.jpg")
    return home


def run(home: Path, *command: str) -> str:
    """What a command prints, in the checkout, with its environment activated."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(home),
        "LABCNN_DATA": str(data_folder()),
    }
    environment.pop("LABCNN_LOGS", None)
    done = subprocess.run(
        command, cwd=home, env=environment, capture_output=True, encoding="utf-8", timeout=280
    )
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"
    return done.stdout


class Reader:
    """Somebody who runs the commands of the pages one after the other."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.logs = home / "report" / "logs" / EXPERIMENT
        self.printed: list[str] = []

    def read(self, command: int) -> str:
        """What a command prints; those before it are run first, unless they have been."""
        for each in COMMANDS[len(self.printed) : command + 1]:
            self.printed.append(run(self.home, "bash", "-e", "-c", shrink(each)))
        return self.printed[command]

    def trained(self) -> set[str]:
        """The variants that have a result."""
        return {path.parent.parent.name for path in self.logs.glob("*/seed0/result.json")}


@pytest.fixture(scope="module")
def reader(home: Path) -> Reader:
    """They have saved the tutorial's files."""
    for name, block in re.findall(
        r"^```python\n# (\w+\.py)\n(.*?)^```$", page("tutorial"), re.M | re.S
    ):
        (home / name).write_text(block, encoding="utf-8")
    return Reader(home)


@pytest.mark.system
@pytest.mark.parametrize("command", range(SWEEP))
def test_every_command_of_the_tutorial_before_its_sweep_runs(reader: Reader, command: int) -> None:
    reader.read(command)
    assert (reader.home / "first.ipynb").exists()
    assert reader.trained() == {"short_norm"}


@pytest.mark.system
def test_the_tutorials_file_of_own_networks_is_read_outside_a_notebook_too(reader: Reader) -> None:
    given = {"dataset": "shapes", "threads": 1, "variants_file": "mine.py", **SMALL}
    run(reader.home, sys.executable, "-c", FIT.format(variants=BEFORE, parameters=given))
    assert reader.trained() >= {*BEFORE}


@pytest.mark.system
def test_the_tutorials_sweep_may_begin_with_its_own_depth(reader: Reader) -> None:
    command = re.sub('(?<=--variants )"[^"]*"', "deep_norm", COMMANDS[SWEEP])
    run(reader.home, "bash", "-e", "-c", shrink(command))
    assert "deep_norm" in reader.trained()


@pytest.mark.system
@pytest.mark.parametrize("command", range(SWEEP, TUTORIAL))
def test_every_command_of_the_tutorial_from_its_sweep_on_runs(reader: Reader, command: int) -> None:
    printed = reader.read(command)
    own = {"short_norm+residual", "short_gelu", "deep_norm"}
    assert reader.trained() == {"short_baseline", "short_norm", *own}
    match " ".join(COMMANDS[command].split()[:2]):
        case "labcnn compare":
            assert re.search(r"^short_gelu +1 .*\[.*\].*\[.*\]$", printed, re.M)
            assert (reader.home / "compared.png").exists()
        case "labcnn report":
            made = Document(str(reader.home / "report" / EXPERIMENT / "report.docx"))
            report = "".join(made.element.itertext())
            for words in ("自定义模型", *own, "李明", "机器学习"):
                assert words in report
        case "labcnn predict":
            assert printed.count("%") == 5


#: What the commands of the other pages, by their first words, leave in the checkout.
MADE = {
    "labcnn onnx": "net.onnx",
    "labcnn export": "tables/runs.csv tables/histories.csv",
}


@pytest.mark.system
@pytest.mark.parametrize("command", range(TUTORIAL, len(COMMANDS)))
def test_every_command_of_the_other_pages_runs(reader: Reader, command: int) -> None:
    printed, name = reader.read(command), " ".join(COMMANDS[command].split()[:2])
    for made in MADE.get(name, "").split():
        assert (reader.home / made).exists()
    if name == "labcnn predict":
        assert printed.count("%") == 3
    if name == "labcnn delete":
        assert not (reader.home / shrink(COMMANDS[command]).split()[-1]).exists()


def cells() -> list[NotebookNode]:
    """The cells of the pages, in their order: the first one registers a network."""
    return [
        new_code_cell(shrink(block))
        for name in PAGES
        for kind, block in blocks(page(name))
        if kind == "python" and not re.match(r"# \w+\.py\n", block)
    ]


def execute(home: Path, notebook: NotebookNode, **parameters: object) -> None:
    """Execute a notebook as a sweep does; an error in a cell fails the test."""
    nbformat.write(notebook, home / "cells.ipynb")
    text = json.dumps(parameters)
    run(home, sys.executable, "-m", "labsweep.execute", "cells.ipynb", "done.ipynb", text)
    done = nbformat.read(home / "done.ipynb", as_version=4)
    run_cells = [cell for cell in done.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in run_cells)
    assert [o for cell in run_cells for o in cell.outputs if o.output_type == "error"] == []


@pytest.mark.system
def test_the_cell_that_registers_a_network_goes_above_those_of_a_training(reader: Reader) -> None:
    notebook = nbformat.read(reader.home / "notebooks" / "train.ipynb", as_version=4)
    register = cells()[0]
    assert "register(" in register.source
    notebook.cells.insert(0, register)
    given = {"variant": "short_gelu", "dataset": "shapes", "seed": 1, "threads": 1, **SMALL}
    execute(reader.home, notebook, **given)
    assert (reader.logs / "short_gelu" / "seed1" / "result.json").exists()


@pytest.mark.system
@pytest.mark.parametrize("use_a_model", [True, False])
def test_every_other_cell_of_the_pages_runs(reader: Reader, use_a_model: bool) -> None:
    reader.read(TUTORIAL - 1)
    notebook = nbformat.read(reader.home / "notebooks" / "train.ipynb", as_version=4)
    notebook.cells = [c for c in cells()[1:] if ("load_model" in c.source) == use_a_model]
    assert len(notebook.cells) > 1
    execute(reader.home, notebook)


def test_both_languages_have_the_same_blocks(subtests: pytest.Subtests) -> None:
    """Comments are translated, and so is what is no command."""

    def code(name: str, language: str) -> list[tuple[str, str]]:
        return [
            (kind, "" if kind == "text" else re.sub(r" *# .*", "", block))
            for kind, block in blocks(page(name, language))
        ]

    for name in PAGES:
        with subtests.test(name):
            assert code(name, "") == code(name, ".zh-CN") != []
            assert page(name).count("\n#") == page(name, ".zh-CN").count("\n#")


def test_what_does_not_run_here_is_listed() -> None:
    listed = [
        block.splitlines()[0]
        for name in PAGES
        for kind, block in blocks(page(name))
        if kind == "sh"
    ]
    assert sorted(set(listed)) == sorted(NOT_RUN)
    kinds = {kind for name in PAGES for kind, _ in blocks(page(name))}
    assert kinds == {"bash", "sh", "python", "text"}


def test_every_option_of_every_command_exists() -> None:
    texts = [page(name) for name in [*PAGES, "cluster"]]
    texts += [each.read_text(encoding="utf-8") for each in READMES]
    found = {tuple(command) for text in texts for command in commands(text)}
    assert len(found) > 80
    wrong = {command: fault for command in found if (fault := find_unknown(command))}
    assert wrong == {}


def find_unknown(command: Sequence[str]) -> str:
    """The first thing of a command that its program doesn't know; empty if there is none."""
    program, *given = Path(command[0]).name, *command[1:]
    if program.startswith("python") and given[:2] == ["-m", "pip"]:
        program, *given = given[1:]
    if program == "make":
        asked = ["make", "-n", *given]
        done = subprocess.run(asked, cwd=ROOT, capture_output=True, encoding="utf-8")
        return done.stderr if done.returncode else ""
    if program == "labcnn":
        return find_unknown_to_labcnn(given)
    if program == "papermill":
        names = [word for before, word in pairwise(given) if before == "-p"]
        notebook = nbformat.read(ROOT / "notebooks" / Path(given[0]).name, as_version=4)
        (cell,) = [c for c in notebook.cells if c.source.startswith("# parameters")]
        return next((n for n in names if not re.search(f"^{n} = ", cell.source, re.M)), "")
    if program == "jupyter":
        known = {each.name for each in entry_points(group="nbconvert.exporters")}
        return "" if given[:2] == ["nbconvert", "--to"] and given[2] in known else str(given)
    if program in ("pip", "tensorboard"):
        text = ask_for_help(*(["pip", given[0]] if program == "pip" else ["tensorboard.main"]))
        options = [word.partition("=")[0] for word in given if re.match("--?[a-z]", word)]
        return next((each for each in options if not re.search(rf"(?<![\w-]){each}\b", text)), "")
    return "" if program in FOREIGN else program


@cache
def ask_for_help(*module: str) -> str:
    asked = [sys.executable, "-m", *module, "--help"]
    return subprocess.run(asked, capture_output=True, encoding="utf-8").stdout


def find_unknown_to_labcnn(given: list[str]) -> str:
    command = get_command(app)
    while isinstance(command, TyperGroup) and given and given[0] in command.commands:
        command = command.commands[given[0]]
        given = given[1:]
    if isinstance(command, TyperGroup) and given and not given[0].startswith("-"):
        return given[0]
    options = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
    known = {*options, "--help", *(f"{name}=" for name in RunRequest.parameters())}
    named = [found[0] for word in given if (found := re.match(r"--[a-z-]+|[a-z_]+=", word))]
    return next((each for each in named if each not in known), "")


def test_every_message_is_one_of_the_code_and_both_languages_have_it() -> None:
    """``…`` stands for anything."""

    def listed(language: str) -> list[str]:
        return re.findall(r"^\* `(.+)`$", page("troubleshooting", language), re.M)

    assert listed("") == listed(".zh-CN")
    said = [(ROOT / "Makefile").read_text(encoding="utf-8").replace("$(firstword $(UNKNOWN))", "…")]
    for package in ("labcnn", "labsweep", "labreport"):
        for path in (ROOT / package).rglob("*.py"):
            said += find_texts(path)
    assert len(listed("")) > 30
    for message in listed(""):
        pieces = [re.escape(piece) for piece in message.split("…")]
        assert any(re.search(".*".join(pieces), text) for text in said), message


def find_texts(path: Path) -> Iterator[str]:
    """The texts of a module; ``…`` stands for what is put in."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            parts = (each.value if isinstance(each, ast.Constant) else "…" for each in node.values)
            yield "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize(
    ("given", "user", "options"),
    [
        ([], "1000", []),
        (["PORT=8888", "ADDRESS=0.0.0.0"], "0",
         ["--port=8888", "--no-browser", "--ip=0.0.0.0", "--allow-root"]),
    ],
)  # fmt: skip
def test_lab_listens_where_it_is_told_and_root_is_allowed_to_root_only(
    given: list[str], user: str, options: list[str], tmp_path: Path
) -> None:
    from jupyterlab.labapp import LabApp  # type: ignore[import-untyped]

    source = (ROOT / "Makefile").read_text(encoding="utf-8")
    (tmp_path / "Makefile").write_text(source, encoding="utf-8")
    installed = tmp_path / ".venv" / "bin"
    installed.mkdir(parents=True)
    for path, text in (
        ("bin/jupyter", 'echo "$@"'),
        ("bin/id", f"echo {user}"),
        (".installed", ""),
    ):
        file = tmp_path / ".venv" / path
        file.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        file.chmod(0o755)
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    environment = {**os.environ, "PATH": f"{installed}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["make", "-s", "lab", *given], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.stdout.split() == ["lab", "notebooks", *options], done.stderr
    names = {option.partition("=")[0].removeprefix("--") for option in options}
    assert names <= {*LabApp.aliases, *LabApp.flags}
