"""``labcnn data fetch`` and ``labcnn data status`` as a person meets them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_folder import WNIDS, write_tiny, zipped
from typer.testing import CliRunner, Result

from labcnn.data import tiny_imagenet
from labcnn.data.commands import data_app
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


def test_status_needs_no_torch() -> None:
    code = (
        "import sys; from labcnn.data import commands, tiny_imagenet; tiny_imagenet.prepared();"
        "print([m for m in ('torch', 'pandas', 'PIL', 'tqdm', 'requests') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_status_fetch_status(tiny: Path, tmp_path: Path) -> None:
    absent = labcnn_data("status")
    assert absent.exit_code == 0
    assert f"absent from {tmp_path / 'data'}" in absent.stdout
    assert "run `labcnn data fetch`" in absent.stdout
    assert "shapes: made on demand" in absent.stdout
    result = labcnn_data("fetch", "--from", zipped(tiny, tmp_path / "tiny.zip"))
    assert result.exit_code == 0
    assert f": {len(WNIDS)} classes, 12 train and 6 test images" in result.stdout
    downloads = tiny_imagenet.downloads_folder()
    downloads.mkdir()
    (downloads / "tiny-imagenet-200.zip").write_bytes(b"12345")
    status = labcnn_data("status")
    assert status.exit_code == 0
    for part in (tiny_imagenet.load().fingerprint, "12 train", "subset", str(tmp_path / "data")):
        assert part in status.stdout
    assert "tiny-imagenet-200.zip: 5 bytes (may be deleted)" in status.stdout


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
    (tiny_imagenet.folder() / "train_images.npy").write_bytes(b"")
    assert "train_images.npy" in fails("status")
    assert "train_images.npy" in fails("fetch")
    assert labcnn_data("fetch", "--from", tiny, "--force").exit_code == 0
    assert labcnn_data("status").exit_code == 0
