"""Tiny ImageNet from every layout that people have, and what is refused."""

import io
import itertools
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter
from tiny_folder import (
    TRAIN,
    VAL,
    WNIDS,
    jpeg,
    sort_val,
    tarred,
    val_classes,
    write,
    write_tiny,
    zipped,
)  # fmt: skip

from labcnn import data
from labcnn.data import cache, tiny_imagenet
from labcnn.data.splits import OfficialData
from labcnn.errors import DataError


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LABCNN_DATA", str(tmp_path / "data"))
    return write_tiny(tmp_path)


def fetch(source: Path | str) -> OfficialData:
    assert data.fetch(tiny_imagenet.NAME, str(source), force=True)
    return cache.load(tiny_imagenet.NAME)


def refusal(source: Path) -> str:
    """The one line about ``source``, which leaves nothing behind that counts as prepared."""
    with pytest.raises(DataError) as error:
        data.fetch(tiny_imagenet.NAME, str(source))
    assert not cache.is_prepared(tiny_imagenet.NAME)
    assert [p.name for p in cache.folder_of(tiny_imagenet.NAME).parent.iterdir()] == [
        "tiny-imagenet-200.lock"
    ]
    message = str(error.value)
    assert message.startswith(f"{source}: ") and "\n" not in message
    return message


def pixels(content: bytes) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(content)).convert("RGB"))


def test_images_and_labels_are_those_of_the_folder(tiny: Path) -> None:
    gray = tiny / "train" / WNIDS[0] / "images" / f"{WNIDS[0]}_0.JPEG"
    gray.write_bytes(jpeg(1, mode="L"))
    data = fetch(tiny)
    assert data.class_names == ("creature 0", "creature 1", "creature 2")
    assert data.train.images.dtype == np.uint8 and data.train.labels.dtype == np.int64
    assert isinstance(data.train.images, np.memmap)
    assert data.train.labels.tolist() == [n for n in range(len(WNIDS)) for _ in range(TRAIN)]
    for number, wnid in enumerate(WNIDS):
        for k in range(TRAIN):
            file = tiny / "train" / wnid / "images" / f"{wnid}_{k}.JPEG"
            assert np.array_equal(data.train.images[number * TRAIN + k], pixels(file.read_bytes()))
    annotated = {
        pixels((tiny / "val/images" / name).read_bytes()).tobytes(): wnid
        for name, wnid in val_classes(tiny).items()
    }
    test = zip(data.test.images, data.test.labels, strict=True)
    assert {image.tobytes(): WNIDS[label] for image, label in test} == annotated
    assert np.bincount(data.test.labels).tolist() == [VAL] * len(WNIDS)


def add_junk(folder: Path) -> Path:
    """What operating systems leave behind."""
    images = folder / "train" / WNIDS[0] / "images"
    mac = folder / "__MACOSX/train" / WNIDS[0] / "images"
    mac.mkdir(parents=True)
    (mac / "x.JPEG").write_bytes(b"junk")
    places = (folder / "train", folder / "val/images", images)
    for place in (folder, *(place for place in places if place.is_dir())):
        for name in (".DS_Store", "Thumbs.db", "._x.JPEG", "desktop.ini"):
            (place / name).write_bytes(b"junk")
    return folder


def nested_below_a_chinese_name(folder: Path) -> Path:
    write(folder / "wnids.txt", "\n".join(["n77777777", *WNIDS]))  # a class without images
    outer = folder.parent / "我的 数据.v1"
    (outer / "tiny-imagenet-200").mkdir(parents=True)
    add_junk(folder).rename(outer / "tiny-imagenet-200" / "tiny-imagenet-200")
    return outer


def val_in_both_places_and_text_from_windows(folder: Path) -> Path:
    for name, wnid in val_classes(folder).items():
        (folder / "val" / wnid / "images").mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "val/images" / name, folder / "val" / wnid / "images" / name)
    for path in (*folder.glob("*.txt"), folder / "val/val_annotations.txt"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    return folder


def file_url_of_a_zip_of_class_folders(folder: Path) -> str:
    for image in list(folder.glob("train/*/images/*.JPEG")):
        image.rename(image.parents[1] / image.name)
    sort_val(folder)
    return zipped(add_junk(folder), folder.parent / "数据 集.zip").as_uri()


def tar_gz_archive(folder: Path) -> Path:
    sort_val(folder, "images")
    return tarred(folder, folder.parent / "data.tar.gz")


LAYOUTS: list[Callable[[Path], Path | str]] = [
    nested_below_a_chinese_name, val_in_both_places_and_text_from_windows,
    file_url_of_a_zip_of_class_folders, tar_gz_archive,
]  # fmt: skip


def test_every_layout_gives_the_same_data(
    tiny: Path, tmp_path: Path, subtests: pytest.Subtests
) -> None:
    official = fetch(tiny).fingerprint
    for change in LAYOUTS:
        with subtests.test(change.__name__):
            folder = write_tiny(tmp_path / change.__name__)
            assert fetch(change(folder)).fingerprint == official


def claiming(size: int) -> bytes:
    """A picture whose header says it is ``size`` pixels wide and high."""
    content = bytearray(jpeg(1))
    place = content.index(b"\xff\xc0") + 5
    content[place : place + 4] = size.to_bytes(2, "big") * 2
    return bytes(content)


def test_broken_images_are_named_with_their_reason_and_counted(tiny: Path) -> None:
    broken = {
        f"train/{WNIDS[0]}/images/{WNIDS[0]}_0.JPEG": (jpeg(1)[:-40], "Premature end of JPEG file"),
        f"train/{WNIDS[0]}/images/{WNIDS[0]}_2.JPEG": (b"", "empty"),
        f"train/{WNIDS[1]}/images/{WNIDS[1]}_1.JPEG": (b"<html>moved</html>", "no JPEG image"),
        f"train/{WNIDS[2]}/images/{WNIDS[2]}_0.JPEG": (
            jpeg(1, size=(64, 32)),
            "64x32 pixels instead of 64x64",
        ),
        "val/images/val_0.JPEG": (claiming(60_000), "60000x60000 pixels"),
        "val/images/val_1.JPEG": (b"x", ""),
        "val/images/val_2.JPEG": (b"x", ""),
    }
    for name, (content, _) in broken.items():
        (tiny / name).write_bytes(content)
    message = refusal(tiny)
    assert "7 of 18 images broken" in message and message.endswith("and 2 more")
    for name, (_, reason) in list(broken.items())[:5]:
        assert f"{name} ({reason}" in message


def test_no_cut_of_an_image_passes() -> None:
    whole = jpeg(1)
    for length in range(0, len(whole), 41):
        for padding in (b"", b"\0" * (len(whole) - length)):
            with pytest.raises(cache.BrokenImage):
                cache.decode_image(whole[:length] + padding)
    assert np.array_equal(cache.decode_image(whole + b"\0\0"), pixels(whole))


def test_a_corrupt_stream_is_a_broken_image() -> None:
    """What libjpeg warns of and other decoders fill with gray; most of what is overwritten."""
    whole = jpeg(1)
    body = whole.index(b"\xff\xda") + 14

    def told(junk: bytes) -> float:
        places = range(body, len(whole) - 2 - len(junk), 41)
        count = 0
        for place in places:
            try:
                cache.decode_image(whole[:place] + junk + whole[place + len(junk) :])
            except cache.BrokenImage:
                count += 1
        return count / len(places)

    assert told(b"\xff" * 64) == 1
    assert told(np.random.default_rng(0).bytes(64)) > 0.8
    with pytest.raises(cache.BrokenImage, match="extraneous bytes"):
        cache.decode_image(whole[:-2] + bytes(40) + whole[-2:])
    with pytest.raises(cache.BrokenImage, match="premature end of data segment"):
        cache.decode_image(whole[:-66] + whole[-2:])


def test_zeros_in_a_stream_are_a_broken_image() -> None:
    """As a disk leaves them; of a smooth picture, libjpeg takes many for an image."""
    noise = np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    smooth = Image.fromarray(noise).filter(ImageFilter.GaussianBlur(4)).point(lambda v: 6 * v - 640)
    buffer = io.BytesIO()
    smooth.save(buffer, "JPEG")
    whole = buffer.getvalue()
    assert np.array_equal(cache.decode_image(whole), pixels(whole))
    for place in range(whole.index(b"\xff\xda") + 14, len(whole) - 66, 7):
        with pytest.raises(cache.BrokenImage):
            cache.decode_image(whole[:place] + bytes(64) + whole[place + 64 :])


def test_pixels_are_those_of_other_decoders() -> None:
    noise = np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    pictures = (noise, np.full_like(noise, 128), np.zeros_like(noise))  # flat: runs of zeros
    ways: tuple[dict[str, Any], ...] = ({"progressive": True}, {"optimize": True}, {"quality": 30})
    for picture, options in itertools.product(pictures, ways):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "JPEG", subsampling=0, **options)
        assert np.array_equal(cache.decode_image(buffer.getvalue()), pixels(buffer.getvalue()))


def test_pipes_sockets_and_devices_are_refused_without_waiting(tiny: Path, tmp_path: Path) -> None:
    pipe, address = tmp_path / "pipe.zip", tmp_path / "socket"
    os.mkfifo(pipe)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(address))
        for source in (pipe, address, Path("/dev/zero")):
            assert "a pipe, socket or device; valid: an archive or a folder" in refusal(source)
        for place in ("train/pipe", f"val/images/{'x' * 9}.JPEG", "words.txt"):
            (tiny / place).unlink(missing_ok=True)
            os.mkfifo(tiny / place)
            assert f"{place!r} is a link, pipe, socket or device; refused" in refusal(tiny)
            (tiny / place).unlink()


def test_links_that_loop_are_no_endless_walk(tiny: Path) -> None:
    (tiny / "train" / WNIDS[0] / "up").symlink_to(tiny)
    assert len(fetch(tiny).train) == 12
    loop = tiny / "train" / WNIDS[0] / "images" / "loop.JPEG"
    loop.symlink_to(loop)
    with pytest.raises(DataError, match=f"{loop}: Too many levels of symbolic links"):
        fetch(tiny)


def without(name: str) -> Callable[[Path], None]:
    def remove(folder: Path) -> None:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return remove


def add_class(folder: Path) -> None:
    shutil.copytree(folder / "train" / WNIDS[0], folder / "train/n99999999")


def add_val_image(folder: Path) -> None:
    (folder / "val/images/odd\n.JPEG").write_bytes(b"x")


def misplace_val_image(folder: Path) -> None:
    shutil.move(folder / "val/images/val_0.JPEG", folder / "val/val_0.JPEG")


def add_second_set(folder: Path) -> None:
    shutil.copytree(folder, folder / "a")
    shutil.copytree(folder / "a", folder / "b")
    (folder / "wnids.txt").unlink()


WRONG = [
    (without("wnids.txt"), ["no wnids.txt", "expected"]),
    (without("val"), ["no images in val/", "expected"]),
    (without("val/val_annotations.txt"), ["val_annotations.txt is missing", "expected"]),
    (without(f"train/{WNIDS[1]}"), ["train/ needs as many images", f"{WNIDS[1]} has 0"]),
    (add_class, ["classes not in wnids.txt: n99999999"]),
    (add_val_image, [r"not in val_annotations.txt: odd\n.JPEG"]),
    (misplace_val_image, ["val/val_0.JPEG lies in an unknown place", "expected"]),
    (add_second_set, ["more than one data set (a/, b/); name one"]),
]


@pytest.mark.usefixtures("tiny")
def test_a_wrong_layout_is_refused_with_what_is_wrong(
    tmp_path: Path, subtests: pytest.Subtests
) -> None:
    for number, (change, words) in enumerate(WRONG):
        with subtests.test(words[0]):
            folder = write_tiny(tmp_path / str(number))
            change(folder)
            message = refusal(folder)
            assert [word for word in words if word not in message] == []
