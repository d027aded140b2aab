"""Variants side by side: test accuracy with its interval, gap to the training set."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from labreport import curves, looks, repeated, statistics
from labreport.formats import STATUS
from labreport.names import short_name
from labreport.study import Study, original

#: Width of a number beside a point, as a part of the axis.
NUMBER = 0.12


def test_interval(study: Study, variant: str) -> tuple[float, float, float]:
    """Test accuracy and its 95 % interval: over images, and over seeds where there are several."""
    seeds = study.seeds(variant)
    correct = [study.test_correct(variant, seed) for seed in seeds]
    if len(seeds) == 1:
        return float(correct[0].mean()), *statistics.wilson(int(correct[0].sum()), len(correct[0]))
    estimate = repeated.seeds_by_images(np.array(correct, float))
    return estimate.effect, max(0.0, estimate.low), min(1.0, estimate.high)


def section(study: Study, variants: Sequence[str]) -> Figure:
    """A section's comparison: validation curves in one panel, test accuracies in the other.

    The original's accuracies are beside ours where the experiment is of the same size.
    """
    figure, [[left, right]] = looks.figure(1, 2, height=2.3, width_ratios=[1.15, 1])
    curves.validation(left, study, variants)
    _dots(right, study, variants, beside=study.full)
    if looks.there(study, variants):
        handles, labels = left.get_legend_handles_labels()
        more = right.get_legend_handles_labels()
        figure.legend(handles + more[0], labels + more[1], loc="outside lower center", ncols=5)
    else:
        looks.note(left, STATUS["missing"])
    right.set_yticks(range(len(variants)), [short_name(v) for v in variants])
    return figure


def ranking(study: Study, tuned: Study | None = None) -> Figure:
    """Test accuracy of all variants and of the tuned net, the original's beside."""
    names = [short_name(v) for v in study.shown]
    extra = tuned.present if tuned is not None else ()
    figure, [[axes]] = looks.figure(height=0.52 + 0.26 * (len(names) + len(extra)))
    _dots(axes, study, study.shown)
    for place, variant in enumerate(extra, len(names)):
        assert tuned is not None
        _dot(axes, place, *test_interval(tuned, variant), looks.TUNED, "black")
        names.append(f"{short_name(variant)}（tuned）")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    looks.from_zero(axes, 1.1)
    axes.axvline(study.chance, color=looks.GREY, linestyle=":", linewidth=1, label="随机猜测")
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _dots(axes: Axes, study: Study, variants: Sequence[str], *, beside: bool = True) -> None:
    old = original()["test_accuracy"]
    if beside:
        axes.plot(
            old[list(variants)], range(len(variants)), zorder=2, label="原报告（Tiny ImageNet）",
            **looks.ORIGINAL,
        )  # fmt: skip
    widest = max([study.mean(v, "test_accuracy") for v in looks.there(study, variants)] or [1])
    if beside:
        widest = max(widest, old[list(variants)].max())
    for place, variant in enumerate(variants):
        if not study.seeds(variant):
            looks.missing(axes, place)
            continue
        value, low, high = test_interval(study, variant)
        style = {"color": looks.colour(variant), "marker": looks.marker(variant), "markersize": 4.5}
        style["markerfacecolor"] = looks.face(variant)
        failed = study.failed(variant)
        word = f" {STATUS[failed]}" if failed else ""
        diamond = float(old[variant]) if beside else math.nan
        right = diamond if high < diamond < high + NUMBER * widest else high
        _dot(axes, place, value, low, high, style, looks.colour(variant), word, right)
    axes.set_ylim(len(variants) - 0.5, -0.5)
    looks.from_zero(axes, 1.16)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    looks.percent(axes.xaxis)
    axes.set_xlabel("测试集准确率")
    axes.grid(axis="y", visible=False)


def _dot(
    axes: Axes, place: int, value: float, low: float, high: float, style: Mapping[str, Any],
    colour: str, word: str = "", right: float | None = None,
) -> None:  # fmt: skip
    """An accuracy with its interval and its number, which stands right of ``right``."""
    axes.errorbar(
        value, place, xerr=[[max(0, value - low)], [max(0, high - value)]], capsize=2.5,
        zorder=3, **{**style, "ecolor": colour},
    )  # fmt: skip
    axes.annotate(
        f"{value * 100:.1f}{word}", (right or high, place), xytext=(4, 0),
        textcoords="offset points", va="center", fontsize=7.5, color="#222222",
    )  # fmt: skip


def gaps(study: Study, variants: Sequence[str]) -> Figure:
    """Training and test accuracy joined by a line: the longer, the more overfitting."""
    figure, [[axes]] = looks.figure(height=0.85 + 0.22 * len(variants))
    for place, variant in enumerate(variants):
        if not study.seeds(variant):
            looks.missing(axes, place)
            continue
        train, test = (study.mean(variant, f"{s}_accuracy") for s in ("train", "test"))
        colour = looks.colour(variant)
        axes.plot([test, train], [place, place], color=colour, linestyle="-", linewidth=1.2)
        axes.plot(train, place, color=colour, marker="o", markerfacecolor="white", linestyle="none")
        axes.plot(test, place, color=colour, marker="o", linestyle="none")
        axes.annotate(
            f"{round((train - test) * 100, 1) + 0.0:+.1f}".replace("-", "−"),  # no −0.0
            (max(train, test), place),
            xytext=(6, 0), textcoords="offset points", va="center", fontsize=7.5, color=colour,
        )  # fmt: skip
    axes.plot([], [], color=looks.GREY, marker="o", linestyle="none", label="测试集")
    axes.plot(
        [], [], color=looks.GREY, marker="o", markerfacecolor="white", linestyle="none",
        label="训练集",
    )  # fmt: skip
    axes.set_yticks(range(len(variants)), [short_name(v) for v in variants])
    axes.set_ylim(len(variants) - 0.5, -0.5)
    looks.from_zero(axes, 1.12)
    looks.percent(axes.xaxis)
    axes.set_xlabel("准确率（数字为训练集减测试集，百分点）")
    axes.grid(axis="y", visible=False)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper")
    return figure
