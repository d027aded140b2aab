"""Whatever is wrong in a run's files: the others are reported, and the file is named."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_runs import write_runs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labcnn.runs import GRADIENTS, HISTORY, PREDICTIONS, RESULT, RunFolder
from labreport.facts import Facts
from labreport.study import load_study
from labreport.verdicts import judge_claims

VARIANTS = ["short_norm", "short_baseline", "long_norm"]
#: Values of every kind that JSON has, and those that break arithmetic.
VALUES: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=8),
    st.sampled_from(["@fig-nope", "$x$", "<b>", "2026-01-01", "nan", [], {}, -1, 0, 1e308]),
)  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The logs of three whole runs."""
    logs = tmp_path_factory.mktemp("whole") / "logs"
    write_runs(logs, VARIANTS, images=60)
    return logs


def leaves(content: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The places of all values of a JSON document, also of whole branches."""
    inner = content.items() if isinstance(content, dict) else ()
    return [place, *(found for key, value in inner for found in leaves(value, (*place, key)))]


def damage_result(path: Path, data: st.DataObject) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    place = data.draw(st.sampled_from(leaves(content)[1:]), label="field")
    branch = content
    for key in place[:-1]:
        branch = branch[key]
    if data.draw(st.booleans(), label="left out"):
        del branch[place[-1]]
    else:
        branch[place[-1]] = data.draw(VALUES, label="value")
    path.write_text(json.dumps(content), encoding="utf-8")


def damage_table(path: Path, data: st.DataObject) -> None:
    rows = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()]
    row = data.draw(st.integers(0, len(rows) - 1), label="row")
    match data.draw(st.sampled_from(["cell", "row", "again"]), label="what"):
        case "cell":
            column = data.draw(st.integers(0, len(rows[row]) - 1), label="column")
            rows[row][column] = str(data.draw(VALUES, label="value"))
        case "row":
            del rows[row]
        case "again":
            rows.insert(row, rows[row])
    text = "\n".join(",".join(cells) for cells in rows)
    path.write_text(text + "\n", encoding="utf-8", errors="replace")


def damage_arrays(path: Path, data: st.DataObject) -> None:
    with np.load(path) as arrays:
        content = dict(arrays)
    name = data.draw(st.sampled_from(sorted(content)), label="array")
    array = content.pop(name)
    match data.draw(st.sampled_from(["gone", "cut", "type", "value", "shape"]), label="what"):
        case "cut":
            content[name] = array[: data.draw(st.integers(0, len(array) - 1), label="length")]
        case "type":
            kind = data.draw(st.sampled_from(["U5", "f8", "?", "c8", "i8", "u1"]), label="type")
            content[name] = array.astype(kind)
        case "value":
            array[data.draw(st.integers(0, len(array) - 1), label="image")] += data.draw(
                st.sampled_from([-3, 1, 200]), label="more"
            )
            content[name] = array
        case "shape":
            content[name] = array.reshape(2, -1)
    np.savez(path, **content)


def damage_bytes(path: Path, data: st.DataObject) -> None:
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1), label="byte")
    if data.draw(st.booleans(), label="cut"):
        del content[at:]
    else:
        content[at] ^= data.draw(st.integers(1, 255), label="bits")
    path.write_bytes(content)


KINDS = {
    "a field of the result": ([RESULT], damage_result),
    "a table": ([HISTORY, GRADIENTS], damage_table),
    "the predictions": ([PREDICTIONS], damage_arrays),
    "bytes": ([RESULT, HISTORY, PREDICTIONS], damage_bytes),
}


@given(data=st.data())
@settings(
    max_examples=20, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
def test_damage_is_named_or_does_no_harm(whole: Path, tmp_path: Path, data: st.DataObject) -> None:
    """In the first of three runs; the others' report is made."""
    names, damage = KINDS[data.draw(st.sampled_from(sorted(KINDS)), label="kind")]
    name = data.draw(st.sampled_from(names), label="file")
    logs = tmp_path / "logs"
    shutil.rmtree(logs, ignore_errors=True)
    shutil.copytree(whole, logs)
    run = RunFolder(next(logs.glob("*/short_norm/seed0")))
    damage(run.path / name, data)
    study = load_study(logs, run.experiment)
    assert {"short_baseline", "long_norm"} <= set(study.present)
    if "short_norm" not in study.present:
        (problem,) = study.problems
        assert "short_norm/seed0/" in problem and "\n" not in problem
    facts = Facts(study, judge_claims(study))
    for template in ("completeness", "3.6-summary", "c-provenance", "3.6-costs"):
        assert facts.text(template).text is not None
