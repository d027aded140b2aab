"""train.ipynb as a person uses it: opened in JupyterLab in a browser, Run All Cells."""

import json
import re
import socket
import subprocess
import sys
import time
import urllib.request

import nbformat
import pytest
from playwright.sync_api import expect, sync_playwright

from labcnn.paths import project_root
from labcnn.runs import load_runs

#: No first-run pages, and nothing that looks for a network.
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
CHANGED = {
    'dataset = "auto"': 'dataset = "shapes"',
    "fraction = 1.0": "fraction = 0.04",
    "epochs = None": "epochs = 2",
    "width = None": "width = 4",
    "threads = None": "threads = 1",
}


@pytest.fixture
def lab(tmp_path):
    """The address of a JupyterLab in a folder with train.ipynb, its values changed to be small."""
    notebook = nbformat.read(project_root() / "notebooks" / "train.ipynb", as_version=4)
    (cell,) = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    for old, new in CHANGED.items():
        assert old in cell.source
        cell.source = cell.source.replace(old, new)
    nbformat.write(notebook, tmp_path / "train.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "jupyter", "lab", "--no-browser", "--ip=127.0.0.1", f"--port={port}",
        "--IdentityProvider.token=secret", f"--ServerApp.root_dir={tmp_path}", "--allow-root",
    ]  # fmt: skip
    with (tmp_path / "lab.log").open("w", encoding="utf-8") as log:
        server = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=subprocess.STDOUT)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"{address}/api?token=secret").close()
                break
            except OSError:
                time.sleep(0.5)
        yield address
    finally:
        server.terminate()
        server.wait(20)


def test_run_all_in_jupyterlab(lab, logs, tmp_path, program):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program("chromium"), args=FLAGS)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(60_000)
        page.goto(f"{lab}/lab/tree/train.ipynb?token=secret&reset")
        # A kernel that isn't idle yet drops what Run All sends it (jupyterlab #8490).
        expect(page.get_by_text(re.compile(r"\| Idle"))).to_be_visible(timeout=60_000)
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        expect(page.locator(".jp-OutputArea").get_by_text("stopped by: cap")).to_be_attached(
            timeout=120_000
        )
        expect(page.get_by_text(re.compile(r"\| Idle"))).to_be_visible(timeout=60_000)

        page.keyboard.press("Control+s")
        saved = tmp_path / "train.ipynb"
        for _ in range(60):
            if "stopped by: cap" in saved.read_text(encoding="utf-8"):
                break
            time.sleep(0.5)
        browser.close()
    (row,) = load_runs(logs).table.itertuples()
    assert (row.variant, row.epochs_run) == ("short_all", 2)
    outputs = [c.get("outputs", []) for c in nbformat.read(saved, as_version=4).cells]
    assert "stopped by: cap" in json.dumps(outputs)
    assert "error" not in {output["output_type"] for cell in outputs for output in cell}
