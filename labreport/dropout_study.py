"""Where dropout stands, and what that does to batch normalisation: the kept study's numbers."""

import json
from dataclasses import dataclass

import pandas as pd

from labcnn.files import project_root


@dataclass(frozen=True)
class Place:
    """Accuracies (0-1) after the last epoch, means over seeds.

    Attributes
    ----------
    in_training : of training images, dropout on.
    as_trained, anew, anew_with_dropout : of validation images, with the normalisations' statistics
        as training left them, and taken anew without and with dropout.
    """

    in_training: float
    as_trained: float
    anew: float
    anew_with_dropout: float


@dataclass(frozen=True)
class Places:
    """Dropout after each stage, and before the head alone."""

    stages: Place
    head: Place
    seeds: int


def read_dropout_study() -> pd.DataFrame:
    """The study of benchmarks/dropout_norm.md, on Tiny ImageNet; empty where it isn't there.

    A row per ``place`` of dropout, ``seed``, ``epoch`` and ``mode`` of evaluation, with its
    ``accuracy``, 0-1.
    """
    path = project_root() / "benchmarks" / "dropout_norm.json"
    runs = json.loads(path.read_text(encoding="utf-8"))["runs"] if path.is_file() else {}
    rows = [
        {"place": place, "seed": int(seed), "epoch": row["epoch"], "mode": mode, "accuracy": value}
        for (place, seed), history in ((key.rsplit(", ", 1), rows) for key, rows in runs.items())
        for row in history
        for mode, value in row.items()
        if mode != "epoch"
    ]
    return pd.DataFrame(rows, columns=["place", "seed", "epoch", "mode", "accuracy"])


def summarise_places() -> Places | None:
    """The last epoch of the kept study; None where it isn't there."""
    study = read_dropout_study()
    if study.empty:
        return None
    last = study[study["epoch"] == study["epoch"].max()]
    means = last.pivot_table(index="place", columns="mode", values="accuracy")
    anew = "statistics anew, dropout off", "statistics anew, dropout on"
    modes = ["in training", "as trained", *anew]
    stages, head = (
        Place(*(float(means.loc[place, mode]) for mode in modes))
        for place in ("stages and head", "head only")
    )
    return Places(stages, head, last["seed"].nunique())
