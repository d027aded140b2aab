import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_runs import Fake, write_runs
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from matplotlib.text import Text

from labcnn.variants import REPORT_VARIANTS
from labreport import style
from labreport.display import CaptionedFigure, Prose
from labreport.facts import Facts
from labreport.figures import classes, comparison, costs, curves, forest, networks
from labreport.formats import short_name
from labreport.measures import accuracy_interval, first_to_last
from labreport.study import Study, load_study
from labreport.verdicts import judge_claims

PAIRS = [f"{depth}_{switch}" for depth in ("short", "long") for switch in ("baseline", "residual")]


@pytest.fixture(autouse=True)
def _theme() -> None:
    style.use()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Study:
    logs = tmp_path_factory.mktemp("whole")
    write_runs(logs, seeds=(0, 1), images=200, parameters={"epochs": 4})
    return load_study(logs)


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """long_all is missing, short_residual diverged in its first epoch, long_baseline is stuck."""
    logs = tmp_path_factory.mktemp("broken")
    fakes: list[str | Fake] = [
        "short_all",
        "short_baseline",
        Fake("short_residual", status="diverged", epochs_run=1),
        Fake("long_baseline", status="no_learning"),
    ]
    write_runs(logs, fakes, images=200, parameters={"epochs": 4})
    return load_study(logs)


FIGURES: dict[str, Callable[[Study], Figure]] = {
    "training": lambda study: curves.plot_training(study, PAIRS),
    "learning_rate": lambda study: curves.plot_learning_rate(study, PAIRS),
    "gradients": lambda study: curves.plot_gradients(study, PAIRS),
    "gradient_ratio": lambda study: curves.plot_gradient_ratio(study, PAIRS),
    "section": lambda study: comparison.plot_section(study, PAIRS),
    "ranking": comparison.plot_ranking,
    "gaps": lambda study: comparison.plot_gaps(study, REPORT_VARIANTS),
    "networks": lambda study: networks.plot_networks(study.recipe.width),
    "claims": lambda study: forest.plot_claims(judge_claims(study)),
    "costs": costs.plot_costs,
    "classes": lambda study: classes.plot_classes(Facts(study, [])),
}

#: Those that have a word for a variant that is missing or diverged.
WITH_NOTES = {"training", "section", "ranking", "gradients", "gaps"}


def _texts(figure: Figure) -> list[str]:
    return [t.get_text() for t in figure.findobj(Text) if isinstance(t, Text) and t.get_text()]


@pytest.fixture
def draw(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Callable[..., Figure]]:
    """A function that plots and saves a figure; nothing may be said of letters and fonts.

    A missing glyph warns (an error here) or, beside formulas, is only logged.
    """

    def draw(plot: Callable[[Study], Figure], study: Study, ending: str) -> Figure:
        figure, path = plot(study), tmp_path / f"figure.{ending}"
        figure.savefig(path)
        assert path.stat().st_size > 5_000
        return figure

    with caplog.at_level(logging.INFO):
        yield draw
    logged = [r.getMessage() for r in caplog.records if r.name.startswith("matplotlib.mathtext")]
    logged += [r.getMessage() for r in caplog.records if "findfont" in r.getMessage()]
    assert logged == []


def test_figures_draw_every_character(whole: Study, draw: Callable[..., Figure]) -> None:
    for plot in FIGURES.values():
        draw(plot, whole, "svg")


def test_figures_say_what_is_missing_and_what_diverged(
    broken: Study, draw: Callable[..., Figure]
) -> None:
    for name, plot in FIGURES.items():
        texts = _texts(draw(plot, broken, "png"))
        if name in WITH_NOTES:
            assert any("未完成" in text for text in texts), name
            assert name == "gaps" or any("发散" in text for text in texts), name
    for plot_some in (
        curves.plot_training,
        curves.plot_learning_rate,
        comparison.plot_section,
        curves.plot_gradients,
        curves.plot_gradient_ratio,
    ):
        assert "未完成" in _texts(plot_some(broken, ["mid_all", "long_all"]))
    assert "没有可以比较的运行" in _texts(forest.plot_claims([]))


def test_what_is_drawn_are_the_runs_numbers(whole: Study, tmp_path: Path) -> None:
    figure = curves.plot_training(whole, ["short_all"])
    accuracy = [line.get_ydata() for line in figure.axes[1].lines]
    history = whole.history("short_all", 0)
    assert any(np.array_equal(np.ravel(y), history["val_accuracy"]) for y in accuracy)
    mean = (history["val_accuracy"] + whole.history("short_all", 1)["val_accuracy"]) / 2
    assert any(np.allclose(np.ravel(y), mean) for y in accuracy)

    figure = comparison.plot_ranking(whole)
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert names == [short_name(v) for v in REPORT_VARIANTS]
    shown = {f"{whole.mean(v, 'test_accuracy') * 100:.1f}" for v in REPORT_VARIANTS}
    assert shown <= set(_texts(figure))
    value, low, high = accuracy_interval(whole, "short_all")
    assert low < value < high

    accuracies = [(0.9, 0.8, 0.5), (0.9, 0.8, 0.6)]
    write_runs(tmp_path, [Fake("short_all", k, a) for k, a in enumerate(accuracies)])
    spread = comparison.plot_spread(Facts(load_study(tmp_path), []))
    assert isinstance(spread, CaptionedFigure)
    left, right = spread.figure.axes
    assert sorted(np.ravel(left.lines[0].get_xdata())) == pytest.approx([-5, 5])
    (bar,) = right.patches
    assert bar.get_window_extent().transformed(right.transData.inverted()).width == pytest.approx(
        100 * np.std([0.5, 0.6], ddof=1)
    )


def test_no_two_ticks_say_the_same(tmp_path: Path) -> None:
    """Short runs on hard data end at a few percent: whole percents would repeat on the axis."""
    low = {v: (0.02 + k / 500, 0.015 + k / 900, 0.012 + k / 900) for k, v in enumerate(PAIRS)}
    fakes = [Fake(variant, accuracies=accuracies) for variant, accuracies in low.items()]
    write_runs(tmp_path, fakes, images=1000, parameters={"epochs": 4})
    study = load_study(tmp_path)
    for name in ("training", "section", "ranking", "gaps", "costs"):
        figure = FIGURES[name](study)
        figure.canvas.draw()
        axes = [axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis) if axis.get_visible()]
        assert axes
        for axis in axes:
            labels = [text for text in (t.get_text() for t in axis.get_ticklabels()) if text]
            assert len(labels) == len(set(labels)), (name, labels)


def test_a_first_report_of_one_epoch_and_seeds_of_different_lengths(tmp_path: Path) -> None:
    """Most sections have nothing to show, and a curve of one epoch is a point that is seen."""
    write_runs(tmp_path / "first", ["mid_all"], images=200, parameters={"epochs": 1})
    study = load_study(tmp_path / "first")
    for plot in FIGURES.values():
        plot(study).canvas.draw()
    for curve in (curves.plot_training, comparison.plot_section, curves.plot_learning_rate):
        lines = curve(study, ["mid_all"]).axes[0].lines
        assert [line for line in lines if line.get_marker() not in {"None", None, ""}]
    shown = comparison.plot_spread(Facts(study, []))
    assert isinstance(shown, Prose)
    assert "只有一个随机种子" in shown.text
    assert Facts(study, []).text("5.4-seeds").text == ""

    fakes = [Fake(v, seed, epochs_run=3 + seed) for v in PAIRS for seed in (0, 1)]
    write_runs(tmp_path / "uneven", fakes, images=200)
    study = load_study(tmp_path / "uneven")
    for draw in (curves.plot_training, curves.plot_gradient_ratio, curves.plot_gradients):
        draw(study, PAIRS).canvas.draw()


def test_first_to_last_stage_by_hand(tmp_path: Path) -> None:
    (folder,) = write_runs(tmp_path, [Fake("short_all", epochs_run=1)], images=100)
    rows = "epoch,layer,stage,gradient_norm,weight_norm\n"
    rows += "0,a,1,3,1\n0,b,1,4,1\n0,c,4,10,1\n0,d,4,10,1\n"
    rows += "1,a,1,1,1\n1,b,1,1,1\n1,c,4,nan,1\n1,d,4,1,1\n"
    (folder.path / "gradients.csv").write_text(rows, encoding="utf-8")
    found = first_to_last(load_study(tmp_path), "short_all", 0)
    assert np.exp(found[0]) == pytest.approx(np.sqrt(12.5) / 10)
    assert np.isnan(found[1])


def test_forest_has_a_row_for_each_estimate_and_cuts_intervals_that_are_too_long(
    whole: Study, tmp_path: Path
) -> None:
    write_runs(tmp_path, images=2000)
    verdicts = judge_claims(load_study(tmp_path))
    shown = [(v, f) for v in verdicts for f in v.shown if f.estimate]
    figure = forest.plot_claims(verdicts)
    rows = forest.group_rows(verdicts)
    assert sum(map(len, rows.values())) == len(shown)
    for axes, (unit, listed) in zip(figure.axes, rows.items(), strict=True):
        assert len(axes.get_yticklabels()) == len(listed)
        dots = [line for line in axes.lines if line.get_marker() in {"o", "s", "D"}]
        for place, (verdict, finding) in enumerate(listed):
            assert finding.estimate is not None
            (dot,) = [d for d in dots if np.ravel(d.get_ydata()).tolist() == [place]]
            assert same_color(dot.get_color(), forest.STYLES[verdict.outcome]["color"])
            effect = finding.estimate.effect
            drawn = {"points": 100 * effect, "ratio": np.exp(effect), "epochs": effect}[unit]
            assert float(np.ravel(dot.get_xdata())[0]) == pytest.approx(float(drawn))

    # Two seeds of gradients give intervals of many powers of ten: the others stay readable.
    verdicts = judge_claims(whole)
    (verdict,) = (v for v in verdicts if v.claim.id == "depth-gradient")
    estimates = [f.estimate for f in verdict.findings if f.estimate]
    first, *others = verdict.findings
    assert first.estimate
    wide = replace(first, estimate=first.estimate._replace(low=-30.0, high=30.0))
    figure = forest.plot_claims([replace(verdict, findings=(wide, *others))])
    low, high = np.log(figure.axes[0].get_xlim())
    effects = [e.effect for e in estimates]
    assert low < min(0, *effects) and max(0, *effects) < high
    assert high - low < 10


def test_diagrams_are_the_modules() -> None:
    """Each box of a convolution or a pooling is a module's, in the order of the forward pass."""
    from torch import nn

    from labcnn.models import ConvNet, DoubleConv
    from labcnn.variants import get_variant

    model = ConvNet(get_variant("long_all"), 16, 20)
    wanted = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
            stride = "，步长 2" if module.stride == (2, 2) else ""
            wanted.append(f"3×3 卷积{stride}，{module.out_channels}")
    blocks = [module for module in model.modules() if isinstance(module, DoubleConv)]
    (axes,) = [a for a in networks.plot_networks(16).axes if a.get_title().endswith(") long")]
    texts = [text.get_text() for text in axes.texts]
    assert [text for text in texts if text.startswith("3×3")] == wanted
    assert texts.count("2×2 最大池化") == sum(block.pool for block in blocks)
    assert (
        texts.count("BN") == len([m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]) - 3
    )
    assert len([line for line in axes.lines if line.get_marker() == "+"]) == len(blocks)
