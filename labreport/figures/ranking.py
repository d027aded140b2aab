"""The headline: all variants by test accuracy, the best above, the original's as a mark."""

import math

from matplotlib.figure import Figure

from labreport import style, words
from labreport.figures.comparison import draw_accuracy, finish_accuracies
from labreport.study import Study, original

#: An original's mark that is nearer to the interval than this (0-1) stands before the number.
NEAR = 0.05


def plot_ranking(study: Study) -> Figure:
    """Test accuracy with its 95 % interval, and chance.

    The original's numbers are beside a study of its size.
    """
    ranked = study.ranked
    figure, [[axes]] = style.new_figure(height=0.75 + 0.24 * len(ranked))
    old = original()["test_accuracy"]
    for place, variant in enumerate(ranked):
        was = float(old[variant]) if study.full else math.nan
        near = abs(was - study.mean(variant, "test_accuracy")) < NEAR
        look = style.variant_look(variant)
        draw_accuracy(axes, place, study, variant, look, was if near else 0.0)
        axes.plot(was, place, zorder=2, **style.ORIGINAL)
    finish_accuracies(axes, ranked)
    axes.axvline(study.chance, color=style.GREY, linestyle=":", linewidth=1, label=words.CHANCE)
    for depth in dict.fromkeys(variant.partition("_")[0] for variant in ranked):
        look = {"color": style.depth_colour(depth), "marker": style.DEPTH_MARKERS[depth]}
        axes.plot([], [], **look, linestyle="none", label=depth)
    if study.full:
        axes.plot([], [], label=words.ORIGINAL, **style.ORIGINAL)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure
