"""The data set's images, where this machine has the ones that the runs were made from."""

from dataclasses import dataclass

import numpy as np

from labcnn.data import ImageData, load_dataset
from labcnn.errors import DataError
from labreport.study import Study

NOT_WANTED = "按参数 images 的设定不显示数据集的图像"
NOT_PREPARED = "生成本报告的计算机上没有准备好数据集"
OTHER_DATA = "生成本报告的计算机上的数据集与运行所用的不同"


@dataclass(frozen=True)
class Pictures:
    """The images, or None and the reason (Chinese) why there are none."""

    data: ImageData | None = None
    why: str = ""

    def name(self, label: int) -> str:
        """A class's first name, as ``goldfish``; without the data ``类别 3``, counted from 1."""
        if self.data is None:
            return f"类别 {label + 1}"
        return " ".join(self.data.class_names[label].split(",")[0].split())

    @property
    def test(self) -> np.ndarray:
        """The test images in the order of the predictions, uint8, N x 64 x 64 x 3."""
        assert self.data is not None
        return self.data.test.images

    def training(self, label: int, count: int) -> list[np.ndarray]:
        """The first ``count`` training images of a class."""
        assert self.data is not None
        split = self.data.train
        rows = np.arange(len(split.labels)) if split.rows is None else split.rows
        return [split.images[row] for row in rows[split.labels[rows] == label][:count]]


def find_pictures(study: Study, wanted: bool = True) -> Pictures:
    """Images whose fingerprint and test labels are those of the study's runs.

    Parameters
    ----------
    wanted : False leaves them out, for a report that is made public.
    """
    if not wanted:
        return Pictures(why=NOT_WANTED)
    recipe = study.recipe
    try:
        data = load_dataset(recipe.dataset, recipe.fraction)
    except DataError:
        return Pictures(why=NOT_PREPARED)
    run = next(iter(study.results.values()))
    labels = study.test_labels(run.recipe.variant, run.recipe.seed)
    same = data.fingerprint == run.provenance.data_fingerprint
    if not same or not np.array_equal(data.test.labels, labels):
        return Pictures(why=OTHER_DATA)
    return Pictures(data)
