"""Rows of the table that compare rates: against a user's loop, a peer, the machine, other runs."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from contestants import write_images
from measures import PER_VARIANT, Goal, Measure, fastest, of_rounds
from turns import PROGRAM, Entry, Options, interleaved, started, together

from labcnn.data import resolve_dataset
from labcnn.models import model_size
from labcnn.variants import REPORT_VARIANTS, VARIANTS

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
IMAGES = "LABCNN_BENCH_IMAGES"


class Bench:
    """What all rows share: how many rounds of how many seconds, on which images.

    Parameters
    ----------
    quick : one short round of the short net: does everything run? Its figures mean little.
    temporary : a folder that is removed afterwards.
    """

    def __init__(self, quick: bool, temporary: Path) -> None:
        self.quick, self.temporary = quick, temporary
        self.rounds, self.seconds = (1, 1.0) if quick else (5, 3.0)
        self.pair = ("short_all",) if quick else ("short_all", "long_all")
        self.dataset = resolve_dataset("auto")
        self._images: Path | None = None

    def ours(self, variant: str, threads: int = CORES, cached: bool = False) -> Options:
        return {
            "kind": "ours", "variant": variant, "threads": threads, "dataset": self.dataset,
            "cached": cached,
        }  # fmt: skip

    def others(self, kind: str, variant: str) -> dict[str, Entry]:
        """A loop with each number of workers."""
        return {
            f"{kind} {workers}": {
                "kind": kind, "variant": variant, "threads": CORES, "images": str(self.images),
                "workers": workers,
            }
            for workers in ((2,) if self.quick else (0, 1, 2))
        }  # fmt: skip

    @property
    def images(self) -> Path:
        """A folder for ``ImageFolder``: the original one, or JPEGs made of the decoded images."""
        if self._images is None:
            if given := os.environ.get(IMAGES):
                self._images = Path(given).expanduser() / "train"
                if not self.quick:  # from now on in memory, as after a first epoch
                    for path in self._images.rglob("*.JPEG"):
                        path.read_bytes()
            else:
                self._images = self.temporary / "images"
                count = 500 if self.quick else 6000
                print(f"{IMAGES} isn't set: the user's loop reads {count} JPEGs made of the data")
                write_images(self._images, self.dataset, count)
        return self._images


def user(bench: Bench) -> Iterator[Measure]:
    """Against what a user would write."""
    for variant, goal in zip(bench.pair, (4.0, 3.0), strict=False):
        entries: dict[str, Entry] = {
            "ours": bench.ours(variant),
            "one per core": [bench.ours(variant, 1)] * CORES,
            **bench.others("user", variant),
        }
        rounds = interleaved(entries, bench.rounds, bench.seconds)
        theirs = "ImageFolder + DataLoader in float32"
        yield versus(f"{variant}: ours over {theirs}", rounds, "ours", "user", (">=", goal))
        yield versus(
            f"{variant}: {CORES} runs of ours, one thread each, over {theirs}",
            rounds, "one per core", "user",
        )  # fmt: skip


def peer(bench: Bench) -> Iterator[Measure]:
    """Against a tuned peer."""
    for variant in bench.pair:
        entries = {"ours": bench.ours(variant), **bench.others("peer", variant)}
        rounds = interleaved(entries, bench.rounds, bench.seconds)
        title = "Lightning Fabric, bf16, channels-last"
        yield versus(f"{variant}: ours over {title}", rounds, "ours", "peer", (">", 1.0))


def versus(
    title: str, rounds: list[dict[str, float]], one: str, kind: str, goal: Goal | None = None
) -> Measure:
    """The rate of ``one`` over the fastest of a ``kind``, round by round."""
    ratios = [each[one] / fastest(each, kind) for each in rounds]
    best = max(
        (n for n in rounds[0] if n.startswith(kind)), key=lambda n: sum(e[n] for e in rounds)
    )
    own, their = (median(each[name] for each in rounds) for name in (one, best))
    workers = best.removeprefix(kind).strip()
    note = f"{own:.0f} against {their:.0f} images/s, with {workers} workers"
    return of_rounds(title, ratios, "x", goal, note)


def limit(bench: Bench) -> Iterator[Measure]:
    """Against the compute limit, and side by side."""
    for variant in bench.pair:
        entries: dict[str, Entry] = {
            "loop": bench.ours(variant),
            "cached": bench.ours(variant, cached=True),
            "one per core": [bench.ours(variant, 1)] * CORES,
        }
        rounds = interleaved(entries, bench.rounds, bench.seconds)
        yield of_rounds(
            f"{variant}: time of the loop over that of its steps on one batch",
            [each["cached"] / each["loop"] for each in rounds], "x", ("<=", 1.05),
        )  # fmt: skip
        yield of_rounds(
            f"{variant}: {CORES} runs of one thread over one run of {CORES} threads",
            [each["one per core"] / each["loop"] for each in rounds], "x",
        )  # fmt: skip


def hardware(bench: Bench) -> Iterator[Measure]:
    """Against the hardware, one thread; and one run per core."""
    variants = REPORT_VARIANTS[:2] if bench.quick else REPORT_VARIANTS
    rounds, seconds = (1, 1.0) if bench.quick else (3, 2.0)
    alone: list[list[float]] = []  # seconds per image: by variant, by round
    beside: list[list[float]] = []
    products: list[Options] = [
        {"kind": "gemm", "threads": 1, "precision": precision} for precision in ("bf16", "fp32")
    ]
    with started(products) as (bf16, fp32):
        peaks = [(together([bf16], 1), together([fp32], 1)) for _ in range(rounds)]
        yield of_rounds(
            "matrix product: bf16 over float32",
            [fast / slow for fast, slow in peaks], "x",
            note=" against ".join(
                f"{median(column) / 1e12:.2f}" for column in zip(*peaks, strict=True)
            ) + " TFLOP/s, one thread",
        )  # fmt: skip
        for variant in variants:
            flops = 3 * model_size(variant).flops
            shares = []
            alone.append([])
            beside.append([])
            with started([bench.ours(variant, 1)] * CORES) as runs:
                for _ in range(rounds):
                    peak, rate = together([bf16], 0.5), together(runs[:1], seconds)
                    shares.append(rate * flops / peak)
                    alone[-1].append(1 / rate)
                    beside[-1].append(CORES / together(runs, seconds))
            yield of_rounds(
                f"{variant}: {PER_VARIANT} over those of a bf16 matrix product",
                shares, "", (">=", 0.25 if VARIANTS[variant].norm else 0.30),
                f"{1 / median(alone[-1]):.0f} images/s, one thread",
            )  # fmt: skip
    yield of_rounds(
        f"{len(variants)} variants, {CORES} runs side by side: speed of a run over its speed alone",
        [
            sum(one) / sum(two)
            for one, two in zip(zip(*alone, strict=True), zip(*beside, strict=True), strict=True)
        ],
        "x", (">=", 0.95), "over the time of an epoch of each",
    )  # fmt: skip


def kernels(bench: Bench) -> Iterator[Measure]:
    """Slow reference kernels in some steps."""
    lines: list[str] = []
    variants = ("short_all",) if bench.quick else ("short_baseline", "short_all", "long_residual")
    for variant in variants:
        done = subprocess.run(
            [sys.executable, str(PROGRAM), json.dumps(bench.ours(variant, 1, cached=True))],
            env={**os.environ, "ONEDNN_VERBOSE": "1"},
            input="",  # a contestant's first step, to warm up, is enough
            capture_output=True,
            encoding="utf-8",
            check=True,
        )
        lines += [line for line in done.stderr.splitlines() if line.startswith("onednn_verbose")]
    if not any("convolution" in line for line in lines):
        raise RuntimeError("oneDNN reported no convolution")
    slow = sum("ref:any" in line for line in lines)
    yield Measure(
        "oneDNN's slow reference kernels (ref:any)", slow, "", goal=("<=", 0),
        note=f"of {len(lines):,} calls in steps of {', '.join(variants)}",
    )  # fmt: skip
