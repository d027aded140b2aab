"""What the READMEs say is true: the table is that of the runs in the repository, links resolve."""

import itertools
import re
from pathlib import Path
from typing import Any

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


def test_the_results_are_those_of_the_runs() -> None:
    runs = load_runs(ROOT / "report" / "logs", EXPERIMENT)
    assert runs.problems == []
    baseline: Any = original()
    of_variant: Any = runs.table.groupby("variant")
    columns = [f"{split}_accuracy" for split in ("train", "val", "test")]
    mean, spread = 100 * of_variant[columns].mean(), 100 * of_variant[columns].std()
    assert set(mean.index) == set(REPORT_VARIANTS)
    assert set(of_variant["seed"].apply(tuple)) == {(0, 1, 2)}
    for readme, variant in itertools.product(READMES, REPORT_VARIANTS):
        rows = dict(re.findall(r"^\| (\w+baseline\S*) \| (.+) \|$", text(readme), re.MULTILINE))
        assert list(rows) == [label(each) for each in REPORT_VARIANTS]
        train, val, test = (f"{mean.at[variant, column]:.2f}" for column in columns)
        tested = f"{test} ± {spread.at[variant, 'test_accuracy']:.2f}"
        before = f"{100 * baseline.at[variant, 'test_accuracy']:.2f}"
        assert rows[label(variant)].split(" | ") == [train, val, tested, before]

    study = load_study(ROOT / "report" / "logs", EXPERIMENT)
    found = [verdict.outcome for verdict in judge_claims(study)]
    counts = [found.count(outcome) for outcome in Outcome]
    english = r"confirms (\d+), contradicts (\d+), and calls (\d+) undecided"
    chinese = r"判定 (\d+) 条成立、(\d+) 条不成立、(\d+) 条证据不足"
    for readme, pattern in zip(READMES, (english, chinese), strict=True):
        match = re.search(pattern, text(readme))
        assert match and [int(number) for number in match.groups()] == counts

    # "The learning rate never fell": lrdecay is its baseline to the bit.
    for depth, seed in itertools.product(("short", "long"), range(3)):
        folder = ROOT / "report" / "logs" / EXPERIMENT
        one, two = (
            (folder / f"{depth}_{switch}" / f"seed{seed}" / "gradients.csv").read_bytes()
            for switch in ("baseline", "lrdecay")
        )
        assert one == two


def test_links_resolve_and_both_languages_show_the_same_commands() -> None:
    """Comments are translated, commands aren't."""
    for readme in READMES:
        links = re.findall(r"\]\(([^)]+)\)", text(readme))
        assert links
        for link in links:
            assert (ROOT / link).exists(), link

    def commands(path: Path) -> list[str]:
        blocks = re.findall(r"```bash\n(.*?)```", text(path), re.DOTALL)
        lines = [line.split(" #")[0].strip() for block in blocks for line in block.splitlines()]
        return [line for line in lines if line]

    assert commands(READMES[0]) == commands(READMES[1]) != []
