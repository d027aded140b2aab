"""Gradient norms by stage and epoch, from the norms of the layers."""

import numpy as np
import pandas as pd

from labreport.study import Study

#: Stage 0 is the stem, 1 to 4 the stages, 5 the head.
FIRST, LAST = 1, 4


def by_stage(study: Study, variant: str, seed: int) -> pd.DataFrame:
    """Gradient norm of each stage (columns) in each epoch (rows): root mean square of its layers.

    The mean, not the sum, so that a stage of more layers has no larger norm for that alone.
    """
    table = study.gradients(variant, seed)
    squares = table.assign(square=table["gradient_norm"] ** 2)
    mean = squares.groupby(["epoch", "stage"])["square"].agg(lambda s: s.mean(skipna=False))
    return mean.unstack("stage").pow(0.5)


def first_to_last(study: Study, variant: str, seed: int) -> np.ndarray:
    """Logarithm of first over last stage's norm, one per epoch; below 0: fading on the way back."""
    norms = by_stage(study, variant, seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(norms[FIRST].to_numpy() / norms[LAST].to_numpy())


def overall(study: Study, variant: str, seed: int) -> np.ndarray:
    """Logarithm of the norm over all stages, one per epoch."""
    norms = by_stage(study, variant, seed)[[*range(FIRST, LAST + 1)]]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(np.sqrt((norms.to_numpy() ** 2).sum(axis=1)))
