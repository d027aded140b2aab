"""Where dropout stands, and what that does to batch normalisation: the kept study's numbers."""

import json

import pandas as pd

from labcnn.files import project_root


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


def summarise_places() -> tuple[dict[str, dict[str, float]], int] | None:
    """Of the kept study's last epoch: mean accuracy by place and mode, and how many seeds.

    None where it isn't there.
    """
    study = read_dropout_study()
    if study.empty:
        return None
    last = study[study["epoch"] == study["epoch"].max()]
    means = last.pivot_table(index="place", columns="mode", values="accuracy")
    return means.to_dict("index"), last["seed"].nunique()
