"""Does training in bfloat16 cost accuracy? The same runs in both precisions, over seeds.

    python benchmarks/precision.py            # runs what is missing: precision.json, precision.md
    python benchmarks/precision.py --table    # only the table

Every run is the real ``fit``, one thread each, on the demo set and, where it is prepared, on a
tenth of Tiny ImageNet; its folder is below ``benchmarks/precision/``. A difference is that of the
same seed: same weights, same batches. A second table has the runs at full size, by ``report/logs``.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from measures import replaced
from scipy import stats

from labcnn.data import cache, tiny_imagenet
from labcnn.files import logs_folder
from labcnn.request import RunRequest
from labcnn.runs import Provenance, RunFolder, RunResult, find_runs
from labcnn.training.trainer import fit

HERE = Path(__file__).parent
RUNS = HERE / "precision"
#: Name, variant and data of each comparison. The demo's few images make its seeds differ much.
REAL = {"dataset": "tiny-imagenet-200", "fraction": 0.1, "epochs": 5}
CASES: dict[str, dict[str, Any]] = {
    "short_all, demo set": {"variant": "short_all", "dataset": "shapes"},
    "long_norm, demo set": {"variant": "long_norm", "dataset": "shapes"},
    "short_norm, a tenth of Tiny ImageNet": {"variant": "short_norm", **REAL},
}
#: At full size: the experiments whose runs differ in precision, and in device and version with it.
FULL_SIZE = {"fp32": "tiny-imagenet-200-fp32", "bf16": "tiny-imagenet-200"}


def request(case: str, precision: str, seed: int) -> RunRequest:
    given = CASES[case]
    return RunRequest.from_parameters(
        {
            **given,
            "precision": precision,
            "seed": seed,
            "threads": 1,
            "experiment": f"{precision}{'-real' if 'fraction' in given else ''}",
            "logs": str(RUNS),
        }
    )


def made_by(provenance: Provenance) -> str:
    threads = f"{provenance.threads} thread{'s' if provenance.threads > 1 else ''}"
    return f"{provenance.device_name}, {threads}, torch {provenance.versions['torch']}"


def finished(case: str, precision: str) -> dict[int, RunResult]:
    """The results there are, by seed."""
    folders = request(case, precision, 0).folder.path.parent.glob("seed*/result.json")
    seeds = sorted(int(path.parent.name.removeprefix("seed")) for path in folders)
    return {seed: request(case, precision, seed).folder.result() for seed in seeds}


def compared(case: str) -> dict[str, Any] | None:
    """Both precisions' accuracies, and the mean difference with its 95 % t-interval."""
    runs = {name: finished(case, name) for name in ("fp32", "bf16")}
    seeds = sorted(set(runs["fp32"]) & set(runs["bf16"]))
    if len(seeds) < 2:
        return None
    accuracy = {
        name: np.array([found[seed].test.accuracy for seed in seeds]) * 100
        for name, found in runs.items()
    }
    difference = accuracy["bf16"] - accuracy["fp32"]
    low, high = stats.t.interval(0.95, len(seeds) - 1, difference.mean(), stats.sem(difference))
    speed = {
        name: np.median([found[seed].timing.images_per_second for seed in seeds])
        for name, found in runs.items()
    }
    made = [run.provenance for found in runs.values() for run in found.values()]
    return {
        "case": case,
        "machine": " / ".join(sorted({made_by(each) for each in made})),
        "seeds": seeds,
        **{f"{name}_mean": values.mean() for name, values in accuracy.items()},
        **{f"{name}_sd": values.std(ddof=1) for name, values in accuracy.items()},
        "difference": difference.mean(),
        "low": low,
        "high": high,
        "speed_ratio": speed["bf16"] / speed["fp32"],
    }


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "; ".join(dict.fromkeys(row["machine"] for row in rows)),
        "",
        "| network, data | seeds | fp32 | bf16 | difference, 95 % interval | bf16 faster by |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        lines.append(
            f"| {row['case']} | {len(row['seeds'])} | "
            f"{row['fp32_mean']:.2f} ± {row['fp32_sd']:.2f} | "
            f"{row['bf16_mean']:.2f} ± {row['bf16_sd']:.2f} | "
            f"{row['difference']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}] | "
            f"{row['speed_ratio']:.2f} x |"
        )
    return "\n".join(lines)


def full_size_table() -> str:
    """Both runs of each net and seed that was trained in both, and their mean difference."""
    lines = ["| full size | fp32 | bf16 | difference |", "| --- | ---: | ---: | ---: |"]
    differences, made = [], dict[str, None]()
    for fp32 in find_runs(logs_folder(), FULL_SIZE["fp32"]):
        bf16 = RunFolder(logs_folder() / FULL_SIZE["bf16"] / fp32.variant / fp32.path.name)
        pair = [run.result() for run in (fp32, bf16)]
        before, after = (run.test.accuracy * 100 for run in pair)
        differences.append(after - before)
        made |= dict.fromkeys(made_by(run.provenance) for run in pair)
        name = f"{fp32.variant}, seed {fp32.seed}"
        lines.append(f"| {name} | {before:.2f} | {after:.2f} | {after - before:+.2f} |")
    mean, error = np.mean(differences), stats.sem(differences)
    low, high = stats.t.interval(0.95, len(differences) - 1, mean, error)
    lines.append(f"| mean, 95 % interval | | | {mean:+.2f} [{low:+.2f}, {high:+.2f}] |")
    return "\n".join([" / ".join(made), "", *lines])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--table", action="store_true", help="run nothing")
    options = parser.parse_args()
    if not options.table:
        for seed in options.seeds:
            for case, given in CASES.items():
                if given["dataset"] != "shapes" and not cache.is_prepared(tiny_imagenet.NAME):
                    continue
                for precision in ("bf16", "fp32"):
                    print(f"{case}, {precision}, seed {seed}", flush=True)
                    fit(request(case, precision, seed))
    rows = [row for case in CASES if (row := compared(case))]
    (HERE / "precision.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    page = HERE / "precision.md"
    text = f"{table(rows)}\n\n{full_size_table()}"
    page.write_text(replaced(page.read_text(encoding="utf-8"), text), encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
