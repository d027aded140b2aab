"""What notebooks call: their own parameters, and what the training notebook shows."""

import ast
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import Markdown
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from labcnn.data import origin
from labcnn.data.splits import ImageData
from labcnn.errors import ParameterError, require_addresses
from labcnn.recipe import refuse_unknown
from labcnn.request import RunRequest
from labcnn.runs import RunFolder
from labcnn.variants import label

#: First line of the cell with a notebook's parameters, and of the cell that papermill adds.
PARAMETERS, INJECTED = "# parameters", "# Parameters"
DEMO = (
    "> **Demo data.** This run uses the embedded set `shapes`, not Tiny ImageNet; its numbers say "
    "nothing about ImageNet. `labcnn data fetch` gets the real images. "
    "· **演示数据**:本次训练使用内置的 `shapes`,不是 Tiny ImageNet。\n\n"
)


def read_parameters() -> dict[str, Any]:
    """The parameters of the notebook that calls this, as its cells set them.

    papermill only warns of a parameter that the notebook doesn't have, and runs the defaults. So
    the names are read from the cells that ran: the latest that begins with ``# parameters``, and
    the one that papermill adds, which begins with ``# Parameters``.

    Raises
    ------
    ParameterError
        papermill gave a name that the notebook's own cell doesn't have; or that cell didn't run.
    """
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    namespace: dict[str, Any] = shell.user_ns if shell else {"In": []}
    cells = {source.partition("\n")[0].strip(): source for source in namespace["In"]}
    if PARAMETERS not in cells:
        raise ParameterError(f"no parameters: run the cell that begins with {PARAMETERS!r} first")
    own = assigned_names(cells[PARAMETERS])
    given = assigned_names(cells.get(INJECTED, ""))
    refuse_unknown({name: namespace[name] for name in given}, own)
    return {name: namespace[name] for name in own}


def assigned_names(source: str) -> list[str]:
    """The variables that a cell sets, in order."""
    names = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name))
    return [name.id for name in names if isinstance(name.ctx, ast.Store)]


def describe_request(request: RunRequest) -> Markdown:
    """What will run: loud about demo data, then the recipe.

    Raises
    ------
    RunError
        The kernel may have too little memory for torch, whose import would hang.
    """
    require_addresses()
    recipe = request.recipe
    notice = DEMO if recipe.dataset == "shapes" else ""
    values = {k: v for k, v in recipe.model_dump().items() if k not in ("variant", "seed")}
    values |= {"precision": request.precision}
    rows = "\n".join(f"| {name} | {_cell(value)} |" for name, value in values.items())
    return Markdown(
        f"{notice}**{label(recipe.variant)}** (`{recipe.variant}`), seed {recipe.seed}, in the "
        f"experiment `{request.experiment_name}`\n\n| parameter | value |\n| --- | --- |\n{rows}"
    )


def plot_samples(data: ImageData, count: int = 20) -> Figure:
    """The first training image of each of ``count`` classes, with its name."""
    rows = data.train.indices
    labels, first = np.unique(data.train.labels[rows], return_index=True)
    columns = 10
    figure, axes = plt.subplots(
        -(-min(count, len(labels)) // columns), columns, figsize=(10, 2.6), squeeze=False
    )
    for ax in axes.flat:
        ax.axis("off")
    for ax, which, at in zip(axes.flat, labels, first, strict=False):
        ax.imshow(data.train.images[rows[at]])
        ax.set_title(data.class_names[which].split(",")[0][:14], fontsize=8)
    figure.suptitle(
        f"{data.name} ({origin(data.name, data.fingerprint)}): {data.classes} "
        f"classes, {len(data.train):,} train, {len(data.val):,} validation, {len(data.test):,} "
        "test images",
        fontsize=10,
    )
    figure.tight_layout()
    plt.close(figure)
    return figure


def tabulate_result(folder: RunFolder) -> pd.DataFrame:
    """Accuracy and loss on the three splits: the best epoch's weights, or the last if none."""
    result = folder.result()
    print(f"{result.status}: {result.reason}")
    best = "none" if result.best_epoch is None else result.best_epoch
    print(f"best epoch {best} of {result.epochs_run}, stopped by: {result.stopped}")
    splits = {"train": result.train, "validation": result.val, "test": result.test}
    return pd.DataFrame(
        {
            name: {"top-1 accuracy": f"{m.accuracy:.2%}", "loss": _cell(m.loss), "images": m.count}
            for name, m in splits.items()
        }
    ).T


def plot_curves(folder: RunFolder) -> Figure:
    """Loss and accuracy of train and validation by epoch; the best epoch is marked."""
    history, result = folder.history(), folder.result()
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.2))
    for ax, measure in zip(axes, ("loss", "accuracy"), strict=True):
        for split, style in (("train", "--"), ("val", "-")):
            ax.plot(history.epoch, history[f"{split}_{measure}"], style, marker=".", label=split)
        if result.best_epoch is not None:
            ax.axvline(result.best_epoch, color="0.7", linewidth=1, zorder=0, label="best epoch")
        ax.set(xlabel="epoch", ylabel=measure)
        ax.xaxis.get_major_locator().set_params(integer=True)
    axes[0].legend()
    figure.tight_layout()
    plt.close(figure)
    return figure


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
