"""Time to the original's best: the short net under protocol `tuned`, and what each trick is worth.

    python benchmarks/tuned.py                      # 5 seeds on all cores: benchmarks/tuned.json
    python benchmarks/tuned.py --ablation --seeds 0 # one trick less at a time
    python benchmarks/tuned.py --table              # only the tables

Every run is the real `fit` on Tiny ImageNet; its files are below `benchmarks/tuned/`, and a
finished one isn't run again. A run's time is that of its epochs, each with its validation; set-up
and the final evaluation are left out.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from measures import replaced

from labcnn.request import RunRequest
from labcnn.runs import NUMERICS, RESULT, RunFolder
from labcnn.training.trainer import fit

HERE = Path(__file__).parent
RUNS = HERE / "tuned"
#: The original report's best test accuracy.
ORIGINAL_BEST = 0.4302

#: What replaces a trick. `48 px from the start` has four epochs, for about the same work.
ABLATIONS: dict[str, dict[str, Any]] = {
    "everything": {},
    "SGD instead of Muon": {
        "optimizer": "sgd",
        "learning_rate": 0.3,
        "momentum": 0.9,
        "weight_decay": 5e-4,
    },
    "stem not whitened": {"whiten": False},
    "48 px from the start, 4 epochs": {"first_size": 48, "epochs": 4},
    "no label smoothing": {"label_smoothing": 0.0},
    "no mirroring and shifting": {"augment": False},
    "4 epochs instead of 5": {"epochs": 4},
}


def request(name: str, seed: int, threads: int | None) -> RunRequest:
    return RunRequest.from_parameters(
        {
            "variant": "short_all",
            "dataset": "tiny-imagenet-200",
            "protocol": "tuned",
            "seed": seed,
            "threads": threads,
            "experiment": name.replace(" ", "-").replace(",", ""),
            "logs": str(RUNS),
            **ABLATIONS[name],
        }
    )


def rows() -> list[dict[str, Any]]:
    """A row per finished run, with its validation accuracy from one view and from six."""
    names = {request(name, 0, 1).experiment_name: name for name in ABLATIONS}
    found = []
    for path in sorted(RUNS.glob(f"*/*/seed*/{RESULT}")):
        folder = RunFolder(path.parent)
        result, history = folder.result(), folder.history()
        if result.experiment in names and result.provenance.numerics == NUMERICS:
            found.append(
                {
                    "what": names[result.experiment],
                    "seed": result.recipe.seed,
                    "test_accuracy": result.test.accuracy,
                    "val_accuracy": result.val.accuracy,
                    "val_accuracy_one_view": history.val_accuracy.iloc[-1],
                    "train_seconds": result.timing.train_seconds,
                    "parameters": result.model.parameters,
                    "threads": result.provenance.threads,
                }
            )
    return found


def seeds_table(whole: pd.DataFrame) -> str:
    """One line per seed with every trick, and their mean."""
    lines = [
        "| seed | validation accuracy | test accuracy | seconds of training | threads |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    for run in whole.to_dict("records"):
        lines.append(
            f"| {run['seed']} | {run['val_accuracy']:.2%} | {run['test_accuracy']:.2%} | "
            f"{run['train_seconds']:.0f} | {run['threads']} |"
        )
    lines.append(
        f"| mean | {whole.val_accuracy.mean():.2%} | {whole.test_accuracy.mean():.2%} | "
        f"{whole.train_seconds.mean():.0f} | |"
    )
    return "\n".join(lines)


def ablation_table(found: pd.DataFrame) -> str:
    """One line per trick left out; differences are those of the same seeds."""
    whole = found[found.what == "everything"].set_index("seed")
    lines = [
        "| left out | seeds | validation accuracy, six views | difference |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name in ABLATIONS:
        part = found[found.what == name].set_index("seed")
        part = part[part.index.isin(whole.index)]
        if part.empty:
            continue
        difference = (part.val_accuracy - whole.val_accuracy.reindex(part.index)).mean()
        shown = "" if name == "everything" else f"{100 * difference:+.2f}"
        lines.append(
            f"| {'nothing' if name == 'everything' else name} | {len(part)} | "
            f"{part.val_accuracy.mean():.2%} | {shown} |"
        )
    view = whole.val_accuracy_one_view
    lines.append(
        f"| one view instead of six at the end | {len(view)} | {view.mean():.2%} | "
        f"{100 * (view - whole.val_accuracy).mean():+.2f} |"
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--threads", type=int, help="CPU threads; all cores if left out")
    parser.add_argument("--ablation", action="store_true", help="one trick less at a time")
    parser.add_argument("--table", action="store_true", help="run nothing")
    options = parser.parse_args()
    names = [name for name in ABLATIONS if name != "everything"]
    if not options.table:
        for name in names if options.ablation else ["everything"]:
            for seed in options.seeds:
                print(f"{name}, seed {seed}", flush=True)
                fit(request(name, seed, options.threads))
    found = pd.DataFrame(rows())
    if found.empty:
        return
    whole = found[found.what == "everything"]
    columns = ["seed", "test_accuracy", "val_accuracy", "train_seconds", "parameters", "threads"]
    record = {"goal_accuracy": ORIGINAL_BEST, "runs": whole[columns].to_dict("records")}
    (HERE / "tuned.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    accuracy, seconds = whole.test_accuracy.to_numpy(), whole.train_seconds.to_numpy()
    print(
        f"\n{len(whole)} seeds: test accuracy {accuracy.mean():.2%} "
        f"({np.ptp(accuracy):.2%} between the extremes), the original's best "
        f"{ORIGINAL_BEST:.2%}; {seconds.mean():.0f} s of training\n"
    )
    print(ablation_table(found))
    page = HERE / "tuned.md"
    tables = f"{seeds_table(whole)}\n\n{ablation_table(found)}"
    page.write_text(replaced(page.read_text(encoding="utf-8"), tables), encoding="utf-8")


if __name__ == "__main__":
    main()
