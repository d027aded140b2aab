"""Variants side by side: test accuracies, gaps to the training set, spread over seeds."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from labcnn.variants import REPORT_VARIANTS
from labreport import style, words
from labreport.display import CaptionedFigure, Prose
from labreport.facts import Facts
from labreport.figures.curves import draw_validation
from labreport.formats import short_name
from labreport.measures import accuracy_interval, sampling_deviation, seed_deviation
from labreport.prose import phrase
from labreport.study import Study, original

#: Width of a number beside a point, as a part of the axis.
NUMBER = 0.12


def plot_section(study: Study, variants: Sequence[str]) -> Figure:
    """A section's comparison: validation curves in one panel, test accuracies in the other.

    The original's accuracies are beside ours where the experiment is of the same size.
    """
    figure, [[left, right]] = style.new_figure(1, 2, height=2.3, width_ratios=[1.15, 1])
    draw_validation(left, study, variants)
    _draw_accuracies(right, study, variants, beside=study.full)
    if study.with_runs(variants):
        handles, labels = left.get_legend_handles_labels()
        more = right.get_legend_handles_labels()
        figure.legend(handles + more[0], labels + more[1], loc="outside lower center", ncols=5)
    else:
        style.write_note(left, words.STATUS["missing"])
    right.set_yticks(range(len(variants)), [short_name(v) for v in variants])
    return figure


def plot_ranking(study: Study, tuned: Study | None = None) -> Figure:
    """Test accuracy of all variants and of the tuned net.

    The original's are beside where both are of the same images.
    """
    names = [short_name(v) for v in REPORT_VARIANTS]
    extra = tuned.present if tuned is not None else ()
    figure, [[axes]] = style.new_figure(height=0.52 + 0.26 * (len(names) + len(extra)))
    _draw_accuracies(axes, study, REPORT_VARIANTS, beside=study.has_original)
    for place, variant in enumerate(extra, len(names)):
        assert tuned is not None
        look = {**style.TUNED, "ecolor": "black"}
        _draw_accuracy(axes, place, accuracy_interval(tuned, variant), look)
        names.append(short_name(variant) + words.TUNED)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    style.start_at_zero(axes, 1.1)
    axes.axvline(study.chance, color=style.GREY, linestyle=":", linewidth=1, label=words.CHANCE)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _draw_accuracies(axes: Axes, study: Study, variants: Sequence[str], *, beside: bool) -> None:
    old = original()["test_accuracy"]
    if beside:
        axes.plot(
            old.reindex(list(variants)), range(len(variants)), zorder=2, label=words.ORIGINAL,
            **style.ORIGINAL,
        )  # fmt: skip
    looks = style.line_looks(variants)
    widest = max([study.mean(v, "test_accuracy") for v in study.with_runs(variants)] or [1])
    if beside:
        widest = max(widest, old.reindex(list(variants)).max())
    for place, variant in enumerate(variants):
        if not study.seeds(variant):
            style.mark_missing(axes, place)
            continue
        value, low, high = accuracy_interval(study, variant)
        colour = looks[variant]["color"]
        look = {
            "color": colour, "ecolor": colour, "marker": looks[variant]["marker"],
            "markersize": 4.5,
            "markerfacecolor": "white" if style.is_baseline(variant) else colour,
        }  # fmt: skip
        failed = study.bad_status(variant)
        word = f" {words.STATUS[failed]}" if failed else ""
        diamond = float(old.get(variant, math.nan)) if beside else math.nan
        right = diamond if high < diamond < high + NUMBER * widest else high
        _draw_accuracy(axes, place, (value, low, high), look, word, right)
    axes.set_ylim(len(variants) - 0.5, -0.5)
    style.start_at_zero(axes, 1.16)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    style.percent_axis(axes.xaxis)
    axes.set_xlabel(words.SPLIT_ACCURACY["test"])
    axes.grid(axis="y", visible=False)


def _draw_accuracy(
    axes: Axes, place: int, interval: tuple[float, float, float], look: Mapping[str, Any],
    word: str = "", right: float | None = None,
) -> None:  # fmt: skip
    """An accuracy with its interval and its number, which stands right of ``right``."""
    value, low, high = interval
    below, above = max(0, value - low), max(0, high - value)
    axes.errorbar(value, place, xerr=[[below], [above]], capsize=2.5, zorder=3, **look)
    axes.annotate(
        f"{value * 100:.1f}{word}", (right or high, place), xytext=(4, 0),
        textcoords="offset points", va="center", fontsize=7.5, color="#222222",
    )  # fmt: skip


def plot_gaps(study: Study, variants: Sequence[str]) -> Figure:
    """Training and test accuracy joined by a line: the longer, the more overfitting."""
    figure, [[axes]] = style.new_figure(height=0.85 + 0.22 * len(variants))
    for place, variant in enumerate(variants):
        if not study.seeds(variant):
            style.mark_missing(axes, place)
            continue
        train, test = (study.mean(variant, f"{s}_accuracy") for s in ("train", "test"))
        colour = style.colour(variant)
        axes.plot([test, train], [place, place], color=colour, linestyle="-", linewidth=1.2)
        axes.plot(train, place, color=colour, marker="o", markerfacecolor="white", linestyle="none")
        axes.plot(test, place, color=colour, marker="o", linestyle="none")
        axes.annotate(
            f"{round((train - test) * 100, 1) + 0.0:+.1f}".replace("-", "−"),  # no −0.0
            (max(train, test), place),
            xytext=(6, 0), textcoords="offset points", va="center", fontsize=7.5, color=colour,
        )  # fmt: skip
    axes.plot([], [], color=style.GREY, marker="o", linestyle="none", label=words.SPLITS["test"])
    axes.plot(
        [], [], color=style.GREY, marker="o", markerfacecolor="white", linestyle="none",
        label=words.SPLITS["train"],
    )  # fmt: skip
    axes.set_yticks(range(len(variants)), [short_name(v) for v in variants])
    axes.set_ylim(len(variants) - 0.5, -0.5)
    style.start_at_zero(axes, 1.12)
    style.percent_axis(axes.xaxis)
    axes.set_xlabel(words.ACCURACY_WITH_GAP)
    axes.grid(axis="y", visible=False)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper")
    return figure


def plot_spread(facts: Facts) -> CaptionedFigure | Prose:
    """Each seed's distance from its variant's mean (left), standard deviations (right)."""
    study, variants = facts.study, list(facts.spread.deviations)
    if not variants:
        return Prose(phrase("no_spread"))
    figure, [[left, right]] = style.new_figure(
        1, 2, height=0.9 + 0.22 * len(variants), sharey="row", width_ratios=[1.3, 1]
    )
    for row, variant in enumerate(variants):
        mean, colour = study.mean(variant, "test_accuracy"), style.colour(variant)
        values = [(run.test.accuracy - mean) * 100 for run in study.runs(variant)]
        left.plot(
            values, [row] * len(values), color=colour, marker=style.marker(variant),
            markersize=4, alpha=0.75, linestyle="none",
        )  # fmt: skip
        right.barh(row, seed_deviation(study, variant) * 100, height=0.6, color=colour)
        right.plot(
            sampling_deviation(study, variant) * 100, row, color="black", marker="|", markersize=9,
            linestyle="none", label=words.ONLY_SAMPLING if row == 0 else None,
        )  # fmt: skip
    left.axvline(0, color=style.GREY, linewidth=0.8, linestyle="-", zorder=0)
    reach = 1.15 * max(map(abs, left.get_xlim()))
    left.set(xlim=(-reach, reach), xlabel=words.SEED_DISTANCE)
    left.set_yticks(range(len(variants)), [short_name(v) for v in variants])
    left.set_ylim(len(variants) - 0.4, -0.6)
    right.set(xlabel=words.SEED_DEVIATION, xlim=(0, None))
    for axes in (left, right):
        axes.grid(axis="y", visible=False)
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower right")
    return CaptionedFigure(figure, "fig-seeds", phrase("spread_caption"))


def plot_others(facts: Facts) -> CaptionedFigure | Prose:
    """One's own variants beside what they are compared with; nothing without any."""
    if not facts.others:
        return Prose("")
    references = {each.reference: None for each in facts.others if each.reference}
    variants = [*references, *(each.variant for each in facts.others)]
    figure = plot_section(facts.study, variants)
    return CaptionedFigure(figure, "fig-others", words.OTHERS_CAPTION)
