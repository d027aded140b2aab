"""Tidy frames of a study: what the plots in the notebook's cells start from.

A row per observation; ``depth`` and ``switch`` are the parts of ``variant``, and ``model`` is what
the report calls it. A legend has the report's words for the others: :data:`labreport.words.LEGEND`.
A frame is empty where there are no runs, and seaborn then draws nothing.
"""

from collections.abc import Iterable

import pandas as pd

from labcnn.variants import VARIANTS
from labreport.formats import short_name
from labreport.study import Study

RUN = ["variant", "model", "depth", "switch", "seed"]


def _name(variant: str) -> dict[str, str]:
    return {
        "variant": variant,
        "model": short_name(variant),
        "depth": VARIANTS[variant].depth,
        "switch": variant.partition("_")[2],
    }


def histories(study: Study, variants: Iterable[str]) -> pd.DataFrame:
    """A row per run, epoch and split (``train``, ``val``): ``accuracy`` (0-1), ``loss``.

    With the epoch's ``learning_rate``, and whether it ``fell``: was higher in the one before. The
    training part is measured in evaluation mode after the epoch, as validation is.
    """
    rows = [
        {
            **_name(variant), "seed": seed, "epoch": epoch.epoch, "split": split,
            "accuracy": getattr(epoch, f"{column}_accuracy"),
            "loss": getattr(epoch, f"{column}_loss"), "learning_rate": epoch.learning_rate,
            "fell": epoch.fell,
        }
        for variant in study.with_runs(variants)
        for seed in study.seeds(variant)
        for epoch in study.history(variant, seed).itertuples()
        for split, column in (("val", "val"), ("train", "train_eval"))
    ]  # fmt: skip
    columns = [*RUN, "epoch", "split", "accuracy", "loss", "learning_rate", "fell"]
    return pd.DataFrame(rows, columns=columns).dropna(subset="accuracy")


def gradients(study: Study, variants: Iterable[str]) -> pd.DataFrame:
    """A row per run that learned, double convolution and moment: ``norm`` of its gradient.

    ``block`` counts the double convolutions from the input; of the two on the main path it is the
    root mean square. The moments are the ``start``, before training, and the ``best`` epoch (the
    last where there is none); the norm is taken on a fixed batch of training images.
    """
    frames = []
    for variant in study.with_runs(variants):
        for seed in study.learned(variant):
            run = study.results[variant, seed]
            for moment, epoch in {"start": 0, "best": run.best_epoch or run.epochs_run}.items():
                norms = block_norms(study.gradients(variant, seed), epoch)
                frames.append(
                    pd.DataFrame(
                        {
                            "block": range(1, len(norms) + 1),
                            "norm": norms,
                            "moment": moment,
                            "seed": seed,
                        }
                    ).assign(**_name(variant))
                )
    columns = [*RUN, "moment", "block", "norm"]
    return (
        pd.concat(frames, ignore_index=True)[columns]
        if frames
        else pd.DataFrame([], columns=columns)
    )


def block_norms(table: pd.DataFrame, epoch: int) -> list[float]:
    """Of each double convolution in an epoch of ``gradients.csv``, from input to output."""
    part = table[(table["epoch"] == epoch) & table["layer"].str.contains(r"\.(?:first|second)\.")]
    blocks = part["layer"].str.extract(r"stages\.(\d+)\.(\d+)")
    squares = (part["gradient_norm"] ** 2).groupby([blocks[0].astype(int), blocks[1].astype(int)])
    return [float(value) for value in squares.mean() ** 0.5]
