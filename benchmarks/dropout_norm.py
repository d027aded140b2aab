"""Why dropout stands before the head only: what it does to batch normalisation between the stages.

    python benchmarks/dropout_norm.py            # runs what is missing: dropout_norm.json and .md
    python benchmarks/dropout_norm.py --table    # only the table

Trains short_all with dropout after each stage and before the head, and with dropout before the head
only, on a fifth of Tiny ImageNet, and evaluates each epoch's net on the validation images: as
trained, with the normalisations' statistics taken anew with dropout off, and with it on.
"""

import argparse
import itertools
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measures import replaced
from torch import nn

from labcnn.data import ImageData, load_dataset
from labcnn.explore import reestimate_norm
from labcnn.files import write_text
from labcnn.request import RunRequest
from labcnn.training.evaluate import evaluate
from labcnn.training.hardware import Hardware, choose_hardware
from labcnn.training.trainer import Trainer

PLACE = Path(__file__).with_suffix(".json")
PAGE = PLACE.with_suffix(".md")
FRACTION, EPOCHS, SEEDS = 0.2, 3, (0, 1)
#: Where dropout stands: its rate after each stage, and before the head.
PLACES = {"stages and head": (0.2, 0.2), "head only": (0.0, 0.5)}
#: Training batches that statistics are taken from.
REESTIMATION = 60


def study(place: str, seed: int, data: ImageData, hardware: Hardware) -> list[dict[str, Any]]:
    """A row per epoch: accuracies, 0-1, during training and three ways in evaluation."""
    stage_rate, head_rate = PLACES[place]
    given = {"variant": "short_all", "dataset": "tiny-imagenet-200", "seed": seed}
    given |= {"fraction": FRACTION, "epochs": EPOCHS, "dropout_rate": head_rate}
    with tempfile.TemporaryDirectory() as logs:
        request = RunRequest.from_parameters(given | {"logs": logs})
        trainer = Trainer(request, data, hardware, request.folder)
        if stage_rate:
            for stage in trainer.model.stages:
                assert isinstance(stage, nn.Sequential)
                stage.append(nn.Dropout(stage_rate))
        trainer.resume()
        return [study_epoch(trainer, place) for _ in range(EPOCHS)]


def study_epoch(trainer: Trainer, place: str) -> dict[str, Any]:
    """Train one epoch; its row."""
    model, hardware = trainer.model, trainer.hardware
    train, val = trainer.batches["train"], trainer.batches["val"]
    trainer.run_epoch()
    trained = trainer.journal.history[-1]
    accuracies = {"as trained": evaluate(model, val, hardware).metrics.accuracy}
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    for dropout in (False, True):
        inputs = (x for x, _ in train.shuffled(trainer.recipe.batch_size, seed=99, epoch=0))
        some = itertools.islice(inputs, REESTIMATION)
        reestimate_norm(model, some, hardware, dropout=dropout)
        name = f"statistics anew, dropout {'on' if dropout else 'off'}"
        accuracies[name] = evaluate(model, val, hardware).metrics.accuracy
    model.load_state_dict(kept)
    row = {"epoch": trained["epoch"], "in training": trained["train_accuracy"], **accuracies}
    print(place, trainer.recipe.seed, row, flush=True)
    return row


def table(found: dict[str, Any]) -> str:
    """Means over the seeds after the last epoch, with the extremes where they differ."""
    names = [name for name in next(iter(found.values()))[0] if name != "epoch"]
    lines = [
        f"| dropout | {' | '.join(names)} |",
        f"| --- | {' | '.join('---:' for _ in names)} |",
    ]
    for place in PLACES:
        runs = [rows[-1] for key, rows in found.items() if key.rsplit(", ", 1)[0] == place]
        cells = []
        for name in names:
            values = 100 * np.array([run[name] for run in runs])
            cells.append(f"{values.mean():.1f} ({values.min():.1f} to {values.max():.1f})")
        lines.append(f"| {place} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--table", action="store_true", help="run nothing")
    options = parser.parse_args()
    saved = json.loads(PLACE.read_text(encoding="utf-8")) if PLACE.exists() else {"runs": {}}
    if not options.table:
        hardware = choose_hardware("cpu", threads=1)
        data = load_dataset("tiny-imagenet-200", FRACTION)
        saved["machine"] = f"{hardware.name}, {hardware.precision}, torch {torch.__version__}"
        for seed, place in itertools.product(SEEDS, PLACES):
            if (key := f"{place}, {seed}") not in saved["runs"]:
                saved["runs"][key] = study(place, seed, data, hardware)
                write_text(PLACE, json.dumps(saved, indent=1) + "\n")
    text = replaced(PAGE.read_text(encoding="utf-8"), table(saved["runs"]))
    PAGE.write_text(text, encoding="utf-8")
    print(table(saved["runs"]))


if __name__ == "__main__":
    main()
