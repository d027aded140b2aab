"""Archives and downloads: what is cut, altered, hostile or not there."""

import hashlib
import io
import re
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from tiny_folder import tarred, write_tiny, zipped

from labcnn.data import download, tiny_imagenet
from labcnn.data.archive import open_tree, refuse_escape
from labcnn.errors import DataError


@pytest.fixture(autouse=True)
def data_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABCNN_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_tiny(tmp_path)


def refused(source: Path | str | None) -> str:
    with pytest.raises(DataError) as error:
        tiny_imagenet.fetch(None if source is None else str(source))
    assert not tiny_imagenet.prepared()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
@pytest.mark.parametrize("part", [0.3, 0.7, 0.9])
def test_cut_archive(tiny: Path, tmp_path: Path, kind: str, part: float) -> None:
    archive = (zipped if kind == "zip" else tarred)(tiny, tmp_path / f"tiny.{kind}")
    whole = archive.read_bytes()
    archive.write_bytes(whole[: int(len(whole) * part)])
    message = refused(archive)
    assert str(archive) in message and "cut" in message


def test_altered_byte_in_a_zip_names_the_image(tiny: Path, tmp_path: Path) -> None:
    archive = zipped(tiny, tmp_path / "tiny.zip")
    name = "tiny-imagenet-200/val/images/val_3.JPEG"
    with zipfile.ZipFile(archive) as file:
        place = file.getinfo(name).header_offset + 30 + len(name) + 200
    content = bytearray(archive.read_bytes())
    content[place] ^= 255
    archive.write_bytes(content)
    assert name in refused(archive)


def test_file_that_is_no_archive(tmp_path: Path) -> None:
    path = tmp_path / "page.zip"
    path.write_bytes(b"<html>moved</html>" * 99)
    assert "neither a folder nor a zip" in refused(path)


def test_path_that_is_not_there(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "nothing.zip")


ESCAPING = [
    "../evil.JPEG",
    "a/../../evil.JPEG",
    "/evil.JPEG",
    "C:/evil.JPEG",
    "..\\evil.JPEG",
    "\\evil",
]


@pytest.mark.parametrize("member", ESCAPING)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_escaping_member(tiny: Path, tmp_path: Path, kind: str, member: str) -> None:
    archive = tmp_path / f"tiny.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(zipped(tiny, archive), "a") as file:
            file.writestr(member, "evil")
    else:
        with tarfile.open(tarred(tiny, archive), "a") as tar:
            info = tarfile.TarInfo(member)
            info.size = 4
            tar.addfile(info, io.BytesIO(b"evil"))
    before = sorted(tmp_path.rglob("*"))
    assert repr(member) in (message := refused(archive)) and "escape" in message
    written = {path.name for path in set(tmp_path.rglob("*")) - set(before)}
    assert written <= {"data", "tiny-imagenet-200.lock"}


def test_names_with_dots_do_not_escape() -> None:
    refuse_escape(Path("a.zip"), "tiny..200/..x/a...JPEG")


def test_link_in_a_tar(tiny: Path, tmp_path: Path) -> None:
    archive = tarred(tiny, tmp_path / "tiny.tar")
    with tarfile.open(archive, "a") as tar:
        info = tarfile.TarInfo("tiny-imagenet-200/train/link")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(info)
    assert "train/link" in (message := refused(archive)) and "link" in message


def test_link_in_a_zip(tiny: Path, tmp_path: Path) -> None:
    archive = zipped(tiny, tmp_path / "tiny.zip")
    with zipfile.ZipFile(archive, "a") as file:
        info = zipfile.ZipInfo("tiny-imagenet-200/train/link")
        info.create_system, info.external_attr = 3, 0o120777 << 16
        file.writestr(info, "/etc")
    assert "train/link" in refused(archive)


def test_a_folder_without_the_marker_is_not_searched(tmp_path: Path) -> None:
    (tmp_path / "home/a/b").mkdir(parents=True)
    (tmp_path / "home/a/b/c.txt").touch()
    with open_tree(tmp_path / "home") as tree:
        assert tree.names == ()


class Server:
    """Serves one file; can cut the answer, and can know ranges or not."""

    def __init__(self, content: bytes, ranges: bool = True) -> None:
        self.content, self.ranges = content, ranges
        self.cut_after: list[int] = []
        self.starts: list[int] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path != "/tiny.zip":
                    self.send_error(404)
                    return
                asked = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
                start = int(asked[1]) if asked and server.ranges else 0
                if start and start >= len(server.content):
                    self.send_error(416)
                    return
                server.starts.append(start)
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(server.content) - start))
                self.end_headers()
                length = server.cut_after.pop(0) if server.cut_after else None
                self.wfile.write(server.content[start:][:length])

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/tiny.zip"


@contextmanager
def served(content: bytes, ranges: bool = True) -> Iterator[Server]:
    server = Server(content, ranges)
    thread = Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        thread.join()
        server.http.server_close()


@pytest.fixture
def content(tiny: Path, tmp_path: Path) -> bytes:
    return zipped(tiny, tmp_path / "tiny.zip").read_bytes()


def be_official(monkeypatch: pytest.MonkeyPatch, server: Server, content: bytes) -> None:
    monkeypatch.setattr(download, "OFFICIAL_URL", server.url)
    monkeypatch.setattr(download, "OFFICIAL_MD5", hashlib.md5(content).hexdigest())


def test_official_download(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(content) as server:
        be_official(monkeypatch, server, content)
        assert tiny_imagenet.fetch()
        assert not tiny_imagenet.fetch()
        assert tiny_imagenet.fetch(force=True)
        assert server.starts == [0]  # decoded again, not downloaded again
    assert (download.downloads_folder() / "tiny.zip").read_bytes() == content


def test_wrong_md5_names_both_and_keeps_nothing(
    content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    altered = content[:-1] + b"x"
    with served(altered) as server:
        be_official(monkeypatch, server, content)
        message = refused(None)
    assert hashlib.md5(content).hexdigest() in message
    assert hashlib.md5(altered).hexdigest() in message
    assert list(download.downloads_folder().iterdir()) == []


def test_a_short_cut_is_taken_up_at_once(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(content) as server:
        be_official(monkeypatch, server, content)
        server.cut_after = [40_000, 30_000]
        assert tiny_imagenet.fetch()
    first, second, third = server.starts
    assert first == 0 < second <= 40_000 < third <= second + 30_000


@pytest.mark.parametrize("ranges", [True, False])
def test_the_next_fetch_goes_on_or_begins_again(
    content: bytes, monkeypatch: pytest.MonkeyPatch, ranges: bool
) -> None:
    monkeypatch.setattr(download, "TRIES", 1)
    with served(content, ranges) as server:
        be_official(monkeypatch, server, content)
        server.cut_after = [40_000]
        message = refused(None)
        (part,) = download.downloads_folder().iterdir()
        have = part.stat().st_size
        assert part.name == "tiny.zip.part" and 0 < have <= 40_000
        assert "connection lost" in message and f"{have:,} bytes" in message
        assert tiny_imagenet.fetch()
        assert server.starts == [0, have if ranges else 0]
    assert [p.name for p in download.downloads_folder().iterdir()] == ["tiny.zip"]


def test_a_part_as_long_as_the_file_begins_again(
    content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    download.downloads_folder().mkdir(parents=True)
    (download.downloads_folder() / "tiny.zip.part").write_bytes(b"x" * len(content))
    with served(content) as server:
        be_official(monkeypatch, server, content)
        assert tiny_imagenet.fetch()


def test_a_half_file_under_the_final_name_is_not_trusted(
    content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    download.downloads_folder().mkdir(parents=True)
    (download.downloads_folder() / "tiny.zip").write_bytes(content[:2000])
    with served(content) as server:
        be_official(monkeypatch, server, content)
        assert tiny_imagenet.fetch()


def test_mirror_needs_no_md5_but_good_content(content: bytes) -> None:
    with served(content[:-50]) as server:
        message = refused(server.url)
        assert message.startswith(server.url) and "cut" in message
        assert list(download.downloads_folder().iterdir()) == []
        server.content = content
        assert tiny_imagenet.fetch(server.url)


def test_file_url(tiny: Path, tmp_path: Path) -> None:
    archive = zipped(tiny, tmp_path / "我的 数据.zip")
    assert tiny_imagenet.fetch(archive.as_uri())


def test_dead_link_says_what_does_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(b"") as server:
        url = server.url
        missing = url.replace("tiny.zip", "gone.zip")
        assert "404" in refused(missing)
    monkeypatch.setattr(download, "OFFICIAL_URL", url)
    message = refused(None)  # the server is gone
    assert url in message and "--from PATH_OR_URL" in message
    assert list(download.downloads_folder().iterdir()) == []


def test_url_of_another_kind() -> None:
    assert "https://" in refused("ftp://example.org/tiny.zip")
