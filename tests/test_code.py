"""What counts as changed code."""

from pathlib import Path

import pytest

import labcnn
from labcnn.code import DECIDING, code_digests, source_digest
from labcnn.errors import RunError

SOURCE = '''
"""A module."""


def double(x: int) -> int:
    """Twice x."""
    # a comment
    return 2 * x
'''


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("A module.", "Another word.", True),
        ("Twice x.", "x twice.", True),
        ("    # a comment\n", "", True),
        ("2 * x", "2*x", True),
        ('    """Twice x."""\n', "", True),
        ("2 * x", "3 * x", False),
        ("2 * x", "x * 2", False),
        ("double", "twice", False),
    ],
)
def test_words_for_people_do_not_count(old: str, new: str, same: bool) -> None:
    changed = SOURCE.replace(old, new)
    assert changed != SOURCE
    assert (source_digest(changed) == source_digest(SOURCE)) is same


def test_what_is_no_python_is_named_with_its_line() -> None:
    with pytest.raises(RunError, match=r"^labcnn/x\.py, line 8: invalid syntax$"):
        source_digest(SOURCE.replace("2 * x", "2 ** * x"), "labcnn/x.py")


def test_the_files_exist_and_a_runs_digests_are_of_its_own() -> None:
    package = Path(labcnn.__file__).parent
    assert [name for name in DECIDING if not (package / f"{name}.py").exists()] == []
    demo, real = code_digests("short_all", "shapes"), code_digests("short_all", "tiny-imagenet-200")
    assert set(demo) - set(real) == {"data/shapes.py"}
    other = code_digests("short_norm", "shapes")
    assert {name for name in demo if demo[name] != other[name]} == {"variant"}


def test_whatever_training_imports_is_known_to_decide_or_not() -> None:
    """A new module of training or data: is a run stale when it changes? Say so here."""
    package = Path(labcnn.__file__).parent
    others = {
        *("data/__init__", "data/archive", "data/cache", "data/commands", "data/decode"),
        *("data/download", "data/images", "data/layout", "data/progress", "data/tiny_imagenet"),
        *("data/watch", "training/__init__", "training/checkpoint", "training/clock"),
        *("training/experiment", "training/failures", "training/journal", "training/provenance"),
    }
    found = {
        path.relative_to(package).with_suffix("").as_posix()
        for folder in ("data", "training")
        for path in (package / folder).glob("*.py")
    }
    assert found == others | {name for name in DECIDING if "/" in name}
