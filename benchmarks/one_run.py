"""Figures of a full-size run, in a process of its own: its start; its memory and what it saves.

    python benchmarks/one_run.py start short_all tiny-imagenet-200
    python benchmarks/one_run.py middle long_all tiny-imagenet-200

Both run the real ``fit`` on all cores, and leave it as soon as the figures are known.
"""

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import torch

from labcnn.data import load_dataset
from labcnn.request import RunRequest
from labcnn.training import trainer
from labcnn.training.checkpoint import Checkpoint
from labcnn.training.trainer import Totals, Trainer, fit

BATCH_SIZE, STEPS, SAVES = 64, 30, 3


class Enough(BaseException):
    """The figures are known."""


def begin_run(variant: str, dataset: str) -> None:
    """Load the data and fit, until something says that it is :class:`Enough`."""
    with tempfile.TemporaryDirectory() as logs:
        request = RunRequest.from_parameters(
            {
                "variant": variant,
                "dataset": dataset,
                "width": 32,
                "batch_size": BATCH_SIZE,
                "augment": True,
                "logs": logs,
            }
        )
        try:
            fit(request, load_dataset(dataset))
        except Enough:
            pass


def start(variant: str, dataset: str) -> dict[str, float]:
    """``seconds`` to the end of the first step, from loading the data on."""
    add = Totals.add

    def stopping(totals: Totals, *others: Any) -> None:
        add(totals, *others)
        seconds.append(time.perf_counter() - begin)
        raise Enough

    seconds: list[float] = []
    torch.optim.SGD([torch.zeros(1, requires_grad=True)])  # the first one imports half of torch
    begin = time.perf_counter()
    with mock.patch.object(Totals, "add", stopping):
        begin_run(variant, dataset)
    return {"seconds": seconds[0]}


def middle(variant: str, dataset: str) -> dict[str, float]:
    """What a run has taken by the end of its first epoch.

    Every image is read once, as in a whole epoch, for the mapped ones count as memory; steps are
    made with some of them. Then come the whole validation, the probe and a checkpoint.

    Returns
    -------
    dict
        ``gigabytes`` of peak memory; ``checkpoint`` and ``probe``, in seconds; ``epoch``, the
        seconds of a whole one, by those of the steps made.
    """
    figures: dict[str, float] = {}

    def some_steps(run: Trainer) -> dict[str, Any]:
        batches = run.batches["train"]
        rows = batches.rows
        for some in rows.split(500):
            batches.images.index_select(0, some)
        batches.rows = rows[: BATCH_SIZE * STEPS]
        begin = time.perf_counter()
        row = train_epoch(run)
        figures["epoch"] = (time.perf_counter() - begin) * len(rows) / len(batches.rows)
        batches.rows = rows
        return row

    def time_saving(checkpoint: Checkpoint, run: Trainer) -> None:
        if not run.journal.history:  # the one before the validation
            return
        figures["checkpoint"] = min(seconds_of(lambda: save(checkpoint, run)) for _ in range(SAVES))
        raise Enough

    def time_probe(*arguments: Any, **options: Any) -> list[dict[str, Any]]:
        begin = time.perf_counter()
        rows = gradient_norms(*arguments, **options)
        figures["probe"] = time.perf_counter() - begin
        return rows

    train_epoch, gradient_norms, save = Trainer.train_epoch, trainer.gradient_norms, Checkpoint.save
    with (
        mock.patch.object(Trainer, "train_epoch", some_steps),
        mock.patch.object(trainer, "gradient_norms", time_probe),
        mock.patch.object(Checkpoint, "save", time_saving),
    ):
        begin_run(variant, dataset)
    return figures | {"gigabytes": peak_memory() / 1e9}


def seconds_of(work: Callable[[], None]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def peak_memory() -> int:
    """Bytes that this process had in memory at most."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


if __name__ == "__main__":
    print(json.dumps({"start": start, "middle": middle}[sys.argv[1]](*sys.argv[2:])))
