import base64
import io
import re
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import nbformat.v4 as v4
import pytest
from fontTools.ttLib import TTFont
from report_notebook import HOSTILE, META, code, export, notebook, parse_html, text

from labreport import style

SVG = "{http://www.w3.org/2000/svg}"


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
        assert element.tag not in {"script", "iframe", "object", "embed", "base", "link"}
        for name, value in element.attrib.items():
            assert not str(name).startswith("on"), name
            if name in {"src", "srcset", "data", "poster", "action"}:
                assert element.tag == "img"
                assert value.startswith("data:image/")
            if name == "href":
                assert element.tag == "a" or re.match(r"#|data:image/", value)
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
    assert figure.find(f".//{SVG}svg").get("aria-label") == "学习曲线 L"
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
    faces = re.findall(r"font-weight: (\d+); src: url\(\"data:font/woff2;base64,([^\"]+)", source)
    fonts = {weight: TTFont(io.BytesIO(base64.b64decode(data))) for weight, data in faces}
    covered, bold = (set(fonts[weight].getBestCmap()) for weight in ("400", "700"))
    assert {ord(c) for c in "实验要求成立网络目录消融"} <= bold
    assert ord("换") not in bold
    chinese = {c for c in text(page.find("body")) if "\u3000" <= c <= "\uffef"}
    assert "课程"[0] not in chinese  # its line is empty, so left out
    assert {"姓", "目", "验"} <= chinese
    assert {c for c in chinese if ord(c) not in covered} == set()
    assert len(covered) < 400


def drawing(change: Callable[[str], str] = str) -> Any:
    """The page of a figure with words for the pointer; its SVG file is changed before."""
    with mpl.rc_context():
        style.use()
        figure, ((axes, _),) = style.new_figure(1, 2)
        style.set_hover(axes.scatter([1, 2], [3, 4]), ["甲：3", "乙 <4>"])
        (line,) = axes.plot([1, 2, 3], [3, 2, 1], color="#004488")
        style.set_hover(line, "整条线")
        style.set_hover(axes.bar([1], [2]).patches[0], "2 %")
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    outputs = [code("", {"image/svg+xml": change(file.getvalue())}) for _ in range(2)]
    return parse_html(export("html", v4.new_notebook(cells=outputs)))


def test_the_pointer_is_told_values_and_figures_follow_the_theme() -> None:
    page = drawing()
    first, second = page.iter(f"{SVG}svg")
    for shown in (first, second):
        titles = {e: e.find(f"{SVG}title") for e in shown.iter()}
        words = [(e.tag.removeprefix(SVG), text(t)) for e, t in titles.items() if t is not None]
        assert words == [("use", "甲：3"), ("use", "乙 <4>"), ("g", "2 %"), ("g", "整条线")]
    ids = [e.get("id") for e in page.iter() if e.get("id")]
    assert len(ids) == len(set(ids))
    targets = {e.get("href")[1:] for e in page.iter(f"{SVG}use")}
    assert targets <= set(ids)
    styles = "".join(text(element) for element in page.iter("style"))
    assert "--c000000: #e3e6ea; --c004488: #" in styles  # ink, and a blue that is seen in the dark
    assert "#ffffff" not in {e.get("style") for e in first.iter(f"{SVG}path")}  # no white ground


@pytest.mark.parametrize(
    "harm",
    [
        "<script>alert(1)</script>",
        "<foreignObject><iframe/></foreignObject>",
        '<use href="http://evil.example/x#a"/>',
        '<path style="fill: url(http://evil.example/x)"/>',
        "<style>body { display: none }</style>",
        '<a href="javascript:alert(1)"><path/></a>',
    ],
)
def test_a_drawing_with_anything_else_stays_a_picture(harm: str) -> None:
    page = drawing(lambda source: source.replace("</svg>", f"{harm}</svg>"))
    assert not list(page.iter(f"{SVG}svg"))
    assert [img.get("src")[:19] for img in page.iter("img")] == ["data:image/svg+xml;"] * 2


def test_what_runs_on_events_is_left_out_of_a_drawing() -> None:
    page = drawing(lambda source: source.replace("<path ", '<path onclick="alert(1)" ', 1))
    assert list(page.iter(f"{SVG}svg"))
    assert not [e for e in page.iter() if e.get("onclick")]
