"""Verdicts on runs whose truth is known, and what is read of an experiment's folder."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_runs import Fake, copy_training, write_runs

from labcnn.errors import ReportError
from labcnn.runs import HISTORY
from labcnn.variants import REPORT_VARIANTS, VARIANTS
from labreport import words
from labreport.claims import CLAIMS, Part, Role
from labreport.measures import (
    MEASURES,
    Reason,
    Why,
    accuracy_interval,
    find_prior,
    left_plateau,
)
from labreport.study import load_study, original
from labreport.verdicts import Outcome, Verdict, conclude, estimate_part, judge_claims

HOLDS, FAILS, EQUIVALENT, UNDECIDED, UNTESTED = Outcome


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Verdict]:
    """Of runs with the accuracies of the original's table."""
    logs, table = tmp_path_factory.mktemp("original"), original()
    columns = ["train_accuracy", "val_accuracy", "test_accuracy"]
    fakes = [Fake(v, accuracies=tuple(table.loc[v, columns])) for v in REPORT_VARIANTS]
    tiny = {"dataset": "tiny-imagenet-200", "epochs": 12}
    write_runs(logs, fakes, images=10_000, parameters=tiny)
    return {v.claim.id: v for v in judge_claims(load_study(logs))}


def test_claims_name_what_exists() -> None:
    assert {claim.id for claim in CLAIMS} == set(words.CLAIMS)
    assert set(words.MEASURES) == set(MEASURES)
    assert set(words.ROLES) == set(Role)
    assert set(words.OUTCOMES) == set(Outcome)
    for part in (part for claim in CLAIMS for part in claim.parts):
        assert part.measure in MEASURES
        assert set(part.variants) <= set(VARIANTS)
        # One seed's difference of two variants is tested against no difference only.
        assert part.second is None or part.threshold == part.times_chance == 0
    assert tuple(original().dropna(how="all").index) == REPORT_VARIANTS


def test_verdicts_on_the_original_numbers(verdicts: dict[str, Verdict]) -> None:
    expected = {
        "depth-order": HOLDS,  # 43.02 > 36.17 > 27.62, each step far beyond chance at 10,000
        "depth-underfit": HOLDS,  # 43.18 < 82.18
        "norm-helps": UNDECIDED,  # long gains 0.52 points only
        "residual-long": UNDECIDED,  # 13.93 against 14.07
        "dropout-helps": HOLDS,  # +1.43 and +14.94
        "dropout-overfit": FAILS,  # long's gap grows from 5.39 to 13.48
        "residual-short": HOLDS,  # 0.49 %
        "shallow-better": FAILS,  # dropout and residual: long is better
        "no-overfit": FAILS,  # 82.18 against 43.02
        "lrdecay-longer": UNTESTED,  # one seed
    }
    assert {claim: verdicts[claim].outcome for claim in expected} == expected
    found = [f.estimate.effect for f in verdicts["depth-order"].findings if f.estimate]
    assert found == pytest.approx([0.4302 - 0.3617, 0.3617 - 0.2762])
    (gap,) = verdicts["no-overfit"].findings
    assert gap.estimate and gap.estimate.effect == pytest.approx(0.8218 - 0.4302, abs=1e-4)


def _verdict(tmp_path: Path, claim: str, fakes: list[Fake | str], **options: Any) -> Verdict:
    write_runs(tmp_path, fakes, **options)
    (verdict,) = judge_claims(load_study(tmp_path), tuple(c for c in CLAIMS if c.id == claim))
    return verdict


def _runs(switch: str, seeds: int = 1, **given: Any) -> list[Fake | str]:
    """Of a switch and its baseline, short and long; ``given`` is the switch's."""
    return [
        Fake(f"{depth}_{s}", seed, **(given if s == switch else {}))
        for depth in ("short", "long")
        for s in ("baseline", switch)
        for seed in range(seeds)
    ]


def test_epochs_decide_with_several_seeds_but_not_at_the_cap(tmp_path: Path) -> None:
    fakes = [
        Fake(f"{depth}_{switch}", seed, epochs_run=5 + (3 + seed % 2) * (switch == "lrdecay"))
        for depth in ("short", "long")
        for switch in ("baseline", "lrdecay")
        for seed in range(5)
    ]
    assert _verdict(tmp_path / "more", "lrdecay-longer", [*fakes]).outcome is HOLDS
    capped = [Fake(f.variant, stopped="cap") for f in fakes if f.seed == 0]
    verdict = _verdict(tmp_path / "capped", "lrdecay-longer", [*capped])
    assert (verdict.outcome, verdict.obstacles) == (UNTESTED, (Reason(Why.CAPPED),))


def test_seconds_decide_with_several_seeds_only(tmp_path: Path) -> None:
    several = _runs("residual", 3, seconds_per_epoch=3.0)
    verdict = _verdict(tmp_path / "three", "residual-slower", several, parameters={"epochs": 20})
    assert verdict.outcome is HOLDS
    ratios = [np.exp(f.estimate.effect) for f in verdict.findings if f.estimate]
    assert ratios == pytest.approx([1.5, 1.5], rel=0.05)
    one = _runs("residual", 1, seconds_per_epoch=3.0)
    verdict = _verdict(tmp_path / "one", "residual-slower", one, parameters={"epochs": 20})
    assert (verdict.outcome, verdict.obstacles) == (UNTESTED, (Reason(Why.ONE_SEED),))
    assert all(f.estimate and np.isnan(f.estimate.low) for f in verdict.findings)


def test_gradients_that_fade_or_grow(tmp_path: Path) -> None:
    for first_stage, outcome in ((0.01, HOLDS), (30.0, FAILS)):
        fakes = [
            Fake(f"{d}_{s}", seed, first_stage_gradient=first_stage if d == "long" else 1.0)
            for d in ("short", "long")
            for s in ("baseline", "all")
            for seed in range(3)
        ]
        given = {"parameters": {"epochs": 4}, "images": 200}
        found = _verdict(tmp_path / str(outcome), "depth-gradient", [*fakes], **given)
        assert found.outcome is outcome


def test_what_is_missing_leaves_a_claim_undecided_unless_the_rest_refutes_it(
    tmp_path: Path,
) -> None:
    verdict = _verdict(tmp_path / "open", "depth-order", ["short_all", "long_all"])
    assert verdict.outcome is UNTESTED
    assert verdict.obstacles == (Reason(Why.MISSING, ("mid_all",)),)
    # long_baseline is far below short_residual.
    there: list[Fake | str] = ["short_all", "short_residual", "long_baseline"]
    assert _verdict(tmp_path / "refuted", "worst", there).outcome is FAILS


def test_each_part_has_its_own_outcome_and_a_strong_one_isnt_hidden(tmp_path: Path) -> None:
    """The residual net gains much where it is long; short_residual is ranked first, not last."""
    rng = np.random.default_rng(0)

    def fakes(tests: dict[str, float]) -> list[Fake | str]:
        return [
            Fake(variant, seed, accuracies=(0.7, x := accuracy + rng.normal(0, 0.003), x))
            for variant, accuracy in tests.items()
            for seed in range(3)
        ]

    given = {"images": 10_000, "parameters": {"epochs": 2}}
    tests = {"short_all": 0.43, "mid_all": 0.36, "long_all": 0.36}
    verdict = _verdict(tmp_path / "depth", "depth-order", fakes(tests), **given)
    assert [f.outcome for f in verdict.findings] == [HOLDS, EQUIVALENT]
    assert verdict.outcome is EQUIVALENT
    assert verdict.in_part
    assert verdict.having(HOLDS) == verdict.findings[:1]
    equal = verdict.findings[1].estimate
    assert equal and -0.01 < equal.low < 0 < equal.high < 0.01

    tests = dict.fromkeys(REPORT_VARIANTS, 0.3) | {"short_residual": 0.4, "long_dropout": 0.5}
    verdict = _verdict(tmp_path / "first", "worst", fakes(tests), **given)
    assert verdict.outcome is FAILS
    assert [f.part.first for f in verdict.having(HOLDS)] == ["long_dropout"]
    assert len(verdict.having(FAILS)) == 10


def test_claims_outcome_is_that_of_its_weakest_part_unless_one_fails() -> None:
    for outcomes, expected in (
        ([HOLDS, HOLDS], HOLDS),
        ([HOLDS, UNDECIDED, FAILS, UNTESTED], FAILS),
        ([HOLDS, EQUIVALENT], EQUIVALENT),
        ([EQUIVALENT, UNTESTED], UNDECIDED),
        ([HOLDS, UNTESTED], UNDECIDED),
        ([UNTESTED, UNTESTED], UNTESTED),
    ):
        assert conclude(outcomes) is expected


def test_one_seed_borrows_the_spread_of_others_and_failed_runs_dont_count(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    fakes: list[Fake | str] = [
        Fake(variant, seed, accuracies=(0.7, x := 0.4 + rng.normal(0, 0.01), x))
        for variant in ("short_all", "mid_all", "short_norm", "short_baseline")
        for seed in range(3)
    ]
    fakes += [Fake("long_all", 0, accuracies=(0.7, 0.3, 0.3))]
    fakes += [Fake("long_norm", s, status="no_learning" if s else "ok") for s in range(3)]
    fakes += [Fake("short_residual", s, status="no_learning") for s in range(3)]
    write_runs(tmp_path, fakes, images=5000)
    study = load_study(tmp_path)
    prior = find_prior(study, "test", paired=True)
    assert "long_norm" in study.present
    assert prior and 0.5e-4 < prior.variance < 8e-4  # twice 0.01 squared: not 0.4 - 0.05
    assert prior.df <= 4  # half of what four variants with three seeds have

    borrowed = estimate_part(study, Part("test", "mid_all", "long_all"))
    assert borrowed.borrowed
    assert borrowed.estimate and borrowed.estimate.variance
    of_images = np.var(
        study.test_correct("mid_all", 0).astype(float) - study.test_correct("long_all", 0), ddof=1
    )
    assert borrowed.estimate.variance.of_images == pytest.approx(of_images / 5000)
    assert borrowed.estimate.variance.of_seeds == prior.variance
    assert borrowed.estimate.variance.df == prior.df

    always = estimate_part(study, Part("test", "short_residual", above=False, times_chance=2))
    assert always.estimate and always.estimate.variance
    assert (always.seeds, always.estimate.variance.df) == (3, 2)  # its own

    found = estimate_part(study, Part("test", "short_norm", "long_norm"))
    assert found.seeds == 1
    assert found.estimate
    difference = [study.results[v, 0].test.accuracy for v in ("short_norm", "long_norm")]
    assert found.estimate.effect == pytest.approx(difference[0] - difference[1])
    # No accuracy's interval reaches 0, though seeds near chance differ much.
    poor = [Fake(v, s, accuracies=(0.01, 0.003 + 0.003 * s, 0.003 + 0.003 * s), status="ok")
            for v in ("short_all", "mid_all", "long_all") for s in range(2)]  # fmt: skip
    write_runs(tmp_path / "poor", poor)
    for variant in ("short_all", "mid_all", "long_all"):
        accuracy, low, high = accuracy_interval(load_study(tmp_path / "poor"), variant)
        assert 0 < low < accuracy < high < 1


def test_a_plateau_is_no_fading(tmp_path: Path) -> None:
    for accuracy, reason in ((0.01, Reason(Why.PLATEAU)), (0.3, None)):
        fakes = [
            Fake(v, s, accuracies=(accuracy,) * 3)
            for v in ("short_baseline", "long_baseline")
            for s in range(2)
        ]
        tiny = {"dataset": "tiny-imagenet-200", "epochs": 3}
        write_runs(tmp_path / str(accuracy), fakes, parameters=tiny)
        study = load_study(tmp_path / str(accuracy))
        assert left_plateau(study, "long_baseline", 0) is (reason is None)
        found = estimate_part(study, Part("fading", "long_baseline", "short_baseline", above=False))
        assert found.reason == reason


def test_runs_with_a_cut_file_or_other_test_images_are_left_out_and_named(tmp_path: Path) -> None:
    whole = ["short_baseline", "mid_all"]
    runs = write_runs(tmp_path, ["short_norm", "long_norm", "long_baseline", *whole])
    arrays = runs[0].predictions()
    for name in ("test_label", "test_predicted"):
        arrays[name] = arrays[name][::-1]
    np.savez(runs[0].path / "predictions.npz", **arrays)  # type: ignore[arg-type]
    left_out = {"short_norm/seed0/predictions.npz: other labels than the other runs"}
    for folder, name, size in ((runs[1], "history.csv", 60), (runs[2], "predictions.npz", 0)):
        path = folder.path / name
        path.write_bytes(path.read_bytes()[:size])
        left_out.add(f"{folder.variant}/seed0/{name}")
    study = load_study(tmp_path)
    assert set(study.present) == set(whole)
    for problem in study.problems:
        assert str(tmp_path) not in problem
    assert len(study.problems) == len(left_out)
    assert [part for part in left_out if f"shapes/{part}" not in "\n".join(study.problems)] == []


def test_one_training_under_two_names_is_no_comparison(tmp_path: Path) -> None:
    """A learning rate that never fell: the interval of nothing would look like evidence."""
    first, second = write_runs(tmp_path, ["short_baseline", "short_lrdecay"], images=500)
    copy_training(first, second)
    slower = first.history().assign(seconds=9.0, images_per_second=1.0)
    slower.to_csv(second.path / HISTORY, index=False, encoding="utf-8")
    study = load_study(tmp_path)
    finding = estimate_part(study, Part("test", "short_lrdecay", "short_baseline"))
    assert (finding.estimate, finding.reason) == (None, Reason(Why.IDENTICAL))
    verdict = next(v for v in judge_claims(study) if v.claim.id == "lrdecay-helps")
    assert verdict.outcome is UNTESTED


def test_a_gap_that_could_not_be_too_wide_is_not_tested(tmp_path: Path) -> None:
    for accuracy, tested in ((0.04, False), (0.06, True)):
        fake = Fake("short_all", accuracies=(accuracy, 0.03, 0.03))
        verdict = _verdict(tmp_path / str(accuracy), "no-overfit", [fake], images=2000)
        assert (verdict.outcome is not UNTESTED) is tested
        out_of_reach = Reason(Why.GAP_OUT_OF_REACH, accuracy=accuracy, limit=0.05)
        assert (out_of_reach in verdict.obstacles) is not tested


def test_the_experiment_is_the_newest_or_the_named_one(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="make report") as error:
        load_study(tmp_path)
    assert "\n" not in str(error.value)
    write_runs(tmp_path, ["short_all"])
    with pytest.raises(ReportError, match=r"'shape'.*shapes"):
        load_study(tmp_path, "shape")
    cut = tmp_path / "other" / "mid_all" / "seed0" / "result.json"
    cut.parent.mkdir(parents=True)
    cut.write_text("{}", encoding="utf-8")
    assert load_study(tmp_path).experiment == "shapes"
    for hour, given in ((11, {"epochs": 3}), (12, {"protocol": "tuned"})):
        (newer,) = write_runs(tmp_path, ["short_all"], parameters=given)
        path = newer.path / "result.json"
        text = path.read_text(encoding="utf-8").replace("T10:01:00", f"T{hour}:01:00")
        path.write_text(text, encoding="utf-8")
        assert load_study(tmp_path).experiment == "shapes-3ep"  # tuned is another's last row
    for name in ("shapes", "shapes-3ep"):
        shutil.rmtree(tmp_path / name)
    assert load_study(tmp_path).experiment == "shapes-tuned"


@pytest.mark.system
def test_a_report_needs_no_torch() -> None:
    code = (
        "import sys, importlib, pkgutil, labreport as a\n"
        "names = [m.name for m in pkgutil.walk_packages(a.__path__, 'labreport.')]\n"
        "[importlib.import_module(name) for name in names]\n"
        "assert len(names) > 20, names\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
