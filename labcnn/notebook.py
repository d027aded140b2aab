"""What notebooks call: their own parameters, and what the training notebook shows.

Texts are Chinese, or English by the request's ``language``.
"""

import ast
import sys
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from IPython.core.getipython import get_ipython
from IPython.display import DisplayHandle, Markdown, display
from matplotlib import font_manager
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from labcnn.data import Origin, load_dataset, origin
from labcnn.data.splits import ImageData
from labcnn.errors import ParameterError, RunError, require_addresses
from labcnn.recipe import refuse_unknown
from labcnn.request import RunRequest
from labcnn.runs import RunFolder, RunResult
from labcnn.variants import BUILT_IN, label

if TYPE_CHECKING:  # seconds, which a notebook that trains nothing doesn't spend
    from labcnn.models import ConvNet

#: First line of the cell with a notebook's parameters, and of the cell that papermill adds.
PARAMETERS, INJECTED = "# parameters", "# Parameters"
#: What the cells of our notebooks set, each with what the cell that sets it says.
SET_BY = {
    "request": "request = read_request()",
    "data": "data = load_data(request)",
    "result": "result = train(request, data)",
    "study": "study = load_study(...)",
    "facts": "facts = Facts(...)",
}
ORIGINS = {
    Origin.OFFICIAL: {"zh": "官方数据", "en": "official data"},
    Origin.OTHER: {"zh": "非官方数据", "en": "not the official data"},
    Origin.DEMO: {"zh": "演示数据", "en": "demo data"},
    Origin.OWN: {"zh": "自己的图片", "en": "own pictures"},
}
#: What stands above a run's parameters, by the origin of its data.
NOTICES = {
    Origin.DEMO: {
        "zh": "> **演示数据**：本次训练使用内置的 `shapes`，不是 Tiny ImageNet，"
        "其数字与 ImageNet 无关。`labcnn data fetch` 获取真实图像。\n\n",
        "en": "> **Demo data**: this run uses the embedded set `shapes`, not Tiny ImageNet; its "
        "numbers say nothing about ImageNet. `labcnn data fetch` gets the real images.\n\n",
    },
    Origin.OWN: {
        "zh": "> **自己的图片**：本次训练使用数据集 `{dataset}`，由文件夹中的图片制成。\n\n",
        "en": "> **Own pictures**: this run uses the data set `{dataset}`, made from a folder of "
        "pictures.\n\n",
    },
}
STATUS = {"ok": "正常", "diverged": "发散", "no_learning": "未学到"}
STOPPED = {"cap": "轮数上限", "early": "早停", "diverged": "发散"}
SPLITS = {"train": "训练集", "val": "验证集", "test": "测试集"}
#: Of a confusion matrix: with more classes, their names can't be read.
MOST_NAMES = 20


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


def read_request() -> RunRequest:
    """What the parameters of the notebook that calls this ask for.

    Raises
    ------
    ParameterError
        A parameter is unknown or isn't valid.
    RunError
        The kernel may have too little memory for torch, whose import would hang.
    """
    require_addresses()
    return RunRequest.from_parameters(read_parameters())


def require_current(request: RunRequest) -> None:
    """Raise a :class:`RunError` if the parameters' cell was run again after ``request`` was read.

    What is shown or trained then would be another run than the one that the notebook says.
    """
    if get_ipython() is None:
        return
    now = RunRequest.from_parameters(read_parameters())
    for before, after in ((request.recipe, now.recipe), (request, now)):
        for name, value in before:
            if name != "recipe" and getattr(after, name) != value:
                raise RunError(
                    f"{name} is {getattr(after, name)!r} by now, this request has {value!r}: run "
                    f"the cell with `{SET_BY['request']}` again, and those below it"
                )


def require_result(request: RunRequest) -> RunFolder:
    """The run's folder; a :class:`RunError` if the run isn't finished, or isn't the current one."""
    require_current(request)
    if not request.folder.finished:
        raise RunError(
            f"{request.recipe.variant} seed {request.recipe.seed} of {request.experiment_name} has "
            f"no result yet: first run the cell with `{SET_BY['result']}`"
        )
    return request.folder


def describe_request(request: RunRequest) -> Markdown:
    """What will run: loud about demo data and own pictures, then the run's place and its recipe."""
    require_current(request)
    recipe, language = request.recipe, request.language
    notices = NOTICES.get(origin(recipe.dataset, ""), {language: ""})
    notice = notices[language].format(dataset=recipe.dataset)
    values = {k: v for k, v in recipe.model_dump().items() if k not in ("variant", "seed")}
    values |= {"precision": request.precision}
    rows = "\n".join(f"| {name} | {_cell(value)} |" for name, value in values.items())
    head = {"zh": "| 参数 | 取值 |", "en": "| parameter | value |"}[language]
    return Markdown(f"{notice}{name_run(request)}\n\n{head}\n| --- | --- |\n{rows}")


def name_run(request: RunRequest) -> str:
    """Variant, seed, experiment and folder of a run, in Markdown."""
    recipe, folder = request.recipe, request.folder.path
    name, variant = f"**{label(recipe.variant)}**", recipe.variant
    if variant in BUILT_IN:  # one's own has no label but its name
        name += {"zh": f"（`{variant}`）", "en": f" (`{variant}`)"}[request.language]
    return {
        "zh": f"{name}，种子 {recipe.seed}，实验 `{request.experiment_name}`，文件夹 `{folder}`",
        "en": f"{name}, seed {recipe.seed}, experiment `{request.experiment_name}`, "
        f"folder `{folder}`",
    }[request.language]


def load_data(request: RunRequest) -> ImageData:
    """The request's data set, with its three splits."""
    require_current(request)
    return load_dataset(request.recipe.dataset, request.recipe.fraction)


def plot_samples(request: RunRequest, data: ImageData, count: int = 20) -> Figure:
    """The first training image of each of ``count`` classes, with its name."""
    rows = data.train.indices
    labels, first = np.unique(data.train.labels[rows], return_index=True)
    images = [data.train.images[rows[at]] for at in first[:count]]
    sizes = [f"{len(split):,}" for split in (data.train, data.val, data.test)]
    where = ORIGINS[origin(data.name, data.fingerprint)][request.language]
    title = {
        "zh": f"{data.name}（{where}）：{data.classes} 类，训练集 {sizes[0]}、验证集 {sizes[1]}、"
        f"测试集 {sizes[2]} 张图像",
        "en": f"{data.name} ({where}): {data.classes} classes, {sizes[0]} train, {sizes[1]} "
        f"validation, {sizes[2]} test images",
    }[request.language]
    return _plot_images(images, [data.class_names[each] for each in labels[:count]], title)


def build_network(request: RunRequest, data: ImageData) -> "ConvNet":
    """The request's network with its initial weights."""
    from labcnn.models import ConvNet

    require_current(request)
    recipe = request.recipe
    return ConvNet(recipe.network, recipe.width, data.classes, recipe.dropout_rate, recipe.seed)


def train(request: RunRequest, data: ImageData) -> RunResult:
    """Train what ``request`` asks for, by :func:`labcnn.training.trainer.fit`, and watch it.

    A line is printed for each epoch. Where a person is at the notebook, there are also the curves,
    which are drawn anew after each, and a bar within the epoch.
    """
    from labcnn.training.trainer import fit

    require_current(request)
    display(Markdown(name_run(request)))
    return fit(request, data, LiveDisplay(request) if is_watched() else None)


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

        last, language = self.request.recipe.epochs, self.request.language
        text = {"zh": f"第 {epoch}/{last} 轮", "en": f"epoch {epoch} of {last}"}[language]
        if self.seconds is not None:
            left = tqdm.format_interval(self.seconds * (last - epoch + 1))
            text += {"zh": f"，全部至多还需 {left}", "en": f", all at most {left} more"}[language]
        unit = {"zh": "步", "en": "step"}[language]
        return tqdm(
            batches, text, count, initial=first, unit=unit, file=sys.stdout, leave=False,
            mininterval=0.5, ncols=90,
        )  # fmt: skip

    def after_epoch(self, history: Sequence[dict[str, Any]]) -> None:
        """Draw the curves anew."""
        self.seconds = history[-1]["seconds"]
        self.handle.update(draw_curves(pd.DataFrame(history), None, self.request.language))


def is_watched() -> bool:
    """Whether a person runs the cells: one who could be asked, as papermill can't."""
    kernel = getattr(get_ipython(), "kernel", None)
    return bool(kernel and kernel.get_parent()["content"].get("allow_stdin"))


def tabulate_result(request: RunRequest) -> Markdown:
    """Accuracy and loss on the three splits: the best epoch's weights, or the last if none."""
    result = require_result(request).result()
    chinese = request.language == "zh"
    best = result.best_epoch
    if chinese:
        head, align = "| | 准确率 | 损失 | 图像数 |", "| --- | ---: | ---: | ---: |"
        line = (
            f"{STATUS[result.status]}：共 {result.epochs_run} 轮，最佳为第 {best or '—'} 轮，"
            f"结束原因：{STOPPED[result.stopped]}（stopped by: {result.stopped}）"
        )
    else:
        head, align = "| | top-1 accuracy | loss | images |", "| --- | ---: | ---: | ---: |"
        line = (
            f"{result.status}: {result.reason}; best epoch {best or 'none'} of "
            f"{result.epochs_run}, stopped by: {result.stopped}"
        )
    splits = {"train": result.train, "val": result.val, "test": result.test}
    rows = [
        f"| {SPLITS[name] if chinese else name} | {found.accuracy:.2%} | {_cell(found.loss)} "
        f"| {found.count:,} |"
        for name, found in splits.items()
    ]
    return Markdown("\n".join([f"{name_run(request)}\n\n{line}\n", head, align, *rows]))


def plot_curves(request: RunRequest) -> Figure:
    """Loss and accuracy of train and validation by epoch; the best epoch is marked."""
    run = require_result(request)
    return draw_curves(run.history(), run.result().best_epoch, request.language)


def draw_curves(history: pd.DataFrame, best: int | None, language: str) -> Figure:
    """The curves of a history; ``best`` is the epoch that is marked."""
    words = {
        "zh": ("轮", "损失", "准确率", "训练集（训练时）", "训练集（评估）", "验证集", "最佳一轮"),
        "en": ("epoch", "loss", "accuracy", "train, in training", "train, evaluated", "validation",
               "best epoch"),
    }[language]  # fmt: skip
    with _chinese():
        figure, axes = plt.subplots(1, 2, figsize=(10, 3.4))
        styles = (("train", ":"), ("train_eval", "--"), ("val", "-"))
        for (ax, measure), (k, (split, style)) in product(
            zip(axes, ("loss", "accuracy"), strict=True), enumerate(styles)
        ):
            values = history[f"{split}_{measure}"]
            ax.plot(history["epoch"], values, style, marker=".", label=words[3 + k])
        for ax, measure in zip(axes, words[1:3], strict=True):
            if best is not None:
                ax.axvline(best, color="0.7", linewidth=1, zorder=0, label=words[6])
            ax.set(xlabel=words[0], ylabel=measure)
            ax.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes[1].yaxis.set_major_formatter(PercentFormatter(1))
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, ncols=len(labels), loc="upper center", frameon=False)
        figure.tight_layout(rect=(0, 0, 1, 0.92))
        plt.close(figure)
        return figure


def plot_predictions(request: RunRequest, data: ImageData, count: int = 20) -> Figure:
    """Test images, evenly spread over the classes, with what the net takes them for.

    The title of a wrong one is red, and has the right class below.
    """
    found = require_result(request).predictions()
    rows = np.linspace(0, len(data.test) - 1, count).astype(int)
    images = [data.test.images[data.test.indices[row]] for row in rows]
    right, said = (found[f"test_{name}"][rows] for name in ("label", "predicted"))
    names = [
        f"{data.class_names[one][:14]}\n{probability:.0%}"
        + ("" if one == other else f"\n({data.class_names[other][:14]})")
        for one, other, probability in zip(
            said, right, found["test_probability"][rows], strict=True
        )
    ]
    title = {
        "zh": "测试集图像：预测的类别及其概率，括号中为正确的类别",
        "en": "Test images: the predicted class and its probability, the right class in brackets",
    }[request.language]
    colours = np.where(right == said, "black", "#B00020").tolist()
    return _plot_images(images, names, title, colours)


def plot_confusions(request: RunRequest, data: ImageData, count: int = 10) -> Figure:
    """The confusion matrix of the test set, and the ``count`` most frequent confusions."""
    found = require_result(request).predictions()
    matrix = np.zeros((data.classes, data.classes))
    np.add.at(matrix, (found["test_label"], found["test_predicted"]), 1)
    wrong = matrix * (1 - np.eye(data.classes))
    most = np.argsort(wrong, axis=None, kind="stable")[::-1][:count]
    pairs = [divmod(int(at), data.classes) for at in most if wrong.flat[at]]
    words = {
        "zh": ("预测的类别", "正确的类别", "次数", "最常见的误判：正确 → 预测"),
        "en": ("predicted class", "right class", "images", "Most frequent: right → predicted"),
    }[request.language]
    with _chinese():
        figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2))
        left.imshow(matrix / matrix.sum(1, keepdims=True), cmap="Blues", vmin=0, vmax=1)
        left.set(xlabel=words[0], ylabel=words[1])
        if data.classes <= MOST_NAMES:
            _name_ticks(left, data.class_names)
        names = [f"{data.class_names[a][:18]} → {data.class_names[b][:18]}" for a, b in pairs]
        right.barh(range(len(pairs)), [wrong[pair] for pair in pairs], color="#004488")
        right.set_yticks(range(len(pairs)), names, fontsize=8)
        right.invert_yaxis()
        right.set(xlabel=words[2], title=words[3])
        return _finish(figure)


def _name_ticks(ax: Axes, names: Sequence[str]) -> None:
    short = [name[:12] for name in names]
    ax.set_xticks(range(len(names)), short, rotation=90, fontsize=7)
    ax.set_yticks(range(len(names)), short, fontsize=7)


def _plot_images(
    images: Sequence[np.ndarray],
    names: Sequence[str],
    title: str,
    colours: Sequence[str] | None = None,
) -> Figure:
    """Images in rows of ten, each with a name above."""
    columns = 10
    rows = -(-len(images) // columns)
    with _chinese():
        lines = max(name.count("\n") for name in names)
        figure, axes = plt.subplots(
            rows, columns, figsize=(7, 0.4 + (0.8 + 0.11 * lines) * rows), squeeze=False
        )
        for ax in axes.flat:
            ax.axis("off")
        for k, (ax, image, name) in enumerate(zip(axes.flat, images, names, strict=False)):
            ax.imshow(image)
            ax.set_title(name, fontsize=6, pad=3, color=colours[k] if colours else "black")
        figure.suptitle(title, fontsize=9)
        return _finish(figure)


def _chinese() -> AbstractContextManager[None]:
    """Figures in a font that has Chinese letters too."""
    import pylopdf_fonts_zh_cn as package

    family = "Noto Sans SC"
    if family not in font_manager.get_font_names():
        font_manager.fontManager.addfont(package.sans_path())
    return plt.rc_context({"font.family": [family], "axes.unicode_minus": False})


def _finish(figure: Figure) -> Figure:
    figure.tight_layout()
    plt.close(figure)  # the cell shows what it gets; an open one would be shown twice
    return figure


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _explain_missing_name(
    shell: Any, kind: type, error: Any, trace: Any, tb_offset: int | None = None
) -> None:
    """Say in one line which cell sets a name of our notebooks that isn't there yet."""
    if cell := SET_BY.get(error.name):
        kind = RunError
        error = RunError(
            f"{error.name} isn't there yet: first run the cell with `{cell}`, and those above it "
            "(Run > Run All Above Selected Cell)"
        )
    shell.showtraceback((kind, error, trace), tb_offset=tb_offset)


# At import, as a cell that misses a name calls nothing.
if shell := get_ipython():
    shell.set_custom_exc((NameError,), _explain_missing_name)
