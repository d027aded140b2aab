"""Every figure of benchmarks/README.md, measured here and now; `make bench` runs it.

    python benchmarks/bench.py            # under 40 minutes, to benchmarks/results.json and README
    python benchmarks/bench.py --quick    # 3 minutes; only prints
    python benchmarks/bench.py --only user notebook

LABCNN_BENCH_IMAGES names an extracted tiny-imagenet-200 folder; without it, the user's loop reads
JPEGs that are made from the decoded data, and preparing them isn't measured.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import torch
from contestants import write_images
from measures import HERE, Contestant, Measure, interleaved, of_rounds, replaced, table, together

from labcnn.data import load_dataset, resolve_dataset
from labcnn.network import model_size
from labcnn.training.hardware import choose_hardware
from labcnn.variants import REPORT_VARIANTS, VARIANTS

RESULTS, README = HERE / "results.json", HERE / "README.md"
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
PAIR = ("short_all", "long_all")


class Bench:
    """What all measures share: how many rounds of how many seconds, on which images."""

    def __init__(self, quick: bool, temporary: Path) -> None:
        self.quick, self.temporary = quick, temporary
        self.rounds, self.seconds = (1, 1.5) if quick else (5, 6.0)
        self.dataset = resolve_dataset("auto")
        self._images: Path | None = None

    def ours(self, variant: str, threads: int = CORES, **more: Any) -> dict[str, Any]:
        return {
            "kind": "ours", "variant": variant, "threads": threads, "dataset": self.dataset, **more,
        }  # fmt: skip

    def images(self) -> str:
        """A folder for ``ImageFolder``: the original one, or JPEGs made of the decoded images."""
        if given := os.environ.get("LABCNN_BENCH_IMAGES"):
            return str(Path(given) / "train")
        if self._images is None:
            self._images = self.temporary / "images"
            write_images(self._images, self.dataset, 500 if self.quick else 6000)
        return str(self._images)

    # Each measure below is a row, or some, of the table; its name is what --only takes.

    def user(self) -> Iterator[Measure]:
        """Against what a user would write, and against a tuned peer."""
        for variant, goal in zip(PAIR, (4.0, 3.0), strict=True):
            others = {
                f"{kind} {workers}": {
                    "kind": kind, "variant": variant, "threads": CORES, "images": self.images(),
                    "workers": workers,
                }
                for kind in ("user", "peer")
                for workers in ((2,) if self.quick else (0, 1, 2))
            }  # fmt: skip
            rounds = interleaved({"ours": self.ours(variant), **others}, self.rounds, self.seconds)
            for kind, title, least in (
                ("user", "ImageFolder + DataLoader in float32", (">=", goal)),
                ("peer", "Lightning Fabric, bf16, channels-last, workers", (">=", 1.0)),
            ):
                ratios = [
                    each["ours"] / max(v for name, v in each.items() if name.startswith(kind))
                    for each in rounds
                ]
                fastest = sorted(
                    max(v for name, v in each.items() if name.startswith(kind)) for each in rounds
                )[len(rounds) // 2]
                speed = sorted(each["ours"] for each in rounds)[len(rounds) // 2]
                note = f"{speed:.0f} against {fastest:.0f} images/s"
                yield of_rounds(f"{variant}: ours over {title}", ratios, "x", least, note)

    def limit(self) -> Iterator[Measure]:
        """Whole loop, augmentation included, against the same steps on one batch."""
        for variant in PAIR:
            rounds = interleaved(
                {"loop": self.ours(variant), "cached": self.ours(variant, cached=True)},
                self.rounds,
                self.seconds,
            )
            ratios = [each["cached"] / each["loop"] for each in rounds]
            yield of_rounds(
                f"{variant}: time of the loop over that of its steps on one batch",
                ratios, "x", ("<=", 1.05),
            )  # fmt: skip

    def hardware(self) -> Iterator[Measure]:
        """FLOP/s of every variant against the matrix product's, one thread; and side by side."""
        variants = REPORT_VARIANTS[:2] if self.quick else REPORT_VARIANTS
        rounds, seconds = (1, 1.5) if self.quick else (3, 4.0)
        efficiencies = []
        with (
            Contestant(kind="gemm", threads=1, precision="bf16") as gemm,
            Contestant(kind="gemm", threads=1, precision="fp32") as single,
        ):
            ratios = [gemm.turn(1) / single.turn(1) for _ in range(rounds)]
            yield of_rounds("matrix product: bf16 over float32", ratios, "x")
            for variant in variants:
                flops = 3 * model_size(variant).flops
                options = self.ours(variant, 1, cached=True)
                with Contestant(**options) as first:
                    alone, shares = [], []
                    for _ in range(rounds):
                        peak, rate = gemm.turn(1), first.turn(seconds)
                        alone.append(rate)
                        shares.append(rate * flops / peak)
                    goal = 0.25 if VARIANTS[variant].norm else 0.30
                    note = f"{sorted(alone)[len(alone) // 2]:.0f} images/s, one thread"
                    yield of_rounds(
                        f"{variant}: model FLOP/s over the matrix product's",
                        shares, "", (">=", goal), note,
                    )  # fmt: skip
                    with_others = [Contestant(**options).__enter__() for _ in range(CORES - 1)]
                    try:
                        for _ in range(rounds):
                            single_speed = first.turn(seconds)
                            speeds = together([first, *with_others], seconds)
                            efficiencies.append(sum(speeds) / CORES / single_speed)
                    finally:
                        for other in with_others:
                            other.__exit__()
        yield of_rounds(
            f"{len(variants)} variants, one run per core: speed of a run over its speed alone",
            efficiencies, "x", (">=", 0.95), f"{CORES} cores",
        )  # fmt: skip
        yield self._reference_kernels()

    def _reference_kernels(self) -> Measure:
        # The contestants' output of any library goes where their errors do.
        log = ""
        for variant in ("short_all", "long_residual"):
            options = json.dumps(self.ours(variant, 1, cached=True))
            log += subprocess.run(
                [sys.executable, str(HERE / "contestants.py"), options],
                env={**os.environ, "ONEDNN_VERBOSE": "1"}, input="", capture_output=True,
                encoding="utf-8", check=True,
            ).stderr  # fmt: skip
        lines = [line for line in log.splitlines() if line.startswith("onednn_verbose")]
        if not any("convolution" in line for line in lines):
            raise RuntimeError("oneDNN reported no convolution")
        slow = sum("ref:any" in line for line in lines)
        return Measure("oneDNN's slow reference kernels", slow, "", goal=("<=", 0))

    def sides(self) -> Iterator[Measure]:
        """As many one-thread runs as cores against one run on all of them."""
        for variant in PAIR:
            with Contestant(**self.ours(variant)) as wide:
                narrow = [Contestant(**self.ours(variant, 1)).__enter__() for _ in range(CORES)]
                try:
                    ratios = [
                        sum(together(narrow, self.seconds)) / wide.turn(self.seconds)
                        for _ in range(self.rounds)
                    ]
                finally:
                    for each in narrow:
                        each.__exit__()
            yield of_rounds(
                f"{variant}: {CORES} runs of one thread over one run of {CORES}", ratios, "x"
            )

    def tuned(self) -> Iterator[Measure]:
        """Time to the original's best accuracy; `benchmarks/tuned.py` makes the runs."""
        path = HERE / "tuned.json"
        if not self.quick:
            subprocess.run([sys.executable, str(HERE / "tuned.py")], check=True)
        if not path.exists():
            yield Measure("time to 43.02 %", None, "s", goal=("<=", 150), note="no runs yet")
            return
        record = json.loads(path.read_text(encoding="utf-8"))
        runs = record["runs"]
        accuracies = [100 * run["test_accuracy"] for run in runs]
        for name, values, unit, goal in (
            ("test accuracy", accuracies, "%", (">=", 100 * record["goal_accuracy"])),
            ("seconds of training", [run["train_seconds"] for run in runs], "s", ("<=", 150.0)),
        ):
            yield Measure(
                f"short net, protocol tuned: {name}", sum(values) / len(values), unit,
                min(values), max(values), goal, f"mean of {len(runs)} seeds",
            )  # fmt: skip

    def data(self) -> Iterator[Measure]:
        """Preparing the data, the start of a run, its memory."""
        name = "Tiny ImageNet prepared (checked, decoded)"
        if given := os.environ.get("LABCNN_BENCH_IMAGES"):
            begin = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "labcnn.cli", "data", "fetch", "--from", given],
                env={**os.environ, "LABCNN_DATA": str(self.temporary / "data")},
                check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            seconds = time.perf_counter() - begin
            yield Measure(name, 110_000 / seconds, "images/s", note=f"{seconds:.0f} s")
        else:
            yield Measure(name, None, "images/s", note="LABCNN_BENCH_IMAGES names no folder")
        starts = [self._child("start") for _ in range(self.rounds)]
        yield of_rounds(
            "start of a run, imports left out, to the end of its first step",
            starts, "s", ("<=", 2.0),
        )  # fmt: skip
        yield Measure("peak memory of a full-size run", self._child("memory"), "GB",
                      goal=("<=", 3.0))  # fmt: skip
        yield of_rounds(
            "long_all: writing a checkpoint", [self._child("checkpoint")], "s",
            note="at most every 40 s, and after each epoch",
        )  # fmt: skip

    def _child(self, what: str) -> float:
        done = subprocess.run(
            [sys.executable, str(HERE / "one_run.py"), what, self.dataset],
            capture_output=True, encoding="utf-8", check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(done.stderr.strip().splitlines()[-1])
        return float(done.stdout.splitlines()[-1])

    def notebook(self) -> Iterator[Measure]:
        """What papermill, the kernel and the notebook's own cells add to a run."""
        costs = []
        for number in range(1 if self.quick else 3):
            logs = self.temporary / f"logs{number}"
            parameters = {
                "variant": "short_all", "dataset": "shapes", "epochs": 1, "width": 4,
                "threads": 1, "logs": str(logs), "experiment": "one",
            }  # fmt: skip
            notebook = HERE.parent / "notebooks" / "train.ipynb"
            begin = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "labcnn.execute", str(notebook),
                 str(self.temporary / "out.ipynb"), json.dumps(parameters)],
                check=True,
            )  # fmt: skip
            wall = time.perf_counter() - begin
            (path,) = logs.glob("*/*/*/result.json")
            result = json.loads(path.read_text(encoding="utf-8"))
            costs.append(wall - result["timing"]["total_seconds"])
        yield of_rounds("notebook around a run", costs, "s", ("<=", 8.0))


MEASURES: dict[str, Callable[[Bench], Iterator[Measure]]] = {
    "user": Bench.user,
    "limit": Bench.limit,
    "hardware": Bench.hardware,
    "sides": Bench.sides,
    "data": Bench.data,
    "notebook": Bench.notebook,
    "tuned": Bench.tuned,
}


def measured(bench: Bench, names: list[str]) -> tuple[list[Measure], bool]:
    """All rows; one that fails is a row that says so. Whether none did."""
    rows: list[Measure] = []
    whole = True
    for name in names:
        try:
            for measure in MEASURES[name](bench):
                rows.append(measure)
                print(table([measure.record()]).splitlines()[-1], flush=True)
        except Exception as error:  # a failed row must not lose the others
            whole = False
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            rows.append(Measure(name, None, "", note=f"failed: {reason}"))
            print(f"{name} failed: {reason}", file=sys.stderr, flush=True)
    return rows, whole


def machine() -> str:
    """Device, cores and memory; no host's or user's name."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    hardware = choose_hardware()
    return f"{hardware.name}, {CORES} cores, {memory:.0f} GiB, {hardware.precision}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one short round; writes nothing")
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=list(MEASURES))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="labcnn-bench-") as temporary:
        bench = Bench(options.quick, Path(temporary))
        load_dataset(bench.dataset)  # says at once if there is none
        rows, whole = measured(bench, options.only)
    records = [row.record() for row in rows]
    if options.quick or options.only != list(MEASURES):
        print(table(records))
    else:
        result = {
            "machine": machine(),
            "versions": {"python": platform.python_version(), "torch": torch.__version__}
            | {name: importlib.metadata.version(name) for name in ("torchvision", "numpy")},
            "date": date.today().isoformat(),
            "dataset": bench.dataset,
            "measures": records,
        }
        RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        text = README.read_text(encoding="utf-8")
        README.write_text(replaced(text, shown(result)), encoding="utf-8")
    sys.exit(0 if whole else 1)


def shown(result: dict[str, Any]) -> str:
    """What README.md shows of ``results.json``."""
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    return (
        f"{result['machine']}; {versions}; {result['dataset']}; {result['date']}\n\n"
        f"{table(result['measures'])}"
    )


if __name__ == "__main__":
    main()
