"""The headline: all variants by test accuracy, the best above, the original's as a mark."""

import math

from matplotlib.figure import Figure

from labreport import style, words
from labreport.figures.comparison import draw_accuracy, finish_accuracies
from labreport.study import Study, original


def plot_ranking(study: Study) -> Figure:
    """Test accuracy with its 95 % interval, and chance.

    The original's numbers are beside a study of its size.
    """
    ranked = study.ranked
    figure, [[axes]] = style.new_figure(height=0.75 + 0.22 * len(ranked))
    old = original()["test_accuracy"]
    for place, variant in enumerate(ranked):
        draw_accuracy(axes, place, study, variant, style.variant_look(variant))
        was = float(old[variant]) if study.full else math.nan
        axes.plot(was, place, zorder=2, **style.ORIGINAL)
    finish_accuracies(axes, ranked)
    axes.axvline(study.chance, color=style.GREY, linestyle=":", linewidth=1, label=words.CHANCE)
    last = {"label": words.ORIGINAL, **style.ORIGINAL} if study.full else {}
    style.add_depth_legend(figure, ranked, **last)
    return figure
