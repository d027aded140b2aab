"""How often verdicts are wrong and intervals cover, simulated; writes docs/statistics.md's tables.

python benchmarks/coverage_study.py                # minutes of one core; coverage.json
python benchmarks/coverage_study.py --studies 20   # does all of it run? writes nothing
"""

import argparse
import gc
import json
import math
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from simulated_intervals import LEVELS, METHODS, beyond, covering, intervals
from simulated_study import World, draw, judge, original_world, states, truths

from labreport import estimates
from labreport.study import original
from labreport.verdicts import Outcome

HERE = Path(__file__).parent
RECORD, PAGE = HERE / "coverage.json", HERE.parent / "docs" / "statistics.md"
BEGIN = "<!-- tables: written by benchmarks/coverage_study.py -->"
END = "<!-- end of tables -->"
#: Goals: false verdicts in at most this share of studies; intervals cover as often as this.
FALSE, LOWEST, HIGHEST = 0.05, 0.94, 0.96


def worlds() -> list[World]:
    """No difference with few and many seeds, alike and unlike; real differences; both at once."""
    same, uneven = "no difference", {"short_all": 0.03, "long_all": 0.002, "long_baseline": 0.03}
    short = dict.fromkeys([f"short_{s}" for s in ("baseline", "lrdecay", "norm", "dropout")], 0.5)
    return [
        World(same, 1, spread=0.0),
        World(f"{same} between variants", 1),
        World(f"{same} between variants", 1, images=10_000),
        World(same, 2),
        World(same, 3),
        World(same, 5),
        World(same, 10),
        World(f"{same}, seeds alike", 3, spread=0.0),
        World(f"{same}, spreads of 0.2 to 3 points", 3, spreads=uneven),
        World("short better, switches without effect", 5, test=short | {"short_all": 0.6}),
        *(original_world(seeds, original()) for seeds in (1, 3, 10)),
    ]


def family(world: World, studies: int) -> dict[str, Any]:
    """Of ``studies`` drawn from ``world``: false verdicts, found truths, covered effects."""
    rng = np.random.default_rng([world.seeds, *world.name.encode()])
    wrong = wrong_of_variants = found = 0
    covered: dict[str, list[float]] = defaultdict(list)
    of_variants = truths(world)
    true_of_variants = states(world, of_variants)
    for _ in range(studies):
        drawn = draw(world, rng)
        values = truths(world, drawn.nets) if world.seeds == 1 else of_variants
        true = states(world, values) if world.seeds == 1 else true_of_variants
        verdicts = judge(drawn)
        said = {v.claim.id: v.outcome for v in verdicts if v.outcome is not Outcome.UNDECIDED}
        wrong += any(true[claim] != word for claim, word in said.items())
        wrong_of_variants += any(true_of_variants[claim] != word for claim, word in said.items())
        found += sum(true_of_variants[claim] == word for claim, word in said.items())
        hits: dict[str, list[bool]] = defaultdict(list)
        for finding in (f for v in verdicts for f in v.findings):
            estimate, part = finding.estimate, finding.part
            if part.decides and estimate and not math.isnan(estimate.low):
                hits[part.measure].append(estimate.low <= values[part] <= estimate.high)
        for measure, seen in hits.items():
            covered[measure].append(sum(seen) / len(seen))
    findable = studies * sum(bool(word) for word in true_of_variants.values())
    return {
        "name": world.name, "seeds": world.seeds, "images": world.images, "studies": studies,
        "spread": world.spread, "false": wrong, "false_of_variants": wrong_of_variants,
        "right": found / findable if findable else None,
        "coverage": {
            measure: [float(np.mean(shares)), float(np.std(shares) / len(shares) ** 0.5)]
            for measure, shares in covered.items()
        },
    }  # fmt: skip


def _percent(value: float, digits: int = 1) -> str:
    return f"{value * 100:.{digits}f}"


def _met(low: float, high: float, lowest: float, highest: float) -> str:
    """Is the goal met, by an interval that says how sure the simulation is?"""
    if lowest <= low and high <= highest:
        return "yes"
    return "**no**" if high < lowest or highest < low else "can't tell"


def integrated() -> list[str]:
    """A table of :func:`beyond`: for each method and number of seeds, the extremes over shares."""
    lines = [
        "\n| error with variance in part known | seeds | 95 % interval covers | beyond p = 1/300 |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, method in METHODS.items():
        for seeds in (2, 3, 5, 10):
            covered, tail = (beyond(method, level, seeds - 1) for level in LEVELS)
            lines.append(
                f"| {name} | {seeds} | {_percent(1 - covered.max())} to "
                f"{_percent(1 - covered.min())} | 1/{1 / tail.max():.0f} at most |"
            )
    return lines


def tables(record: dict[str, Any]) -> str:
    """The tables in Markdown, with the goals and whether they are met."""
    lines = [
        f"{record['studies']:,} studies a row, {record['repeats']:,} draws an interval; numpy "
        f"{record['numpy']}, scipy {record['scipy']}; {record['seconds']:.0f} s. In brackets: 95 % "
        "intervals of the simulation itself.\n",
        "| studies | seeds | images | false verdict in % of studies | goal <= 5 | "
        "true ones found | test covered | others covered |",
        "| --- | ---: | ---: | ---: | --- | ---: | ---: | --- |",
    ]
    for one in record["families"]:
        nets = one["name"].endswith("between variants")
        count = one["false_of_variants"] if nets else one["false"]
        low, high = estimates.wilson(count, one["studies"])
        met = (
            "**no**" if low > FALSE else "yes" if count <= FALSE * one["studies"] else "can't tell"
        )
        others = ", ".join(
            f"{measure} {_percent(share)}" for measure, (share, _) in one["coverage"].items()
            if measure != "test"
        )  # fmt: skip
        share, error = one["coverage"]["test"]
        found = "" if one["right"] is None else f"{_percent(one['right'], 0)} %"
        spread = "" if one["spread"] == 0.01 else f", spread {_percent(one['spread'], 0)}"
        lines.append(
            f"| {one['name']}{spread} | {one['seeds']} | {one['images']:,} | "
            f"{_percent(count / one['studies'])} "
            f"[{_percent(low)}, {_percent(high)}] | {met} | {found} | {_percent(share)} ± "
            f"{_percent(1.96 * error)} | {others} |"
        )
    lines += ["\n| interval | covers in % | goal 95 ± 1 |", "| --- | ---: | --- |"]
    for one in record["intervals"]:
        low, high = estimates.wilson(one["covered"], one["repeats"])
        share = one["covered"] / one["repeats"]
        lines.append(
            f"| {one['name']} | {_percent(share)} [{_percent(low)}, {_percent(high)}] | "
            f"{_met(low, high, LOWEST, HIGHEST)} |"
        )
    return "\n".join(lines + integrated())


def write(record: dict[str, Any]) -> None:
    """The record, and its tables between the marks of the page."""
    RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    page = f"{before}{BEGIN}\n\n{tables(record)}\n\n{END}{after}"
    PAGE.write_text(page, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--studies", type=int, default=2000, help="2000, to be recorded")
    parser.add_argument("--tables", action="store_true", help="of coverage.json, nothing drawn")
    options = parser.parse_args()
    if options.tables:
        return write(json.loads(RECORD.read_text(encoding="utf-8")))
    studies = options.studies
    begin, repeats = time.process_time(), 20 * studies
    gc.collect()
    gc.freeze()  # statsmodels' Holm collects garbage each time
    record: dict[str, Any] = {"studies": studies, "repeats": repeats, "families": []}
    record |= {"numpy": np.__version__, "scipy": scipy.__version__}
    for world in worlds():
        record["families"].append(family(world, studies))
        print(
            json.dumps(record["families"][-1]), f"{time.process_time() - begin:.0f} s", flush=True
        )
    record["intervals"] = []
    for name, drawing in intervals():
        record["intervals"].append(covering(name, drawing, repeats))
        print(
            json.dumps(record["intervals"][-1]), f"{time.process_time() - begin:.0f} s", flush=True
        )
    record["seconds"] = time.process_time() - begin
    print(tables(record))
    if studies >= 2000:
        write(record)


if __name__ == "__main__":
    main()
