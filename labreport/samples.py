"""What the images look like: one of each of some classes."""

import numpy as np

from labreport import thumbnails
from labreport.captioned import Captioned
from labreport.document import Prose
from labreport.pictures import Pictures

COLUMNS, ROWS = 10, 4


def figure(pictures: Pictures) -> Captioned | Prose:
    """A training image of each of up to 40 classes, evenly spread; a sentence without the data."""
    if pictures.data is None:
        return Prose(f"{pictures.why}，样例图像从略。")
    count = min(COLUMNS * ROWS, pictures.data.classes)
    chosen = np.linspace(0, pictures.data.classes - 1, count).round().astype(int)
    images = [pictures.training(label, 1)[0] for label in chosen]
    names = [thumbnails.short(pictures.name(label)) for label in chosen]
    shown = thumbnails.grid(images, names, COLUMNS, 2)
    return Captioned(shown, "fig-samples", "数据集的样例图像：每类一幅训练图像，下方为类别的名称")


def text(pictures: Pictures) -> Prose:
    """The sentence that refers to the figure, where there is one."""
    if pictures.data is None:
        return Prose("")
    shown = min(COLUMNS * ROWS, pictures.data.classes)
    return Prose(f"@fig-samples 为 {pictures.data.classes} 类中 {shown} 类的训练图像，每类一幅。")
