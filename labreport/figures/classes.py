"""A network class by class, and the data set's images."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy import stats

from labreport import style, words
from labreport.class_images import SAMPLES
from labreport.confidence import find_confident_mistakes
from labreport.display import CaptionedFigure, Prose
from labreport.estimates import ALPHA
from labreport.facts import Facts
from labreport.figures.images import shorten_name, show_grid
from labreport.prose import phrase

#: Classes named at each end.
ENDS = 8
#: Colours: of the classes, and of the hardest ones beside the easiest.
EASY, HARD = "#004488", "#D2601A"
#: Columns and rows of images.
MISTAKES, SAMPLE_COLUMNS = (6, 2), 10


def plot_classes(facts: Facts) -> Figure:
    """Accuracy of every class in ascending order (left), the ends by name (right)."""
    matrix, found = facts.classes.matrix, facts.classes.accuracies
    order = np.argsort(found, kind="stable")[: int(np.isfinite(found).sum())]
    figure, [[left, right]] = style.new_figure(1, 2, height=2.6, width_ratios=[1, 1.1])
    places = np.arange(1, len(order) + 1)
    mean, counts = float(np.nanmean(found)), matrix.sum(axis=1)[order]
    low, high = (stats.binom.ppf(q, counts, mean) / counts for q in (ALPHA / 2, 1 - ALPHA / 2))
    left.fill_between(places, low, high, color="#E3E3E3", linewidth=0, label=words.CLASSES_ALIKE)
    left.axhline(mean, color=style.GREY, linestyle="--", linewidth=1, label=words.MEAN)
    left.plot(
        places, found[order], color=EASY, marker="o", markersize=2, linestyle="none",
        label=words.CLASSES,
    )  # fmt: skip
    left.set(xlabel=words.CLASSES_BY_ACCURACY, ylabel=words.SPLIT_ACCURACY["test"], ylim=(0, None))
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    style.percent_axis(left.yaxis)
    left.legend(loc="best")
    ends = min(ENDS, len(order) // 2)
    named = np.concatenate([order[:ends], order[len(order) - ends :]])[::-1]
    rows = [*range(ends), *range(ends + 1, 2 * ends + 1)]  # a gap between best and worst
    right.barh(rows, found[named], height=0.65, color=[EASY] * ends + [HARD] * ends)
    for row, label in zip(rows, named, strict=True):
        right.annotate(
            f"{found[label] * 100:.0f}%", (found[label], row), xytext=(3, 0), va="center",
            textcoords="offset points", fontsize=7,
        )  # fmt: skip
    right.set_yticks(rows, [shorten_name(facts.images.name(k), 24, 1) for k in named], fontsize=7)
    for text in right.get_yticklabels():
        text.set_parse_math(False)
    right.set_ylim(2 * ends + 0.6, -0.6)
    style.start_at_zero(right, 1.15)
    style.percent_axis(right.xaxis)
    right.set_xlabel(words.SPLIT_ACCURACY["test"])
    right.grid(axis="y", visible=False)
    return figure


def show_mistakes(facts: Facts) -> CaptionedFigure | Prose:
    """The most confident errors with their images; a sentence without the data."""
    study, variant, images = facts.study, facts.best, facts.images
    if images.data is None:
        return Prose(phrase("no_images", images, "mistakes"))
    columns, rows = MISTAKES
    run = variant, study.seeds(variant)[0]
    found = find_confident_mistakes(study, *run, columns * rows)
    if not len(found):
        return Prose(phrase("no_mistakes"))
    true, predicted = study.test_labels(*run)[found], study.test_predicted(*run)[found]
    texts = [
        words.MISTAKE.format(
            true=shorten_name(images.name(one), 14, 1),
            predicted=shorten_name(images.name(other), 14, 1),
            probability=probability,
        )
        for one, other, probability in zip(
            true, predicted, study.test_probability(*run)[found], strict=True
        )
    ]
    figure = show_grid([images.data.test.images[k] for k in found], texts, columns, 3)
    return facts.figure("mistakes", figure)


def show_samples(facts: Facts) -> CaptionedFigure | Prose:
    """A training image of each of up to 30 classes, evenly spread; a sentence without the data."""
    images = facts.images
    if images.data is None:
        return Prose(phrase("no_images", images, "samples"))
    train = images.data.train
    labels, first = np.unique(train.labels[train.indices], return_index=True)
    spread = np.linspace(0, len(labels) - 1, min(SAMPLES, len(labels))).round().astype(int)
    names = [shorten_name(images.name(label)) for label in labels[spread]]
    shown = [train.images[row] for row in train.indices[first[spread]]]
    return facts.figure("samples", show_grid(shown, names, SAMPLE_COLUMNS, 2))
