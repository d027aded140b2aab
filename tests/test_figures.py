import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fake_runs import Fake, write_runs
from matplotlib.figure import Figure

from labcnn.variants import BLOCKS_PER_STAGE, REPORT_VARIANTS
from labreport import (
    class_figures,
    comparison,
    costs,
    curves,
    diagrams,
    forest,
    gradient_figures,
    gradients,
    seeds,
    style,
)
from labreport.captioned import Captioned
from labreport.classes import best_variant
from labreport.names import short_name
from labreport.pictures import Pictures
from labreport.study import Study, load_study
from labreport.verdicts import evaluate

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


FIGURES = {
    "training": lambda study: curves.training(study, PAIRS),
    "learning_rate": lambda study: curves.learning_rate(study, PAIRS),
    "section": lambda study: comparison.section(study, PAIRS),
    "ranking": comparison.ranking,
    "gaps": lambda study: comparison.gaps(study, REPORT_VARIANTS),
    "heat_map": lambda study: gradient_figures.heat_map(study, PAIRS),
    "ratio": lambda study: gradient_figures.first_against_last(study, PAIRS),
    "networks": lambda study: diagrams.networks(study.recipe.width),
    "forest": lambda study: forest.plot(evaluate(study)),
    "costs": costs.pareto,
    "classes": lambda study: class_figures.by_class(study, best_variant(study), Pictures()),
}


def _texts(figure: Figure) -> list[str]:
    from matplotlib.text import Text

    return [t.get_text() for t in figure.findobj(Text) if isinstance(t, Text) and t.get_text()]


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("kind", ["whole", "broken"])
def test_figures_draw_every_character(
    name: str,
    kind: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A missing glyph warns (an error here) or, beside formulas, is only logged."""
    study = request.getfixturevalue(kind)
    with caplog.at_level(logging.INFO):
        figure = FIGURES[name](study)
        for ending in ("png", "svg"):
            figure.savefig(tmp_path / f"figure.{ending}")
            assert (tmp_path / f"figure.{ending}").stat().st_size > 5_000
    logged = [r.getMessage() for r in caplog.records if r.name.startswith("matplotlib.mathtext")]
    logged += [r.getMessage() for r in caplog.records if "findfont" in r.getMessage()]
    assert logged == []


@pytest.mark.parametrize("name", ["training", "section", "ranking", "heat_map", "gaps"])
def test_figures_say_what_is_missing(name: str, broken: Study) -> None:
    assert any("未完成" in text for text in _texts(FIGURES[name](broken)))


@pytest.mark.parametrize("name", ["training", "section", "ranking", "heat_map"])
def test_figures_say_what_diverged(name: str, broken: Study) -> None:
    assert any("发散" in text for text in _texts(FIGURES[name](broken)))


@pytest.mark.parametrize("variants", [["mid_all"], ["mid_all", "long_all"]])
def test_figures_of_nothing_say_so(broken: Study, variants: list[str]) -> None:
    for draw in (
        curves.training,
        curves.learning_rate,
        comparison.section,
        gradient_figures.heat_map,
        gradient_figures.first_against_last,
    ):
        assert "未完成" in _texts(draw(broken, variants))


def test_curves_show_the_history(whole: Study) -> None:
    figure = curves.training(whole, ["short_all"])
    accuracy = [line.get_ydata() for line in figure.axes[1].lines]
    history = whole.history("short_all", 0)
    assert any(np.array_equal(np.ravel(y), history["val_accuracy"]) for y in accuracy)
    mean = (history["val_accuracy"] + whole.history("short_all", 1)["val_accuracy"]) / 2
    assert any(np.allclose(np.ravel(y), mean) for y in accuracy)


@pytest.mark.parametrize("name", ["training", "section", "ranking", "gaps", "costs"])
def test_no_two_ticks_say_the_same(name: str, tmp_path: Path) -> None:
    """Short runs on hard data end at a few percent: whole percents would repeat on the axis."""
    low = {v: (0.02 + k / 500, 0.015 + k / 900, 0.012 + k / 900) for k, v in enumerate(PAIRS)}
    fakes = [Fake(variant, accuracies=accuracies) for variant, accuracies in low.items()]
    write_runs(tmp_path, fakes, images=1000, parameters={"epochs": 4})
    figure = FIGURES[name](load_study(tmp_path))
    figure.canvas.draw()
    axes = [axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis) if axis.get_visible()]
    assert axes
    for axis in axes:
        labels = [text for text in (t.get_text() for t in axis.get_ticklabels()) if text]
        assert len(labels) == len(set(labels)), labels


@pytest.mark.parametrize("name", FIGURES)
def test_figures_of_one_single_run(name: str, tmp_path: Path) -> None:
    """A newcomer's first report: one variant, so that most sections have nothing to show."""
    write_runs(tmp_path, ["mid_all"], images=200, parameters={"epochs": 1})
    FIGURES[name](load_study(tmp_path)).canvas.draw()


@pytest.mark.parametrize("draw", [curves.training, comparison.section, curves.learning_rate])
def test_one_epoch_is_a_point_that_is_seen(draw: Callable, tmp_path: Path) -> None:
    write_runs(tmp_path, ["short_all"], images=200, parameters={"epochs": 1})
    lines = draw(load_study(tmp_path), ["short_all"]).axes[0].lines
    assert [line for line in lines if line.get_marker() not in {"None", None, ""}]


def test_seeds_of_different_lengths(tmp_path: Path) -> None:
    fakes = [Fake(v, seed, epochs_run=3 + seed) for v in PAIRS for seed in (0, 1)]
    write_runs(tmp_path, fakes, images=200)
    study = load_study(tmp_path)
    for draw in (curves.training, gradient_figures.first_against_last, gradient_figures.heat_map):
        draw(study, PAIRS).canvas.draw()


def test_seeds_are_drawn_at_their_distance_from_the_mean(tmp_path: Path) -> None:
    accuracies = [(0.9, 0.8, 0.5), (0.9, 0.8, 0.6)]
    write_runs(tmp_path, [Fake("short_all", k, a) for k, a in enumerate(accuracies)])
    shown = seeds.spread(load_study(tmp_path))
    assert isinstance(shown, Captioned)
    left, right = shown.figure.axes
    assert sorted(np.ravel(left.lines[0].get_xdata())) == pytest.approx([-5, 5])
    (bar,) = right.patches
    assert bar.get_window_extent().transformed(right.transData.inverted()).width == pytest.approx(
        100 * np.std([0.5, 0.6], ddof=1)
    )


def test_ranking_shows_all_thirteen_at_their_accuracy(whole: Study) -> None:
    figure = comparison.ranking(whole)
    axes = figure.axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == [
        short_name(v) for v in REPORT_VARIANTS
    ]
    shown = {f"{whole.mean(v, 'test_accuracy') * 100:.1f}" for v in REPORT_VARIANTS}
    assert shown <= set(_texts(figure))


def test_interval_over_seeds_contains_the_mean(whole: Study) -> None:
    value, low, high = comparison.test_interval(whole, "short_all")
    assert low < value < high


def test_first_to_last_stage_by_hand(tmp_path: Path) -> None:
    (folder,) = write_runs(tmp_path, [Fake("short_all", epochs_run=1)], images=100)
    rows = "epoch,layer,stage,gradient_norm,weight_norm\n"
    rows += "0,a,1,3,1\n0,b,1,4,1\n0,c,4,10,1\n1,a,1,1,1\n1,b,1,1,1\n1,c,4,nan,1\n"
    (folder.path / "gradients.csv").write_text(rows, encoding="utf-8")
    found = gradients.first_to_last(load_study(tmp_path), "short_all", 0)
    assert np.exp(found[0]) == pytest.approx(np.sqrt(12.5) / 10)
    assert np.isnan(found[1])


@pytest.mark.parametrize("depth", BLOCKS_PER_STAGE)
def test_diagrams_are_the_modules(depth: str) -> None:
    """Each box of a convolution or a pooling is a module's, in the order of the forward pass."""
    from torch import nn

    from labcnn.models import ConvNet, DoubleConv
    from labcnn.variants import get_variant

    model = ConvNet(get_variant(f"{depth}_all"), 16, 20)
    wanted = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
            stride = "，步长 2" if module.stride == (2, 2) else ""
            wanted.append(f"3×3 卷积{stride}，{module.out_channels}")
    blocks = [module for module in model.modules() if isinstance(module, DoubleConv)]
    (axes,) = [a for a in diagrams.networks(16).axes if a.get_title().endswith(f") {depth}")]
    texts = [text.get_text() for text in axes.texts]
    assert [text for text in texts if text.startswith("3×3")] == wanted
    assert texts.count("2×2 最大池化") == sum(block.pool for block in blocks)
    assert (
        texts.count("BN") == len([m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]) - 3
    )
    assert len([line for line in axes.lines if line.get_marker() == "+"]) == len(blocks)
