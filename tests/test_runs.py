import json
import os
import shutil
import subprocess
import zipfile

import numpy as np
import pytest
from small_data import small_data as make_data

from labcnn.errors import RunError
from labcnn.files import project_root, write_atomically, write_text
from labcnn.request import RunRequest
from labcnn.runs import TABLE_COLUMNS, State, load_runs, read_result, state
from labcnn.training.trainer import fit


def small_request(variant, seed, logs=None):
    small = {"dataset": "shapes", "width": 4, "epochs": 1, "logs": logs and str(logs)}
    return RunRequest.from_parameters(small | {"variant": variant, "seed": seed})


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The logs of three runs."""
    logs = tmp_path_factory.mktemp("trained")
    for variant, seed in (("short_norm", 0), ("short_baseline", 0), ("short_norm", 1)):
        fit(small_request(variant, seed, logs), make_data(noise=20))
    return logs


def copied(trained, logs):
    """A copy of the three, in ``logs``."""
    shutil.copytree(trained, logs)
    three = (("short_norm", 0), ("short_baseline", 0), ("short_norm", 1))
    return [small_request(variant, seed, logs).folder for variant, seed in three]


@pytest.fixture
def folders(trained, logs):
    return copied(trained, logs)


def test_all_runs_as_one_tidy_table(folders, logs):
    runs = load_runs(logs)
    assert runs.problems == []
    assert list(runs.table.columns) == [*TABLE_COLUMNS, "folder"]
    assert list(zip(runs.table.variant, runs.table.seed, strict=True)) == [
        ("short_baseline", 0), ("short_norm", 0), ("short_norm", 1),
    ]  # fmt: skip
    for row in runs.table.itertuples():
        result = row.folder.result()
        assert row.test_accuracy == result.test.accuracy
    assert len(load_runs(logs, folders[0].path.parents[1].name).table) == 3
    assert load_runs(logs, "another").table.empty
    assert load_runs(logs, "*").table.empty
    assert load_runs(logs / "nowhere").table.empty


def rewrite(path, change):
    """Change a JSON file's content in place."""
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def test_a_result_stays_good_when_the_recipe_gets_a_field(folders, small_data):
    """As if `augment` and `whiten` had come after it: the course trains without them."""

    def forget(values):
        del values["augment"], values["whiten"]

    for folder in folders:
        rewrite(folder.path / "result.json", lambda content: forget(content["recipe"]))
    rewrite(folders[0].path.parents[1] / "experiment.json", forget)
    assert {state(folder).kind for folder in folders} == {State.DONE}
    assert folders[0].result().recipe.augment is False
    fit(small_request("short_residual", 0), small_data)  # joins them


def test_a_variant_that_was_edited_makes_its_results_stale(folders):
    rewrite(
        folders[0].path / "result.json", lambda content: content["network"].update(residual=True)
    )
    found = state(folders[0])
    assert found.kind is State.STALE
    assert "short_norm was Variant(" in found.reasons[0] and "residual=True" in found.reasons[0]


def test_files_that_are_cut_or_foreign_are_named_and_left_out(folders, logs):
    cut, foreign, misplaced = (folder.path / "result.json" for folder in folders)
    cut.write_bytes(cut.read_bytes()[:200])
    foreign.write_text('{"accuracy": 0.99}', encoding="utf-8")
    text = json.loads(misplaced.read_text(encoding="utf-8"))
    text["recipe"]["seed"] = 7
    misplaced.write_text(json.dumps(text), encoding="utf-8")
    unknown = logs / "mine" / "wide_all" / "seed0" / "result.json"
    unknown.parent.mkdir(parents=True)
    unknown.write_text(
        json.dumps(text | {"recipe": text["recipe"] | {"variant": "wide_all"}}), "utf-8"
    )
    runs = load_runs(logs)
    assert runs.table.empty
    assert len(runs.problems) == 4
    for path in (cut, foreign, misplaced, unknown):
        assert sum(str(path) in problem for problem in runs.problems) == 1
    assert all("\n" not in problem for problem in runs.problems)


def test_a_run_with_a_missing_file_or_another_format_is_named(folders, logs):
    (folders[0].path / "predictions.npz").unlink()
    path = folders[1].path / "result.json"
    text = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(text | {"format": 99}), encoding="utf-8")
    runs = load_runs(logs)
    assert len(runs.table) == 1
    assert any("predictions.npz: missing" in problem for problem in runs.problems)
    assert any("format 99" in problem for problem in runs.problems)
    path.unlink()
    with pytest.raises(RunError, match="can't be read"):
        read_result(path)


def set_field(*names, value):
    """A change of one field of ``result.json``."""

    def change(folder):
        def put(content):
            for name in names[:-1]:
                content = content[name]
            content[names[-1]] = value

        rewrite(folder.path / "result.json", put)

    return change


def set_text(name, old, new):
    def change(folder):
        text = (folder.path / name).read_text(encoding="utf-8")
        assert old in text
        (folder.path / name).write_text(text.replace(old, new, 1), encoding="utf-8")

    return change


def set_array(name, make):
    """A change of an array of ``predictions.npz``; None leaves it out."""

    def change(folder):
        arrays = folder.predictions()
        made = make(arrays.pop(name))
        np.savez(
            folder.path / "predictions.npz", **arrays, **({} if made is None else {name: made})
        )

    return change


CONTRADICTIONS = {
    "accuracy above 1": (set_field("test", "accuracy", value=1e308), "result.json"),
    "accuracy below 0": (set_field("val", "accuracy", value=-0.5), "result.json"),
    "another accuracy": (set_field("test", "accuracy", value=0.06), "predictions.npz"),
    "no images": (set_field("test", "count", value=0), "result.json"),
    "other classes": (set_field("classes", value=2), "predictions.npz"),
    "time without zone": (
        set_field("provenance", "finished", value="2026-01-01T00:00:00"), "result.json",
    ),
    "no time": (set_field("provenance", "finished", value="yesterday"), "result.json"),
    "year 20000": (
        set_field("provenance", "finished", value="20000-01-01T00:00:00+00:00"), "result.json",
    ),
    "another best epoch": (set_field("best_epoch", value=2), "history.csv"),
    "more epochs": (set_field("epochs_run", value=3), "history.csv"),
    "text in the history": (set_text("history.csv", "\n1,", "\nabc,"), "history.csv"),
    "a number for Python alone": (set_text("history.csv", "\n1,", "\n0_1,"), "history.csv"),
    "a field too many": (set_text("history.csv", "\n1,", "\n1,,"), "history.csv"),
    "a column is missing": (set_text("history.csv", "val_loss", "loss"), "history.csv"),
    "text in the gradients": (set_text("gradients.csv", "\n0,", "\nabc,"), "gradients.csv"),
    "no test labels": (set_array("test_label", lambda a: None), "predictions.npz"),
    "fewer predictions": (set_array("test_predicted", lambda a: a[1:]), "predictions.npz"),
    "labels are text": (set_array("val_label", lambda a: a.astype(str)), "predictions.npz"),
    "probabilities above 1": (set_array("val_probability", lambda a: a + 2), "predictions.npz"),
    "a huge array": (
        set_array("val_probability", lambda a: np.zeros(10**6, np.float32)), "predictions.npz",
    ),
}  # fmt: skip


@pytest.mark.parametrize("file", sorted({file for _, file in CONTRADICTIONS.values()}))
def test_a_contradiction_is_left_out_and_named(trained, tmp_path, file, subtests):
    """A result must follow from its own predictions and history."""
    for number, (case, (change, where)) in enumerate(CONTRADICTIONS.items()):
        if where == file:
            with subtests.test(case):
                logs = tmp_path / str(number)
                _, run, _ = copied(trained, logs)
                change(run)
                runs = load_runs(logs)
                (problem,) = runs.problems
                assert str(run.path / file) in problem and "\n" not in problem
                assert len(runs.table) == 2
                assert state(run).kind is State.DAMAGED


def test_an_array_larger_than_its_split_is_refused_unread(folders, logs):
    """It could be a bomb: what isn't even an array is named by its size alone."""
    path = folders[0].path / "predictions.npz"
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("more.npy", bytes(10**6))
    assert "larger than its split" in "".join(state(folders[0]).reasons)


def test_an_archive_that_python_cannot_unpack_is_named(folders, logs):
    """Encrypted, or compressed by a method it doesn't know: by the members' headers."""
    path = folders[0].path / "predictions.npz"
    whole = path.read_bytes()
    for at, value in ((8, 1), (10, 99)):
        content = bytearray(whole)
        for signature, offset in ((b"PK\1\2", 0), (b"PK\3\4", 2)):
            place = content.find(signature)
            while place >= 0:
                content[place + at - offset] = value
                place = content.find(signature, place + 4)
        path.write_bytes(content)
        (problem,) = load_runs(logs).problems
        assert "predictions.npz: cut or foreign, can't be read" in problem


def test_a_pipe_in_place_of_a_file_is_not_waited_for(folders, logs):
    path = folders[0].path / "history.csv"
    path.unlink()
    os.mkfifo(path)
    assert "history.csv: missing" in load_runs(logs).problems[0]


def test_git_takes_a_runs_results_and_nothing_else(tmp_path):
    """Also not what a killed process leaves behind: temporary files, an unfinished overwrite."""
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    shutil.copy(project_root() / ".gitignore", tmp_path)
    run = "report/logs/shapes/short_all/seed0/"
    results = {
        run + name for name in ("result.json", "history.csv", "gradients.csv", "predictions.npz")
    } | {"report/logs/shapes/experiment.json"}
    others = [
        run + name
        for name in (
            "train.ipynb", "tensorboard/events.1", "checkpoint.pt", "checkpoint.pt.unusable",
            ".checkpoint.pt.x1", "../.seed0.new/result.json", "../.seed0.old/history.csv",
            "../.seed0.lock", "../../.experiment.lock",
        )
    ]  # fmt: skip
    for name in [*results, *others]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    listed = subprocess.run(
        ["git", "ls-files", "--others", "--exclude-standard", "report"],
        cwd=tmp_path, check=True, capture_output=True, encoding="utf-8",
    )  # fmt: skip
    assert set(listed.stdout.splitlines()) == results


def test_writing_is_all_or_nothing(tmp_path):
    path = tmp_path / "folder" / "结果.txt"
    write_text(path, "旧")

    def fails(to):
        to.write_text("新", encoding="utf-8")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, fails)
    assert path.read_text(encoding="utf-8") == "旧"
    assert [p.name for p in path.parent.iterdir()] == ["结果.txt"]
