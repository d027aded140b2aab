"""What all tests share: one thread a process, no results in the checkout, small data."""

import gc
import os
import shutil
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported, here and in children

import pytest
from small_data import small_data

from labcnn.data import shapes
from labcnn.data.splits import ImageData

with pytest.MonkeyPatch.context() as patched:
    # With it, jsonschema compiles a grammar of web addresses (1.3 s), and notebooks have none.
    patched.setitem(sys.modules, "rfc3987_syntax", None)
    import jsonschema  # type: ignore[import-untyped]  # noqa: F401


def pytest_sessionstart(session: pytest.Session) -> None:
    """Draw the demo set, once a checkout: no test is to take that long."""
    if not hasattr(session.config, "workerinput"):
        shapes.load()


def pytest_collection_finish() -> None:
    """statsmodels' Holm collects garbage each time: it needn't look through all libraries."""
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def _leave_nothing_to_look_through():
    """Nor through what earlier files' tests left: that made some take ten times as long."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def logs(tmp_path, monkeypatch):
    """Results of a test go into its own folder."""
    folder = tmp_path / "logs"
    monkeypatch.setenv("LABCNN_LOGS", str(folder))
    return folder


@pytest.fixture(name="small_data")
def few_quiet_images() -> ImageData:
    """Images whose classes a net of width 4 learns in six epochs."""
    return small_data(noise=20)


@pytest.fixture(scope="session")
def program():
    """A function that gives a program's path; without it the test is skipped, in CI it fails."""

    def find(name: str) -> str:
        path = shutil.which(name)
        if path is None:
            message = f"the program {name} isn't installed"
            if os.environ.get("LABCNN_REQUIRE_ALL"):
                pytest.fail(message)
            pytest.skip(message)
        return path

    return find
