"""What the cells of train.ipynb show of a run, in both languages."""

import itertools
import subprocess
import sys
from dataclasses import replace
from typing import Any

from labcnn.request import RunRequest
from labcnn.training.trainer import fit
from labreport import one_run, words

SMALL = {"variant": "short_norm", "dataset": "shapes", "width": 4, "threads": 1}


def request(**given: Any) -> RunRequest:
    return RunRequest.from_parameters(SMALL | given)


def test_demo_data_is_named_and_a_run_without_a_best_epoch_says_so(small_data) -> None:
    wild = request(variant="short_baseline", learning_rate=100.0, batch_size=2, epochs=1)
    assert fit(wild, small_data).best_epoch is None
    table = one_run.tabulate_result(wild).data
    assert "发散：共 1 轮，最佳为第 — 轮" in table and table.count("\n| ") == 5
    assert "演示数据" in one_run.describe_request(wild).data
    english = one_run.tabulate_result(wild.model_copy(update={"language": "en"})).data
    assert "diverged" in english and "best epoch none of 1" in english
    real = one_run.describe_request(request(dataset="tiny-imagenet-200", language="en")).data
    assert "Demo data" not in real and "| parameter | value |" in real


def test_long_names_of_classes_neither_meet_nor_leave_the_figure(small_data) -> None:
    names = [f"$name {k}$ of a class, also known by others" for k in range(small_data.classes)]
    figure = one_run.plot_samples(request(), replace(small_data, class_names=tuple(names)))
    (axes,) = figure.axes
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(axes.images) == 4 and len(boxes) == 1 + 2 * 4
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)


def test_both_languages_say_the_same_things() -> None:
    chinese, english = words.ONE_RUN["zh"], words.ONE_RUN["en"]
    assert list(chinese) == list(english)


def test_what_trains_needs_no_package_of_the_report_and_a_report_no_torch() -> None:
    code = (
        "import sys\n"
        "report = ('seaborn', 'statsmodels', 'jinja2', 'panflute', 'typst', 'docx', 'brotli')\n"
        "sys.modules |= dict.fromkeys(report)  # as if they weren't installed\n"
        "from labreport import one_run, style\n"
        "style.add_fonts()\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
