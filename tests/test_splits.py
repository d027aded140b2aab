import numpy as np
import pytest

from labcnn.data import load_dataset, resolve_dataset
from labcnn.data.splits import Split, first_of_each_class, split_official
from labcnn.errors import DataError, ParameterError


@pytest.fixture
def official():
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(20), 50))
    return Split(np.zeros((1000, 1, 1, 3), np.uint8), labels)


def test_split_is_disjoint_stratified_and_part_of_a_larger_one(official):
    fraction = 0.2
    train, val = split_official(official, fraction, 0.1)
    assert not set(train.rows) & set(val.rows)
    assert len(set(train.rows)) == len(train) == 900 * fraction
    assert len(set(val.rows)) == len(val) == 100 * fraction
    for split in (train, val):
        counts = np.bincount(official.labels[split.rows], minlength=20)
        assert set(counts) == {len(split) // 20}
    whole_train, whole_val = split_official(official, 1.0, 0.1)
    assert set(train.rows) <= set(whole_train.rows) and set(val.rows) <= set(whole_val.rows)


def test_what_leaves_a_class_without_images_is_refused(official):
    with pytest.raises(DataError, match=r"fraction=0\.05 .*; 0\.2 works here"):
        split_official(official, 0.05, 0.1)
    tiny = Split(np.zeros((8, 1, 1, 3), np.uint8), np.repeat([0, 1], 4))
    with pytest.raises(DataError, match=r"only 4 official training images.* 10 are enough"):
        split_official(tiny, 1.0, 0.1)


def test_auto_takes_shapes_where_tiny_imagenet_is_not_prepared(tmp_path, monkeypatch):
    monkeypatch.setenv("LABCNN_DATA", str(tmp_path))
    assert resolve_dataset("auto") == "shapes"
    with pytest.raises(
        ParameterError,
        match="'mnist' is unknown, and there is no such folder; valid: auto, tiny-imagenet-200",
    ):
        resolve_dataset("mnist")
    with pytest.raises(DataError, match=r"labcnn data fetch` .* `labcnn data fetch --from"):
        load_dataset("tiny-imagenet-200")


def test_a_fixed_part_has_the_first_images_of_each_class(official):
    train, _ = split_official(official, 1.0, 0.1)
    part = first_of_each_class(train, 10)
    assert len(part) == 200 and set(np.bincount(official.labels[part.rows])) == {10}
    for label in range(20):
        mine = part.rows[official.labels[part.rows] == label]
        others = train.rows[official.labels[train.rows] == label]
        assert mine.tolist() == others[:10].tolist()
    assert first_of_each_class(train, 1000).rows.tolist() == train.rows.tolist()
