"""The look of every figure: one theme, and the fonts of the text around it."""

from labreport.export.fonts import fonts

#: Six colours that every kind of colour vision tells apart; see ``tests/test_style.py``.
PALETTE: tuple[str, ...] = ("#004488", "#D2601A", "#6CB0E6", "#8C2D5A", "#E8B030", "#8F8F8F")
#: A line never depends on its colour alone: grey printing keeps the dashes and the markers.
LINES: tuple[str | tuple[int, tuple[int, ...]], ...] = (
    "-",
    "--",
    "-.",
    ":",
    (0, (8, 2)),
    (0, (3, 1)),
)
MARKERS: tuple[str, ...] = ("o", "s", "^", "D", "v", "P")
#: Inches. The text of an A4 page is 6.3 wide, so that 9 pt in a figure prints as 9 pt.
WIDTH, HEIGHT, DPI = 6.3, 3.4, 150


def use() -> None:
    """Make every later figure look like the report's, and notebooks keep it as SVG.

    Call it once, at the top of a notebook. Two runs with the same data give the same bytes.
    """
    import seaborn as sns
    from cycler import cycler
    from matplotlib import font_manager

    sans = fonts()["sans"]
    if sans.family not in font_manager.get_font_names():
        font_manager.fontManager.addfont(sans.path)
    # The font goes through set_theme: it resets font.family, so an earlier rcParams would be lost.
    sns.set_theme(style="ticks", context="paper", palette=list(PALETTE), font=sans.family, rc=_RC)
    import matplotlib as mpl

    styles = cycler(color=list(PALETTE)) + cycler(linestyle=list(LINES))
    mpl.rcParams["axes.prop_cycle"] = styles
    _display_formats()


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
    "axes.titleweight": "normal",  # the font has one weight
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
