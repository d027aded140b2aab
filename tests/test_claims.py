import csv
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_runs import Fake, write_runs

from labcnn.errors import ReportError
from labcnn.runs import HISTORY, PREDICTIONS, Status
from labcnn.variants import REPORT_VARIANTS, VARIANTS
from labreport import costs, prose, tables
from labreport.claims import CLAIMS, Part
from labreport.findings import sentence
from labreport.measures import MEASURES
from labreport.study import Study, load_study, original
from labreport.verdicts import FAILS, HOLDS, UNDECIDED, Verdict, evaluate, find


def _original_runs(seeds: tuple[int, ...] = (0,)) -> list[Fake]:
    """Runs with the accuracies of the original's table."""
    table = original()
    return [
        Fake(
            v,
            seed,
            tuple(table.loc[v, ["train_accuracy", "val_accuracy", "test_accuracy"]]),
        )
        for v in REPORT_VARIANTS
        for seed in seeds
    ]


TINY = {"dataset": "tiny-imagenet-200", "epochs": 12}


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Verdict]:
    logs = tmp_path_factory.mktemp("original")
    write_runs(logs, _original_runs(), images=10_000, parameters=TINY)
    return {v.claim.id: v for v in evaluate(load_study(logs))}


def test_fifteen_claims_that_name_what_exists() -> None:
    assert len(CLAIMS) == 15 == len({claim.id for claim in CLAIMS})
    for part in (part for claim in CLAIMS for part in claim.parts):
        assert part.measure in MEASURES
        assert set(part.variants) <= set(VARIANTS)
        # One seed's difference of two variants is tested against no difference only.
        assert part.second is None or part.threshold == part.times_chance == 0


def test_original_table_is_that_of_the_thirteen() -> None:
    assert set(original().dropna(how="all").index) == set(REPORT_VARIANTS)
    assert original()["test_accuracy"]["short_all"] == pytest.approx(0.4302)


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        ("depth-order", HOLDS),  # 43.02 > 36.17 > 27.62, each step far beyond chance at 10,000
        ("depth-underfit", HOLDS),  # 43.18 < 82.18
        ("norm-helps", UNDECIDED),  # long gains 0.52 points only
        ("residual-long", UNDECIDED),  # 13.93 against 14.07
        ("dropout-helps", HOLDS),  # +1.43 and +14.94
        ("dropout-overfit", FAILS),  # long's gap grows from 5.39 to 13.48
        ("residual-short", HOLDS),  # 0.49 %
        ("shallow-better", FAILS),  # dropout and residual: long is better
        ("no-overfit", FAILS),  # 82.18 against 43.02
        ("lrdecay-longer", UNDECIDED),  # one seed
    ],
)
def test_verdicts_on_the_original_numbers(
    verdicts: dict[str, Verdict], claim: str, verdict: str
) -> None:
    assert verdicts[claim].verdict == verdict


def test_effects_are_those_of_the_table(verdicts: dict[str, Verdict]) -> None:
    found = [f.estimate.effect for f in verdicts["depth-order"].findings if f.estimate]
    assert found == pytest.approx([0.4302 - 0.3617, 0.3617 - 0.2762])
    (gap,) = verdicts["no-overfit"].findings
    assert gap.estimate
    assert gap.estimate.effect == pytest.approx(0.8218 - 0.4302, abs=1e-4)


def _verdict(tmp_path: Path, claim: str, fakes: list[Fake | str], **options: Any) -> Verdict:
    write_runs(tmp_path, fakes, **options)
    chosen = tuple(c for c in CLAIMS if c.id == claim)
    (verdict,) = evaluate(load_study(tmp_path), chosen)
    return verdict


def test_more_epochs_with_several_seeds(tmp_path: Path) -> None:
    fakes = [
        Fake(f"{depth}_{switch}", seed, epochs_run=5 + (3 + seed % 2) * (switch == "lrdecay"))
        for depth in ("short", "long")
        for switch in ("baseline", "lrdecay")
        for seed in range(5)
    ]
    assert _verdict(tmp_path, "lrdecay-longer", [*fakes]).verdict == HOLDS


def test_runs_that_were_all_capped_say_nothing_of_epochs(tmp_path: Path) -> None:
    fakes = [
        Fake(f"{d}_{s}", stopped="cap") for d in ("short", "long") for s in ("baseline", "lrdecay")
    ]
    verdict = _verdict(tmp_path, "lrdecay-longer", [*fakes])
    assert verdict.verdict == UNDECIDED
    assert "上限" in verdict.reason


def _slow_residual(seeds: range) -> list[Fake]:
    return [
        Fake(f"{d}_{s}", seed, seconds_per_epoch=3.0 if s == "residual" else 2.0)
        for d in ("short", "long")
        for s in ("baseline", "residual")
        for seed in seeds
    ]


def test_slower_by_seconds_of_the_epochs(tmp_path: Path) -> None:
    fakes = _slow_residual(range(3))
    verdict = _verdict(tmp_path, "residual-slower", [*fakes], parameters={"epochs": 20})
    assert verdict.verdict == HOLDS
    ratios = [np.exp(f.estimate.effect) for f in verdict.findings if f.estimate]
    assert ratios == pytest.approx([1.5, 1.5], rel=0.05)


def test_one_seed_decides_on_accuracies_only(tmp_path: Path) -> None:
    fakes = _slow_residual(range(1))
    verdict = _verdict(tmp_path, "residual-slower", [*fakes], parameters={"epochs": 20})
    assert verdict.verdict == UNDECIDED
    assert verdict.reason == "需要多个种子才能给出区间"
    assert all(f.estimate and np.isnan(f.estimate.low) for f in verdict.findings)


@pytest.mark.parametrize(("first_stage", "verdict"), [(0.01, HOLDS), (30.0, FAILS)])
def test_gradients_that_fade_or_grow(tmp_path: Path, first_stage: float, verdict: str) -> None:
    fakes = [
        Fake(f"{d}_{s}", seed, first_stage_gradient=first_stage if d == "long" else 1.0)
        for d in ("short", "long")
        for s in ("baseline", "all")
        for seed in range(3)
    ]
    found = _verdict(tmp_path, "depth-gradient", [*fakes], parameters={"epochs": 4})
    assert found.verdict == verdict


def test_a_comparison_of_fewer_seeds_than_the_study_has_says_so(tmp_path: Path) -> None:
    few: list[str | Fake] = ["short_lrdecay", Fake("short_baseline", 1), "short_baseline"]
    write_runs(tmp_path, few)
    found = {v.claim.id: v for v in evaluate(load_study(tmp_path))}["lrdecay-helps"].findings[0]
    assert (found.seeds, found.of) == (1, 2)
    assert "仅 1 个共同种子" in sentence(found)


def test_missing_runs_leave_a_claim_undecided(tmp_path: Path) -> None:
    verdict = _verdict(tmp_path, "depth-order", ["short_all", "long_all"])
    assert verdict.verdict == UNDECIDED
    assert verdict.reason == "未完成：Midbaseline+all"


def test_what_is_there_can_refute_in_spite_of_missing_runs(tmp_path: Path) -> None:
    verdict = _verdict(tmp_path, "best-worst", ["short_all", "short_residual", "long_baseline"])
    assert verdict.verdict == FAILS  # long_baseline is far below short_residual


def test_other_test_images_are_not_compared(tmp_path: Path) -> None:
    folders = write_runs(tmp_path, ["short_norm", "short_baseline", "long_norm", "long_baseline"])
    arrays = folders[0].predictions()
    arrays["test_label"] = arrays["test_label"][::-1]
    np.savez(folders[0].path / "predictions.npz", **arrays)  # type: ignore[arg-type]
    found = {v.claim.id: v for v in evaluate(load_study(tmp_path))}["norm-helps"]
    assert "测试图像不同" in found.reason


@pytest.mark.parametrize("status", ["diverged", "no_learning"])
def test_failed_runs_are_told(tmp_path: Path, status: Status) -> None:
    write_runs(tmp_path, ["short_baseline", Fake("short_residual", status=status)])
    study = load_study(tmp_path)
    text = prose.section(study, evaluate(study), "3.5", ["short_baseline", "short_residual"]).text
    assert {"diverged": "发散", "no_learning": "没有学到"}[status] in text


def test_prose_of_every_verdict(verdicts: dict[str, Verdict]) -> None:
    for name, word in (("depth-order", HOLDS), ("no-overfit", FAILS), ("residual-long", UNDECIDED)):
        assert f"**{word}**" in prose.judged(verdicts[name])
    assert "高 6.85 个百分点" in prose.judged(verdicts["depth-order"])


def _study(tmp_path: Path, **options: Any) -> Study:
    write_runs(tmp_path, ["short_all"], **options)
    return load_study(tmp_path)


def test_one_seed_is_said_to_cover_images_only(tmp_path: Path) -> None:
    assert "只反映测试图像" in prose.scope(_study(tmp_path)).text
    assert "只反映测试图像" not in prose.scope(_study(tmp_path, seeds=(0, 1))).text


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({}, ["演示数据"]),
        (
            {"dataset": "tiny-imagenet-200", "fraction": 0.1, "epochs": 5},
            ["10% 的训练数据", "5 轮"],
        ),
    ],
)
def test_notice_of_what_is_not_the_full_experiment(
    tmp_path: Path, parameters: dict[str, Any], words: list[str]
) -> None:
    notice = prose.notice(_study(tmp_path, parameters=parameters))
    assert all(word in notice for word in words)


def test_full_protocol_needs_no_notice(tmp_path: Path) -> None:
    assert prose.notice(_study(tmp_path, parameters={"dataset": "tiny-imagenet-200"})) == ""


def test_no_runs_is_one_line_that_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="make report") as error:
        load_study(tmp_path)
    assert "\n" not in str(error.value)


def test_unknown_experiment_lists_the_known(tmp_path: Path) -> None:
    write_runs(tmp_path, ["short_all"])
    with pytest.raises(ReportError, match=r"'shape'.*shapes"):
        load_study(tmp_path, "shape")


def test_newest_experiment_is_taken(tmp_path: Path) -> None:
    write_runs(tmp_path, ["short_all"])
    (newer,) = write_runs(tmp_path, ["short_all"], parameters={"epochs": 3})
    path = newer.path / "result.json"
    text = path.read_text(encoding="utf-8").replace("T10:01:00", "T11:01:00")
    path.write_text(text, encoding="utf-8")
    assert load_study(tmp_path).experiment == "shapes-3ep"


def test_files_left_out_are_named_without_the_machine(tmp_path: Path) -> None:
    write_runs(tmp_path, ["short_all", "long_all"])
    (tmp_path / "shapes/long_all/seed0/result.json").write_text("{", encoding="utf-8")
    study = load_study(tmp_path)
    assert len(study.problems) == 1
    text = prose.completeness(study).text
    assert "result.json" in text
    assert str(tmp_path) not in text


@pytest.mark.parametrize("name", ["history.csv", "gradients.csv", "predictions.npz"])
@pytest.mark.parametrize("size", [0, 60])
def test_runs_with_a_cut_file_are_left_out_by_name(tmp_path: Path, name: str, size: int) -> None:
    write_runs(tmp_path, ["short_all", "long_all"])
    path = tmp_path / "shapes/long_all/seed0" / name
    path.write_bytes(path.read_bytes()[:size])
    study = load_study(tmp_path)
    assert study.present == ("short_all",)
    assert f"shapes/long_all/seed0/{name}" in study.problems[0]


def test_original_table_is_the_one_in_the_package() -> None:
    path = Path(prose.__file__).with_name("original.csv")
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["variant"] for row in rows] == list(REPORT_VARIANTS)


def test_analysis_needs_no_torch() -> None:
    code = (
        "import sys, importlib, pkgutil, labreport as a\n"
        "names = [m.name for m in pkgutil.iter_modules(a.__path__)]\n"
        "[importlib.import_module(f'labreport.{n}') for n in names]\n"
        "assert 'figures' in names or len(names) > 10, names\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_one_training_under_two_names_is_no_comparison(tmp_path: Path) -> None:
    """A learning rate that never fell: the interval of nothing would look like evidence."""
    first, second = write_runs(tmp_path, ["short_baseline", "short_lrdecay"], images=500)
    for name in (HISTORY, PREDICTIONS):
        shutil.copy(first.path / name, second.path / name)
    slower = first.history().assign(seconds=9.0, images_per_second=1.0)
    slower.to_csv(second.path / HISTORY, index=False, encoding="utf-8")
    study = load_study(tmp_path)
    assert study.identical("short_baseline", "short_lrdecay", [0])
    finding = find(study, Part("test", "short_lrdecay", "short_baseline"))
    assert finding.estimate is None and "没有起过作用" in finding.reason
    verdict = next(v for v in evaluate(study) if v.claim.id == "lrdecay-helps")
    row = next(row for row in tables.claims([verdict]).rows if row[0])
    assert (verdict.verdict, verdict.tested, row[4]) == (UNDECIDED, False, "—")
    assert "学习率衰减没有触发时" in costs.text(study).text


def test_a_gap_that_could_not_be_too_wide_is_not_tested(tmp_path: Path) -> None:
    for accuracy, tested in ((0.04, False), (0.06, True)):
        folder = tmp_path / str(accuracy)
        write_runs(folder, [Fake("short_all", accuracies=(accuracy, 0.03, 0.03))], images=2000)
        (verdict,) = (v for v in evaluate(load_study(folder)) if v.claim.id == "no-overfit")
        assert verdict.tested is tested
        assert ("不可能超过判定界限 5.00" in verdict.reason) is not tested
