"""What a network gets wrong: its most confident errors, and how far to trust its confidence."""

from typing import NamedTuple

import numpy as np

from labreport import thumbnails
from labreport.captioned import Captioned
from labreport.document import Prose
from labreport.names import short_name
from labreport.pictures import Pictures
from labreport.study import Study

COLUMNS, ROWS = 6, 2


class Mistake(NamedTuple):
    """A test image's row, its class, the class it was taken for, and with what probability."""

    row: int
    true: int
    predicted: int
    probability: float


def confident(study: Study, variant: str, seed: int, count: int) -> list[Mistake]:
    """The ``count`` errors with the highest predicted probability."""
    true, predicted = study.test_labels(variant, seed), study.test_predicted(variant, seed)
    probability = study.test_probability(variant, seed)
    wrong = np.flatnonzero(true != predicted)
    order = wrong[np.argsort(-probability[wrong], kind="stable")][:count]
    return [Mistake(int(r), int(true[r]), int(predicted[r]), float(probability[r])) for r in order]


def figure(study: Study, variant: str, pictures: Pictures) -> Captioned | Prose:
    """The most confident errors with their images; a sentence without the data."""
    if pictures.data is None:
        return Prose(f"{pictures.why}，误判的图像从略。")
    found = confident(study, variant, study.seeds(variant)[0], COLUMNS * ROWS)
    if not found:
        return Prose("测试集上没有误判。")
    images = [pictures.test[mistake.row] for mistake in found]
    shown = thumbnails.grid(images, [_text(m, pictures) for m in found], COLUMNS, 3)
    caption = f"{short_name(variant)}最有把握的误判：真实类别、所判类别与所给的概率"
    return Captioned(shown, "fig-mistakes", caption)


def _text(mistake: Mistake, pictures: Pictures) -> str:
    true, predicted = (
        thumbnails.short(pictures.name(k), 14, 1) for k in (mistake.true, mistake.predicted)
    )
    return f"真实：{true}\n判为：{predicted}\n概率 {mistake.probability * 100:.0f}%"
