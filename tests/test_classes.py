"""Class by class: known predictions, with and without the data set's images."""

import logging
from pathlib import Path

import numpy as np
import pytest
import tiny_folder
from fake_runs import Fake, write_runs

from labcnn.data import ImageData, fetch, load_dataset, tiny_imagenet
from labcnn.runs import write_class_names
from labreport import style
from labreport.class_images import find_images
from labreport.classes import count_classes
from labreport.confidence import find_confident_mistakes, measure_confidence
from labreport.display import CaptionedFigure, Prose
from labreport.facts import Facts
from labreport.figures.classes import (
    plot_classes,
    show_mistakes,
    show_samples,
)
from labreport.study import Study, load_study
from labreport.tables import tabulate_confusions

#: One name that could be a formula, one that is long, one with markup.
NAMES = ("gold $\\fish$", "a_very long name of a class that goes on, other", "**x**<script>")


def write_study(
    folder: Path, true: list[int], predicted: list[int], fingerprint: str = "f00d" * 16
) -> Study:
    """A run with these classes and predictions; its confidence rises from image to image."""
    right = float(np.mean(np.equal(true, predicted)))
    (run,) = write_runs(
        folder,
        [Fake("short_all", accuracies=(0.9, right, right))],
        images=len(true),
        parameters={"dataset": "tiny-imagenet-200"},
        fingerprint=fingerprint,
    )
    probability = np.linspace(0.3, 0.85, len(true), dtype=np.float32)
    arrays = {"label": true, "predicted": predicted, "probability": probability}
    named = {f"{split}_{k}": np.array(v) for split in ("val", "test") for k, v in arrays.items()}
    np.savez(run.path / "predictions.npz", **named)  # type: ignore[arg-type]
    path = run.path / "result.json"
    text = path.read_text(encoding="utf-8").replace('"classes": 200', '"classes": 3')
    path.write_text(text, encoding="utf-8")
    return load_study(folder)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImageData:
    """A small data set of three classes, prepared here; its test images are two of each class."""
    monkeypatch.setenv("LABCNN_DATA", str(tmp_path / "data"))
    folder = tiny_folder.write_tiny(tmp_path)
    for wnid in tiny_folder.WNIDS:
        for number in range(tiny_folder.TRAIN, 10):
            path = folder / "train" / wnid / "images" / f"{wnid}_{number}.JPEG"
            path.write_bytes(tiny_folder.jpeg(number))
    names = dict(zip(tiny_folder.WNIDS, NAMES, strict=True))
    tiny_folder.write(folder / "words.txt", "".join(f"{w}\t{n}\n" for w, n in names.items()))
    fetch(tiny_imagenet.NAME, str(folder))
    return load_dataset("tiny-imagenet-200")


#: Of the data set's test images.
TRUE, PREDICTED = [0, 0, 1, 1, 2, 2], [0, 1, 1, 1, 2, 0]


def _texts(facts: Facts) -> str:
    return "".join(facts.text(t).text for t in ("2.1-samples", "5-errors"))


def test_accuracy_confusions_and_confidence_by_hand(tmp_path: Path) -> None:
    true, predicted = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2], [0, 1, 1, 1, 1, 1, 0, 2, 2, 2, 2, 0]
    study = write_study(tmp_path, true, predicted)
    found = count_classes(study, "short_all")
    assert found.matrix.tolist() == [[1, 3, 0], [1, 2, 1], [1, 0, 3]]
    assert found.accuracies == pytest.approx([0.25, 0.5, 0.75])
    assert (found.easiest, found.hardest, found.never, found.images) == (2, 0, 0, (4, 4))
    first, *_ = pairs = found.confusions(10)
    assert (first.true, first.predicted, first.count, first.images, first.reverse) == (
        0,
        1,
        3,
        4,
        1,
    )
    assert len(pairs) == 4
    assert find_confident_mistakes(study, "short_all", 0, 3).tolist() == [11, 7, 6]
    sure = measure_confidence(study, "short_all")
    assert (sure.mean, sure.accuracy) == pytest.approx((0.575, 0.5))
    # Rows 5 to 11 have a probability above 1/2; of these 5, 8, 9 and 10 are right.
    assert (sure.sure, sure.sure_accuracy) == (7, pytest.approx(4 / 7))


def test_where_there_is_nothing_to_show_a_sentence_stands_for_each_figure(
    data: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = write_study(tmp_path / "here", TRUE, PREDICTED, data.fingerprint)
    other_data = write_study(tmp_path / "other", TRUE, PREDICTED)
    # The same images in another order.
    turned = write_study(tmp_path / "turned", TRUE[::-1], PREDICTED[::-1], data.fingerprint)
    cases = [
        (Facts(here, [], None, find_images(here, False)), ""),  # as was wanted: nothing is said
        (Facts(other_data, [], None, find_images(other_data)), "没有运行所用"),
        (Facts(turned, [], None, find_images(turned)), "没有运行所用"),
    ]
    whole = write_study(tmp_path / "whole", TRUE, TRUE, data.fingerprint)
    right = Facts(whole, [], None, find_images(whole))
    monkeypatch.setenv("LABCNN_DATA", "/home/ann/data")
    cases.append((Facts(here, [], None, find_images(here)), "没有运行所用"))
    for facts, why in cases:
        for shown in (show_samples(facts), show_mistakes(facts)):
            assert isinstance(shown, Prose)
            assert why in shown.text
            assert "ann" not in shown.text
        for label in ("@fig-samples", "@fig-mistakes"):
            assert label not in _texts(facts)
        assert "最容易的是类别 2（100.00%），最难的是类别 1（50.00%）" in _texts(facts)

    shown = show_mistakes(right)
    assert isinstance(shown, Prose) and "没有误判" in shown.text
    assert "@fig-mistakes" not in _texts(right)
    assert "100.00%" in _texts(right)


def test_figures_with_images_are_drawn_and_referred_to(
    data: ImageData, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    style.use()
    study = write_study(tmp_path / "logs", TRUE, PREDICTED, data.fingerprint)
    facts = Facts(study, [], None, find_images(study))
    said = _texts(facts)
    with caplog.at_level(logging.INFO, logger="matplotlib"):
        for show in (show_samples, show_mistakes):
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
    assert np.array_equal(drawn[0], data.test.images[5])  # the surest of the two errors
    assert len(drawn) == 2


def test_the_names_of_the_classes_are_kept_with_the_logs(
    data: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine without the data names the classes too; a list of another length is no help."""
    study = write_study(tmp_path / "logs", TRUE, PREDICTED, data.fingerprint)
    with_data = tabulate_confusions(Facts(study, [], None, find_images(study)))
    monkeypatch.setenv("LABCNN_DATA", str(tmp_path / "none"))
    experiment = study.folders["short_all", 0].path.parents[1]
    write_class_names(experiment, data.class_names)
    kept = tabulate_confusions(Facts(study, [], None, find_images(study)))
    assert kept.rows == with_data.rows
    write_class_names(experiment, data.class_names[:-1])
    assert find_images(study).name(0) == "类别 1"
