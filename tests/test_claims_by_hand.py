"""The claims of the runs in report/logs, computed anew from the files without the package.

Tables by pandas, tests by formulas, the list of claims typed from what the original says.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from labreport.study import load_study
from labreport.verdicts import Verdict, judge_claims

LOGS = Path(__file__).parents[1] / "report" / "logs"
FILES = ("result.json", "history.csv", "gradients.csv", "predictions.npz")

SWITCHES = ("baseline", "lrdecay", "norm", "dropout", "residual", "all")
THIRTEEN = [f"{d}_{s}" for d in ("short", "long") for s in SWITCHES] + ["mid_all"]
EXPERIMENTS = sorted(
    folder.name
    for folder in LOGS.iterdir()
    if all((folder / variant / "seed0" / "result.json").exists() for variant in THIRTEEN)
)
assert EXPERIMENTS


def _both(measure: str, switch: str, sign: int) -> list[tuple[str, str, str, int]]:
    return [(measure, f"{d}_{switch}", f"{d}_baseline", sign) for d in ("short", "long")]


#: What is compared, of which two (or one) variants, and the sign that the claim says.
BY_HAND: dict[str, list[tuple[str, str, str, int]]] = {
    "depth-order": [("test", "short_all", "mid_all", 1), ("test", "mid_all", "long_all", 1)],
    "depth-underfit": [("train", "long_all", "short_all", -1)],
    "depth-gradient": [
        ("fading", "long_all", "short_all", -1),
        ("fading", "long_baseline", "short_baseline", -1),
    ],
    "lrdecay-helps": _both("test", "lrdecay", 1),
    "lrdecay-longer": _both("epochs", "lrdecay", 1),
    "norm-helps": _both("test", "norm", 1),
    "norm-faster": [
        *_both("epochs_to_reach", "norm", -1),
        *_both("seconds_to_reach", "norm", -1),
    ],
    "dropout-helps": _both("test", "dropout", 1),
    "dropout-overfit": _both("gap", "dropout", -1),
    "residual-long": [("test", "long_residual", "long_baseline", 1)],
    "residual-slower": _both("seconds_per_epoch", "residual", 1),
    "residual-short": [("test", "short_residual", "", -1)],
    "best": [("test", "short_all", v, 1) for v in THIRTEEN if v != "short_all"],
    "worst": [
        ("test", v, "short_residual", 1)
        for v in THIRTEEN
        if v not in {"short_all", "short_residual"}
    ],
    "shallow-better": [
        *(("test", f"short_{s}", f"long_{s}", 1) for s in SWITCHES),
        ("test", "short_all", "mid_all", 1),
    ],
    "no-overfit": [("gap", "short_all", "", -1)],
}


class Files:
    """The files of one experiment, read by pandas and numpy."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def seeds(self, *variants: str) -> list[int]:
        """Those whose runs learned; all, where a variant has none."""
        found = []
        for v in variants:
            seeds = {int(p.parent.name[4:]) for p in self.folder.glob(f"{v}/seed*/result.json")}
            learned = {s for s in seeds if self.result(v, s)["status"] == "ok"}
            found.append(learned or seeds)
        return sorted(set.intersection(*found))

    def on_plateau(self, variant: str, seed: int) -> bool:
        best, history = self.result(variant, seed)["best_epoch"], self.history(variant, seed)
        return bool(history["train_loss"][best - 1] > 0.98 * np.log(200))

    def result(self, variant: str, seed: int) -> dict[str, Any]:
        path = self.folder / variant / f"seed{seed}" / "result.json"
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return content

    def history(self, variant: str, seed: int) -> pd.DataFrame:
        path = self.folder / variant / f"seed{seed}" / "history.csv"
        return pd.read_csv(path, encoding="utf-8")

    def right(self, variant: str, seed: int) -> np.ndarray:
        with np.load(self.folder / variant / f"seed{seed}" / "predictions.npz") as arrays:
            right: np.ndarray = arrays["test_label"] == arrays["test_predicted"]
        return right

    def fading(self, variant: str, seed: int) -> np.ndarray:
        path = self.folder / variant / f"seed{seed}" / "gradients.csv"
        table = pd.read_csv(path, encoding="utf-8")
        stage = {
            number: np.sqrt(
                table[table["stage"] == number]
                .pivot(index="epoch", columns="layer", values="gradient_norm")
                .pow(2)
                .mean(axis=1)
            )
            for number in (1, 4)
        }
        return np.log(stage[1] / stage[4]).to_numpy()


def _effect(files: Files, measure: str, first: str, second: str) -> float:
    variants = [v for v in (first, second) if v]
    seeds = files.seeds(*variants)
    if measure == "fading":
        seeds = [s for s in seeds if not any(files.on_plateau(v, s) for v in variants)]
    values = [_of_seed(files, measure, variants, seed) for seed in seeds]
    return float(np.mean(values))


def _of_seed(files: Files, measure: str, variants: list[str], seed: int) -> float:
    if measure == "fading":
        series = [files.fading(v, seed) for v in variants]
        length = min(map(len, series))
        return float(np.mean(series[0][:length] - (series[1][:length] if series[1:] else 0)))
    if measure.endswith("to_reach"):
        histories = [files.history(v, seed) for v in variants]
        target = min(h["val_accuracy"].max() for h in histories)
        until = [h.loc[: (h["val_accuracy"] >= target).idxmax()] for h in histories]
        if measure.startswith("epochs"):
            return float(len(until[0]) - len(until[1]))
        each = [len(u) * h["seconds"].median() for u, h in zip(until, histories, strict=True)]
        return float(np.log(each[0] / each[1]))
    values = [_value(files, measure, v, seed) for v in variants]
    return values[0] - values[1] if values[1:] else values[0]


def _value(files: Files, measure: str, variant: str, seed: int) -> float:
    test = float(files.right(variant, seed).mean())
    train = float(files.result(variant, seed)["train"]["accuracy"])
    history = files.history(variant, seed)
    return {
        "test": test,
        "train": train,
        "gap": train - test,
        "epochs": float(len(history)),
        "seconds_per_epoch": float(np.log(history["seconds"].median())),
    }[measure]


def _verdicts(logs: Path, experiment: str) -> dict[str, Verdict]:
    return {v.claim.id: v for v in judge_claims(load_study(logs, experiment))}


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_effect_is_that_of_the_files(experiment: str) -> None:
    files, verdicts = Files(LOGS / experiment), _verdicts(LOGS, experiment)
    assert set(verdicts) == set(BY_HAND)
    compared = 0
    for claim, parts in BY_HAND.items():
        found = {
            (f.part.measure, f.part.first, f.part.second or ""): f
            for f in verdicts[claim].findings
            if f.part.decides
        }
        assert set(found) == {part[:3] for part in parts}
        for *key, sign in parts:
            finding = found[tuple(key)]  # type: ignore[index]
            assert finding.part.above == (sign > 0)
            if finding.estimate:
                compared += 1
                expected = _effect(files, *key)
                assert finding.estimate.effect == pytest.approx(expected, abs=1e-9), key
                assert finding.estimate.threshold == _limit(files, claim, key[1]), key
    assert compared > 30


def _limit(files: Files, claim: str, variant: str) -> float:
    """What the effect is compared with."""
    classes = files.result(variant, 0)["classes"]
    return {"no-overfit": 0.05, "residual-short": 2 / classes}.get(claim, 0.0)


def _one_sided(files: Files, claim: str, part: tuple[str, str, str, int]) -> tuple[float, float]:
    """Of one seed's accuracies: p-values for the part's direction and for the other."""
    measure, first, second, sign = part
    limit = _limit(files, claim, first)
    if measure not in {"test", "train", "gap"}:
        return 1.0, 1.0
    if claim == "no-overfit" and files.result(first, 0)["train"]["accuracy"] <= limit:
        return 1.0, 1.0  # no gap could be above the limit: nothing was tested
    if measure == "test" and second:
        table = pd.crosstab(files.right(first, 0), files.right(second, 0))
        table = table.reindex(index=[False, True], columns=[False, True], fill_value=0)
        won, lost = int(table.loc[True, False]), int(table.loc[False, True])  # type: ignore[arg-type]
        outcomes = stats.binom(won + lost, 0.5)
        more = outcomes.sf(won) + outcomes.pmf(won) / 2
        less = outcomes.cdf(won) - outcomes.pmf(won) / 2
    elif measure == "test":
        right = files.right(first, 0)
        outcomes = stats.binom(len(right), limit)
        more, less = outcomes.sf(right.sum() - 1), outcomes.cdf(right.sum())
    else:
        # Wald's variance: no covariance between the training accuracies, nor of them with the test.
        names = [n for n in (first, second) if n]
        runs = [files.result(n, 0) for n in names]
        variance = sum(
            r[s]["accuracy"] * (1 - r[s]["accuracy"]) / r[s]["count"]
            for r in runs
            for s in ("train", *(["test"] if measure == "gap" and not second else []))
        )
        if measure == "gap" and second:
            apart = np.subtract(*(files.right(n, 0).astype(float) for n in names))
            variance += np.var(apart) / len(apart)
        z = (_effect(files, measure, first, second) - limit) / np.sqrt(variance)
        more, less = stats.norm.sf(z), stats.norm.cdf(z)
    return (more, less) if sign > 0 else (less, more)


def _within(files: Files, measure: str, first: str, second: str) -> list[float]:
    """Of one seed's accuracies: the p-value for a difference of less than a point, by Wald.

    A point is no small difference where a net has less than a tenth of the test images right.
    """
    if measure not in {"test", "train", "gap"} or not second:
        return [1.0]
    if min(files.result(name, 0)["test"]["accuracy"] for name in (first, second)) < 0.1:
        return [1.0]
    room = 0.01 - abs(_effect(files, measure, first, second))
    variance = 0.0
    if measure != "test":
        runs = [files.result(n, 0)["train"] for n in (first, second)]
        variance += sum(r["accuracy"] * (1 - r["accuracy"]) / r["count"] for r in runs)
    if measure != "train":
        apart = np.subtract(*(files.right(n, 0).astype(float) for n in (first, second)))
        variance += np.var(apart) / len(apart)
    return [1.0 if room <= 0 or not variance else float(stats.norm.sf(room / variance**0.5))]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_verdicts_of_one_seed_by_hand(experiment: str, tmp_path: Path) -> None:
    for variant in THIRTEEN:
        run = tmp_path / experiment / variant / "seed0"
        run.mkdir(parents=True)
        for name in FILES:
            shutil.copy(LOGS / experiment / variant / "seed0" / name, run / name)
    files, verdicts = Files(tmp_path / experiment), _verdicts(tmp_path, experiment)
    sides = {c: [_one_sided(files, c, part) for part in parts] for c, parts in BY_HAND.items()}
    within = {c: [_within(files, *part[:3]) for part in parts] for c, parts in BY_HAND.items()}
    both = {c: [2 * min(p) for p in of_claim] for c, of_claim in sides.items()}
    both |= {c: [*both[c], 1.0] for c in ("residual-long", "residual-short")}  # of gradients
    least = {c: [min(p, *w) for p, w in zip(both[c], within[c], strict=False)] for c in BY_HAND}
    least |= {c: [*least[c], 1.0] for c in ("residual-long", "residual-short")}
    whole = {c: min(1.0, max(of_claim)) for c, of_claim in least.items()}

    def adjust(claim: str, place: int, p: float) -> float:
        """Hochberg: the least of the larger ones, each times how many are as large or larger."""
        of_claim = sorted([*least[claim][:place], p, *least[claim][place + 1 :]], reverse=True)
        q = min(min(1.0, x) * rank for rank, x in enumerate(of_claim, 1) if x >= p)
        # Holm: the smallest times 16, the next times 15, and none below the one before it.
        steps = [*sorted(w for c, w in whole.items() if c != claim and w < q), q]
        return max(min(1.0, x * (16 - place)) for place, x in enumerate(steps))

    compared = 0
    for claim, parts in BY_HAND.items():
        found = {
            (f.part.measure, f.part.first, f.part.second or ""): f for f in verdicts[claim].findings
        }
        for place, part in enumerate(parts):
            finding = found[part[:3]]
            tested = both[claim][place] < 2 and finding.tested
            if not tested:
                assert finding.outcome == "untested"
                continue
            compared += 1
            equal = adjust(claim, place, min(1.0, *within[claim][place]))
            p = adjust(claim, place, least[claim][place])
            holds, fails = sides[claim][place]
            expected = "equivalent" if equal <= 0.05 else "undecided"
            if p <= 0.05 < equal:
                expected = "holds" if holds < fails else "fails"
            assert finding.outcome == expected, (claim, part)
    assert compared > 30
