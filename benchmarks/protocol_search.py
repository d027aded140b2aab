"""The search behind protocol `course`: which rate, optimiser and start lets all depths learn?

    python benchmarks/protocol_search.py --variants long_baseline --rates 0.01 0.02 --epochs 6

Trains baselines on part of the real Tiny ImageNet and looks at validation alone: the test set is
not even loaded into a run. Writes a run's folder per candidate below `benchmarks/protocol/` (one
that is finished there isn't run again, one that was stopped goes on), and rewrites the table in
`benchmarks/protocol.md` and the curves in `benchmarks/protocol.svg`.
"""

import argparse
import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pandas as pd
from matplotlib import pyplot as plt
from measures import replaced
from torch import nn

from labcnn.data import ImageData, load_dataset
from labcnn.models import ConvNet
from labcnn.request import RunRequest
from labcnn.training.trainer import fit

FOLDER = Path(__file__).parent / "protocol"


def pytorch_default(model: ConvNet, seed: int) -> None:
    """Leave the weights as PyTorch's layers draw them."""


def he_fan_out(model: ConvNet, seed: int) -> None:
    """He initialisation by the number of outputs, as torchvision's ResNet uses it."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


INITIALISATIONS: dict[str, Callable[[ConvNet, int], None]] = {
    "he_fan_in": ConvNet.initialise,
    "he_fan_out": he_fan_out,
    "pytorch_default": pytorch_default,
}


def candidate(request: RunRequest, data: ImageData, initialisation: str) -> None:
    """Train one candidate, or the rest of one; its folder's name says what it is."""
    with mock.patch.object(ConvNet, "initialise", INITIALISATIONS[initialisation]):
        fit(request, data)


def candidates() -> list[dict[str, Any]]:
    """What was tried, and each candidate's history, by net, optimiser, initialisation and rate."""
    found = []
    for path in sorted(FOLDER.glob("*-18000x*/*/seed*/history.csv")):
        optimiser, rest = path.parts[-4].split("-", 1)
        rate, initialisation, size = rest.rsplit("-", 2)  # a rate like 5e-05 has a hyphen itself
        images, epochs = size.split("x")
        found.append(
            {
                "net": path.parts[-3].removesuffix("_baseline"),
                "optimiser": {"sgd": "SGD", "adamw": "AdamW"}[optimiser],
                "rate": float(rate.removeprefix("lr")),
                "initialisation": initialisation.replace("_", " "),
                "images": images,
                "epochs": epochs,
                "history": pd.read_csv(path, encoding="utf-8"),
            }
        )
    order = ("long", "mid", "short")
    found.sort(key=lambda one: (order.index(one["net"]), one["optimiser"], one["rate"]))
    return found


def table() -> str:
    """Every candidate's curves on one line: train loss and validation accuracy by epoch."""
    lines = [
        "| net | optimiser | rate | initialisation | train loss / validation accuracy (%) after "
        "epochs 1, 2, … |",
        "| --- | --- | ---: | --- | --- |",
    ]
    for one in candidates():
        history = one["history"]
        cells = [
            f"{loss:.2f} / {100 * accuracy:.1f}"
            for loss, accuracy in zip(history.train_loss, history.val_accuracy, strict=True)
        ]
        lines.append(
            f"| {one['net']} | {one['optimiser']} | {one['rate']:g} | {one['initialisation']} | "
            f"{' · '.join(cells)} |"
        )
    return "\n".join(lines)


def draw(path: Path) -> None:
    """The training losses, a panel per net; a line per candidate with the chosen start."""
    figure, axes = plt.subplots(1, 3, figsize=(10, 3.2), sharey=True, layout="constrained")
    styles = {"SGD": "--", "AdamW": "-"}
    for ax, net in zip(axes, ("short", "mid", "long"), strict=True):
        for one in candidates():
            if one["net"] == net and one["initialisation"] == "he fan in":
                history, name = one["history"], f"{one['optimiser']} {one['rate']:g}"
                shown = {"linestyle": styles[one["optimiser"]], "marker": ".", "label": name}
                ax.plot(history.epoch, history.train_loss, **shown)
        ax.axhline(math.log(200), color="0.6", linewidth=1, zorder=0)
        ax.set(title=net, xlabel="epoch")
        ax.xaxis.get_major_locator().set_params(integer=True)
        if ax.get_legend_handles_labels()[0]:
            ax.legend(fontsize=7)
    axes[0].set_ylabel("training loss (grey: ln 200)")
    with plt.rc_context({"svg.hashsalt": path.name}):  # the same file again
        figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--variants", nargs="+", default=["short_baseline"])
    parser.add_argument("--rates", nargs="+", type=float, default=[0.01])
    parser.add_argument("--optimiser", choices=["sgd", "adamw"], default="sgd")
    parser.add_argument("--initialisation", choices=INITIALISATIONS, default="he_fan_in")
    parser.add_argument("--fraction", type=float, default=0.2)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--table", action="store_true", help="run nothing")
    options = parser.parse_args()
    if not options.table:
        data = load_dataset("tiny-imagenet-200", options.fraction)
        data = dataclasses.replace(data, test=data.val)  # the search never sees the test set
        for variant in options.variants:
            for rate in options.rates:
                size = f"{len(data.train)}x{options.epochs}"
                name = f"{options.optimiser}-lr{rate:g}-{options.initialisation}-{size}"
                request = RunRequest.from_parameters(
                    {
                        "variant": variant,
                        "dataset": "tiny-imagenet-200",
                        "fraction": options.fraction,
                        "epochs": options.epochs,
                        "optimizer": options.optimiser,
                        "learning_rate": rate,
                        "patience": options.epochs,
                        "threads": 1,
                        "experiment": name,
                        "logs": str(FOLDER),
                    }
                )
                print(f"{variant} {name}", flush=True)
                candidate(request, data, options.initialisation)
    page = FOLDER.with_suffix(".md")
    page.write_text(replaced(page.read_text(encoding="utf-8"), table()), encoding="utf-8")
    draw(FOLDER.with_suffix(".svg"))
    print(table())


if __name__ == "__main__":
    main()
