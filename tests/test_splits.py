import numpy as np
import pytest

from labcnn.data import ImageData, load_dataset, resolve_dataset
from labcnn.data.images import Split
from labcnn.data.splits import first_of_each_class, split_official
from labcnn.errors import DataError, ParameterError


@pytest.fixture
def official():
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(20), 50))
    return Split(np.zeros((1000, 1, 1, 3), np.uint8), labels)


@pytest.mark.parametrize("fraction", [1.0, 0.6, 0.2])
def test_split_is_disjoint_and_stratified(official, fraction):
    train, val = split_official(official, fraction, 0.1)
    assert not set(train.rows) & set(val.rows)
    assert len(set(train.rows)) == len(train) == 900 * fraction
    assert len(set(val.rows)) == len(val) == 100 * fraction
    for split in (train, val):
        counts = np.bincount(official.labels[split.rows], minlength=20)
        assert set(counts) == {len(split) // 20}


def test_split_is_always_the_same(official):
    first = split_official(official, 1.0, 0.1)
    np.random.default_rng().random(5)
    second = split_official(official, 1.0, 0.1)
    for one, two in zip(first, second, strict=True):
        assert np.array_equal(one.rows, two.rows)


def test_a_smaller_fraction_is_part_of_a_larger_one(official):
    large, small = split_official(official, 0.6, 0.1), split_official(official, 0.2, 0.1)
    for one, two in zip(large, small, strict=True):
        assert set(two.rows) < set(one.rows)
    assert not set(small[0].rows) & set(large[1].rows)


def test_a_fraction_that_empties_a_class_is_refused(official):
    with pytest.raises(DataError, match=r"fraction=0\.05 .*; 0\.2 works here"):
        split_official(official, 0.05, 0.1)


def test_classes_too_small_to_be_split_are_refused():
    tiny = Split(np.zeros((8, 1, 1, 3), np.uint8), np.repeat([0, 1], 4))
    with pytest.raises(DataError, match=r"only 4 official training images.* 10 are enough"):
        split_official(tiny, 1.0, 0.1)


def test_a_data_set_knows_its_fraction():
    assert load_dataset("shapes", 0.5).fraction == 0.5


def test_split_of_the_demo_set():
    data = load_dataset("shapes")
    assert isinstance(data, ImageData)
    assert (len(data.train), len(data.val), len(data.test)) == (4000, 1000, 1000)
    assert data.classes == 20
    assert set(data.test.labels) == set(data.train.labels) == set(range(20))


def test_auto_takes_shapes_where_tiny_imagenet_is_not_prepared(tmp_path, monkeypatch):
    monkeypatch.setenv("LABCNN_DATA", str(tmp_path))
    assert resolve_dataset("auto") == "shapes"
    with pytest.raises(ParameterError, match="'mnist' is unknown; valid: auto, tiny-imagenet-200"):
        resolve_dataset("mnist")
    with pytest.raises(DataError, match="labcnn data fetch"):
        load_dataset("tiny-imagenet-200")


def test_a_fixed_part_has_the_first_images_of_each_class(official):
    train, _ = split_official(official, 1.0, 0.1)
    part = first_of_each_class(train, 10)
    assert len(part) == 200 and set(np.bincount(official.labels[part.rows])) == {10}
    assert set(part.rows) <= set(train.rows)
    for label in range(20):
        mine = part.rows[official.labels[part.rows] == label]
        others = train.rows[official.labels[train.rows] == label]
        assert mine.tolist() == others[:10].tolist()
    assert first_of_each_class(train, 1000).rows.tolist() == train.rows.tolist()
