"""pip, conda, the linters and the lock describe one environment."""

import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from labcnn.files import project_root

ROOT = project_root()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCK_TEXT = (ROOT / "constraints.txt").read_text(encoding="utf-8")
LOCK: dict[str, str] = {
    canonicalize_name(name): version
    for name, _, version in (line.partition("==") for line in LOCK_TEXT.splitlines())
}
CONDA_TEXT = (ROOT / "environment.yml").read_text(encoding="utf-8")
CONDA = yaml.safe_load(CONDA_TEXT)["dependencies"]


def requirements() -> Iterator[Requirement]:
    project = PROJECT["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    found = {Requirement(text) for group in groups for text in group}
    return (each for each in found if each.name != project["name"])


def test_the_lock_has_names_and_versions_only() -> None:
    lines = LOCK_TEXT.splitlines()
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    assert lines == sorted(lines, key=str.lower)
    assert len(LOCK) == len(lines)
    assert "://" not in LOCK_TEXT + CONDA_TEXT  # no index's address is written down
    assert "index" not in CONDA_TEXT


def test_every_dependency_is_locked_to_a_version_it_allows() -> None:
    wrong = [
        str(each)
        for each in requirements()
        if not each.specifier.contains(LOCK.get(canonicalize_name(each.name), "0"))
        or canonicalize_name(each.name) not in LOCK
    ]
    assert wrong == []
    # torch stays where the measurements were made
    assert (LOCK["torch"], LOCK["torchvision"]) == ("2.14.1", "0.29.1")


def test_what_is_installed_is_what_is_locked() -> None:
    """Some are for one operating system or accelerator only; what the project names is not."""
    installed: dict[str, str] = {
        canonicalize_name(each.name): Version(each.version).public
        for each in importlib.metadata.distributions()
    }
    other = {
        name: (installed[name], version)
        for name, version in LOCK.items()
        if name in installed and installed[name] != Version(version).public
    }
    assert other == {}
    assert {canonicalize_name(each.name) for each in requirements()} - installed.keys() == set()


def test_conda_installs_what_make_installs() -> None:
    (pip,) = (each["pip"] for each in CONDA if isinstance(each, dict))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    command, *_ = re.findall(r"pip install (.*)", makefile)
    given = [word for word in command.replace("'", "").split() if not word.startswith("--")]
    assert " ".join(pip).split() == given
    assert [each for each in CONDA if isinstance(each, str)] == ["python=3.11", "pip"]


def test_one_python_is_the_least_everywhere() -> None:
    least = next(each for each in CONDA if str(each).startswith("python=")).removeprefix("python=")
    assert SpecifierSet(f">={least}") == SpecifierSet(PROJECT["project"]["requires-python"])
    assert PROJECT["tool"]["mypy"]["python_version"] == least
    assert PROJECT["tool"]["ruff"]["target-version"] == f"py{least.replace('.', '')}"
    assert f"({least.replace('.', ', ')})" in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_a_clones_name_hides_no_package_in_the_folder_above_it(tmp_path: Path) -> None:
    """Python would take any folder of that name for the package, were it not on the path."""
    (tmp_path / "labcnn").mkdir()
    code = "import labsweep, labreport; from labcnn.data import load_dataset"
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=clean, check=True)
