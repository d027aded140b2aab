"""Every figure of benchmarks/README.md, measured here and now; `make bench` runs it.

    python benchmarks/bench.py            # 20 minutes, and the runs of tuned.py
    python benchmarks/bench.py --quick    # under 3: does all of it run? results-quick.json
    python benchmarks/bench.py --only user notebook     # these rows anew, the others stay

LABCNN_BENCH_IMAGES names an extracted tiny-imagenet-200 folder; without it, the user's loop reads
JPEGs that are made from the decoded data. LABCNN_BENCH_ARCHIVE names the archive whose preparation
is timed; without it, one is made of that folder.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, NoReturn

import costs
import psutil  # type: ignore[import-untyped]
import speed
from measures import Measure, failed, goals, replaced, shown, table
from turns import kill_children

from labcnn.training.hardware import choose_hardware

HERE = Path(__file__).parent
RESULTS, QUICK_RESULTS = HERE / "results.json", HERE / "results-quick.json"
README = HERE / "README.md"

Row = Callable[[speed.Bench], Iterator[Measure]]
#: What --only takes; each gives one row of the table, or some.
ROWS: dict[str, Row] = {
    "user": speed.user,
    "peer": speed.peer,
    "limit": speed.limit,
    "hardware": speed.hardware,
    "kernels": speed.kernels,
    "data": costs.prepare,
    "start": costs.start,
    "memory": costs.middle,
    "notebook": costs.notebook,
    "tuned": costs.tuned,
}


def measured(bench: speed.Bench, rows: Mapping[str, Row]) -> tuple[list[Measure], bool]:
    """All measures, and whether none failed; one that fails says so and doesn't lose the others."""
    found: list[Measure] = []
    whole = True
    for name, row in rows.items():
        begin = time.perf_counter()
        measures = row(bench)
        while True:
            try:
                measure = next(measures)
            except StopIteration:
                break
            except Exception as error:
                whole = False
                measure = failed((row.__doc__ or name).rstrip("."), error)
            found.append(replace(measure, row=name))
            print(table([measure.record()]).splitlines()[-1], flush=True)
        print(f"{name}: {time.perf_counter() - begin:.0f} s", flush=True)
    return found, whole


def circumstances(bench: speed.Bench) -> dict[str, Any]:
    """What ``results.json`` holds beside the measures: the machine, the versions, the date."""
    names = ("torch", "torchvision", "lightning-fabric", "numpy")
    memory = psutil.virtual_memory().total / 2**30
    hardware = choose_hardware()
    return {
        "machine": f"{hardware.name}, {speed.CORES} cores, {memory:.0f} GiB, {hardware.precision}",
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in names},
        "date": date.today().isoformat(),
        "dataset": bench.dataset,
        "quick": bench.quick,
    }


def kept(now: dict[str, Any], anew: Iterable[str]) -> list[dict[str, Any]]:
    """The saved measures of the other rows than those measured ``anew``.

    Raises
    ------
    SystemExit
        They were measured on another machine, with other versions or on other images.
    """
    before = json.loads(RESULTS.read_text(encoding="utf-8"))
    for name in ("machine", "versions", "dataset"):
        if before[name] != now[name]:
            sys.exit(f"{RESULTS.name} has {name}={before[name]}, here it is {now[name]}")
    return [one for one in before["measures"] if one["row"] not in anew]


def pages(result: dict[str, Any]) -> dict[Path, str]:
    """The pages that show the results, and what stands between their marks."""
    short = goals(result)
    return {
        README: shown(result),
        HERE.parent / "README.md": short,
    }


def stop(signum: int, frame: object) -> NoReturn:
    """Leave through the ``finally`` blocks."""
    raise SystemExit(128 + signum)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--only", nargs="+", choices=ROWS, help="measure these rows anew")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, stop)
    os.environ["PYTHONWARNINGS"] = "ignore"  # of the children: their last line is what failed
    rows = {name: row for name, row in ROWS.items() if name in (options.only or ROWS)}
    with tempfile.TemporaryDirectory(
        prefix="labcnn-bench-", ignore_cleanup_errors=True
    ) as temporary:
        try:
            bench = speed.Bench(options.quick, Path(temporary))
            result = circumstances(bench)
            partly = options.only and not options.quick and RESULTS.exists()
            others = kept(result, rows) if partly else []  # asked before the work, not after it
            print(f"data: {bench.dataset}")
            measures, whole = measured(bench, rows)
        except KeyboardInterrupt:
            sys.exit(130)
        finally:
            kill_children()
    found = [measure.record() for measure in measures]
    print(f"\n{shown(result | {'measures': found})}")
    result["measures"] = sorted([*others, *found], key=lambda one: list(ROWS).index(one["row"]))
    if not (options.only and options.quick):
        text = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
        (QUICK_RESULTS if options.quick else RESULTS).write_text(text, encoding="utf-8")
        if not options.quick:
            for page, inner in pages(result).items():
                page.write_text(replaced(page.read_text(encoding="utf-8"), inner), encoding="utf-8")
    sys.exit(0 if whole else 1)


if __name__ == "__main__":
    main()
