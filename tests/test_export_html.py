import base64
import io
import re
from typing import Any

import pytest
from fontTools.ttLib import TTFont
from report_notebook import HOSTILE, META, export, notebook, parse_html, text


@pytest.fixture(scope="module")
def source() -> str:
    return export("html", notebook())


@pytest.fixture(scope="module")
def page(source: str) -> Any:
    return parse_html(source)


def test_nothing_comes_from_elsewhere(page: Any, source: str) -> None:
    for element in page.iter():
        if not isinstance(element.tag, str):
            continue
        assert element.tag not in {"script", "iframe", "object", "embed", "base", "link", "svg"}
        for name, value in element.attrib.items():
            assert not str(name).startswith("on"), name
            if name in {"src", "srcset", "data", "poster", "action"}:
                assert element.tag == "img"
                assert value.startswith("data:image/")
            if name == "href":
                assert element.tag == "a"
    styles = "".join(text(style) for style in page.iter("style"))
    assert all(u.startswith('"data:') for u in re.findall(r"url\(\s*([^)]{0,9})", styles))
    assert "@import" not in styles
    assert "default-src 'none'" in source


def test_title_block_and_language(page: Any) -> None:
    assert page.attrib["lang"] == "zh-Hans"
    assert text(page.find(".//title")) == META["title"]
    assert [text(h) for h in page.iter("h1")] == [META["title"]]
    terms = {text(div.find("dt")): text(div.find("dd")) for div in page.findall(".//header/dl/div")}
    assert terms == {"姓名": META["author"], "日期": META["date"]}
    (notice,) = [e for e in page.iter("aside") if e.get("class") == "notice"]
    assert text(notice) == META["notice"]


def test_headings_contents_and_every_link_inside_resolve(page: Any) -> None:
    assert [text(h) for h in page.iter("h2")] == ["1 实验要求", "2 实验分析"]
    assert [text(h) for h in page.iter("h3")] == ["2.1 曲线"]
    assert [(a.get("href"), text(a)) for a in page.find(".//nav").iter("a")] == [
        ("#section-1", "1 实验要求"), ("#section-2", "2 实验分析"), ("#sec-curve", "2.1 曲线"),
    ]  # fmt: skip
    ids = [e.get("id") for e in page.iter() if e.get("id")]
    assert len(ids) == len(set(ids))
    inside = [a.get("href")[1:] for a in page.iter("a") if a.get("href").startswith("#")]
    assert {"fig-curve", "tbl-results", "sec-curve"} <= set(inside) <= set(ids)


def test_figure_table_and_formula(page: Any) -> None:
    (figure,) = page.iter("figure")
    image = figure.find(".//img")
    assert image.get("alt") == "学习曲线 L"
    prefix, _, data = image.get("src").partition(",")
    assert prefix == "data:image/svg+xml;base64"
    assert b"<svg" in base64.b64decode(data)
    (table,) = page.iter("table")
    cells = [(text(td), td.get("class")) for td in table.iter("td")]
    assert cells == [
        ("Shortbaseline", None), ("31.25", "right"), ("残差网络", None), ("43.02", "right"),
    ]  # fmt: skip
    assert list(page.iter("{http://www.w3.org/1998/Math/MathML}math"))


def test_hostile_words_are_shown_as_they_are_and_code_is_not(page: Any, source: str) -> None:
    body = text(page.find(".//main"))
    for piece in HOSTILE.replace("`", "").split():
        assert piece in body
    for absent in ("secret", "never", "Figure size", "my remark"):
        assert absent not in source


def test_every_letter_is_in_the_font_that_comes_along(page: Any, source: str) -> None:
    data = re.search(r"data:font/woff2;base64,([^\"]+)", source)
    assert data
    font = TTFont(io.BytesIO(base64.b64decode(data[1])))
    covered = set(font.getBestCmap())
    chinese = {c for c in text(page.find("body")) if "\u3000" <= c <= "\uffef"}
    assert "课程"[0] not in chinese  # its line is empty, so left out
    assert {"姓", "目", "验"} <= chinese
    assert {c for c in chinese if ord(c) not in covered} == set()
    assert len(covered) < 400
