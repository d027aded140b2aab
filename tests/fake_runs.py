"""Run folders in the exact schema of :mod:`labcnn.runs`, from a seed: no training, no torch."""

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from labcnn import runs
from labcnn.recipe import Recipe
from labcnn.variants import REPORT_VARIANTS, get_variant

#: Plausible accuracies: train, val, test.
ACCURACIES: dict[str, tuple[float, float, float]] = {
    "short_baseline": (0.80, 0.55, 0.54),
    "long_baseline": (0.30, 0.24, 0.23),
    "short_lrdecay": (0.85, 0.58, 0.57),
    "long_lrdecay": (0.31, 0.25, 0.24),
    "short_norm": (0.97, 0.70, 0.69),
    "long_norm": (0.75, 0.55, 0.54),
    "short_dropout": (0.70, 0.60, 0.59),
    "long_dropout": (0.22, 0.20, 0.19),
    "short_residual": (0.88, 0.57, 0.56),
    "long_residual": (0.65, 0.45, 0.44),
    "short_all": (0.95, 0.82, 0.81),
    "long_all": (0.80, 0.66, 0.65),
    "mid_all": (0.90, 0.75, 0.74),
}
#: Parameters and FLOPs of a width-16 net by depth: any positive numbers do.
SIZES = {
    "short": (300_000, 20_000_000),
    "mid": (640_000, 40_000_000),
    "long": (980_000, 60_000_000),
}


REASONS = {
    "ok": "",
    "diverged": "epoch 2: the loss is nan",
    "no_learning": "not better than chance",
}


@dataclass(frozen=True)
class Fake:
    """One run to write; what isn't given follows from the variant."""

    variant: str
    seed: int = 0
    accuracies: tuple[float, float, float] | None = None
    status: runs.Status = "ok"
    reason: str = ""
    epochs_run: int | None = None
    stopped: str = "early"
    seconds_per_epoch: float = 2.0
    first_stage_gradient: float | None = None
    correlation: float = 0.7


def write_runs(
    logs: Path,
    variants: Iterable[str | Fake] = REPORT_VARIANTS,
    seeds: Iterable[int] = (0,),
    *,
    images: int = 1000,
    parameters: Mapping[str, Any] | None = None,
    fingerprint: str = "f00d" * 16,
    numerics: int = runs.NUMERICS,
) -> list[runs.RunFolder]:
    """Write a run per variant and seed below ``logs``; a :class:`Fake` brings its own seed."""
    fakes = [
        fake
        for v in variants
        for fake in ([v] if isinstance(v, Fake) else [Fake(v, seed=s) for s in seeds])
    ]
    return [
        write_run(logs, fake, images, parameters or {}, fingerprint, numerics) for fake in fakes
    ]


def write_run(
    logs: Path,
    fake: Fake,
    images: int,
    parameters: Mapping[str, Any],
    fingerprint: str,
    numerics: int,
) -> runs.RunFolder:
    recipe = Recipe.from_parameters({**parameters, "variant": fake.variant, "seed": fake.seed})
    folder = runs.RunFolder.of(logs, recipe.experiment, recipe)
    folder.path.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([fake.seed, *fake.variant.encode()])
    classes = 200 if recipe.dataset == "tiny-imagenet-200" else 20
    accuracies = fake.accuracies or ACCURACIES.get(fake.variant, (0.5, 0.4, 0.4))
    if fake.status != "ok":
        accuracies = (1 / classes,) * 3
    epochs = fake.epochs_run or (2 if fake.status == "diverged" else recipe.epochs)
    history = _history(rng, recipe, fake, accuracies, epochs, classes)
    history.to_csv(folder.path / runs.HISTORY, index=False, encoding="utf-8")
    _gradients(rng, fake, epochs).to_csv(
        folder.path / runs.GRADIENTS, index=False, encoding="utf-8"
    )
    arrays: dict[str, np.ndarray] = {}
    for split, accuracy in zip(("val", "test"), accuracies[1:], strict=True):
        arrays |= _predictions(rng, split, accuracy, images, classes, fake.correlation)
    np.savez_compressed(folder.path / runs.PREDICTIONS, **arrays)  # type: ignore[arg-type]
    result = _result(recipe, fake, accuracies, history, images, classes, fingerprint, numerics)
    (folder.path / runs.RESULT).write_text(result.model_dump_json(indent=2), encoding="utf-8")
    return folder


def copy_training(first: runs.RunFolder, second: runs.RunFolder) -> None:
    """Give a run the files and results of another, as where a switch never acted."""
    for name in (runs.HISTORY, runs.GRADIENTS, runs.PREDICTIONS):
        shutil.copy(first.path / name, second.path / name)
    one = first.result()
    same = ("train", "val", "test", "best_epoch", "epochs_run", "stopped", "chance_p_value")
    result = second.result().model_copy(update={name: getattr(one, name) for name in same})
    (second.path / runs.RESULT).write_text(result.model_dump_json(), encoding="utf-8")


def _history(
    rng: np.random.Generator,
    recipe: Recipe,
    fake: Fake,
    accuracies: tuple[float, ...],
    epochs: int,
    classes: int,
) -> pd.DataFrame:
    progress = 1 - np.exp(-3 * np.arange(1, epochs + 1) / epochs)
    train, val = (
        1 / classes + (a - 1 / classes) * progress / progress[-1] + rng.normal(0, 0.004, epochs)
        for a in accuracies[:2]
    )
    train_loss, val_loss = (np.log(classes) * (1 - 0.9 * a) for a in (train, val))
    if fake.status == "diverged":
        train_loss[-1] = val_loss[-1] = np.nan
    rate = np.full(epochs, recipe.learning_rate)
    if get_variant(fake.variant).lr_decay:
        rate *= recipe.decay_factor ** (np.arange(epochs) * 3 // max(epochs, 1))
    seconds = fake.seconds_per_epoch * (1 + rng.normal(0, 0.02, epochs))
    columns = (
        np.arange(1, epochs + 1), train_loss, train.clip(0, 1), train_loss, train.clip(0, 1),
        val_loss, val.clip(0, 1), rate, seconds, 4000 / seconds,
    )  # fmt: skip
    return pd.DataFrame(dict(zip(runs.HISTORY_COLUMNS, columns, strict=True)))


def _gradients(rng: np.random.Generator, fake: Fake, epochs: int) -> pd.DataFrame:
    network = get_variant(fake.variant)
    fades = 0.1 if network.depth == "long" and not network.residual else 0.8
    first = fades if fake.first_stage_gradient is None else fake.first_stage_gradient
    layers = [("stem.0", 0)]
    for stage in range(4):
        for block in range(network.blocks_per_stage):
            layers += [
                (f"stages.{stage}.{block}.{name}.0", stage + 1) for name in ("first", "second")
            ]
    layers.append(("head", 5))
    rows = []
    for epoch in range(epochs + 1):
        for layer, stage in layers:
            level = first ** ((4 - min(stage, 4)) / 3) * np.exp(rng.normal(0, 0.1))
            bad = fake.status == "diverged" and epoch == epochs
            rows.append((epoch, layer, stage, np.nan if bad else 0.3 * level, 4.0))
    return pd.DataFrame(rows, columns=list(runs.GRADIENT_COLUMNS))


def _predictions(
    rng: np.random.Generator, split: str, accuracy: float, images: int, classes: int, r: float
) -> dict[str, np.ndarray]:
    """Exactly ``accuracy``; which images are hard is alike in all runs to the degree ``r``."""
    labels = np.arange(images) % classes
    shared = np.random.default_rng(len(split)).normal(size=images)
    ease = r * shared + np.sqrt(1 - r**2) * rng.normal(size=images)
    correct = np.zeros(images, bool)
    correct[np.argsort(ease)[images - round(accuracy * images) :]] = True
    wrong = (labels + rng.integers(1, classes, images)) % classes
    probability = rng.uniform(1 / classes, 1, images).astype(np.float32)
    of_label = np.where(correct, probability, np.minimum(probability, 1 - probability) / 2)
    return {
        f"{split}_label": labels.astype(np.int64),
        f"{split}_predicted": np.where(correct, labels, wrong).astype(np.int64),
        f"{split}_probability": probability,
        f"{split}_label_probability": of_label,
    }


def _result(
    recipe: Recipe,
    fake: Fake,
    accuracies: tuple[float, ...],
    history: pd.DataFrame,
    images: int,
    classes: int,
    fingerprint: str,
    numerics: int,
) -> runs.RunResult:
    counts = (images * 4, images, images)
    epochs, seconds = len(history), float(history["seconds"].sum())
    train, val, test = (
        runs.SplitMetrics(
            loss=None if fake.status == "diverged" else float(np.log(classes) * (1 - 0.9 * a)),
            accuracy=round(a * n) / n,
            count=n,
        )
        for a, n in zip(accuracies, counts, strict=True)
    )
    parameters, flops = SIZES[recipe.network.depth]
    return runs.RunResult(
        experiment=recipe.experiment,
        recipe=recipe,
        status=fake.status,
        reason=fake.reason or REASONS[fake.status],
        train=train,
        val=val,
        test=test,
        classes=classes,
        best_epoch=None if fake.status == "diverged" else int(history["val_accuracy"].argmax()) + 1,
        epochs_run=epochs,
        stopped="diverged" if fake.status == "diverged" else fake.stopped,  # type: ignore[arg-type]
        chance_p_value=1.0 if fake.status != "ok" else 0.0,
        timing=runs.Timing(
            train_seconds=seconds,
            total_seconds=seconds + 3,
            seconds_per_epoch=seconds / epochs,
            images_per_second=4 * images * epochs / seconds,
        ),
        model=runs.ModelSize(parameters=parameters, flops=flops),
        provenance=runs.Provenance(
            data_fingerprint=fingerprint,
            git_commit="0123456789abcdef0123456789abcdef01234567",
            git_dirty=False,
            versions={"python": "3.11.2", "torch": "2.14.1", "numpy": "2.3.4"},
            device="cpu",
            device_name="a CPU",
            precision="fp32",
            threads=1,
            started="2024-05-01T10:00:00+00:00",
            finished="2024-05-01T10:01:00+00:00",
            numerics=numerics,
        ),
    )  # fmt: skip
