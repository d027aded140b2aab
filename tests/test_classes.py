"""Class by class: known predictions, with and without the data set's images."""

import logging
from pathlib import Path

import numpy as np
import pytest
from fake_runs import Fake, write_runs

from labcnn.data import ImageData, Split
from labcnn.errors import DataError
from labreport import class_images, style
from labreport.class_images import find_images
from labreport.classes import count_classes
from labreport.confidence import confident_mistakes, measure_confidence
from labreport.display import CaptionedFigure, Prose
from labreport.facts import Facts
from labreport.figures.classes import (
    plot_classes,
    show_confusions,
    show_mistakes,
    show_samples,
)
from labreport.study import Study, load_study
from labreport.tables import tabulate_confusions

#: One name that could be a formula, one that is long, one with markup.
NAMES = ("gold $\\fish$", "a_very long name of a class that goes on, other", "**x**<script>")
TRUE = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2])
PREDICTED = np.array([0, 1, 1, 1, 1, 1, 0, 2, 2, 2, 2, 0])
PROBABILITY = np.linspace(0.3, 0.85, 12, dtype=np.float32)


def _data(fingerprint: str = "f00d" * 16) -> ImageData:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (12, 64, 64, 3), np.uint8)
    split = Split(images, TRUE)
    rows = Split(images, TRUE, np.arange(1, 12, 2))
    return ImageData("shapes", NAMES, rows, split, split, fingerprint)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    (folder,) = write_runs(tmp_path, [Fake("short_all", accuracies=(0.9, 0.5, 0.5))], images=12)
    arrays = {"label": TRUE, "predicted": PREDICTED, "probability": PROBABILITY}
    named = {f"{split}_{k}": v for split in ("val", "test") for k, v in arrays.items()}
    np.savez(folder.path / "predictions.npz", **named)  # type: ignore[arg-type]
    path = folder.path / "result.json"
    text = path.read_text(encoding="utf-8").replace('"classes": 20', '"classes": 3')
    path.write_text(text, encoding="utf-8")
    return load_study(tmp_path)


def test_accuracy_confusions_and_confidence_by_hand(study: Study) -> None:
    found = count_classes(study, "short_all")
    assert found.matrix.tolist() == [[1, 3, 0], [1, 2, 1], [1, 0, 3]]
    assert found.accuracies == pytest.approx([0.25, 0.5, 0.75])
    assert (found.easiest, found.hardest, found.never, found.images) == (2, 0, 0, 4)
    first, *_ = pairs = found.confusions(10)
    assert (first.true, first.predicted, first.count, first.images, first.reverse) == (
        0,
        1,
        3,
        4,
        1,
    )
    assert len(pairs) == 4
    mistakes = confident_mistakes(study, "short_all", 0, 3)
    assert [mistake.row for mistake in mistakes] == [11, 7, 6]
    assert all(mistake.true != mistake.predicted for mistake in mistakes)
    sure = measure_confidence(study, "short_all")
    assert (sure.mean, sure.accuracy) == pytest.approx((0.575, 0.5))
    # Rows 5 to 11 have a probability above 1/2; of these 5, 8, 9 and 10 are right.
    assert (sure.sure, sure.sure_accuracy) == (7, pytest.approx(4 / 7))


def _facts(
    study: Study, monkeypatch: pytest.MonkeyPatch, data: ImageData | None, *, wanted: bool = True
) -> Facts:
    def load(name: str, fraction: float) -> ImageData:
        if data is None:
            raise DataError("/home/ann/data isn't prepared")
        return data

    monkeypatch.setattr(class_images, "load_dataset", load)
    return Facts(study, [], None, find_images(study, wanted))


def _texts(facts: Facts) -> str:
    return "".join(facts.text(t).text for t in ("2.1-samples", "5.2-classes", "5.3-confidence"))


def test_without_the_data_a_sentence_stands_for_each_figure(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = _data()
    turned = Split(data.test.images, data.test.labels[::-1].copy())
    other_order = ImageData("shapes", NAMES, data.train, data.val, turned, data.fingerprint)
    cases = [
        (_facts(study, monkeypatch, None), "没有准备好"),
        (_facts(study, monkeypatch, _data("beef" * 16)), "不同"),
        (_facts(study, monkeypatch, other_order), "不同"),
        (_facts(study, monkeypatch, data, wanted=False), "images"),
    ]
    for facts, why in cases:
        for shown in (show_samples(facts), show_confusions(facts), show_mistakes(facts)):
            assert isinstance(shown, Prose)
            assert why in shown.text
            assert "ann" not in shown.text
        for label in ("@fig-samples", "@fig-confusions", "@fig-mistakes"):
            assert label not in _texts(facts)
        assert "准确率最高的是类别 3（75.00%），最低的是类别 1（25.00%）" in _texts(facts)


def test_figures_with_images_are_drawn_and_referred_to(
    study: Study, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    style.use()
    facts = _facts(study, monkeypatch, _data())
    said = _texts(facts)
    with caplog.at_level(logging.INFO, logger="matplotlib"):
        for show in (show_samples, show_confusions, show_mistakes):
            shown, again = show(facts), show(facts)
            assert isinstance(shown, CaptionedFigure) and isinstance(again, CaptionedFigure)
            assert f"@{shown.label}" in said
            assert shown._repr_markdown_() == again._repr_markdown_()
            assert shown._repr_markdown_().endswith(f"{{#{shown.label}}}")
            assert f'alt="{shown.caption}"' in shown._repr_html_()
            assert shown.figure.axes[0].images
        plot_classes(facts).canvas.draw()
    assert [r for r in caplog.records if "mathtext" in r.name or "findfont" in r.message] == []
    said += tabulate_confusions(facts)._repr_markdown_()
    assert "\\<script" in said
    assert "<script" not in said.replace("\\<", "")
    mistakes = show_mistakes(facts)
    assert isinstance(mistakes, CaptionedFigure)
    drawn = [np.asarray(image.get_array()) for image in mistakes.figure.axes[0].images]
    assert np.array_equal(drawn[0], _data().test.images[11])
    assert len(drawn) == int((TRUE != PREDICTED).sum())


def test_a_network_without_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_runs(tmp_path, [Fake("short_all", accuracies=(1, 1, 1))], images=40)
    test = Split(np.zeros((40, 64, 64, 3), np.uint8), np.arange(40) % 20)
    names = tuple("abcdefghijklmnopqrst")
    full = ImageData("shapes", names, test, test, test, _data().fingerprint)
    facts = _facts(load_study(tmp_path), monkeypatch, full)
    for shown in (show_confusions(facts), show_mistakes(facts)):
        assert isinstance(shown, Prose) and "没有误判" in shown.text
    assert "@fig-mistakes" not in _texts(facts)
    assert "@fig-confusions" not in _texts(facts)
    assert "准确率最高的是 a（100.00%）" in _texts(facts)
