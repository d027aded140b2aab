"""Tidy frames of a study: what the plots in the notebook's cells start from.

A row per observation; ``model`` is the variant as the report calls it, ``depth`` and ``switch`` are
its parts. A frame is empty where there are no runs, and seaborn then draws nothing.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from labcnn.variants import VARIANTS
from labreport import words
from labreport.decays import find_falls
from labreport.formats import short_name
from labreport.study import Study

RUN = ["variant", "model", "depth", "switch", "seed"]


def _name(variant: str) -> dict[str, str]:
    suffix = variant.partition("_")[2]
    return {
        "variant": variant,
        "model": short_name(variant),
        "depth": VARIANTS[variant].depth,
        "switch": words.SWITCHES.get(suffix, suffix),
    }


def histories(study: Study, variants: Iterable[str]) -> pd.DataFrame:
    """A row per run, epoch and split: ``accuracy`` (0-1), ``loss``, ``learning_rate``.

    The training part is measured in evaluation mode after the epoch, as validation is.
    """
    rows = [
        {
            **_name(variant), "seed": seed, "epoch": epoch.epoch, "split": word,
            "accuracy": getattr(epoch, f"{split}_accuracy"),
            "loss": getattr(epoch, f"{split}_loss"), "learning_rate": epoch.learning_rate,
        }
        for variant in study.with_runs(variants)
        for seed in study.seeds(variant)
        for epoch in study.history(variant, seed).itertuples()
        for split, word in (("val", words.SPLITS["val"]), ("train_eval", words.SPLITS["train"]))
    ]  # fmt: skip
    columns = [*RUN, "epoch", "split", "accuracy", "loss", "learning_rate"]
    return pd.DataFrame(rows, columns=columns).dropna(subset="accuracy")


def falls(study: Study, variants: Iterable[str]) -> pd.DataFrame:
    """The epochs in which a run's learning rate was lower than before, with ``accuracy``."""
    found = histories(study, variants).query("split == @words.SPLITS['val']")
    epochs = {
        (variant, seed, fall.epoch)
        for variant in study.with_runs(variants)
        for seed in study.seeds(variant)
        for fall in find_falls(study, variant, seed)
    }
    keys = zip(found["variant"], found["seed"], found["epoch"], strict=True)
    return found[np.array([key in epochs for key in keys], bool)]


def gradients(study: Study, variants: Iterable[str]) -> pd.DataFrame:
    """A row per run that learned, double convolution and moment: ``norm`` of its gradient.

    ``block`` counts the double convolutions from the input; of the two on the main path it is the
    root mean square. The moments are before training and the best epoch (the last where there is
    none); the norm is taken on a fixed batch of training images.
    """
    frames = []
    for variant in study.with_runs(variants):
        for seed in study.learned(variant):
            run = study.results[variant, seed]
            for epoch, word in zip(
                (0, run.best_epoch or run.epochs_run), words.MOMENTS, strict=True
            ):
                norms = block_norms(study.gradients(variant, seed), epoch)
                frames.append(
                    pd.DataFrame(
                        {
                            "block": range(1, len(norms) + 1),
                            "norm": norms,
                            "moment": word,
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
