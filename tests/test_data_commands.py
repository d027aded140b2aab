"""``labcnn data fetch`` and ``labcnn data status`` as a person meets them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_folder import WNIDS, write_tiny, zipped
from typer.testing import CliRunner, Result

from labcnn.cli import data_app
from labcnn.data import Origin, cache, fetch, origin, tiny_imagenet
from labcnn.data.archive import downloads_folder
from labcnn.errors import DataError


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LABCNN_DATA", str(tmp_path / "data"))
    return write_tiny(tmp_path)


def labcnn_data(*arguments: str | Path) -> Result:
    return CliRunner().invoke(data_app, [str(argument) for argument in arguments])


def fails(*arguments: str | Path) -> str:
    """The one line that `labcnn` says of the command's error."""
    result = labcnn_data(*arguments)
    assert isinstance(result.exception, DataError)
    (line,) = str(result.exception).splitlines()
    return line


def test_status_fetch_status(tiny: Path, tmp_path: Path) -> None:
    for nothing in ("", " "):
        for name in ("tiny-imagenet-200", "cifar10"):
            assert f"--from {nothing!r} names nothing" in fails("fetch", name, "--from", nothing)
    absent = labcnn_data("status")
    assert absent.exit_code == 0
    assert f"absent from {tmp_path / 'data'}" in absent.stdout
    assert "run `labcnn data fetch`" in absent.stdout
    assert "shapes: made on demand" in absent.stdout
    result = labcnn_data("fetch", "--from", zipped(tiny, tmp_path / "tiny.zip"))
    assert result.exit_code == 0
    assert f": {len(WNIDS)} classes, 12 train and 6 test images" in result.stdout
    downloads = downloads_folder()
    downloads.mkdir()
    (downloads / "tiny-imagenet-200.zip").write_bytes(b"12345")
    status = labcnn_data("status")
    assert status.exit_code == 0
    for part in (
        cache.load(tiny_imagenet.NAME).fingerprint,
        "12 train",
        "subset",
        str(tmp_path / "data"),
    ):
        assert part in status.stdout
    assert "tiny-imagenet-200.zip: 5 bytes (may be deleted)" in status.stdout


def test_status_says_official_or_how_a_set_differs(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tiny_imagenet.OFFICIAL_FINGERPRINT == (
        "a705bd291f6963f187de9b6204c833214e3375c4ea6dbed458e5b31b17030120"
    )
    labcnn_data("fetch", "--from", tiny)
    assert "(subset: the official data has 200 classes x 500 train" in labcnn_data("status").stdout
    monkeypatch.setattr(tiny_imagenet, "OFFICIAL_COUNTS", (3, 4, 2))
    assert "as many, but other images, labels or classes)" in labcnn_data("status").stdout
    ours = cache.load(tiny_imagenet.NAME).fingerprint
    assert origin(tiny_imagenet.NAME, ours) is Origin.OTHER
    monkeypatch.setattr(tiny_imagenet, "OFFICIAL_FINGERPRINT", ours)
    assert "6 test images (official)" in labcnn_data("status").stdout
    assert origin(tiny_imagenet.NAME, ours) is Origin.OFFICIAL
    assert origin("shapes", ours) is Origin.DEMO


def says(*arguments: str | Path) -> str:
    """The one line that somebody gets to whom the modes of files apply, as they don't to root."""
    bound = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    command = [sys.executable, "-m", "labcnn.cli", "data", *map(str, arguments)]
    done = subprocess.run(
        command if os.getuid() else bound + command, capture_output=True, encoding="utf-8"
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    return line.removeprefix("labcnn: ")


@pytest.mark.system
def test_what_may_not_be_read_in_a_source_is_named(tiny: Path, tmp_path: Path) -> None:
    """A folder isn't called one without wnids.txt, nor an archive damaged."""
    archive = zipped(tiny, tmp_path / "tiny.zip")
    outer = tmp_path / "outer"
    outer.mkdir()
    tiny = tiny.rename(outer / "tiny")
    images = tiny / "train" / WNIDS[1] / "images"
    for source, place, mode in (
        (tiny, tiny, 0), (outer, tiny, 0o600), (tiny, images, 0), (archive, archive, 0),
        (tiny, tiny / "wnids.txt", 0),
    ):  # fmt: skip
        before = place.stat().st_mode
        place.chmod(mode)
        named = place / "train" if mode else place  # a folder that may be listed, but not entered
        assert says("fetch", "--from", source) == f"{source}: {named}: Permission denied"
        place.chmod(before)


@pytest.mark.system
def test_a_data_folder_that_may_not_be_written_or_read_is_one_line(
    tiny: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir(0o500)
    line = says("fetch", "--from", tiny)
    assert line.startswith(f"{data}") and "Permission denied; make it writable, or set" in line
    assert list(data.iterdir()) == []
    data.chmod(0o700)
    fetch(tiny_imagenet.NAME, str(tiny))
    meta = cache.folder_of(tiny_imagenet.NAME) / "meta.json"
    for path in (
        cache.folder_of(tiny_imagenet.NAME) / "train_labels.npy",
        meta,
        cache.folder_of(tiny_imagenet.NAME),
    ):
        path.chmod(0)
        named = meta if path.is_dir() else path
        assert says("status") == f"{named}: Permission denied"
        path.chmod(0o700)


def test_fetch_again_does_nothing_unless_forced(tiny: Path) -> None:
    before = labcnn_data("fetch", "--from", tiny)
    shutil.rmtree(tiny)
    again = labcnn_data("fetch", "--from", tiny)
    assert again.exit_code == before.exit_code == 0 and "already prepared" in again.stdout
    assert "--force" in again.stdout
    assert f"warning: {tiny} was not looked at" in again.stderr
    assert f"{tiny}: no such file" in fails("fetch", "--from", tiny, "--force")
    assert labcnn_data("status").exit_code == 0  # what was prepared stays


def test_a_damaged_file_is_named_until_it_is_fetched_anew(tiny: Path) -> None:
    labcnn_data("fetch", "--from", tiny)
    (cache.folder_of(tiny_imagenet.NAME) / "train_images.npy").write_bytes(b"")
    assert "train_images.npy" in fails("status")
    assert "train_images.npy" in fails("fetch")
    assert labcnn_data("fetch", "--from", tiny, "--force").exit_code == 0
    assert labcnn_data("status").exit_code == 0
