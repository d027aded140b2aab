"""The notebooks as a person uses them in JupyterLab, in a browser."""

import io
import json
import os
import re
import socket
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import nbformat
import nbformat.v4 as v4
import pypdfium2
import pytest
from fake_runs import write_runs
from playwright.sync_api import (
    Browser,
    Download,
    Locator,
    Page,
    expect,
    sync_playwright,
)
from report_notebook import META, notebook
from waiting import wait_for

from labcnn.files import project_root
from labcnn.runs import load_runs

pytestmark = pytest.mark.system

NOTEBOOKS = project_root() / "notebooks"

#: No first-run pages, and nothing that looks for a network.
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
#: For each thing that is waited for; a busy machine takes several times what an idle one does.
SECONDS = 120
SMALL = {"variant": "short_norm", "dataset": "shapes", "threads": 1}
#: Epochs of a second or more, and of a few steps.
LONG = {**SMALL, "epochs": 5, "width": 16}
SHORT = {**SMALL, "epochs": 1, "width": 4, "fraction": 0.04, "first_size": 16, "last_size": 16}
#: The notebooks that train no run; by their names, values that make them small.
OTHERS = sorted({p.name for p in NOTEBOOKS.glob("*.ipynb")} - {"train.ipynb"})
VALUES = {"explore.ipynb": {"fraction": 0.04, "epochs": 1, "width": 4, "batch_size": 64}}
#: Opens a notebook by its file's name.
Show = Callable[[str], "Notebook"]
READ, TRAIN = "request = read_request()", "result = train(request, data, watch(request))"
OWN = """from labcnn import Variant, register
register("short_gelu", Variant("short", norm=True, activation="gelu"))"""
COMPARE = """from labreport.compare import compare
compare("short_norm", "short_gelu")"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What JupyterLab shows."""
    return tmp_path_factory.mktemp("lab")


@pytest.fixture(scope="module")
def lab(folder: Path) -> Iterator[str]:
    """The address of a JupyterLab in the folder; results go into its ``logs``."""
    command = [
        sys.executable, "-m", "jupyter", "lab", "--no-browser", "--ip=127.0.0.1",
        "--IdentityProvider.token=secret", f"--ServerApp.root_dir={folder}", "--allow-root",
    ]  # fmt: skip
    with serve(command, "/api?token=secret", folder) as address:
        yield address


@pytest.fixture(scope="module")
def browser(program: Callable[[str], str]) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program("chromium"), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def show(lab: str, browser: Browser, folder: Path) -> Iterator[Callable[[str], "Notebook"]]:
    """A function that opens a notebook of the folder, once; it stays open for all tests.

    In a window so high that no cell is out of sight: JupyterLab keeps only those it shows.
    """
    context = browser.new_context(viewport={"width": 1400, "height": 8000})
    context.set_default_timeout(1000 * SECONDS)
    expect.set_options(timeout=1000 * SECONDS)
    downloads: list[Download] = []

    def watch(page: Page) -> None:
        page.on("download", lambda download: downloads.append(download))

    context.on("page", watch)

    @cache
    def show(name: str) -> Notebook:
        return Notebook(lab, context.new_page(), folder / name, downloads)

    yield show
    context.close()


@contextmanager
def serve(command: list[str], page: str, folder: Path) -> Iterator[str]:
    """A server of web pages as long as the block; ``--port`` is added. Gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    environment = {**os.environ, "LABCNN_LOGS": str(folder / "logs")}
    with (folder / "server.log").open("a", encoding="utf-8") as log:
        server = subprocess.Popen(
            [*command, f"--port={address.rpartition(':')[2]}"],
            cwd=folder, stdout=log, stderr=subprocess.STDOUT, env=environment,
        )  # fmt: skip
    try:
        wait_for("the server answers", lambda: answers(address + page), SECONDS)
        yield address
    finally:
        server.terminate()
        server.wait(SECONDS)


def answers(address: str) -> bool:
    try:
        urllib.request.urlopen(address).close()
    except OSError:
        return False
    return True


class Notebook:
    """A notebook that is open in JupyterLab."""

    def __init__(self, lab: str, page: Page, file: Path, downloads: list[Download]) -> None:
        self.file, self.page, self.downloads = file, page, downloads
        # In a workspace of its own, or JupyterLab shows what the page before it has open.
        workspace = f"{lab}/lab/workspaces/{len(page.context.pages)}"
        self.page.goto(f"{workspace}/tree/{file.name}?token=secret&reset")
        self.wait_until_idle()

    def wait_until_idle(self) -> None:
        """Wait for the kernel: before it is idle, it drops what it is sent (jupyterlab #8490)."""
        expect(self.page.get_by_text(re.compile(r"\| Idle"))).to_be_visible()

    def choose(self, menu: str, entry: str) -> None:
        self.page.get_by_role("menuitem", name=menu, exact=True).click()
        self.page.get_by_role("menuitem", name=entry, exact=True).click()

    def cell(self, source: str) -> Locator:
        """The code cell that has this line."""
        shown = self.page.locator(".jp-InputArea", has_text=source)
        return self.page.locator(".jp-CodeCell", has=shown)

    def select(self, source: str) -> None:
        self.cell(source).locator(".jp-InputPrompt").click()

    def run(self, source: str) -> str:
        """Run one cell; what it puts out."""
        self.select(source)
        before = self.cell(source).locator(".jp-InputPrompt").inner_text()
        self.page.keyboard.press("Control+Enter")
        return self.result(source, before)

    def result(self, source: str, before: str = "[ ]:") -> str:
        """What a cell puts out, once it has run: its number isn't ``before`` any more."""
        done = re.compile(rf"^(?!{re.escape(before)}$)\[\d+\]:$")
        expect(self.cell(source).locator(".jp-InputPrompt")).to_have_text(done)
        self.wait_until_idle()
        return "\n".join(self.cell(source).locator(".jp-OutputArea-output").all_inner_texts())

    def write(self, source: str, new: str) -> None:
        """Replace a cell's text, as a person does."""
        self.cell(source).locator(".cm-content").click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(new)
        self.page.keyboard.press("Escape")

    def add(self, source: str, new: str) -> None:
        """Insert a code cell below another."""
        self.select(source)
        self.page.keyboard.press("b")
        self.page.keyboard.press("Enter")
        self.page.keyboard.insert_text(new)
        self.page.keyboard.press("Escape")

    def save(self) -> list[Any]:
        """The outputs of the saved notebook."""
        self.page.keyboard.press("Control+s")
        changed = self.page.locator(".lm-TabBar-tab.jp-mod-dirty")
        expect(changed).to_have_count(0)
        cells = nbformat.read(self.file, as_version=4).cells
        return [output for cell in cells for output in cell.get("outputs", [])]

    def export(self, kind: str) -> bytes:
        """The file that comes of the menu's entry, in whose name it is."""
        self.page.bring_to_front()  # the download's own window closes menus
        self.page.get_by_role("menuitem", name="File", exact=True).click()
        self.page.locator(".lm-Menu-item", has_text="Save and Export Notebook As").hover()
        entry = self.page.get_by_role("menuitem", name=f"Report_{kind}", exact=True)
        expect(entry).to_be_visible()
        shown = self.page.get_by_role("menuitem", name=re.compile("^report", re.I))
        names = sorted(name.strip() for name in shown.all_inner_texts())
        assert names == ["Report_docx", "Report_html", "Report_pdf"]
        entry.click()
        wait_for(f"{kind} comes", self._has_download, SECONDS, pause=0)
        download = self.downloads.pop()
        assert download.suggested_filename == f"{self.file.stem}.{kind}"
        return Path(download.path()).read_bytes()

    def _has_download(self) -> bool:
        self.page.wait_for_timeout(100)  # it tells of one while it waits
        return bool(self.downloads)


def write_notebook(name: str, to: Path, **values: Any) -> Path:
    """A notebook of the project, some values of its parameters' cell changed."""
    made = nbformat.read(NOTEBOOKS / name, as_version=4)
    (cell,) = [c for c in made.cells if "parameters" in c.metadata.get("tags", [])]
    for parameter, value in values.items():
        line = re.compile(rf"^{parameter} = [^#\n]*?(?=  #|$)", re.M)
        (old,) = line.findall(cell.source)
        cell.source = cell.source.replace(old, f"{parameter} = {value!r}", 1)
    nbformat.write(made, to)
    return to


def require_clean(outputs: list[Any]) -> None:
    """No error, and no warning: of a letter that a figure's font lacks, for example."""
    assert [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"] == []


def watched_steps(board: str) -> list[int]:
    """The epochs of the validation loss that TensorBoard shows; none if it knows no run yet."""
    with urllib.request.urlopen(f"{board}/data/plugin/scalars/tags") as answer:
        runs = list(json.load(answer))
    if not runs:
        return []
    query = urlencode({"run": runs[0], "tag": "loss/val"})
    with urllib.request.urlopen(f"{board}/data/plugin/scalars/scalars?{query}") as answer:
        return [step for _, step, _ in json.load(answer)]


@pytest.fixture(scope="module")
def failing(show: Show, folder: Path) -> Notebook:
    cells = [v4.new_code_cell("1 / 0")]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    nbformat.write(v4.new_notebook(cells=cells, metadata=metadata), folder / "failing.ipynb")
    return show("failing.ipynb")


def test_a_notebook_that_was_never_run_says_so_in_its_export(failing: Notebook) -> None:
    assert "尚未运行" in failing.export("html").decode()


def test_a_failed_notebook_says_so_in_its_export(failing: Notebook) -> None:
    assert "ZeroDivisionError" in failing.run("1 / 0")
    assert "运行出错：ZeroDivisionError: division by zero" in failing.export("html").decode()


@pytest.fixture(scope="module")
def report(show: Show, folder: Path) -> Notebook:
    made = notebook()
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(made, folder / "报告 1.ipynb")
    return show("报告 1.ipynb")


def read_html(content: bytes) -> str:
    return content.decode()


def read_pdf(content: bytes) -> str:
    with pypdfium2.PdfDocument(content) as pdf:
        return str(pdf[0].get_textpage().get_text_range())


def read_docx(content: bytes) -> str:
    with zipfile.ZipFile(io.BytesIO(content)) as package:
        return package.read("word/document.xml").decode()


@pytest.mark.parametrize(
    ("kind", "read"), [("docx", read_docx), ("pdf", read_pdf), ("html", read_html)]
)
def test_save_and_export_as(report: Notebook, kind: str, read: Callable[[bytes], str]) -> None:
    """The menu has the report's formats once each, under names that its server answers to."""
    assert META["title"] in read(report.export(kind))


@pytest.fixture(scope="module")
def train(show: Show, folder: Path) -> Notebook:
    """A training that takes some seconds; the tests follow it from its beginning to its end."""
    return show(write_notebook("train.ipynb", folder / "train.ipynb", **LONG).name)


@pytest.fixture(scope="module")
def board(folder: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "tensorboard.main", "--logdir=logs", "--reload_interval=1"]
    with serve(command, "/data/plugin/scalars/tags", folder) as address:
        yield address


def test_a_run_is_watched_and_stopped(train: Notebook, folder: Path) -> None:
    outputs = train.cell(TRAIN).locator(".jp-OutputArea-output")
    picture = train.cell(TRAIN).locator("img")
    train.choose("Run", "Run All Cells")

    def wait_for_bar(epochs: str) -> None:
        bar = re.compile(rf"第 {epochs}/5 轮.*: +[1-9]\d?%\|[^|]+\| \d+/\d+ \[.*步/s\]")
        expect(outputs.filter(has_text=bar)).to_have_count(1)

    wait_for_bar("1")
    expect(picture).to_have_count(0)
    wait_for_bar("[23]")
    expect(picture).to_have_count(1)
    first = picture.get_attribute("src")
    expect(picture).not_to_have_attribute("src", str(first))
    wait_for_bar("[2-5]")
    train.page.get_by_role("button", name="Interrupt the kernel").click()
    *lines, last = train.result(TRAIN).splitlines()
    stopped = re.fullmatch(
        r"Interrupted: stopped in epoch ([3-5]) of 5; run this again to go on from the last "
        "checkpoint",
        last,
    )
    assert stopped and "Traceback" not in "".join(lines) and "步/s" not in "".join(lines)
    assert picture.count() == 1
    (history,) = folder.glob("logs/*/short_norm/seed0/history.csv")
    assert len(history.read_text(encoding="utf-8").splitlines()) == int(stopped[1])


def test_tensorboard_shows_the_epochs_of_a_stopped_run(board: str, folder: Path) -> None:
    (history,) = folder.glob("logs/*/short_norm/seed0/history.csv")
    before = list(range(1, len(history.read_text(encoding="utf-8").splitlines())))
    assert before
    wait_for("it shows the epochs", lambda: watched_steps(board) == before, SECONDS)


def test_a_stopped_run_goes_on(train: Notebook, board: str) -> None:
    train.select(TRAIN)
    number = train.cell(TRAIN).locator(".jp-InputPrompt").inner_text()
    train.choose("Run", "Run Selected Cell and All Below")
    lines = train.result(TRAIN, before=number).splitlines()
    head = next(k for k, line in enumerate(lines) if line.startswith("轮\t训练损失/准确率"))
    assert lines[head - 1].startswith("从检查点继续：已完成")
    assert [line.split()[0] for line in lines[head + 1 :]] == ["1", "2", "3", "4", "5"]
    assert train.cell(TRAIN).locator("img").count() == 1
    wait_for("all epochs once", lambda: watched_steps(board) == [1, 2, 3, 4, 5], SECONDS)


def test_a_run_that_went_on_ends_as_any_other(train: Notebook, folder: Path) -> None:
    assert "正常：共 5 轮" in train.result("tabulate_result(request)")
    train.result("model.classify")
    saved = train.save()
    require_clean(saved)
    assert train.file.stat().st_size < 1_000_000
    assert sum("image/png" in output.get("data", {}) for output in saved) == 5
    (row,) = load_runs(folder / "logs").table.itertuples()
    assert (row.variant, row.epochs_run) == ("short_norm", 5)


@pytest.fixture(scope="module")
def own(show: Show, folder: Path) -> Notebook:
    """A notebook whose reader doesn't run its cells from the first to the last."""
    return show(write_notebook("train.ipynb", folder / "own.ipynb", **SHORT).name)


def test_a_cell_whose_turn_has_not_come_says_so(own: Notebook) -> None:
    assert own.run(TRAIN) == (
        f"RunError: request isn't there yet: first run the cell with `{READ}`, and those above it "
        "(Run > Run All Above Selected Cell)"
    )
    own.choose("Run", "Run All Cells")
    assert "short_norm" in own.result(TRAIN, "[1]:")
    own.result("model.classify")


def test_a_variant_changed_after_its_request_was_read_is_told(own: Notebook) -> None:
    parameters = own.cell("# parameters").locator(".cm-content").inner_text()
    own.write("# parameters", parameters.replace("'short_norm'", "'short_gelu'"))
    own.add("# parameters", OWN)
    own.run("# parameters")
    own.run("Variant(")
    assert own.run(TRAIN) == (
        "RunError: variant is 'short_gelu' by now, this request has 'short_norm': run the cell "
        f"with `{READ}` again, and those below it"
    )


def test_an_own_variant_is_trained_and_compared(own: Notebook) -> None:
    own.add("model.classify", COMPARE)
    own.choose("Run", "Run All Cells")
    shown = own.result("compare(")
    outputs = own.cell("compare(").locator(".jp-OutputArea-output")
    assert outputs.locator("table, img").count() == 2
    assert shown.split()[:2] == ["模型", "种子数"] and "short_gelu" in shown
    assert "short_gelu" in own.result(TRAIN)
    require_clean(own.save())


@pytest.mark.parametrize("name", OTHERS)
def test_run_all(name: str, show: Show, folder: Path) -> None:
    few = ["short_baseline", "short_norm"]
    write_runs(folder / "fakes", few, images=300, parameters={"epochs": 3})
    values = VALUES.get(name, {"logs": str(folder / "fakes")})
    opened = show(write_notebook(name, folder / name, **values).name)
    last = [c for c in nbformat.read(opened.file, 4).cells if c.cell_type == "code"][-1]
    opened.choose("Run", "Run All Cells")
    opened.result(last.source.splitlines()[-1])
    saved = opened.save()
    require_clean(saved)
    assert sum("image/svg+xml" in str(output.get("data", {})) for output in saved) > 3
