"""The decoded arrays on disk: whole or named as damaged, whatever happened in between."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_folder import WNIDS, write_tiny

from labcnn.data import cache, tiny_imagenet
from labcnn.errors import DataError


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LABCNN_DATA", str(tmp_path / "我的 data"))
    return write_tiny(tmp_path)


@pytest.fixture
def folder(tiny: Path) -> Path:
    """A prepared cache."""
    assert tiny_imagenet.fetch(str(tiny))
    return tiny_imagenet.folder()


def damaged() -> str:
    with pytest.raises(DataError) as error:
        tiny_imagenet.load()
    assert "\n" not in str(error.value) and "labcnn data fetch --force" in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", cache.ARRAYS)
def test_cut_file_is_named(folder: Path, name: str) -> None:
    path = folder / f"{name}.npy"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    message = damaged()
    assert str(path) in message and f"{len(whole) - 1:,} bytes" in message


def test_missing_file_is_named(folder: Path) -> None:
    (folder / "test_images.npy").unlink()
    assert "test_images.npy: missing" in damaged()


def test_other_array_of_the_same_size_is_named(folder: Path) -> None:
    path = folder / "train_images.npy"
    images = np.load(path)
    np.save(path, images.reshape(-1, 64, 3, 64))
    assert "train" in damaged()


def test_garbage_of_the_same_size_is_named(folder: Path) -> None:
    path = folder / "test_labels.npy"
    path.write_bytes(b"x" * path.stat().st_size)
    assert "test_labels.npy: changed" in damaged()


def test_cut_or_foreign_meta_is_named(folder: Path) -> None:
    path = folder / cache.META
    path.write_bytes(path.read_bytes()[:-30])
    assert str(path) in damaged()


def test_meta_of_another_format(folder: Path) -> None:
    path = folder / cache.META
    meta = json.loads(path.read_text(encoding="utf-8")) | {"format": 99}
    path.write_text(json.dumps(meta), encoding="utf-8")
    assert "format 99" in damaged()


def test_meta_says_what_the_arrays_are(folder: Path) -> None:
    meta = cache.read_meta(folder)
    assert meta.wnids == WNIDS
    _, train, test, _ = cache.read_arrays(folder)
    assert (meta.train_count, meta.test_count) == (len(train), len(test))
    assert meta.fingerprint == cache.fingerprint(train, test, meta.wnids)


def test_a_write_into_the_loaded_arrays_never_reaches_the_disk(folder: Path) -> None:
    before = (folder / "train_images.npy").read_bytes()
    tiny_imagenet.load().train.images[:] = 0
    assert (folder / "train_images.npy").read_bytes() == before


def test_what_a_killed_fetch_left_is_no_proof_and_no_obstacle(tiny: Path, folder: Path) -> None:
    fingerprint = tiny_imagenet.load().fingerprint
    (folder / cache.META).unlink()
    (folder / "train_images.npy").write_bytes(b"half")
    left = folder.with_name(f"{folder.name}.new")
    left.mkdir()
    (left / "train_images.npy").write_bytes(b"half")
    assert not tiny_imagenet.prepared()
    assert tiny_imagenet.fetch(str(tiny))
    assert tiny_imagenet.load().fingerprint == fingerprint
    assert not left.exists()


def test_a_kill_while_the_arrays_are_exchanged_leaves_no_proof(
    tiny: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Path.replace

    def killed(path: Path, target: Path) -> Path:
        if path.name == "test_images.npy":
            raise KeyboardInterrupt
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        tiny_imagenet.fetch(str(tiny), force=True)
    assert not tiny_imagenet.prepared()


def test_too_full_a_disk_is_said_before_anything_is_written(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "labcnn.data.cache.shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})
    )
    with pytest.raises(DataError, match=r"GB needed, 0\.00 GB free"):
        tiny_imagenet.fetch(str(tiny))
    assert list(tiny_imagenet.folder().parent.glob("**/*.npy")) == []


def test_two_fetches_at_once_do_the_work_once(tiny: Path) -> None:
    code = "import sys; from labcnn.data import tiny_imagenet as t; print(t.fetch(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(tiny)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = sorted(process.communicate()[0].strip() for process in both)
    assert said == ["False", "True"]
    assert len(tiny_imagenet.load().train) > 0
