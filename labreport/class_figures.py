"""Figures of a network class by class."""

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from labreport import looks, thumbnails
from labreport.captioned import Captioned
from labreport.classes import Confusion, accuracies, confusion_matrix, most_confused, various
from labreport.document import Prose, Table
from labreport.names import short_name
from labreport.pictures import Pictures
from labreport.statistics import ALPHA
from labreport.study import Study
from labreport.style import PALETTE

#: Classes named at each end; pairs in the table; pairs and images of each class in the figure.
ENDS, PAIRS, SHOWN, EACH = 8, 10, 6, 4


def by_class(study: Study, variant: str, pictures: Pictures) -> Figure:
    """Accuracy of every class in ascending order (left), the ends by name (right)."""
    matrix = confusion_matrix(study, variant)
    found = accuracies(matrix)
    order = np.argsort(found, kind="stable")[: int(np.isfinite(found).sum())]
    figure, [[left, right]] = looks.figure(1, 2, height=3.0, width_ratios=[1, 1.1])
    places = np.arange(1, len(order) + 1)
    mean, images = float(np.nanmean(found)), matrix.sum(axis=1)[order]
    low, high = (stats.binom.ppf(q, images, mean) / images for q in (ALPHA / 2, 1 - ALPHA / 2))
    left.fill_between(
        places, low, high, color="#E3E3E3", linewidth=0, label="各类同样难时的 95% 范围"
    )
    left.axhline(mean, color=looks.GREY, linestyle="--", linewidth=1, label="平均")
    left.plot(
        places, found[order], color=PALETTE[0], marker="o", markersize=2, linestyle="none",
        label="各类",
    )  # fmt: skip
    left.set(xlabel="类别（按准确率从低到高）", ylabel="测试集准确率", ylim=(0, None))
    looks.percent(left.yaxis)
    left.legend(loc="best")
    ends = min(ENDS, len(order) // 2)
    named = np.concatenate([order[:ends], order[len(order) - ends :]])[::-1]
    rows = [*range(ends), *range(ends + 1, 2 * ends + 1)]  # a gap between best and worst
    right.barh(rows, found[named], height=0.65, color=[PALETTE[0]] * ends + [PALETTE[1]] * ends)
    for row, label in zip(rows, named, strict=True):
        right.annotate(
            f"{found[label] * 100:.0f}%", (found[label], row), xytext=(3, 0), va="center",
            textcoords="offset points", fontsize=7,
        )  # fmt: skip
    right.set_yticks(rows, [thumbnails.short(pictures.name(k), 24, 1) for k in named], fontsize=7)
    for text in right.get_yticklabels():
        text.set_parse_math(False)
    right.set_ylim(2 * ends + 0.6, -0.6)
    looks.from_zero(right, 1.15)
    looks.percent(right.xaxis)
    right.set_xlabel("测试集准确率")
    right.grid(axis="y", visible=False)
    return figure


def confusions(study: Study, variant: str, pictures: Pictures) -> Table:
    """The pairs that are confused most often, and how often the other way round."""
    matrix = confusion_matrix(study, variant)
    rows = [
        (
            pictures.name(c.true), pictures.name(c.predicted), f"{c.count} / {c.images}",
            f"{c.count / c.images * 100:.0f}%", str(matrix[c.predicted, c.true]),
        )
        for c in most_confused(matrix, PAIRS)
    ]  # fmt: skip
    columns = ("真实类别", "误判为", "次数 / 该类图像数", "比例", "反向误判次数")
    return Table(columns, rows, "llrrr")


def confused_images(study: Study, variant: str, pictures: Pictures) -> Captioned | Prose:
    """For the first pairs: images of one class taken for the other, beside images of that other."""
    if pictures.data is None:
        return Prose(f"{pictures.why}，混淆类别的图像从略。")
    pairs = various(most_confused(confusion_matrix(study, variant), PAIRS), SHOWN)
    if not pairs:
        return Prose("测试集上没有误判。")
    columns = 2 * EACH + 0.25
    figure, axes = thumbnails.frame(len(pairs), columns, 1, extra=0.0)
    for row, pair in enumerate(pairs):
        groups = (0, _mistaken(study, variant, pair, pictures)), (
            EACH + 0.25, pictures.training(pair.predicted, EACH),
        )  # fmt: skip
        for start, images in groups:
            for k, image in enumerate(images):
                thumbnails.place(axes, image, row, start + k, lines=1)
        texts = (0, f"{pictures.name(pair.true)}：被误判的测试图像"), (
            EACH + 0.25, f"{pictures.name(pair.predicted)}：训练图像",
        )  # fmt: skip
        for start, text in texts:
            thumbnails.line(axes, text, row, start, lines=1)
    caption = (
        f"{short_name(variant)}最常混淆的类别：被误判的测试图像（左），所判类别的训练图像（右）"
    )
    return Captioned(figure, "fig-confusions", caption)


def _mistaken(study: Study, variant: str, pair: Confusion, pictures: Pictures) -> list[np.ndarray]:
    """The most confidently mistaken test images of a pair, each image once."""
    best: dict[int, float] = {}
    for seed in study.seeds(variant):
        true, predicted = study.test_labels(variant, seed), study.test_predicted(variant, seed)
        probability = study.test_probability(variant, seed)
        for row in np.flatnonzero((true == pair.true) & (predicted == pair.predicted)):
            best[int(row)] = max(best.get(int(row), 0.0), float(probability[row]))
    chosen = sorted(best, key=lambda row: -best[row])[:EACH]
    return [pictures.test[row] for row in chosen]
