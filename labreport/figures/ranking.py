"""The headline: all variants by test accuracy, the best above, the original's as a mark."""

from matplotlib.figure import Figure

from labcnn.variants import VARIANTS
from labreport import style, words
from labreport.figures.comparison import draw_accuracy, finish_accuracies
from labreport.study import Study, original


def plot_ranking(study: Study) -> Figure:
    """Test accuracy with its 95 % interval, and chance.

    The original's numbers are beside a study of its size.
    """
    ranked = study.ranked
    figure, [[axes]] = style.new_figure(height=0.7 + 0.18 * len(ranked))
    for place, variant in enumerate(ranked):
        draw_accuracy(axes, place, study, variant, style.colour(variant))
    axes.axvline(study.chance, color=style.GREY, linestyle=":", linewidth=1, label=words.CHANCE)
    depths = {VARIANTS[variant].depth for variant in ranked}
    for depth, colour in style.DEPTH_COLOURS.items():
        if depth in depths:
            axes.plot([], [], label=depth, color=colour, marker="o", linestyle="none")
    if study.full:
        old = original()["test_accuracy"][ranked].astype(float)
        axes.plot(old, range(len(ranked)), zorder=2, label=words.ORIGINAL, **style.ORIGINAL)
    finish_accuracies(axes, ranked)
    style.share_legend(figure)
    return figure
