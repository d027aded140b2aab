"""The decoded arrays on disk: whole or named as damaged, whatever happened in between."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny_folder import write_tiny

from labcnn.data import cache, fetch, tiny_imagenet
from labcnn.errors import DataError


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LABCNN_DATA", str(tmp_path / "我的 data"))
    return write_tiny(tmp_path)


@pytest.fixture
def folder(tiny: Path) -> Path:
    """A prepared data set."""
    assert fetch(tiny_imagenet.NAME, str(tiny))
    return cache.folder_of(tiny_imagenet.NAME)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip_last_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def fill_with_garbage(path: Path) -> None:
    path.write_bytes(b"x" * path.stat().st_size)


def raise_format(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"format": 99}), encoding="utf-8")


DAMAGES: list[tuple[Callable[[Path], None], str, str]] = [
    (cut, "train_images.npy", "train_images.npy: cut or changed"),
    (Path.unlink, "test_labels.npy", "test_labels.npy: missing"),
    (fill_with_garbage, "test_labels.npy", "test_labels.npy: cut or changed"),
    (flip_last_byte, "test_images.npy", "the images or labels were changed"),
    (cut, "meta.json", "meta.json: cut or foreign"),
    (raise_format, "meta.json", "format 99, this labcnn needs 1"),
]


def test_damage_is_noticed_when_loaded(
    folder: Path, tmp_path: Path, subtests: pytest.Subtests
) -> None:
    shutil.copytree(folder, tmp_path / "whole")
    for damage, name, words in DAMAGES:
        with subtests.test(words):
            shutil.rmtree(folder)
            shutil.copytree(tmp_path / "whole", folder)
            cache.load(tiny_imagenet.NAME)
            damage(folder / name)
            with pytest.raises(DataError) as error:
                cache.load(tiny_imagenet.NAME)
            message = str(error.value)
            assert message.startswith(str(folder)) and "\n" not in message
            assert words in message and message.endswith("; run `labcnn data fetch --force`")


def test_a_folder_of_format_1_is_taken_as_it_is(folder: Path) -> None:
    """What was prepared once stays good: the files are made here by hand, digest included."""
    images = np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), dtype=np.uint8)
    labels = np.array([0, 0, 1, 1])
    arrays = {
        "train_images": images[:4], "train_labels": labels, "test_images": images[4:],
        "test_labels": labels[1:3],
    }  # fmt: skip
    digest = hashlib.sha256(b'["n02124075", "n04067472"]')
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
        shape = ", ".join(map(str, array.shape)) + ("," if array.ndim == 1 else "")
        digest.update(f"(({shape}), '{'|u1' if 'images' in name else '<i8'}')".encode())
        digest.update(array.tobytes())
    meta = {
        "format": 1, "wnids": ["n02124075", "n04067472"], "class_names": ["cat", "dog"],
        "train_count": 4, "test_count": 2, "fingerprint": digest.hexdigest(),
        "sizes": {f"{name}.npy": array.nbytes + 128 for name, array in arrays.items()},
    }  # fmt: skip
    (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    data = cache.load(tiny_imagenet.NAME)
    assert data.fingerprint == digest.hexdigest() and data.class_names == ("cat", "dog")
    assert np.array_equal(data.train.images, images[:4])
    assert data.test.labels.tolist() == [0, 1]


def test_a_copy_is_checked_once_then_remembered(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is remembered holds for these very files; a file made of others' isn't one of them."""
    before = cache.load(tiny_imagenet.NAME).fingerprint
    copy = tmp_path / "copy" / folder.name
    shutil.copytree(folder, copy, copy_function=shutil.copyfile)
    monkeypatch.setenv("LABCNN_DATA", str(copy.parent))
    remembered = (copy / cache.CHECKED).read_bytes()
    assert cache.load(tiny_imagenet.NAME).fingerprint == before
    assert (copy / cache.CHECKED).read_bytes() != remembered
    stamp = (copy / cache.CHECKED).stat().st_mtime_ns
    assert cache.load(tiny_imagenet.NAME).fingerprint == before
    assert (copy / cache.CHECKED).stat().st_mtime_ns == stamp


def test_a_write_into_the_loaded_arrays_never_reaches_the_disk(folder: Path) -> None:
    before = (folder / "train_images.npy").read_bytes()
    cache.load(tiny_imagenet.NAME).train.images[:] = 0
    assert (folder / "train_images.npy").read_bytes() == before


#: Fetches, and dies before the first change of the file system in the prepared folder, then before
#: the second and so on, until none is left; prints each exit code and what is prepared then.
KILLED = """
import os, sys
from labcnn import data
from labcnn.data import cache, tiny_imagenet
folder = str(cache.folder_of(tiny_imagenet.NAME))
def fetch(left):
    def count(event, arguments):
        nonlocal left
        if event in ("os.rename", "os.remove") and folder in str(arguments):
            left -= 1
            if left < 0:
                os._exit(9)
    sys.addaudithook(count)
    data.fetch(tiny_imagenet.NAME, sys.argv[1], force=True)
code, kills = 9, 0
while code == 9:
    child = os.fork()
    if not child:
        fetch(kills)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    is_there = cache.is_prepared(tiny_imagenet.NAME)
    found = cache.load(tiny_imagenet.NAME).fingerprint if is_there else None
    print(code, found, flush=True)
    kills += 1
"""


def test_a_fetch_killed_at_any_change_leaves_no_false_proof(tiny: Path, folder: Path) -> None:
    """Whole or not prepared, never in between; and the next fetch works."""
    old = cache.load(tiny_imagenet.NAME).fingerprint
    shutil.copy(tiny / "val/images/val_0.JPEG", tiny / "val/images/val_1.JPEG")
    said = subprocess.check_output([sys.executable, "-c", KILLED, str(tiny)], text=True)
    codes, found = zip(*(line.split() for line in said.splitlines()), strict=True)
    new = cache.load(tiny_imagenet.NAME).fingerprint
    assert set(codes) == {"9", "0"} and len(codes) > 6
    assert set(found) == {old, "None", new} and old != new
    assert [p.name for p in folder.parent.iterdir() if p.name.endswith(".new")] == []


def test_a_full_disk_is_one_line_and_leaves_nothing(tiny: Path) -> None:
    code = (
        "import resource, sys; from labcnn.cli import main;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "data", "fetch", "--from", str(tiny)],
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 2
    data = cache.folder_of(tiny_imagenet.NAME).parent
    assert done.stderr.startswith(f"labcnn: {data}") and "File too large; make room" in done.stderr
    assert done.stderr.count("\n") == 1
    assert [path.name for path in data.iterdir()] == ["tiny-imagenet-200.lock"]


def test_two_fetches_at_once_do_the_work_once(tiny: Path) -> None:
    code = "import sys; from labcnn.data import fetch; print(fetch(*sys.argv[1:]))"
    command = [sys.executable, "-c", code, tiny_imagenet.NAME, str(tiny)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = sorted(process.communicate()[0].strip() for process in both)
    assert said == ["False", "True"]
    assert len(cache.load(tiny_imagenet.NAME).train) > 0
