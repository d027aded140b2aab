"""One figure of a full-size run, measured in a process of its own: its start, its memory.

python benchmarks/one_run.py start|memory|checkpoint tiny-imagenet-200
"""

import resource
import sys
import tempfile
import time
from typing import Any
from unittest import mock

from labcnn.data import load_dataset
from labcnn.request import RunRequest
from labcnn.training import loop
from labcnn.training.checkpoint import Checkpoint
from labcnn.training.epoch import Totals
from labcnn.training.evaluate import evaluate
from labcnn.training.loop import fit


class Enough(BaseException):
    """The figure is known."""


def measured(what: str, dataset: str) -> float:
    """Seconds to the first step's end, GB of peak memory, or seconds of writing a checkpoint."""
    steps = {"start": 1, "memory": 30, "checkpoint": 1}[what]
    figures: list[float] = []
    add, save = Totals.add, Checkpoint.save

    def stopping(totals: Totals, *others: Any) -> None:
        add(totals, *others)
        if totals.steps == steps:
            figures.append(time.perf_counter() - begin)
            if what == "start":
                raise Enough

    def timed(checkpoint: Checkpoint) -> None:
        first = time.perf_counter()
        save(checkpoint)
        figures.append(time.perf_counter() - first)
        raise Enough

    def short(model: Any, batches: Any, *others: Any) -> dict[str, Any]:
        batches.rows = batches.rows[: 30 * 64]
        return real(model, batches, *others)

    real = loop.train_epoch
    with tempfile.TemporaryDirectory() as logs:
        request = RunRequest.from_parameters(
            {"variant": "long_all", "dataset": dataset, "threads": 1, "logs": logs}
        )
        begin = time.perf_counter()
        with (
            mock.patch.object(Totals, "add", stopping),
            mock.patch.object(Checkpoint, "save", timed),
            mock.patch.object(loop, "train_epoch", short if what != "start" else real),
            mock.patch.object(loop, "evaluate", evaluate),
        ):
            try:
                fit(request, load_dataset(dataset))
            except Enough:
                pass
    if what == "memory":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return figures[-1]


if __name__ == "__main__":
    print(measured(sys.argv[1], sys.argv[2]))
