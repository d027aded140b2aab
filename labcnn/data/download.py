"""Getting an archive onto this disk: a path as it is, a URL by a download that can go on."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from labcnn.errors import DataError
from labcnn.paths import data_folder

OFFICIAL_URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
OFFICIAL_MD5 = "90528d7ca1a48142e341f4ef8d21d0de"
#: A lost connection is taken up again this many times, as long as each brings more of the file.
TRIES = 5
TIMEOUT = 30
CHUNK = 2**14
OTHER_WAY = "a mirror or a copy you have does as well: `labcnn data fetch --from PATH_OR_URL`"


def downloads_folder() -> Path:
    """Where downloaded archives are."""
    return data_folder() / "downloads"


@contextmanager
def obtain(source: str | None) -> Iterator[Path]:
    """The folder or archive that ``source`` names, on this disk.

    Parameters
    ----------
    source : a path, a ``file://``, ``http://`` or ``https://`` URL; None is the official archive,
        whose MD5 is then demanded. A mirror's archive may be packed otherwise, so it is judged by
        its content alone: where that is refused, the download is removed, not kept as if good.

    Raises
    ------
    DataError
        The link is dead, the line is cut, the MD5 is wrong, or the URL is of another kind.
    """
    if source is None:
        yield download(OFFICIAL_URL, f"md5:{OFFICIAL_MD5}")
        return
    if "://" not in source:
        yield Path(source).expanduser()
        return
    parts = urlsplit(source)
    if parts.scheme == "file":
        yield Path(url2pathname(parts.path))
    elif parts.scheme in {"http", "https"}:
        path = download(source, None)
        try:
            yield path
        except DataError as error:
            path.unlink(missing_ok=True)
            raise DataError(str(error).replace(str(path), source)) from None
    else:
        raise DataError(f"{source}: valid URLs begin with http://, https:// or file://")


def download(url: str, known_hash: str | None) -> Path:
    """Download ``url`` into :func:`downloads_folder`, unless it is there; go on where it was cut.

    Until it is whole, and its hash right, the file bears another name.
    """
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")
    # without a hash, pooch names the file after the whole URL: two mirrors never mix
    name = Path(urlsplit(url).path).name if known_hash else pooch.utils.unique_file_name(url)
    part = downloads_folder() / f"{name}.part"
    try:
        path = pooch.retrieve(
            url, known_hash, fname=name, path=downloads_folder(), downloader=_Resuming(part)
        )
    except requests.RequestException as error:
        if not _size(part):
            part.unlink(missing_ok=True)
        kept = f" after {_size(part):,} bytes, the next fetch goes on there" if _size(part) else ""
        raise DataError(f"{url}: {_reason(error)}{kept}; {OTHER_WAY}") from None
    except ValueError as error:  # pooch's word for a wrong hash; it has removed the file
        message = str(error).split(". ", 1)[0]
        raise DataError(f"{url}: wrong file, {message}; {OTHER_WAY}") from None
    return Path(path)


class _Resuming:
    """A pooch downloader that fills ``part``, beginning where an earlier one was cut."""

    def __init__(self, part: Path) -> None:
        self.part = part

    def __call__(self, url: str, output_file: str, _caller: Any) -> None:
        import requests

        for left in reversed(range(TRIES)):
            before = _size(self.part)
            try:
                self._continue(url, before)
                break
            except requests.HTTPError as error:
                if _status(error) != 416 or not before:
                    raise
                self.part.unlink()  # nothing on the server beyond what we have: begin again
            except requests.RequestException:
                if not left or _size(self.part) <= before:
                    raise
        self.part.replace(output_file)

    def _continue(self, url: str, have: int) -> None:
        import pooch

        from labcnn.data.progress import progress_bar

        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        with self.part.open("ab") as file, progress_bar("download", "B", total=1) as progress:

            def on_response(response: Any, **_: Any) -> None:
                if response.status_code == 200:  # the whole file: the server knows no ranges
                    file.truncate(0)
                elif not response.ok:
                    response.close()  # pooch would leave the connection open

            pooch.HTTPDownloader(
                progressbar=progress,  # sets the real total
                headers=headers,
                chunk_size=CHUNK,
                timeout=TIMEOUT,
                hooks={"response": on_response},
            )(url, file, None)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _status(error: Any) -> int | None:
    return error.response.status_code if error.response is not None else None


def _reason(error: Exception) -> str:
    import requests

    if isinstance(error, requests.HTTPError):
        return f"the server answers HTTP {_status(error)}"
    if isinstance(error, requests.Timeout):
        return f"no answer in {TIMEOUT} s"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "connection lost"
    return "no connection"
