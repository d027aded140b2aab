"""Archives and downloads: what is cut, altered, hostile or not there."""

import gzip
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from tiny_folder import tarred, write_tiny, zipped

from labcnn.data import archive as reading
from labcnn.data import cache, fetch, tiny_imagenet
from labcnn.data.archive import downloads_folder
from labcnn.errors import DataError


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LABCNN_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return write_tiny(tmp_path)


def refusal(source: Path | str | None) -> str:
    """The one line about ``source``, of which nothing stays."""
    with pytest.raises(DataError) as error:
        fetch(tiny_imagenet.NAME, None if source is None else str(source))
    data = cache.folder_of(tiny_imagenet.NAME).parent
    assert {p.name for p in data.rglob("*")} <= {"tiny-imagenet-200.lock", "downloads"}
    assert str(error.value).startswith(f"{source or tiny_imagenet.OFFICIAL_URL}: ")
    assert "\n" not in str(error.value)
    return str(error.value)


def pack(folder: Path, kind: str) -> Path:
    """``folder`` as an archive of this kind, beside it."""
    return (zipped if kind == "zip" else tarred)(folder, folder.parent / f"tiny.{kind}")


def test_a_cut_archive_is_refused(tiny: Path) -> None:
    for kind in ("zip", "tar", "tar.gz"):
        archive = pack(tiny, kind)
        whole = archive.read_bytes()
        for part in (0.3, 0.7, 0.9):
            archive.write_bytes(whole[: int(len(whole) * part)])
            assert "cut or damaged archive" in refusal(archive)


def test_a_flipped_bit_is_told_wherever_it_is(tiny: Path, subtests: pytest.Subtests) -> None:
    for kind, most_harmless in (("zip", 4), ("tar.gz", 0), ("tar.bz2", 1), ("tar.xz", 0)):
        with subtests.test(kind):
            archive = pack(tiny, kind)
            whole = archive.read_bytes()
            fetch(tiny_imagenet.NAME, str(archive), force=True)
            fingerprint = cache.load(tiny_imagenet.NAME).fingerprint
            harmless = 0
            # the last places are in the checksum that stands at the end
            last = range(len(whole) - 8, len(whole))
            for place in (*range(0, len(whole), len(whole) // 40), *last):
                archive.write_bytes(whole)
                alter(archive, place)
                try:
                    fetch(tiny_imagenet.NAME, str(archive), force=True)
                    harmless += 1  # in a time, or in what fills a last byte
                except DataError as error:
                    assert "\n" not in str(error)
                assert cache.load(tiny_imagenet.NAME).fingerprint == fingerprint
            assert harmless <= most_harmless


def test_a_damaged_header_does_not_end_a_tar_early(tiny: Path, tmp_path: Path) -> None:
    archive = tarred(tiny, tmp_path / "tiny.tar")
    alter(archive, archive.read_bytes().index(b"tiny-imagenet-200/val/val_annotations"))
    assert "cut or damaged archive" in refusal(archive)


def alter(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 16
    path.write_bytes(content)


def add_file(archive: Path, name: str) -> None:
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "a") as file:
            file.writestr(name, "evil")
    else:
        with tarfile.open(archive, "a") as tar:
            info = tarfile.TarInfo(name)
            info.size = 4
            tar.addfile(info, io.BytesIO(b"evil"))


def test_a_member_that_would_escape_is_refused(tiny: Path, tmp_path: Path) -> None:
    before = {path for path in tmp_path.rglob("*") if path.parts[-1] != "data"}
    for kind in ("zip", "tar"):
        for member in ("../evil", "a/../../evil", "/evil", "C:/evil", "..\\evil", "\\evil"):
            archive = pack(tiny, kind)
            add_file(archive, member)
            assert f"member {member!r} would escape the folder; refused" in refusal(archive)
    written = {path.name for path in set(tmp_path.rglob("*")) - before}
    assert written == {"data", "tiny-imagenet-200.lock", "tiny.zip", "tiny.tar"}


def test_a_huge_member_is_refused_before_it_is_read(tiny: Path) -> None:
    (tiny / "bomb.txt").write_bytes(bytes(2**25 + 1))
    for kind in ("zip", "tar.gz"):
        assert "bomb.txt' has 33,554,433 bytes; refused" in refusal(pack(tiny, kind))


def test_many_members_that_are_huge_together_are_refused_unread(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archives = [zipped(tiny, tmp_path / "tiny.zip"), tarred(tiny, tmp_path / "tiny.tar.gz")]
    for name, most in (("MOST_BYTES_TOGETHER", 2**15), ("MOST_FILES", 10)):
        with monkeypatch.context() as patched:
            patched.setattr(reading, name, most)
            for source in (*archives, tiny):
                assert f"{most:,}" in refusal(source) and "refused: no data set" in refusal(source)


def test_what_an_archive_claims_is_not_believed(tiny: Path, tmp_path: Path) -> None:
    """A zip that says a member is small, a tar whose header for a long name has 4 GB."""
    size = 2**25 + 0x123456
    (tiny / "bomb.txt").write_bytes(bytes(size))
    archive = zipped(tiny, tmp_path / "tiny.zip")
    content = archive.read_bytes()
    assert content.count(size.to_bytes(4, "little")) == 2
    archive.write_bytes(content.replace(size.to_bytes(4, "little"), bytes([99, 0, 0, 0])))
    assert "cut or damaged archive, at tiny-imagenet-200/bomb.txt" in refusal(archive)
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 2**32
    archive = tmp_path / "long.tar.gz"
    archive.write_bytes(gzip.compress(header.tobuf() + bytes(2**20)))
    assert "'././@LongLink' has 4,294,967,296 bytes; refused" in refusal(archive)


def test_an_encrypted_zip_is_called_so(tiny: Path, tmp_path: Path) -> None:
    archive = zipped(tiny, tmp_path / "tiny.zip")
    content = bytearray(archive.read_bytes())
    name = b"tiny-imagenet-200/wnids.txt"
    content[content.index(name) - 30 + 6] |= 1  # in the member's header and in the list
    content[content.rindex(name) - 46 + 8] |= 1
    archive.write_bytes(content)
    message = refusal(archive)
    assert "'tiny-imagenet-200/wnids.txt' is encrypted" in message and "cut" not in message


def test_a_link_or_a_device_is_refused(tiny: Path, tmp_path: Path) -> None:
    name = "tiny-imagenet-200/train/odd"
    archive = zipped(tiny, tmp_path / "tiny.zip")
    with zipfile.ZipFile(archive, "a") as file:
        link = zipfile.ZipInfo(name)
        link.create_system, link.external_attr = 3, 0o120777 << 16
        file.writestr(link, "wnids.txt")
    assert f"member {name!r} is a link, pipe, socket or device" in refusal(archive)
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
        archive = tarred(tiny, tmp_path / "tiny.tar")
        with tarfile.open(archive, "a") as tar:
            odd = tarfile.TarInfo(name)
            odd.type, odd.linkname = kind, "tiny-imagenet-200/wnids.txt"
            tar.addfile(odd)
        assert f"member {name!r} is a link, pipe, socket or device" in refusal(archive)


class Server:
    """Serves one file at ``url``; can cut the answer after some bytes."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.cut_after: int | None = None
        self.served = 0
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path != "/tiny.zip":
                    self.send_error(404)
                    return
                server.served += 1
                self.send_response(200)
                self.send_header("Content-Length", str(len(server.content)))
                self.end_headers()
                self.wfile.write(server.content[: server.cut_after])

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/tiny.zip"


@contextmanager
def serve(content: bytes) -> Iterator[Server]:
    server = Server(content)
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


def test_the_official_archive_is_downloaded_once_and_only_with_its_md5(
    content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    altered = content[:-1] + b"x"
    md5, other_md5 = (hashlib.md5(each).hexdigest() for each in (content, altered))
    with serve(altered) as server:
        monkeypatch.setattr(tiny_imagenet, "OFFICIAL_URL", server.url)
        monkeypatch.setattr(tiny_imagenet, "OFFICIAL_MD5", md5)
        message = refusal(None)
        assert md5 in message and other_md5 in message
        server.content, server.cut_after = content, 40_000
        assert "the connection was lost" in refusal(None)
        server.cut_after, server.served = None, 0
        assert fetch(tiny_imagenet.NAME)
        assert not fetch(tiny_imagenet.NAME)
        assert fetch(tiny_imagenet.NAME, force=True)
        assert server.served == 1  # decoded again, not downloaded again
        (kept,) = downloads_folder().iterdir()
        assert kept.read_bytes() == content
        kept.write_bytes(content[:2000])  # half a file under the final name
        assert fetch(tiny_imagenet.NAME, force=True)


def test_a_mirror_is_judged_by_its_content_alone(content: bytes) -> None:
    """A dead link says what does as well."""
    with serve(content[:-50]) as server:
        assert "cut or damaged archive" in refusal(server.url)
        missing = server.url.replace("tiny.zip", "gone.zip")
        assert "HTTP 404; a mirror or a copy you have does as well" in refusal(missing)
    assert "no network or server, or the connection was lost" in refusal(server.url)
    with serve(content) as server:
        assert fetch(tiny_imagenet.NAME, server.url)


def test_what_is_no_archive_is_refused(tiny: Path, tmp_path: Path) -> None:
    for url in ("http://", "http://[::1"):
        assert "no valid URL" in refusal(url)
    page = tmp_path / "page.zip"
    page.write_bytes(b"<html>moved</html>" * 99)
    assert "neither a folder nor a zip" in refusal(page)
    assert "no such file" in refusal(tmp_path / "nothing.zip")
    assert "valid URLs begin with http://" in refusal("ftp://example.org/tiny.zip")


def test_a_compression_that_python_lacks_is_named(tiny: Path, tmp_path: Path) -> None:
    """A zip by a newer program: it isn't damaged."""
    archive = zipped(tiny, tmp_path / "tiny.zip")
    whole = bytearray(archive.read_bytes())
    place = whole.rindex(b"tiny-imagenet-200/wnids.txt") - 46 + 10  # its method, in the list
    whole[place : place + 2] = (93).to_bytes(2, "little")  # Zstandard
    archive.write_bytes(whole)
    message = refusal(archive)
    assert "member 'tiny-imagenet-200/wnids.txt': That compression method" in message
    assert "pack it anew as zip" in message and "cut" not in message
