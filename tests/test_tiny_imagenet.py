"""Tiny ImageNet from every layout that people have, and what is refused."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny_folder import TRAIN, VAL, WNIDS, jpeg, sort_val, tarred, val_classes, write, write_tiny
from tiny_folder import zipped as zip_folder

from labcnn.data import tiny_imagenet
from labcnn.data.decode import BrokenImage, decode_image
from labcnn.errors import DataError


@pytest.fixture(autouse=True)
def data_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABCNN_DATA", str(tmp_path / "data"))


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_tiny(tmp_path)


def fetched(source: Path) -> tiny_imagenet.Official:
    assert tiny_imagenet.fetch(str(source), force=True)
    return tiny_imagenet.load()


def refused(source: Path) -> str:
    with pytest.raises(DataError) as error:
        tiny_imagenet.fetch(str(source))
    assert not tiny_imagenet.prepared()
    message = str(error.value)
    assert "\n" not in message
    return message


def test_official_layout(tiny: Path) -> None:
    data = fetched(tiny)
    assert data.class_names == tuple(f"creature {n}" for n in range(len(WNIDS)))
    assert data.train.images.shape == (len(WNIDS) * TRAIN, 64, 64, 3)
    assert data.train.images.dtype == np.uint8 and data.train.labels.dtype == np.int64
    assert data.train.labels.tolist() == [n for n in range(len(WNIDS)) for _ in range(TRAIN)]
    assert isinstance(data.train.images, np.memmap)
    for number, wnid in enumerate(WNIDS):
        for k in range(TRAIN):
            file = tiny / "train" / wnid / "images" / f"{wnid}_{k}.JPEG"
            expected = decode_image(file.read_bytes())
            assert np.array_equal(data.train.images[number * TRAIN + k], expected)


def test_val_labels_are_those_of_the_annotations(tiny: Path) -> None:
    data = fetched(tiny)
    labelled = {
        decode_image((tiny / "val/images" / name).read_bytes()).tobytes(): wnid
        for name, wnid in val_classes(tiny).items()
    }
    found = {
        im.tobytes(): WNIDS[k] for im, k in zip(data.test.images, data.test.labels, strict=True)
    }
    assert found == labelled
    assert np.bincount(data.test.labels).tolist() == [VAL] * len(WNIDS)
    assert set(data.test.labels) == set(data.train.labels)


def nest(folder: Path) -> Path:
    outer = folder.parent / "outer"
    (outer / "tiny-imagenet-200").mkdir(parents=True)
    folder.rename(outer / "tiny-imagenet-200" / "tiny-imagenet-200")
    return outer


def junk(folder: Path) -> Path:
    mac = folder / "__MACOSX/train" / WNIDS[0] / "images"
    mac.mkdir(parents=True)
    (mac / "x.JPEG").write_bytes(b"junk")
    for place in (
        folder,
        folder / "train",
        folder / "val/images",
        folder / "train" / WNIDS[0] / "images",
    ):
        for name in (".DS_Store", "Thumbs.db", "._x.JPEG", "desktop.ini"):
            (place / name).write_bytes(b"junk")
    return folder


def flat_train(folder: Path) -> Path:
    for image in list(folder.glob("train/*/images/*.JPEG")):
        image.rename(image.parents[1] / image.name)
    return folder


def sorted_val(folder: Path) -> Path:
    sort_val(folder)
    return folder


def sorted_val_images(folder: Path) -> Path:
    sort_val(folder, "images")
    return folder


def copied_val(folder: Path) -> Path:
    for name, wnid in val_classes(folder).items():
        (folder / "val" / wnid).mkdir(exist_ok=True)
        shutil.copy(folder / "val/images" / name, folder / "val" / wnid / name)
    return folder


def chinese(folder: Path) -> Path:
    return folder.rename(folder.parent / "我的 数据.v1")


def zip_archive(folder: Path) -> Path:
    return zip_folder(junk(folder), folder.parent / "数据 集.zip")


def tar_archive(folder: Path) -> Path:
    return tarred(junk(folder), folder.parent / "data.tar")


def tar_gz_archive(folder: Path) -> Path:
    return tarred(sorted_val(folder), folder.parent / "data.tar.gz")


def windows_text(folder: Path) -> Path:
    for path in (*folder.glob("*.txt"), folder / "val/val_annotations.txt"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    return folder


LAYOUTS = [
    nest, junk, flat_train, sorted_val, sorted_val_images, copied_val, chinese, windows_text,
    zip_archive, tar_archive, tar_gz_archive,
]  # fmt: skip


@pytest.mark.parametrize("change", LAYOUTS, ids=lambda change: change.__name__)
def test_every_layout_gives_the_same_data(tiny: Path, change: Callable[[Path], Path]) -> None:
    official = fetched(tiny).fingerprint
    assert fetched(change(tiny)).fingerprint == official


def test_fingerprint_sees_one_pixel_and_the_class_order(tiny: Path) -> None:
    from labcnn.data.cache import fingerprint
    from labcnn.data.images import Split

    data = fetched(tiny)
    pixels = data.train.images.copy()
    assert fingerprint(Split(pixels, data.train.labels), data.test, WNIDS) == data.fingerprint
    pixels[3, 10, 20, 1] ^= 1
    assert fingerprint(Split(pixels, data.train.labels), data.test, WNIDS) != data.fingerprint
    assert fingerprint(data.train, data.test, WNIDS[::-1]) != data.fingerprint


def test_gray_becomes_rgb(tiny: Path) -> None:
    (tiny / "train" / WNIDS[0] / "images" / f"{WNIDS[0]}_0.JPEG").write_bytes(jpeg(1, mode="L"))
    image = fetched(tiny).train.images[0]
    assert (image == image[..., :1]).all() and image.std() > 0


def claiming(pixels: int) -> bytes:
    """A picture whose header says it is ``pixels`` wide and high."""
    content = bytearray(jpeg(1))
    size = content.index(b"\xff\xc0") + 5
    content[size : size + 4] = pixels.to_bytes(2, "big") * 2
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (jpeg(1)[:-40], "cut"),
        (jpeg(1)[: len(jpeg(1)) // 2], "cut"),
        (jpeg(1)[: len(jpeg(1)) // 2] + b"\0" * 500, "cut"),
        (b"", "empty"),
        (b"<html>not an image</html>", "no JPEG"),
        (jpeg(1, size=(64, 32)), "64x32 pixels instead of 64x64"),
        (claiming(60_000), "3600000000 pixels"),
    ],
    ids=["last-bytes-cut", "half", "half-then-zeros", "empty", "html", "size", "bomb"],
)  # fmt: skip
def test_broken_image_is_named(tiny: Path, content: bytes, reason: str) -> None:
    name = f"train/{WNIDS[1]}/images/{WNIDS[1]}_2.JPEG"
    (tiny / name).write_bytes(content)
    message = refused(tiny)
    assert name in message and reason in message and "1 of 18" in message


def test_no_cut_of_an_image_passes() -> None:
    whole = jpeg(1)
    for length in range(0, len(whole), 41):
        for padding in (b"", b"\0" * (len(whole) - length)):
            with pytest.raises(BrokenImage):
                decode_image(whole[:length] + padding)
    decode_image(whole + b"\0\0")


def test_many_broken_images_are_counted(tiny: Path) -> None:
    for image in list(tiny.glob("train/*/images/*.JPEG"))[:7]:
        image.write_bytes(b"x")
    message = refused(tiny)
    assert "7 of 18" in message and "and 2 more" in message and message.count(".JPEG") == 5


def test_a_failed_fetch_leaves_the_good_one(tiny: Path) -> None:
    before = fetched(tiny).fingerprint
    (tiny / "val/images/val_0.JPEG").write_bytes(b"x")
    with pytest.raises(DataError, match="val_0"):
        tiny_imagenet.fetch(str(tiny), force=True)
    assert tiny_imagenet.load().fingerprint == before
    assert [p.name for p in tiny_imagenet.folder().parent.iterdir() if "new" in p.name] == []


def test_class_in_train_but_not_in_wnids(tiny: Path) -> None:
    shutil.copytree(tiny / "train" / WNIDS[0], tiny / "train/n99999999")
    assert "n99999999" in (message := refused(tiny)) and "wnids.txt" in message


def test_class_without_train_images(tiny: Path) -> None:
    shutil.rmtree(tiny / "train" / WNIDS[1])
    assert WNIDS[1] in (message := refused(tiny)) and "none in train/" in message


def test_class_without_val_images(tiny: Path) -> None:
    sort_val(tiny)
    shutil.rmtree(tiny / "val" / WNIDS[2])
    assert WNIDS[2] in (message := refused(tiny)) and "none in val/" in message


def test_val_label_of_unknown_class(tiny: Path) -> None:
    path = tiny / "val/val_annotations.txt"
    write(path, path.read_text(encoding="utf-8").replace(WNIDS[0], "n88888888"))
    assert "in val/ but not in wnids.txt: n88888888" in refused(tiny)


def test_val_image_without_label(tiny: Path) -> None:
    (tiny / "val/images/val_77.JPEG").write_bytes(jpeg(77))
    assert "val_77.JPEG" in (message := refused(tiny)) and "val_annotations.txt" in message


@pytest.mark.parametrize("split", ["train", "val"])
def test_unequal_counts_name_the_class(tiny: Path, split: str) -> None:
    sort_val(tiny)
    next((tiny / split / WNIDS[1]).rglob("*.JPEG")).unlink()
    less = {"train": TRAIN, "val": VAL}[split] - 1
    assert f"{WNIDS[1]} has {less}" in (message := refused(tiny)) and f"{split}/" in message


def test_classes_without_any_image_are_left_out(tiny: Path) -> None:
    write(tiny / "wnids.txt", "\n".join(["n77777777", *WNIDS]))
    data = fetched(tiny)
    assert len(data.class_names) == len(WNIDS)


@pytest.mark.parametrize(
    "missing", ["wnids.txt", "words.txt", "train", "val", "val/val_annotations.txt"]
)
def test_missing_part_says_what_was_expected_where(tiny: Path, missing: str) -> None:
    path = tiny / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    message = refused(tiny)
    assert missing in message and "expected" in message and str(tiny) in message


def test_images_in_an_unknown_place(tiny: Path) -> None:
    shutil.move(tiny / "val/images/val_0.JPEG", tiny / "val/val_0.JPEG")
    assert "val/val_0.JPEG" in (message := refused(tiny)) and "expected" in message


def test_two_data_sets_side_by_side(tmp_path: Path) -> None:
    write_tiny(tmp_path / "both/one")
    write_tiny(tmp_path / "both/two")
    assert "name one" in refused(tmp_path / "both")


def test_an_empty_folder_says_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "wnids.txt" in refused(tmp_path / "empty")


def test_load_without_data_says_what_to_do() -> None:
    assert not tiny_imagenet.prepared()
    with pytest.raises(DataError, match=r"labcnn data fetch` .* `labcnn data fetch --from"):
        tiny_imagenet.load()
