"""What the READMEs say is true: the table is that of the runs in the repository, links resolve."""

import itertools
import re
from pathlib import Path
from typing import Any

import pytest

from labcnn.files import project_root
from labcnn.runs import load_runs
from labcnn.variants import REPORT_VARIANTS, label
from labreport.study import load_study, original
from labreport.verdicts import Outcome, judge_claims

ROOT = project_root()
READMES = [ROOT / "README.md", ROOT / "README.zh-CN.md"]
EXPERIMENT = "tiny-imagenet-200-10pct-5ep-adamw"


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.name)
def test_the_table_of_results_is_that_of_the_runs(readme: Path) -> None:
    runs = load_runs(ROOT / "report" / "logs", EXPERIMENT)
    assert runs.problems == []
    baseline: Any = original()
    of_variant: Any = runs.table.groupby("variant")
    columns = [f"{split}_accuracy" for split in ("train", "val", "test")]
    mean, spread = 100 * of_variant[columns].mean(), 100 * of_variant[columns].std()
    assert set(mean.index) == set(REPORT_VARIANTS)
    assert set(of_variant["seed"].apply(tuple)) == {(0, 1, 2)}
    rows = dict(re.findall(r"^\| (\w+baseline\S*) \| (.+) \|$", text(readme), re.MULTILINE))
    assert list(rows) == [label(variant) for variant in REPORT_VARIANTS]
    for variant in REPORT_VARIANTS:
        train, val, test = (f"{mean.at[variant, column]:.2f}" for column in columns)
        tested = f"{test} ± {spread.at[variant, 'test_accuracy']:.2f}"
        before = f"{100 * baseline.at[variant, 'test_accuracy']:.2f}"
        assert rows[label(variant)].split(" | ") == [train, val, tested, before]


def test_the_count_of_verdicts_is_that_of_the_report() -> None:
    study = load_study(ROOT / "report" / "logs", EXPERIMENT)
    found = [verdict.outcome for verdict in judge_claims(study)]
    counts = [found.count(outcome) for outcome in Outcome]
    english = r"confirms (\d+), contradicts (\d+), and calls (\d+) undecided"
    chinese = r"判定 (\d+) 条成立、(\d+) 条不成立、(\d+) 条证据不足"
    for readme, pattern in zip(READMES, (english, chinese), strict=True):
        match = re.search(pattern, text(readme))
        assert match and [int(number) for number in match.groups()] == counts


def test_learning_rate_never_fell_so_lrdecay_is_its_baseline_to_the_bit() -> None:
    for depth, seed in itertools.product(("short", "long"), range(3)):
        runs = ROOT / "report" / "logs" / EXPERIMENT
        one, two = (
            (runs / f"{depth}_{switch}" / f"seed{seed}" / "gradients.csv").read_bytes()
            for switch in ("baseline", "lrdecay")
        )
        assert one == two


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.name)
def test_links_resolve(readme: Path) -> None:
    links = re.findall(r"\]\(([^)]+)\)", text(readme))
    assert links
    for link in links:
        assert (ROOT / link).exists(), link


def test_both_languages_show_the_same_commands() -> None:
    """Comments are translated, commands aren't."""

    def commands(path: Path) -> list[str]:
        blocks = re.findall(r"```bash\n(.*?)```", text(path), re.DOTALL)
        lines = [line.split(" #")[0].strip() for block in blocks for line in block.splitlines()]
        return [line for line in lines if line]

    assert commands(READMES[0]) == commands(READMES[1]) != []
