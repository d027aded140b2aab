"""Class by class: known predictions, with and without the data set's images."""

import logging
from pathlib import Path

import numpy as np
import pytest
from fake_runs import Fake, write_runs

from labcnn.data import ImageData, Split
from labcnn.errors import DataError
from labreport import class_figures, class_prose, mistakes, pictures, samples, style
from labreport.captioned import Captioned
from labreport.classes import accuracies, confusion_matrix, most_confused, various
from labreport.document import Prose
from labreport.pictures import Pictures, find_pictures
from labreport.study import Study, load_study

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


def test_accuracy_and_confusions_by_hand(study: Study) -> None:
    matrix = confusion_matrix(study, "short_all")
    assert matrix.tolist() == [[1, 3, 0], [1, 2, 1], [1, 0, 3]]
    assert accuracies(matrix) == pytest.approx([0.25, 0.5, 0.75])
    first, *_ = pairs = most_confused(matrix, 10)
    assert (first.true, first.predicted, first.count, first.images) == (0, 1, 3, 4)
    assert len(pairs) == 4
    assert [pair.predicted for pair in various(pairs, 10)] == [1, 0, 2]


def test_confident_errors_are_errors_in_order(study: Study) -> None:
    found = mistakes.confident(study, "short_all", 0, 3)
    assert [mistake.row for mistake in found] == [11, 7, 6]
    assert all(mistake.true != mistake.predicted for mistake in found)


def _found(
    study: Study, monkeypatch: pytest.MonkeyPatch, data: ImageData | None, *, wanted: bool = True
) -> Pictures:
    def load(name: str, fraction: float) -> ImageData:
        if data is None:
            raise DataError("/home/ann/data isn't prepared")
        return data

    monkeypatch.setattr(pictures, "load_dataset", load)
    return find_pictures(study, wanted)


def test_without_the_data_a_sentence_stands_for_each_figure(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [
        (_found(study, monkeypatch, None), "没有准备好"),
        (_found(study, monkeypatch, _data("beef" * 16)), "不同"),
        (_found(study, monkeypatch, _data(), wanted=False), "images"),
    ]
    for found, why in cases:
        for shown in (
            samples.figure(found),
            class_figures.confused_images(study, "short_all", found),
            mistakes.figure(study, "short_all", found),
        ):
            assert isinstance(shown, Prose)
            assert why in shown.text
            assert "ann" not in shown.text
        said = samples.text(found).text + class_prose.by_class(study, found).text
        said += class_prose.mistakes(study, found).text
        for label in ("@fig-samples", "@fig-confusions", "@fig-mistakes"):
            assert label not in said
        assert found.name(0) == "类别 1"


def test_images_of_another_order_are_not_shown(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = _data()
    turned = Split(data.test.images, data.test.labels[::-1].copy())
    other = ImageData("shapes", NAMES, data.train, data.val, turned, data.fingerprint)
    assert _found(study, monkeypatch, other).data is None


def test_figures_with_images_are_drawn_and_referred_to(
    study: Study, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    style.use()
    found = _found(study, monkeypatch, _data())
    said = samples.text(found).text + class_prose.by_class(study, found).text
    said += class_prose.mistakes(study, found).text
    first, second = (samples.figure(found) for _ in range(2))
    assert isinstance(first, Captioned) and isinstance(second, Captioned)
    assert first._repr_markdown_() == second._repr_markdown_()
    with caplog.at_level(logging.INFO, logger="matplotlib"):
        for shown in (
            samples.figure(found),
            class_figures.confused_images(study, "short_all", found),
            mistakes.figure(study, "short_all", found),
        ):
            assert isinstance(shown, Captioned)
            assert f"@{shown.label}" in said
            assert shown._repr_markdown_().endswith(f"{{#{shown.label}}}")
            assert f'alt="{shown.caption}"' in shown._repr_html_()
            assert shown.figure.axes[0].images
        class_figures.by_class(study, "short_all", found).canvas.draw()
    assert [r for r in caplog.records if "mathtext" in r.name or "findfont" in r.message] == []
    said += class_figures.confusions(study, "short_all", found)._repr_markdown_()
    assert "\\<script" in said
    assert "<script" not in said.replace("\\<", "")


def test_images_are_those_of_the_errors(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    found = _found(study, monkeypatch, _data())
    shown = mistakes.figure(study, "short_all", found)
    assert isinstance(shown, Captioned)
    drawn = [np.asarray(image.get_array()) for image in shown.figure.axes[0].images]
    assert np.array_equal(drawn[0], _data().test.images[11])
    assert len(drawn) == int((TRUE != PREDICTED).sum())


def test_a_network_without_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_runs(tmp_path, [Fake("short_all", accuracies=(1, 1, 1))], images=40)
    study = load_study(tmp_path)
    data = _data()
    labels = np.arange(40) % 20
    test = Split(np.zeros((40, 64, 64, 3), np.uint8), labels)
    full = ImageData("shapes", tuple("abcdefghijklmnopqrst"), test, test, test, data.fingerprint)
    found = _found(study, monkeypatch, full)
    assert isinstance(mistakes.figure(study, "short_all", found), Prose)
    assert isinstance(class_figures.confused_images(study, "short_all", found), Prose)
    assert "@fig-" not in class_prose.mistakes(study, found).text
    assert "@fig-confusions" not in class_prose.by_class(study, found).text
