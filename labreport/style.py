"""The look of every figure: theme, fonts, and how a variant is drawn.

A colour says the depth, or the switch where one depth is shown; a marker says the switch, and
dashes that a line is of training or of a baseline. Where any variants are compared, each has a
colour and dashes of its own.
"""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from labcnn.variants import ABLATIONS, BLOCKS_PER_STAGE, VARIANTS
from labreport import words
from labreport.export.drawings import hover_id
from labreport.export.fonts import fonts

#: For plots that name no colour: six that every kind of colour vision tells apart.
PALETTE: tuple[str, ...] = ("#004488", "#D2601A", "#6CB0E6", "#8C2D5A", "#E8B030", "#8F8F8F")
#: Inches. The text of an A4 page is 6.3 wide, so that 9 pt in a figure prints as 9 pt.
WIDTH, HEIGHT, DPI = 6.3, 3.4, 150
GREY = "#666666"
#: Of a depth that isn't named below.
OTHER_COLOUR = "#6CB0E6"
DEPTH_COLOURS = dict.fromkeys(BLOCKS_PER_STAGE, OTHER_COLOUR) | {
    "short": "#004488", "mid": "#B0487A", "long": "#E07020",
}  # fmt: skip
SPLIT_DASHES = {"val": "", "train": (4, 2)}


def by_switch(other: Any, **known: Any) -> dict[str, Any]:
    """A look for every switch of the table of variants."""
    return {switch: known.get(switch, other) for switch in ABLATIONS}


SWITCH_COLOURS = by_switch(
    "black", baseline="#979797", lrdecay="#004488", norm="#D2601A", dropout="#6CB0E6",
    residual="#8C2D5A", all="#E8B030",
)  # fmt: skip
SWITCH_MARKERS = by_switch(
    "X", baseline="o", lrdecay="s", norm="^", dropout="D", residual="v", all="P"
)
SWITCH_DASHES = by_switch("", baseline=(3, 1.5))
#: The baseline is a wide pale line, seen also below one that coincides.
SWITCH_WIDTHS = by_switch(1.2, baseline=2.0)
#: Of a dashed line, whose wide dashes would become blots where seeds coincide.
DASHED_WIDTH = 0.9
#: How the cells of the notebook draw curves by epoch, one line a seed: arguments of seaborn's.
CURVES: dict[str, Any] = {
    "x": "epoch", "y": "accuracy", "hue": "switch", "palette": SWITCH_COLOURS, "style": "split",
    "dashes": SPLIT_DASHES, "size": "switch", "sizes": SWITCH_WIDTHS, "units": "seed",
    "estimator": None,
}  # fmt: skip
#: What changes where such curves compare the depths.
BY_DEPTH: dict[str, Any] = {
    "hue": "depth", "palette": DEPTH_COLOURS, "size": None, "sizes": None,
}  # fmt: skip
#: How they draw gradients by double convolution, the seeds' median.
GRADIENTS: dict[str, Any] = {
    "x": "block", "y": "norm", "hue": "depth", "palette": DEPTH_COLOURS, "style": "switch",
    "markers": SWITCH_MARKERS, "dashes": SWITCH_DASHES, "markeredgewidth": 0,
    "estimator": "median", "errorbar": None,
}  # fmt: skip
#: What seaborn writes into a legend beside the values: the columns' names.
LEGEND_HEADINGS = {"switch", "split", "depth", "model"}
#: Where a learning rate fell, on such curves.
FALLS: dict[str, Any] = {
    "x": "epoch",
    "y": "accuracy",
    "marker": "v",
    "color": "black",
    "s": 36,
    "zorder": 3,
}
#: What matplotlib calls the regular font where it stands for letters that the bold one lacks.
OTHER_LETTERS = "Report Sans, other letters"
#: A logarithmic axis from a to less than this times a has more ticks in each power of ten.
SHORT_STRETCH = 8
ORIGINAL: dict[str, Any] = {
    "marker": "d",
    "markerfacecolor": "white",
    "color": GREY,
    "linestyle": "none",
}


def use() -> None:
    """Make every later figure look like the report's, and notebooks keep it as SVG.

    Call it once, at the top of a notebook. Two runs with the same data give the same bytes.
    """
    import seaborn as sns

    # The font goes through set_theme: it resets font.family, so an earlier rcParams would be lost.
    families = add_fonts()
    sns.set_theme(style="ticks", context="paper", palette=list(PALETTE), font=families, rc=_RC)
    # An experiment's first report has empty panels: they say so themselves.
    warnings.filterwarnings("ignore", "Ignoring `palette`", UserWarning)
    _display_formats()


def add_fonts() -> list[str]:
    """Let matplotlib know the figures' fonts, which have Chinese letters too; their families.

    The second stands in for letters that the bold one lacks.
    """
    from matplotlib import font_manager

    manager = font_manager.fontManager
    sans, bold = fonts()["sans"], fonts()["bold"]
    known = {entry.fname for entry in manager.ttflist}
    for font in (sans, bold):
        if str(font.path) not in known:
            manager.addfont(font.path)
    if OTHER_LETTERS not in manager.get_font_names():
        manager.ttflist += [
            font_manager.FontEntry(fname=str(sans.path), name=OTHER_LETTERS, weight=weight)
            for weight in ("normal", "bold")
        ]
    return [sans.family, OTHER_LETTERS]


_RC: dict[str, object] = {
    "figure.figsize": (WIDTH, HEIGHT),
    "figure.dpi": DPI,
    "figure.constrained_layout.use": True,
    "savefig.dpi": DPI,
    "svg.fonttype": "path",  # a reader without the font sees the same figure
    "svg.hashsalt": "labcnn",  # ids of SVG elements are random without it
    "mathtext.fontset": "stix",
    "axes.unicode_minus": True,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "figure.titleweight": "bold",
    "figure.titlesize": 9.5,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.title_fontsize": 8,
    "legend.frameon": False,
    "font.size": 9,
    "axes.linewidth": 0.7,
    "lines.linewidth": 1.5,
    "lines.markersize": 4,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
}


def _display_formats() -> None:
    """Show figures as SVG, from which docx makes its own pixels; outside a notebook: nothing."""
    from IPython import get_ipython

    shell = get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return
    from matplotlib_inline.backend_inline import set_matplotlib_formats
    from matplotlib_inline.config import InlineBackend

    # Both: pyplot's first figure would otherwise bring the configured formats back.
    InlineBackend.instance(parent=shell).figure_formats = {"svg"}
    # The figures' own layout leaves no margin: to look for one would draw each of them twice.
    set_matplotlib_formats("svg", metadata={"Date": None}, bbox_inches=None)


def percent_axis(axis: Axis) -> None:
    """Write an axis of fractions in percent, with the decimals that its ticks need."""
    axis.set_major_formatter(lambda value, position: f"{100 * value:.4g}%")


def finish_curves(figure: Figure, *titles: str) -> None:
    """Label the panels of accuracies by epoch; one legend for all of them.

    A panel of runs that aren't there gives its room to the others.
    """
    for axes, title in zip(figure.axes, titles or [""], strict=True):
        axes.set(title=title, ylabel="")
        finish_panel(axes)
        axes.set_visible(any(np.size(line.get_xdata()) for line in axes.lines))
    shown = [axes for axes in figure.axes if axes.get_visible()] or figure.axes
    shown[0].set_ylabel(words.ACCURACY)
    shown[0].tick_params(labelleft=True)  # where a hidden panel beside it has the shared ones
    if (grid := figure.axes[0].get_gridspec()) is not None:
        grid.set_width_ratios([1 if axes in shown else 0.001 for axes in figure.axes])
    share_legend(figure)


def finish_panel(axes: Axes) -> None:
    """Label the axes of one panel of accuracies by epoch; a run of one epoch is a point."""
    axes.set_xlabel(words.EPOCH)
    percent_axis(axes.yaxis)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, min_n_ticks=1))
    for line in axes.lines:
        if line.is_dashed():
            line.set_linewidth(min(line.get_linewidth(), DASHED_WIDTH))
        if np.size(line.get_xdata()) == 1:  # of one epoch there is no line
            line.set_marker("o")


def finish_gradients(figure: Figure, *titles: str) -> None:
    """Label the panels of gradient norms by double convolution, on a logarithmic axis."""
    for axes, title in zip(figure.axes, titles, strict=True):
        axes.set(title=title, xlabel=words.BLOCK, ylabel=words.GRADIENT_NORM, yscale="log")
        plain_log_axis(axes.yaxis)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
    share_legend(figure)


def share_legend(figure: Figure, columns: int = 6) -> None:
    """One legend below all panels, in the report's words, without the columns' names."""
    found: dict[str, Any] = {}
    for axes in figure.axes:
        found |= dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
        if legend := axes.get_legend():
            legend.remove()
    splits = [word for word in found if word in SPLIT_DASHES]
    silent = LEGEND_HEADINGS | set(splits if len(splits) == 1 else [])  # it tells nothing apart
    kept = [word for word in found if word not in silent]
    if kept:
        # matplotlib fills column after column; a reader reads rows
        rowwise = [word for k in range(columns) for word in kept[k::columns]]
        figure.legend(
            [found[word] for word in rowwise], [words.LEGEND.get(word, word) for word in rowwise],
            loc="outside lower center", ncols=columns,
        )  # fmt: skip


def plain_log_axis(axis: Axis) -> None:
    """Write a drawn logarithmic axis as 0.5, 20, 100: no powers, some ticks on a short stretch."""
    low, high = axis.get_view_interval()
    steps = (1, 2, 4, 6) if high / low < SHORT_STRETCH else (1, 2, 5)
    axis.set_major_locator(LogLocator(subs=steps, numticks=8))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(lambda value, position: f"{value:g}")


def colour(variant: str) -> str:
    return DEPTH_COLOURS.get(VARIANTS[variant].depth, OTHER_COLOUR)


def new_figure(
    rows: int = 1, columns: int = 1, *, height: float = HEIGHT, **options: Any
) -> tuple[Figure, list[list[Axes]]]:
    """A figure as wide as the text, without pyplot: a notebook shows it once, when returned."""
    made = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = made.subplots(rows, columns, squeeze=False, **options)
    return made, [list(row) for row in axes]


def set_hover(artist: Artist, words: str | Sequence[str]) -> None:
    """Let the pointer show words on an artist, in the report's HTML.

    ``words`` are one text for all of it (a line, a bar), or one for each of its marks: the points
    of a scatter plot or of a line with markers, the cells of a mesh. Where not all marks are drawn
    (``markevery``, points outside of the canvas), none gets a text.
    """
    artist.set_gid(hover_id(words if isinstance(words, str) else list(words)))


def start_at_zero(axes: Axes, room: float) -> None:
    """Let the x axis go from 0 to ``room`` times the largest value; to 1 where nothing is drawn."""
    largest = axes.dataLim.x1
    axes.set_xlim(0, room * largest if 0 < largest < math.inf else 1)


def mark_missing(axes: Axes, place: int) -> None:
    """Say at the left of a row that its variant has no run."""
    axes.text(
        0.02, place, words.STATUS["missing"], transform=axes.get_yaxis_transform(), color=GREY,
        va="center", fontsize=8,
    )  # fmt: skip
