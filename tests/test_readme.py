"""What the READMEs say is true: the table is that of the runs in the repository, links resolve."""

import itertools
import re
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from labcnn.cli import app
from labcnn.files import project_root
from labcnn.runs import load_runs
from labcnn.variants import REPORT_VARIANTS, label
from labreport.costs import training_flops
from labreport.formats import percent
from labreport.study import load_study, original
from labreport.verdicts import Outcome, judge_claims

ROOT = project_root()
READMES = [ROOT / "README.md", ROOT / "README.zh-CN.md"]
PAGES = [
    Path(folder, f"{name}{language}.md")
    for language in ("", ".zh-CN")
    for folder, name in (
        (".", "README"),
        ("docs", "tutorial"),
        ("docs", "how-to"),
        ("docs", "reading"),
        ("docs", "troubleshooting"),
    )
]
LOGS, EXPERIMENT = ROOT / "report" / "logs", "tiny-imagenet-200"


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_the_results_are_those_of_the_runs() -> None:
    runs = load_runs(LOGS, EXPERIMENT)
    assert runs.problems == []
    baseline: Any = original()
    of_variant: Any = runs.table.groupby("variant")
    columns = [f"{split}_accuracy" for split in ("train", "val", "test")]
    mean, spread = 100 * of_variant[columns].mean(), 100 * of_variant[columns].std()
    assert set(mean.index) == set(REPORT_VARIANTS)
    assert set(of_variant["seed"].apply(tuple)) == {(0, 1, 2, 3)}
    for readme, variant in itertools.product(READMES, REPORT_VARIANTS):
        rows = dict(re.findall(r"^\| (\w+baseline\S*) \| (.+) \|$", text(readme), re.MULTILINE))
        assert list(rows) == [label(each) for each in REPORT_VARIANTS]
        train, val, test = (percent(mean.at[variant, column] / 100) for column in columns)
        tested = f"{test} ± {spread.at[variant, 'test_accuracy']:.2f}"
        before = f"{100 * baseline.at[variant, 'test_accuracy']:.2f}"
        assert rows[label(variant)].split(" | ") == [train, val, tested, before]


def test_the_readme_sums_up_as_the_report_does() -> None:
    study = load_study(LOGS, EXPERIMENT)
    found = [verdict.outcome for verdict in judge_claims(study)]
    decided = (Outcome.HOLDS, Outcome.FAILS, Outcome.UNDECIDED)
    counts = [found.count(outcome) for outcome in decided]
    assert sum(counts) == len(found)
    compute = sum(len(study.runs(v)) * training_flops(study, v) for v in study.present)
    english = r"confirm (\d+), contradict (\d+) and leave (\d+) undecided.* are (\d+) PFLOP"
    chinese = r"判定 (\d+) 条成立、(\d+) 条不成立、(\d+) 条证据不足.*共计 (\d+) PFLOP"
    for readme, pattern in zip(READMES, (english, chinese), strict=True):
        match = re.search(pattern, text(readme), re.DOTALL)
        assert match and [int(each) for each in match.groups()] == [*counts, round(compute / 1e15)]

    # "equals its baseline to the bit"
    for seed in range(4):
        one, two = (
            (LOGS / EXPERIMENT / variant / f"seed{seed}" / "gradients.csv").read_bytes()
            for variant in ("long_baseline", "long_lrdecay")
        )
        assert one == two


def test_links_resolve(subtests: pytest.Subtests) -> None:
    for path in PAGES:
        with subtests.test(str(path)):
            links = re.findall(r"\]\(([^)]+)\)", text(ROOT / path))
            assert links
            for link in links:
                name, _, heading = link.partition("#")
                page = (ROOT / path).parent / name if name else ROOT / path
                assert page.exists(), link
                assert not heading or heading in anchors(page), link


def anchors(path: Path) -> list[str]:
    """The names that a page's headings have in links."""
    headings = re.findall(r"^#+ (.*)", text(path), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", each).replace(" ", "-").lower() for each in headings]


def test_lines_are_short(subtests: pytest.Subtests) -> None:
    """Except tables and code. A Chinese letter is two columns wide."""
    for path in PAGES:
        with subtests.test(str(path)):
            prose = re.sub(r"^ *```.*?^ *```", "", text(ROOT / path), flags=re.S | re.M)
            lines = [line for line in prose.splitlines() if not line.startswith(("|", "!["))]
            assert [line for line in lines if width(line) > 110] == []


def width(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in line)


def test_the_chinese_readme_has_chinese_tables() -> None:
    """In all columns but names and numbers, and with full-width punctuation."""
    for head in re.findall(r"^(\|.*)\n\| ---", text(READMES[1]), re.MULTILINE):
        assert all(re.search("[\u4e00-\u9fff]", cell) for cell in head.strip("| ").split("|")), head
    for path in [READMES[1], *(ROOT / page for page in PAGES if "zh-CN" in page.name)]:
        prose = re.sub(r"```.*?```|`[^`]*`|\*[^*]*\*|\]\([^)]*\)", "", text(path), flags=re.DOTALL)
        assert re.findall("[\u4e00-\u9fff][,;:?!()]|[,;:?!][\u4e00-\u9fff]", prose) == [], path


def test_both_languages_show_the_same_commands() -> None:
    """Comments are translated, commands aren't."""

    def commands(path: Path) -> list[str]:
        blocks = re.findall(r"```(?:bash|python)\n(.*?)```", text(path), re.DOTALL)
        lines = [line.split(" #")[0].strip() for block in blocks for line in block.splitlines()]
        return [line for line in lines if line]

    assert commands(READMES[0]) == commands(READMES[1]) != []
    tables = [re.findall(r"^\| `((?:make|labcnn) [^`]+)`", text(each), re.M) for each in READMES]
    assert tables[0] == tables[1]
    words = {line.split()[1] for line in tables[0] if line.startswith("labcnn")}
    listed = {word for each in READMES[:1] for word in re.findall(r"`(\w+)`", text(each))}
    group = get_command(app)
    assert isinstance(group, TyperGroup) and {*group.commands} <= words | listed


def test_what_the_readmes_name_is_there() -> None:
    """Files of the packages, and modules in the layout."""
    for readme in READMES:
        named = re.findall(
            r"`((?:lab\w+|tests|notebooks|workflow|benchmarks)/[\w./-]*)`", text(readme)
        )
        assert len(named) > 20
        assert [each for each in named if not (ROOT / each).exists()] == []
