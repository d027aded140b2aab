"""Training and test accuracy joined by a line: the longer, the more overfitting."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from labreport import style, words
from labreport.formats import percent, short_name
from labreport.study import Study


def plot_gaps(study: Study, variants: Sequence[str]) -> Figure:
    """A row per variant: test (full) and training accuracy (hollow), the difference as a number."""
    figure, [[axes]] = style.new_figure(height=0.8 + 0.25 * len(variants))
    for place, variant in enumerate(variants):
        if not study.seeds(variant):
            style.mark_missing(axes, place)
            continue
        train, test = (study.accuracy(variant, s) for s in ("train", "test"))
        colour = style.colour(variant)
        (line,) = axes.plot([test, train], [place, place], color=colour, linewidth=1.2)
        style.set_hover(line, f"{short_name(variant)} {percent(train)}% − {percent(test)}%")
        axes.plot(train, place, color=colour, marker="o", markerfacecolor="white", linestyle="none")
        axes.plot(test, place, color=colour, marker="o", linestyle="none")
        axes.annotate(
            f"{round((train - test) * 100, 2) + 0.0:+.2f}".replace("-", "−"),  # no −0.0
            (max(train, test), place),
            xytext=(6, 0), textcoords="offset points", va="center", fontsize=7.5, color=colour,
        )  # fmt: skip
    axes.set_yticks(range(len(variants)), [short_name(v) for v in variants])
    axes.set_ylim(len(variants) - 0.5, -0.5)
    style.start_at_zero(axes, 1.12)
    style.percent_axis(axes.xaxis)
    axes.set_xlabel(words.ACCURACY)
    axes.grid(axis="y", visible=False)
    return figure
