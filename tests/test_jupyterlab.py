"""The notebooks as a person uses them in JupyterLab, in a browser: run all cells, export."""

import io
import json
import os
import re
import socket
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pypdfium2
import pytest
from playwright.sync_api import Download, Page, expect, sync_playwright
from report_notebook import META, notebook
from waiting import wait_for

from labcnn.files import project_root
from labcnn.runs import load_runs

pytestmark = pytest.mark.system

#: No first-run pages, and nothing that looks for a network.
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
#: For each thing that is waited for; a busy machine takes several times what an idle one does.
SECONDS = 120
CHANGED = {
    'dataset = "auto"': 'dataset = "shapes"',
    "fraction = 1.0": "fraction = 0.04",
    "epochs = None": "epochs = 2",
    "width = None": "width = 4",
    "threads = None": "threads = 1",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What JupyterLab shows: train.ipynb, its values changed to be small, and a report."""
    folder = tmp_path_factory.mktemp("lab")
    train = nbformat.read(project_root() / "notebooks" / "train.ipynb", as_version=4)
    (cell,) = [c for c in train.cells if "parameters" in c.metadata.get("tags", [])]
    for old, new in CHANGED.items():
        assert old in cell.source
        cell.source = cell.source.replace(old, new)
    nbformat.write(train, folder / "train.ipynb")
    report = notebook()
    report.metadata["kernelspec"] = train.metadata["kernelspec"]
    nbformat.write(report, folder / "报告 1.ipynb")
    return folder


@pytest.fixture(scope="module")
def lab(folder: Path) -> Iterator[str]:
    """The address of a JupyterLab in the folder; results go into its ``logs``."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "jupyter", "lab", "--no-browser", "--ip=127.0.0.1", f"--port={port}",
        "--IdentityProvider.token=secret", f"--ServerApp.root_dir={folder}", "--allow-root",
    ]  # fmt: skip
    environment = {**os.environ, "LABCNN_LOGS": str(folder / "logs")}
    with (folder / "lab.log").open("w", encoding="utf-8") as log:
        server = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=subprocess.STDOUT, env=environment
        )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for("the server answers", lambda: answers(f"{address}/api?token=secret"), SECONDS)
        yield address
    finally:
        server.terminate()
        server.wait(20)


def answers(address: str) -> bool:
    try:
        urllib.request.urlopen(address).close()
    except OSError:
        return False
    return True


def arrived(page: Page, downloads: list[Download], saved: dict[str, bytes]) -> bool:
    """Whether there is a download that isn't saved; the page tells of it while it is waited for."""
    page.wait_for_timeout(100)
    return len(downloads) > len(saved)


def test_run_all_in_jupyterlab(lab, folder, program):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program("chromium"), args=FLAGS)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(1000 * SECONDS)
        page.goto(f"{lab}/lab/tree/train.ipynb?token=secret&reset")
        # A kernel that isn't idle yet drops what Run All sends it (jupyterlab #8490).
        expect(page.get_by_text(re.compile(r"\| Idle"))).to_be_visible(timeout=1000 * SECONDS)
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        expect(page.locator(".jp-OutputArea").get_by_text("stopped by: cap")).to_be_attached(
            timeout=1000 * SECONDS
        )
        expect(page.get_by_text(re.compile(r"\| Idle"))).to_be_visible(timeout=1000 * SECONDS)

        page.keyboard.press("Control+s")
        saved = folder / "train.ipynb"
        words = "stopped by: cap"
        wait_for("it is saved", lambda: words in saved.read_text(encoding="utf-8"), SECONDS)
        browser.close()
    (row,) = load_runs(folder / "logs").table.itertuples()
    assert (row.variant, row.epochs_run) == ("short_all", 2)
    outputs = [c.get("outputs", []) for c in nbformat.read(saved, as_version=4).cells]
    assert "stopped by: cap" in json.dumps(outputs)
    assert "error" not in {output["output_type"] for cell in outputs for output in cell}


def test_save_and_export_as(lab, program):
    """The menu has the report's formats once each, under names that its server answers to."""
    downloads: list[Download] = []

    def watch(opened: Page) -> None:
        opened.on("download", lambda download: downloads.append(download))

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program("chromium"), args=FLAGS)
        context = browser.new_context(viewport={"width": 1400, "height": 1000})
        context.on("page", watch)
        page = context.new_page()
        page.set_default_timeout(1000 * SECONDS)
        page.goto(f"{lab}/lab/tree/报告 1.ipynb?token=secret&reset")
        expect(page.get_by_text(re.compile(r"\| Idle"))).to_be_visible(timeout=1000 * SECONDS)
        saved: dict[str, bytes] = {}
        for kind in ("Html", "Pdf", "Docx"):
            page.bring_to_front()  # the download's own window closes menus
            page.get_by_role("menuitem", name="File", exact=True).click()
            page.locator(".lm-Menu-item", has_text="Save and Export Notebook As").hover()
            entry = page.get_by_role("menuitem", name=f"Report_{kind.lower()}", exact=True)
            expect(entry).to_be_visible()
            shown = page.get_by_role("menuitem", name=re.compile("^report", re.I))
            names = sorted(name.strip() for name in shown.all_inner_texts())
            assert names == ["Report_docx", "Report_html", "Report_pdf"]
            entry.click()
            wait_for(f"{kind} comes", lambda: arrived(page, downloads, saved), SECONDS, pause=0)
            download = downloads[len(saved)]
            assert download.suggested_filename == f"报告 1.{kind.lower()}"
            saved[kind] = Path(download.path()).read_bytes()
        browser.close()
    assert META["title"] in saved["Html"].decode()
    with pypdfium2.PdfDocument(saved["Pdf"]) as pdf:
        assert META["title"] in pdf[0].get_textpage().get_text_range()
    with zipfile.ZipFile(io.BytesIO(saved["Docx"])) as package:
        assert META["title"] in package.read("word/document.xml").decode()
