import io
import os

import numpy as np

from labcnn.data import load_dataset, shapes


def test_images_are_64x64_rgb_in_twenty_balanced_classes():
    train, test, names, fingerprint, *_ = shapes.load()
    assert train.images.shape == (5000, 64, 64, 3) and train.images.dtype == np.uint8
    assert test.images.shape == (1000, 64, 64, 3)
    assert set(np.bincount(train.labels)) == {250} and set(np.bincount(test.labels)) == {50}
    assert len(set(names)) == 20
    images = (*train.images, *test.images)
    assert len({image.tobytes() for image in images}) == 6000
    half = load_dataset("shapes", 0.5)
    assert half.fingerprint == fingerprint and half.fraction == 0.5 and half.classes == 20
    assert (len(half.train), len(half.val), len(half.test)) == (2000, 500, 1000)


def test_colour_alone_does_not_tell_the_class():
    """A nearest-mean rule on the mean colour stays near chance, 5 %."""
    train, test, *_ = shapes.load()
    train_colour, test_colour = (s.images.mean((1, 2)) for s in (train, test))
    means = np.stack([train_colour[train.labels == k].mean(0) for k in range(20)])
    nearest = ((test_colour[:, None] - means) ** 2).sum(2).argmin(1)
    assert (nearest == test.labels).mean() < 0.12


def test_images_are_drawn_the_same_again_also_in_place_of_a_damaged_file(tmp_path, monkeypatch):
    images = shapes.load().train.images
    monkeypatch.setenv("LABCNN_DATA", str(tmp_path))
    monkeypatch.setattr(shapes, "PER_CLASS", {"train": 1, "test": 1})
    assert np.array_equal(shapes.load().train.images, images[:20])
    (path,) = tmp_path.rglob("*.npz")
    whole = path.read_bytes()
    arrays = dict(np.load(path))
    for content in (
        whole[:1000], b"", whole[:5000] + b"x" + whole[5001:], whole.replace(b"(20, ", b"(9**9,"),
        packed(arrays | {"train": arrays["train"][:3]}), packed({"train": arrays["train"]}),
        packed(arrays | {"train": arrays["train"].astype(np.float32)}),
    ):  # fmt: skip
        path.write_bytes(content)
        assert np.array_equal(shapes.load().train.images, images[:20])
        assert path.read_bytes() == whole
    path.unlink()
    os.mkfifo(path)
    assert np.array_equal(shapes.load().train.images, images[:20])
    (tmp_path / "a file").write_text("")  # where nothing can be kept they are drawn all the same
    monkeypatch.setenv("LABCNN_DATA", str(tmp_path / "a file" / "data"))
    assert len(shapes.load().train) == 20


def packed(arrays):
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return content.getvalue()
