import itertools
import logging
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import seaborn as sns
from fake_runs import Fake, write_runs
from matplotlib.figure import Figure
from matplotlib.text import Text

from labcnn.data import tiny_imagenet
from labcnn.variants import REPORT_VARIANTS
from labreport import frames, style
from labreport.costs import find_points
from labreport.display import CaptionedFigure, Prose
from labreport.facts import Facts
from labreport.figures import classes, comparison, costs, gaps, networks, ranking
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
    "comparison": lambda study: comparison.plot_comparison(study, study.with_runs(PAIRS)),
    "ranking": ranking.plot_ranking,
    "gaps": lambda study: gaps.plot_gaps(study, PAIRS),
    "network": lambda study: networks.plot_network(study.recipe.width),
    "costs": costs.plot_costs,
    "classes": lambda study: classes.plot_classes(Facts(study, [])),
}


def _texts(figure: Figure) -> list[str]:
    return [t.get_text() for t in figure.findobj(Text) if isinstance(t, Text) and t.get_text()]


def test_figures_draw_every_character_and_say_what_is_missing_and_what_diverged(
    whole: Study, broken: Study, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A missing glyph warns (an error here) or, beside formulas, is only logged."""
    with caplog.at_level(logging.INFO):
        for study, ending in ((whole, "svg"), (broken, "png")):
            for name, plot in FIGURES.items():
                figure = plot(study)
                figure.savefig(tmp_path / f"{name}.{ending}")
                assert (tmp_path / f"{name}.{ending}").stat().st_size > 5_000
    logged = [r.getMessage() for r in caplog.records if r.name.startswith("matplotlib.mathtext")]
    logged += [r.getMessage() for r in caplog.records if "findfont" in r.getMessage()]
    assert logged == []
    shown = _texts(comparison.plot_comparison(broken, broken.with_runs(PAIRS)))
    assert any("发散" in text for text in shown)
    assert any("未学到" in text for text in _texts(ranking.plot_ranking(broken)))
    assert "未完成" in _texts(gaps.plot_gaps(broken, ["mid_all", "long_all"]))


def test_what_is_drawn_are_the_runs_numbers(whole: Study) -> None:
    figure = comparison.plot_comparison(whole, ["short_all"])
    accuracy = [line.get_ydata() for line in figure.axes[0].lines]
    for seed in (0, 1):
        history = whole.history("short_all", seed)
        assert any(np.array_equal(np.ravel(y), history["val_accuracy"]) for y in accuracy)

    figure = ranking.plot_ranking(whole)
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert names == [short_name(v) for v in whole.ranked]  # the best above
    shown = {f"{whole.accuracy(v) * 100:.2f}" for v in REPORT_VARIANTS}
    assert shown <= set(_texts(figure))
    value, low, high = accuracy_interval(whole, "short_all")
    assert low < value < high
    (points,) = costs.plot_costs(whole).axes[0].collections
    expected = [(p.cost / 1e12, whole.accuracy(p.variant)) for p in find_points(whole)]
    assert np.asarray(points.get_offsets()).tolist() == [list(place) for place in expected]


def test_the_fronts_points_have_names_that_cover_no_other_and_no_point(tmp_path: Path) -> None:
    close = {"short_baseline": 0.3, "short_lrdecay": 0.31, "short_residual": 0.4, "long_all": 0.5}
    epochs = dict.fromkeys(close, 21) | {"short_baseline": 20, "short_residual": 30}
    write_runs(
        tmp_path,
        [Fake(v, accuracies=(0.6, a, a), epochs_run=epochs[v]) for v, a in close.items()],
        images=200,
        parameters={"epochs": 30},
    )
    figure = costs.plot_costs(load_study(tmp_path))
    figure.canvas.draw()
    (axes,) = figure.axes
    shown = [name for name in axes.texts if name.get_visible()]
    # The first is cheapest, but too near to the next, which is better.
    assert {name.get_text() for name in shown} == {"short+衰减", "short+残差", "long+全部"}
    boxes = [name.get_window_extent() for name in shown]
    assert not [(a, b) for a, b in itertools.combinations(boxes, 2) if a.overlaps(b)]
    (marks,) = axes.collections
    places = axes.transData.transform(marks.get_offsets())
    assert len(places) == len(close)
    front = axes.lines[0]
    path = front.get_transform().transform_path(front.get_path())
    for box in boxes:
        assert axes.bbox.containsx(box.x0) and axes.bbox.containsy(box.y1)
        assert not path.intersects_bbox(box, filled=False)
        assert not any(box.contains(*place) for place in places)
    (legend,) = figure.legends
    said = {text.get_text() for text in legend.get_texts()}
    assert said == {"前沿", "short", "long", "基线", "衰减", "残差", "全部"}


def test_the_originals_numbers_stand_beside_a_study_of_its_size_only(tmp_path: Path) -> None:
    for place, fraction in (("full", 1.0), ("part", 0.1)):
        given = {"dataset": tiny_imagenet.NAME, "fraction": fraction}
        folder, official = tmp_path / place, tiny_imagenet.OFFICIAL_FINGERPRINT
        low = [Fake(variant, accuracies=(0.2, 0.2, 0.2)) for variant in ("short_all", "mid_all")]
        write_runs(folder, low, parameters=given, fingerprint=official)
        axes = ranking.plot_ranking(load_study(folder)).axes[0]
        marks = [np.ravel(line.get_xdata()) for line in axes.lines if line.get_marker() == "d"]
        found = np.concatenate(marks).astype(float) if marks else np.zeros(0)
        drawn = sorted(found[np.isfinite(found)].tolist())
        assert drawn == ([0.3617, 0.4302] if place == "full" else [])
        assert not drawn or drawn[-1] < axes.get_xlim()[1]


def test_no_two_ticks_say_the_same(tmp_path: Path) -> None:
    """Short runs on hard data end at a few percent: whole percents would repeat on the axis."""
    low = {v: (0.02 + k / 500, 0.015 + k / 900, 0.012 + k / 900) for k, v in enumerate(PAIRS)}
    fakes = [Fake(variant, accuracies=accuracies) for variant, accuracies in low.items()]
    write_runs(tmp_path, fakes, images=1000, parameters={"epochs": 4})
    study = load_study(tmp_path)
    for name in ("comparison", "ranking", "gaps", "costs"):
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
    lines = comparison.plot_comparison(study, ["mid_all"]).axes[0].lines
    assert [line for line in lines if line.get_marker() not in {"None", None, ""}]
    fakes = [Fake(v, seed, epochs_run=3 + seed) for v in PAIRS for seed in (0, 1)]
    write_runs(tmp_path / "uneven", fakes, images=200)
    comparison.plot_comparison(load_study(tmp_path / "uneven"), PAIRS).canvas.draw()


def test_a_figure_is_shown_where_there_is_something_to_compare(whole: Study, broken: Study) -> None:
    facts = Facts(whole, judge_claims(whole))
    shown = facts.figure("depth", Figure(), frames.histories(whole, ["short_all", "mid_all"]))
    assert isinstance(shown, CaptionedFigure)
    assert (shown.label, "验证集" in shown.caption) == ("fig-depth", True)
    alone = frames.histories(broken, ["short_all", "mid_all", "long_all"])
    assert set(alone["model"]) == {"short+全部"}
    few = Facts(broken, judge_claims(broken))
    assert few.figure("depth", Figure(), alone) == Prose("")
    for frame in (
        frames.histories(broken, []),
        frames.gradients(broken, []),
    ):
        assert frame.empty and {"depth", "switch"} <= set(frame.columns)


def test_frames_hold_the_runs_files(whole: Study) -> None:
    histories = frames.histories(whole, ["short_norm"]).query("seed == 1 and split == 'val'")
    expected = whole.history("short_norm", 1)
    assert histories["accuracy"].tolist() == expected["val_accuracy"].tolist()
    decayed = frames.histories(whole, ["short_lrdecay"]).query("seed == 0 and split == 'val'")
    rates = whole.history("short_lrdecay", 0).set_index("epoch")["learning_rate"]
    assert decayed.query("fell")["epoch"].tolist() == rates.index[rates.diff() < 0].tolist()


def test_gradients_of_a_double_convolution_by_hand() -> None:
    """Root mean square of its two convolutions; shortcuts and the ends are no part of it."""
    rows = [
        ("stem.0", 9.0), ("stages.0.0.first.0", 3.0), ("stages.0.0.second.0", 4.0),
        ("stages.1.0.first.0", 1.0), ("stages.1.0.second.0", 1.0), ("stages.1.0.shortcut.0", 7.0),
        ("head", 5.0),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["layer", "gradient_norm"]).assign(epoch=2)
    assert frames.block_norms(table, 2) == pytest.approx([12.5**0.5, 1.0])
    assert frames.block_norms(table, 1) == []


def test_first_to_last_stage_by_hand(tmp_path: Path) -> None:
    (folder,) = write_runs(tmp_path, [Fake("short_all", epochs_run=1)], images=100)
    rows = "epoch,layer,stage,gradient_norm,weight_norm\n"
    rows += "0,a,1,3,1\n0,b,1,4,1\n0,c,4,10,1\n0,d,4,10,1\n"
    rows += "1,a,1,1,1\n1,b,1,1,1\n1,c,4,nan,1\n1,d,4,1,1\n"
    (folder.path / "gradients.csv").write_text(rows, encoding="utf-8")
    found = first_to_last(load_study(tmp_path), "short_all", 0)
    assert np.exp(found[0]) == pytest.approx(np.sqrt(12.5) / 10)
    assert np.isnan(found[1])


def test_the_diagram_is_the_network() -> None:
    """Its channels, sizes and repetitions are those of the modules."""
    from torch import nn

    from labcnn.models import ConvNet, DoubleConv, Stage
    from labcnn.variants import get_variant

    path, block = networks.plot_network(16).axes
    said = [text.get_text() for text in path.texts]
    counts = " ".join(said)
    for depth in ("short", "mid", "long"):
        model = ConvNet(get_variant(f"{depth}_all"), 16, 20)
        stages = [module for module in model.modules() if isinstance(module, Stage)]
        assert {len(stage) for stage in stages} == {
            int(re.search(rf"{depth}：\$n\$ = (\d)", counts)[1])  # type: ignore[index]
        }
    widths = [16 * 2**k for k in range(len(stages))]
    assert widths[-1] == model.head.in_features
    blocks = [text for text in said if "双卷积" in text]
    assert blocks == [f"$n$ × 双卷积，{w}；2×2 池化" for w in widths]
    assert len(blocks) == sum(m.pool for m in model.modules() if isinstance(m, DoubleConv))
    (first,) = [text for text in said if "步长 2" in text]
    assert first.endswith(f"，{model.stem_convolution.out_channels}")
    inside = [text.get_text() for text in block.texts]
    whole = stages[0][0]
    kernels = [m for m in whole.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert inside.count("3×3 卷积") == len(kernels)
    assert sum("批归一化" in text for text in inside) == 2


def test_a_panel_without_runs_gives_its_room_to_the_other(broken: Study, tmp_path: Path) -> None:
    short = frames.histories(broken, ["short_all"])
    _, [[single]] = style.new_figure()
    sns.lineplot(short, **style.CURVES, ax=single)
    for drawn in (0, 1):
        figure, [panels] = style.new_figure(1, 2, sharex=True, sharey=True)
        sns.lineplot(short, **style.CURVES, ax=panels[drawn])
        sns.lineplot(short.query("depth == 'long'"), **style.CURVES, ax=panels[1 - drawn])
        style.finish_curves(figure, "short", "long")
        figure.savefig(tmp_path / "panels.svg")
        full, empty = panels[drawn], panels[1 - drawn]
        assert (full.get_visible(), empty.get_visible()) == (True, False)
        assert full.get_position().width > 20 * empty.get_position().width
        assert (full.get_xlim(), full.get_ylim()) == (single.get_xlim(), single.get_ylim())
        assert full.get_yticklabels()[0].get_visible()
