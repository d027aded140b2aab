"""One run in words and pictures: what the cells of train.ipynb show.

In the language of its request; the words are :data:`labreport.words.ONE_RUN`.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from IPython.core.getipython import get_ipython
from IPython.display import DisplayHandle, Markdown, display
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from labcnn.data import ImageData, Origin, origin
from labcnn.notebook import require_current, require_result
from labcnn.request import RunRequest
from labcnn.runs import SIGNIFICANCE
from labcnn.variants import BUILT_IN, label
from labreport import style, words
from labreport.classes import find_confusions
from labreport.figures.images import shorten_name, show_grid
from labreport.study import chance_of_all_right

#: Of a confusion matrix: with more classes, their names can't be read.
MOST_NAMES = 20
#: Of images.
COLUMNS = 10
NOTICES = {Origin.DEMO: "demo", Origin.OWN: "own"}
LINES = {"train": ":", "train_eval": "--", "val": "-"}
WRONG = "#B00020"


def describe_request(request: RunRequest) -> Markdown:
    """What will run: loud about demo data and own pictures, then the run's place and its recipe."""
    require_current(request)
    recipe, text = request.recipe, words.ONE_RUN[request.language]
    notice = NOTICES.get(origin(recipe.dataset, ""))
    above = text[notice].format(dataset=recipe.dataset) if notice else ""
    values = recipe.model_dump(exclude={"variant", "seed"}) | {"precision": request.precision}
    rows = "\n".join(f"| {name} | {_cell(value)} |" for name, value in values.items())
    return Markdown(f"{above}{name_run(request)}\n\n{text['parameters']}\n| --- | --- |\n{rows}")


def name_run(request: RunRequest) -> str:
    """Variant, seed, experiment and folder of a run, in Markdown."""
    recipe, text = request.recipe, words.ONE_RUN[request.language]
    variant = f"**{recipe.variant}**"
    if recipe.variant in BUILT_IN:  # one's own has no label but its name
        variant = text["variant"].format(label=label(recipe.variant), variant=recipe.variant)
    return text["run"].format(
        variant=variant,
        seed=recipe.seed,
        experiment=request.experiment_name,
        folder=request.folder.path,
    )


def plot_samples(request: RunRequest, data: ImageData, count: int = 20) -> Figure:
    """The first training image of each of ``count`` classes, with its name."""
    rows = data.train.indices
    labels, first = np.unique(data.train.labels[rows], return_index=True)
    where = origin(data.name, data.fingerprint)
    title = words.ONE_RUN[request.language]["samples"].format(
        dataset=data.name,
        origin=_called(words.ORIGINS, where, request),
        classes=data.classes,
        train=len(data.train),
        val=len(data.val),
        test=len(data.test),
    )
    images = [data.train.images[rows[at]] for at in first[:count]]
    names = [shorten_name(data.class_names[each]) for each in labels[:count]]
    return show_grid(images, names, COLUMNS, 2, title)


def watch(request: RunRequest) -> "LiveDisplay | None":
    """Name the run that is trained now, and show how far it is where a person is at the notebook.

    Returns
    -------
    LiveDisplay or None
        What :func:`labcnn.notebook.train` takes; None where papermill runs the cells.
    """
    require_current(request)
    display(Markdown(name_run(request)))
    return LiveDisplay(request) if is_watched() else None


def is_watched() -> bool:
    """Whether a person runs the cells: one who could be asked, as papermill can't."""
    kernel = getattr(get_ipython(), "kernel", None)
    return bool(kernel and kernel.get_parent()["content"].get("allow_stdin"))


class LiveDisplay:
    """A run while it is trained: one figure of all epochs so far, and a bar within the epoch.

    The figure's place is above the lines of the epochs, so that they stay together.
    """

    def __init__(self, request: RunRequest) -> None:
        self.request = request
        self.seconds: float | None = None
        self.handle: DisplayHandle = display(Markdown(""), display_id=True)

    def steps(self, batches: Iterable[Any], epoch: int, first: int, count: int) -> Iterable[Any]:
        """The batches of an epoch, whose steps before ``first`` of ``count`` are done."""
        from tqdm import tqdm

        last, text = self.request.recipe.epochs, words.ONE_RUN[self.request.language]
        description = text["progress"].format(epoch=epoch, last=last)
        if self.seconds is not None:
            left = tqdm.format_interval(self.seconds * (last - epoch + 1))
            description += text["left"].format(left=left)
        return tqdm(
            batches, description, count, initial=first, unit=text["step"], file=sys.stdout,
            leave=False, mininterval=0.5, ncols=90,
        )  # fmt: skip

    def after_epoch(self, history: Sequence[dict[str, Any]]) -> None:
        """Draw the curves anew."""
        self.seconds = history[-1]["seconds"]
        self.handle.update(draw_curves(pd.DataFrame(history), None, self.request.language))


def tabulate_result(request: RunRequest) -> Markdown:
    """Accuracy and loss on the three splits: the best epoch's weights, or the last if none."""
    run, text = require_result(request), words.ONE_RUN[request.language]
    result = run.result()
    few = chance_of_all_right(run.predictions()["test_label"]) > SIGNIFICANCE
    undecided = few and result.status == "no_learning"
    outcome = text["outcome"].format(
        result=result,
        status=words.TOO_FEW if undecided else words.STATUS[result.status],
        stopped=words.STOPPED[result.stopped],
        epochs=result.epochs_run,
        best=result.best_epoch or text["no epoch"],
    )
    splits = {"train": result.train, "val": result.val, "test": result.test}
    rows = [
        f"| {_called(words.SPLITS, name, request)} | {found.accuracy:.2%} | {_cell(found.loss)} "
        f"| {found.count:,} |"
        for name, found in splits.items()
    ]
    table = "\n".join([text["metrics"], "| --- | ---: | ---: | ---: |", *rows])
    return Markdown(f"{name_run(request)}\n\n{outcome}\n\n{table}")


def plot_curves(request: RunRequest) -> Figure:
    """Loss and accuracy of train and validation by epoch; the best epoch is marked."""
    run = require_result(request)
    return draw_curves(run.history(), run.result().best_epoch, request.language)


def draw_curves(history: pd.DataFrame, best: int | None, language: str) -> Figure:
    """The curves of a history; ``best`` is the epoch that is marked."""
    text = words.ONE_RUN[language]
    with plt.rc_context({"font.family": style.add_fonts()}):
        figure, axes = plt.subplots(1, 2, figsize=(10, 3.4))
        for ax, measure in zip(axes, ("loss", "accuracy"), strict=True):
            for split, line in LINES.items():
                values = history[f"{split}_{measure}"]
                ax.plot(history["epoch"], values, line, marker=".", label=text[split])
            if best is not None:
                ax.axvline(best, color="0.7", linewidth=1, zorder=0, label=text["best"])
            ax.set(xlabel=text["epoch"], ylabel=text[measure])
            ax.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes[1].yaxis.set_major_formatter(PercentFormatter(1))
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, ncols=len(labels), loc="upper center", frameon=False)
        figure.tight_layout(rect=(0, 0, 1, 0.92))
    plt.close(figure)
    return figure


def plot_predictions(request: RunRequest, data: ImageData, count: int = 20) -> Figure:
    """Test images, evenly spread over the classes, with what the net takes them for.

    The text of a wrong one is red, and has the right class below.
    """
    found = require_result(request).predictions()
    rows = np.linspace(0, len(data.test) - 1, count).astype(int)
    images = [data.test.images[data.test.indices[row]] for row in rows]
    right, predicted = found["test_label"][rows], found["test_predicted"][rows]
    short = [name[:12] for name in data.class_names]
    texts = [
        f"{short[one]}\n{probability:.0%}" + ("" if one == other else f"\n({short[other]})")
        for one, other, probability in zip(
            predicted, right, found["test_probability"][rows], strict=True
        )
    ]
    colours = np.where(right == predicted, "black", WRONG).tolist()
    title = words.ONE_RUN[request.language]["predictions"]
    return show_grid(images, texts, COLUMNS, 3, title, colours)


def plot_confusions(request: RunRequest, data: ImageData, count: int = 10) -> Figure:
    """The confusion matrix of the test set, and the ``count`` most frequent confusions."""
    found = require_result(request).predictions()
    matrix = np.zeros((data.classes, data.classes))
    np.add.at(matrix, (found["test_label"], found["test_predicted"]), 1)
    pairs = find_confusions(matrix, count)
    names, text = data.class_names, words.ONE_RUN[request.language]
    with plt.rc_context({"font.family": style.add_fonts()}):
        figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2))
        left.imshow(matrix / matrix.sum(1, keepdims=True), cmap="Blues", vmin=0, vmax=1)
        left.set(xlabel=text["predicted class"], ylabel=text["right class"])
        if data.classes <= MOST_NAMES:
            short = [name[:12] for name in names]
            left.set_xticks(range(len(short)), short, rotation=90, fontsize=7)
            left.set_yticks(range(len(short)), short, fontsize=7)
        rows = range(len(pairs))
        labels = [f"{names[pair.true][:18]} → {names[pair.predicted][:18]}" for pair in pairs]
        right.barh(rows, [pair.count for pair in pairs], color=style.PALETTE[0])
        right.set_yticks(rows, labels, fontsize=8)
        right.invert_yaxis()
        right.set(xlabel=text["images"], title=text["confusions"])
        figure.tight_layout()
    plt.close(figure)
    return figure


def _called(names: Mapping[str, str], name: str, request: RunRequest) -> str:
    """A name in Chinese; in English as it is."""
    return names[name] if request.language == "zh" else str(name)


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
