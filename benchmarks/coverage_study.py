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
from simulated_study import World, draw, expect, is_true, judge, original_world, truths

from labcnn.variants import REPORT_VARIANTS
from labreport import estimates
from labreport.study import original
from labreport.verdicts import Outcome

HERE = Path(__file__).parent
RECORD, PAGE = HERE / "coverage.json", HERE.parent / "docs" / "statistics.md"
BEGIN = "<!-- tables: written by benchmarks/coverage_study.py -->"
END = "<!-- end of tables -->"
#: Goals: false verdicts in at most this share of studies; intervals cover as often as this.
FALSE, LOWEST, HIGHEST = 0.05, 0.94, 0.96
DECIDED = {Outcome.HOLDS, Outcome.FAILS, Outcome.EQUIVALENT}


def worlds() -> list[World]:
    """No difference with few and many seeds, alike and unlike; real differences; both at once."""
    same, uneven = "no difference", {"short_all": 0.03, "long_all": 0.002, "long_baseline": 0.03}
    better = REPORT_VARIANTS[::2]
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
        World(f"{same}, one seed of nine variants", 3, single=frozenset(REPORT_VARIANTS[4:])),
        World("one point better or alike", 5, 0.004, 10_000, test=dict.fromkeys(better, 0.41)),
        World("short better, switches without effect", 5, test=short | {"short_all": 0.6}),
        *(original_world(seeds, original()) for seeds in (1, 2, 3, 5, 10)),
        *(original_world(seeds, original(), images=10_000, spread=0.004) for seeds in (1, 2, 3, 5)),
    ]


def family(world: World, studies: int, moderated: bool = True) -> dict[str, Any]:
    """Of ``studies`` drawn from ``world``: false verdicts, found truths, covered effects.

    A study has a false verdict if the outcome of any part of any claim is false. Found is a claim
    that holds or fails and is said to, or to make too small a difference where that is true.
    """
    rng = np.random.default_rng([world.seeds, *world.name.encode()])
    wrong = wrong_of_variants = found = parts = parts_found = 0
    covered: dict[str, list[float]] = defaultdict(list)
    of_variants = truths(world)
    expected = expect(world, of_variants)
    for _ in range(studies):
        drawn = draw(world, rng)
        values = truths(world, drawn.nets) if world.seeds == 1 else of_variants
        verdicts = judge(drawn, moderated)
        findings = [finding for verdict in verdicts for finding in verdict.findings]
        said = [(f.part, f.outcome) for f in findings]
        wrong += any(not is_true(world, part, values[part], word) for part, word in said)
        right = [is_true(world, part, of_variants[part], word) for part, word in said]
        wrong_of_variants += not all(right)
        of_claims = {v.claim.id: v.outcome for v in verdicts}
        found += sum(of_claims[c] in {word, Outcome.EQUIVALENT} for c, word in expected.items())
        parts += len(said)
        parts_found += sum(
            one and word in DECIDED for one, (_, word) in zip(right, said, strict=True)
        )
        hits: dict[str, list[bool]] = defaultdict(list)
        for finding in findings:
            estimate, part = finding.estimate, finding.part
            if part.decides and estimate and not math.isnan(estimate.low):
                hits[part.measure].append(estimate.low <= values[part] <= estimate.high)
        for measure, seen in hits.items():
            covered[measure].append(sum(seen) / len(seen))
    findable = studies * len(expected)
    return {
        "name": world.name, "seeds": world.seeds, "images": world.images, "studies": studies,
        "spread": world.spread, "false": wrong, "false_of_variants": wrong_of_variants,
        "right": found / findable if findable else None, "right_parts": parts_found / parts,
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
        "\n| error with variance in part known | seeds | 95 % interval covers | beyond p = 1/320 |",
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


def found(record: dict[str, Any]) -> list[str]:
    """A table of true claims and parts found: each pair by its own spread, and moderated."""
    lines = [
        "\n| studies | seeds | images | claims found, each pair alone | **moderated** | "
        "parts found, each pair alone | **moderated** |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in record["families"]:
        if one["right"] is not None:
            alone = one.get("alone", one)
            cells = [alone["right"], one["right"], alone["right_parts"], one["right_parts"]]
            lines.append(
                f"| {one['name']} | {one['seeds']} | {one['images']:,} | "
                + " | ".join(f"{_percent(cell, 0)} %" for cell in cells)
                + " |"
            )
    return lines


def tables(record: dict[str, Any]) -> str:
    """The tables in Markdown, with the goals and whether they are met."""
    lines = [
        f"{record['studies']:,} studies a row, {record['repeats']:,} draws an interval; numpy "
        f"{record['numpy']}, scipy {record['scipy']}; {record['seconds']:.0f} s. In brackets: 95 % "
        "intervals of the simulation itself.\n",
        "| studies | seeds | images | false outcome in % of studies | goal <= 5 | "
        "test covered | others covered |",
        "| --- | ---: | ---: | ---: | --- | ---: | --- |",
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
        spread = "" if one["spread"] == 0.01 else f", spread {_percent(one['spread'])}"
        lines.append(
            f"| {one['name']}{spread} | {one['seeds']} | {one['images']:,} | "
            f"{_percent(count / one['studies'])} "
            f"[{_percent(low)}, {_percent(high)}] | {met} | {_percent(share)} ± "
            f"{_percent(1.96 * error)} | {others} |"
        )
    lines += found(record)
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
    parser.add_argument("--studies", type=int, default=400, help="400, to be recorded")
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
        if world.has_differences and world.seeds > 1:
            record["families"][-1]["alone"] = {
                key: value for key, value in family(world, studies, moderated=False).items()
                if key in {"false", "right", "right_parts"}
            }  # fmt: skip
    record["intervals"] = []
    for name, drawing in intervals():
        record["intervals"].append(covering(name, drawing, repeats))
        print(
            json.dumps(record["intervals"][-1]), f"{time.process_time() - begin:.0f} s", flush=True
        )
    record["seconds"] = time.process_time() - begin
    print(tables(record))
    if studies >= 400:
        write(record)


if __name__ == "__main__":
    main()
