"""Rows of the table that are costs: preparing the data, a run's start, its memory, its notebook."""

import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from measures import Measure, of_rounds
from speed import IMAGES, Bench

from labcnn.data import load_dataset
from labcnn.training.checkpoint import SECONDS_BETWEEN

HERE = Path(__file__).parent
ARCHIVE = "LABCNN_BENCH_ARCHIVE"
QUICK_CLASSES = 10


def prepare(bench: Bench) -> Iterator[Measure]:
    """Preparing Tiny ImageNet."""
    name = "Tiny ImageNet prepared: checked and decoded"
    if not (os.environ.get(IMAGES) or os.environ.get(ARCHIVE)):
        yield Measure(
            name, None, "images/s", note=f"neither {ARCHIVE} nor {IMAGES} says where it is"
        )
        return
    archive, rates = archived(bench), []
    for number in range(1 if bench.quick else 2):
        folder = bench.temporary / f"data{number}"
        seconds = run(
            ["-m", "labcnn.cli", "data", "fetch", "--from", str(archive)], LABCNN_DATA=str(folder)
        )
        images = sum(len(np.load(path)) for path in folder.glob("*/*_labels.npy"))
        rates.append(images / seconds)
    yield of_rounds(name, rates, "images/s", note=f"{images:,} images in {seconds:.0f} s")


def archived(bench: Bench) -> Path:
    """The archive that is given, or one that is made of the folder; when quick, of some classes."""
    if given := os.environ.get(ARCHIVE):
        return Path(given).expanduser()
    root, archive = Path(os.environ[IMAGES]).expanduser(), bench.temporary / "archive.zip"
    wnids = (root / "wnids.txt").read_text(encoding="utf-8").split()
    kept = set(wnids[: QUICK_CLASSES if bench.quick else None])
    annotations = (root / "val" / "val_annotations.txt").read_text(encoding="utf-8")
    labels = dict(line.split("\t")[:2] for line in annotations.splitlines())
    with zipfile.ZipFile(archive, "w") as target:
        for path in [*root.glob("*.txt"), root / "val" / "val_annotations.txt"]:
            target.write(path, path.relative_to(root.parent))
        for wnid in sorted(kept):
            for path in sorted((root / "train" / wnid).rglob("*.*")):
                target.write(path, path.relative_to(root.parent))
        for path in sorted((root / "val" / "images").iterdir()):
            if labels.get(path.name) in kept:
                target.write(path, path.relative_to(root.parent))
    return archive


def start(bench: Bench) -> Iterator[Measure]:
    """The start of a run."""
    for variant in bench.pair:
        seconds = [one_run("start", variant, bench)["seconds"] for _ in range(bench.rounds)]
        yield of_rounds(
            f"{variant}: start of a run, from loading the data to its first step's end; "
            "imports left out",
            seconds, "s", ("<=", 2.0),
        )  # fmt: skip


def middle(bench: Bench) -> Iterator[Measure]:
    """A full-size run: memory, checkpoint, probe."""
    figures = [one_run("middle", "long_all", bench) for _ in range(1 if bench.quick else 3)]
    column = {name: [each[name] for each in figures] for name in figures[0]}
    yield of_rounds("peak memory of a full-size run", column["gigabytes"], "GB", ("<=", 3.0))
    shares = [100 * seconds / SECONDS_BETWEEN for seconds in column["checkpoint"]]
    yield of_rounds(
        f"long_all: writing a checkpoint, of the {SECONDS_BETWEEN} s between two", shares, "%",
        note=f"{mean(column['checkpoint']):.3f} s",
    )  # fmt: skip
    probes = [100 * one["probe"] / one["epoch"] for one in figures]
    yield of_rounds(
        "long_all: gradient norms, of an epoch", probes, "%", note=f"{mean(column['probe']):.2f} s"
    )


def notebook(bench: Bench) -> Iterator[Measure]:
    """The notebook around a run."""
    load_dataset("shapes")  # once, so that no run has to make it
    costs = []
    for number in range(1 if bench.quick else 3):
        logs = bench.temporary / f"logs{number}"
        parameters = {
            "variant": "short_all", "dataset": "shapes", "epochs": 1, "width": 4, "threads": 1,
            "logs": str(logs), "experiment": "one",
        }  # fmt: skip
        wall = run(
            [
                "-m", "labsweep.execute", str(HERE.parent / "notebooks" / "train.ipynb"),
                str(logs / "train.ipynb"), json.dumps(parameters),
            ]
        )  # fmt: skip
        (path,) = logs.glob("*/*/*/result.json")
        result = json.loads(path.read_text(encoding="utf-8"))
        costs.append(wall - result["timing"]["total_seconds"])
    yield of_rounds("notebook around a run: papermill, kernel, cells", costs, "s", ("<=", 8.0))


def tuned(bench: Bench) -> Iterator[Measure]:
    """Time to the original's best."""
    path, goal = HERE / "tuned.json", ("<=", 150.0)
    name = "short net, protocol tuned: seconds of training"
    if bench.dataset != "tiny-imagenet-200":
        yield Measure(name, None, "s", goal=goal, note="Tiny ImageNet isn't prepared")
        return
    if not bench.quick:
        run([str(HERE / "tuned.py")])
    if not path.exists():
        yield Measure(name, None, "s", goal=goal, note="no runs yet")
        return
    record = json.loads(path.read_text(encoding="utf-8"))
    seconds = [each["train_seconds"] for each in record["runs"]]
    accuracies = [100 * each["test_accuracy"] for each in record["runs"]]
    note = f"mean and extremes of {len(seconds)} seeds"
    yield Measure(name, mean(seconds), "s", min(seconds), max(seconds), goal, note)
    yield Measure(
        "short net, protocol tuned: test accuracy", mean(accuracies), "%", min(accuracies),
        max(accuracies), (">=", 100 * record["goal_accuracy"]), note,
    )  # fmt: skip


def run(command: list[str], **environment: str) -> float:
    """Run Python with ``command``; the seconds it took.

    Raises
    ------
    RuntimeError
        It failed: the last line of what it said.
    """
    begin = time.perf_counter()
    output(command, **environment)
    return time.perf_counter() - begin


def one_run(what: str, variant: str, bench: Bench) -> Any:
    """The figures of ``one_run.py``."""
    command = [str(HERE / "one_run.py"), what, variant, bench.dataset]
    return json.loads(output(command).splitlines()[-1])


def output(command: list[str], **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *command],
        env={**os.environ, **environment},
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise RuntimeError(said[-1])
    return done.stdout
