"""Training computes what it always did: trajectories in float64, the same on any machine to 1e-8.

A result of hours stays good while these hold, however the code is moved or rewritten. If one
differs, undo the change; or, where it is meant, raise NUMERICS in labcnn/runs.py and write the file
anew, and say why in the commit: python tests/test_golden.py (`make develop` installs what it needs)

Dropout's draws are MKL's, which torch has on x86: elsewhere the runs with dropout aren't compared.
What bfloat16 computes differs between processors and has no golden run.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from labcnn.data import HELD_OUT, ImageData, Split, load_dataset
from labcnn.data.batches import Batches, channel_statistics
from labcnn.data.splits import first_of_each_class, split_official
from labcnn.recipe import defaults
from labcnn.request import RunRequest
from labcnn.runs import NUMERICS, SplitMetrics
from labcnn.training.evaluate import Evaluation, judge
from labcnn.training.trainer import (
    EVALUATED_PER_CLASS,
    PROBE_SIZE,
    STEPS_PER_LOOK,
    WHITENING_IMAGES,
    fit,
)
from labcnn.variants import REPORT_VARIANTS, VARIANTS

GOLDEN = Path(__file__).with_name("golden.json")
TOLERANCE = 1e-8
#: What each run has that doesn't say otherwise: two epochs of four steps, the last one short.
SMALL = {"dataset": "shapes", "width": 4, "epochs": 2, "batch_size": 9, "learning_rate": 0.01}
SMALL |= {"optimizer": "sgd", "dropout_rate": 0.5, "patience": 5, "decay_patience": 2}
SMALL |= {
    "first_size": 64,
    "last_size": 64,
    "precision": "fp64",
    "device": "cpu",
    "threads": 1,
    "logs": "",
    "seed": 0,
}
MUON = {"optimizer": "muon", "learning_rate": 0.02, "momentum": 0.6, "nesterov": True}
#: By name, what each run changes. A constant that decides results is felt by one of them. In two
#: epochs no rate falls: one-cycle and plateau are the runs of lrdecay. An own row needs none.
RUNS: dict[str, dict[str, Any]] = {
    **{name: {"variant": name} for name in REPORT_VARIANTS if not name.endswith("_lrdecay")},
    "seed": {"variant": "short_dropout", "seed": 7},
    "adamw": {
        "variant": "short_all", "optimizer": "adamw", "learning_rate": 0.01, "weight_decay": 0.1,
    },
    "sgd-nesterov": {
        "variant": "short_norm", "nesterov": True, "momentum": 0.8, "weight_decay": 0.01,
    },
    "muon": {"variant": "short_residual", **MUON},
    "one-cycle": {"variant": "short_lrdecay", "decay": "one_cycle", "epochs": 3},
    "plateau": {
        "variant": "short_lrdecay", "learning_rate": 1e-6, "epochs": 6, "decay_factor": 0.3,
    },
    "early-stopping": {
        "variant": "short_baseline", "learning_rate": 1e-6, "epochs": 6, "patience": 2,
    },
    "label-smoothing": {"variant": "short_baseline", "label_smoothing": 0.2},
    "augmentation": {"variant": "short_norm", "augment": True, "epochs": 3},
    "growing-images": {"variant": "short_norm", "first_size": 32, "last_size": 48, "epochs": 4},
    "whitened-stem": {"variant": "short_baseline", "whiten": True, "width": 12},
    "two-views": {"variant": "short_norm", "test_views": 2},
    "six-views": {"variant": "short_norm", "test_views": 6},
    "tuned": {
        **defaults("tiny-imagenet-200", "tuned"), "variant": "short_all", "protocol": "tuned",
        "width": 12, "epochs": 3, "batch_size": 9, "learning_rate": 0.02,
    },
}  # fmt: skip


def images(count: int, first: int) -> Split:
    """Pictures of four classes by whole-number arithmetic: waves of each its own length."""
    number = np.arange(first, first + count, dtype=np.int64)
    labels = number % 4
    row, column = np.mgrid[:64, :64]
    waves = [
        (row * (1 + label) * 9 + column * (5 - label) * 7 + k * 31 + (row * column * k) % 61) % 256
        for k, label in zip(number, labels, strict=True)
    ]
    grey = np.stack(waves)
    return Split(np.stack([grey, 255 - grey // 2, grey // 3 + 40], 3).astype(np.uint8), labels)


def data() -> ImageData:
    """32 training images (split off, stratified, as always), 8 for validation, 12 for the test."""
    train, val = split_official(images(40, 0), 1.0, 0.18)
    names = ("one", "two", "three", "four")
    return ImageData("shapes", names, train, val, images(12, 100), "0" * 64)


def trajectory(changes: dict[str, Any], logs: Path) -> dict[str, Any]:
    """What a run came through: losses and rates by epoch, norms at its end, its evaluation."""
    request = RunRequest.from_parameters({**SMALL, **changes, "logs": str(logs)})
    result = fit(request, data())
    history, gradients = request.folder.history(), request.folder.gradients()
    last = gradients[gradients.epoch == gradients.epoch.max()]
    columns = ("train_loss", "train_eval_loss", "val_loss", "val_accuracy")
    return {
        **{name: history[name].tolist() for name in columns},
        "rates": (history.learning_rate / request.recipe.learning_rate).tolist(),
        "weight_norms": last.weight_norm.tolist(),
        "gradient_norms": last.gradient_norm.tolist(),
        "losses": [result.train.loss, result.val.loss, result.test.loss],
        "best_epoch": result.best_epoch,
        "stopped": result.stopped,
        "status": result.status,
    }


def drawn() -> dict[str, Any]:
    """What no run of the above shows: which of many images are taken, and the demo set's images."""
    labels = np.arange(9000) % 3
    pixels = (labels[:, None] * 40 + np.arange(9000)[:, None] * [1, 3, 7]) % 251
    numbered = Split(pixels.reshape(-1, 1, 1, 3).astype(np.uint8), labels)
    mean, std = channel_statistics(numbered)
    batches = Batches(numbered, mean, std, torch.device("cpu"))
    shapes = load_dataset("shapes")
    # means over blocks: the last bit of a sine is not the same on all processors
    blocks = shapes.test.images[::97].reshape(-1, 4, 16, 4, 16, 3).mean((2, 4), dtype=np.float64)
    parts = {"demo": shapes.train, "evaluated": first_of_each_class(numbered, EVALUATED_PER_CLASS)}
    for dataset, held_out in HELD_OUT.items():
        parts[f"train of {dataset}"], parts[f"val of {dataset}"] = split_official(
            numbered, 0.5, held_out
        )
    rows = {name: part.rows for name, part in parts.items() if part.rows is not None}
    rows |= {
        name: batches.spread(count).numpy()
        for name, count in (("probe", PROBE_SIZE), ("whitening", WHITENING_IMAGES))
    }
    return {
        "counts": {name: len(found) for name, found in rows.items()},
        **{name: found[:24].tolist() for name, found in rows.items()},
        "mean": mean.tolist(),
        "std": std.tolist(),
        "steps_per_look": STEPS_PER_LOOK,
        "least_right": least_right(),
        "shapes_counts": [len(shapes.train), len(shapes.val), len(shapes.test)],
        "shapes_blocks": blocks.round(2).ravel().tolist(),
    }


def least_right() -> int:
    """How many of 10,000 images of 200 classes a net must get right to have learned."""
    label = np.repeat(np.arange(200), 50).astype(np.int16)
    metrics = SplitMetrics(loss=1.0, accuracy=0.5, count=len(label))
    for right in range(len(label)):
        predicted = np.where(np.arange(len(label)) < right, label, (label + 1) % 200)
        found = Evaluation(metrics, label, predicted, label, label)
        if judge(False, found)[0] == "ok":
            return right
    raise AssertionError


def golden() -> dict[str, Any]:
    """The committed file."""
    found: dict[str, Any] = json.loads(GOLDEN.read_text(encoding="utf-8"))
    return found


def differences(found: dict[str, Any], expected: dict[str, Any], tolerance: float) -> list[str]:
    """A line for each entry that isn't as it was."""
    lines = [] if found.keys() == expected.keys() else [f"{found.keys()} != {expected.keys()}"]
    for name in found.keys() & expected.keys():
        ours, theirs = np.asarray(found[name]), np.asarray(expected[name])
        if ours.dtype.kind in "fi" and ours.shape == theirs.shape:
            if not np.allclose(ours, theirs, rtol=tolerance, atol=tolerance, equal_nan=True):
                lines.append(f"{name}: {found[name]} instead of {expected[name]}")
        elif found[name] != expected[name]:
            lines.append(f"{name}: {found[name]} instead of {expected[name]}")
    return lines


def draws_dropout(changes: dict[str, Any]) -> bool:
    dropout = VARIANTS[changes["variant"]].dropout
    return dropout and {**SMALL, **changes}["dropout_rate"] > 0


#: Those that can be compared here.
COMPARED = [
    name
    for name in golden()["runs"]
    if torch.backends.mkl.is_available() or not draws_dropout(RUNS[name])
]


@pytest.mark.parametrize("name", COMPARED)
def test_a_run_goes_where_it_always_went(name: str, tmp_path: Path) -> None:
    assert differences(trajectory(RUNS[name], tmp_path), golden()["runs"][name], TOLERANCE) == []


def test_images_are_chosen_and_the_demo_set_is_drawn_as_always() -> None:
    found, expected = drawn(), golden()["drawn"]
    demo, its = ({"blocks": each.pop("shapes_blocks")} for each in (found, expected))
    assert differences(found, expected, TOLERANCE) == []
    assert differences(demo, its, 0.05) == []


def test_the_file_is_of_this_number() -> None:
    assert golden()["numerics"] == NUMERICS
    assert golden()["runs"].keys() == RUNS.keys()


def test_a_thousandth_of_a_millionth_shows() -> None:
    """The comparison itself: one number of one run moved."""
    run = golden()["runs"]["short_all"]
    moved = {**run, "val_loss": [run["val_loss"][0] * (1 + 1e-7), *run["val_loss"][1:]]}
    assert differences(run, run, TOLERANCE) == []
    assert len(differences(moved, run, TOLERANCE)) == 1
    assert len(differences({**run, "stopped": "early"}, run, TOLERANCE)) == 1


def main() -> None:
    """Write the file anew."""
    with tempfile.TemporaryDirectory() as folder:
        runs = {name: trajectory(changes, Path(folder, name)) for name, changes in RUNS.items()}
    text = json.dumps({"numerics": NUMERICS, "runs": runs, "drawn": drawn()}, indent=1)
    GOLDEN.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
