"""Training loops to compare: ours, a user's, a tuned peer's; and what the machine can do at most.

    python benchmarks/contestants.py '{"kind": "ours", "variant": "short_all", "threads": 2}'

Reads a number of seconds from each line of its input, works that long, and answers with a line of
JSON: images (or FLOPs) per second. Between two lines it sleeps, so that contestants can take turns
without being in each other's way.
"""

import itertools
import json
import math
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labcnn.data import load_dataset
from labcnn.data.batches import Batches
from labcnn.models import ConvNet, DoubleConv
from labcnn.request import RunRequest
from labcnn.training import checkpoint
from labcnn.training.hardware import choose_hardware
from labcnn.training.trainer import Trainer
from labcnn.variants import get_variant

WIDTH, BATCH_SIZE, DROPOUT_RATE = 32, 64, 0.5
#: Both sides' SGD; what it is set to doesn't change a step's time.
LEARNING_RATE, MOMENTUM = 0.01, 0.9
Rate = Callable[[float], float]


def ours(
    variant: str, threads: int, dataset: str = "tiny-imagenet-200", cached: bool = False
) -> Rate:
    """The project's own epoch, with augmentation; with ``cached``, on one batch again and again."""
    request = RunRequest.from_parameters(
        {
            "variant": variant,
            "dataset": dataset,
            "width": WIDTH,
            "batch_size": BATCH_SIZE,
            "augment": True,
            "dropout_rate": DROPOUT_RATE,
            "learning_rate": LEARNING_RATE,
            "momentum": MOMENTUM,
            "threads": threads,
            "logs": tempfile.gettempdir(),  # nothing is written
        }
    )
    checkpoint.SECONDS_BETWEEN = math.inf  # a turn is too short for its share of them
    trainer = Trainer(
        request, load_dataset(dataset), choose_hardware(threads=threads), request.folder
    )
    timed: Any = Timed(trainer.batches["train"], cached)
    trainer.batches["train"] = timed

    def images_per_second(seconds: float) -> float:
        timed.seconds = seconds
        trainer.totals.reset(trainer.learning_rate)
        return float(trainer.train_epoch()["images_per_second"])

    return images_per_second


class Timed:
    """Batches until the time is up; with ``cached``, the first one only."""

    def __init__(self, source: Batches, cached: bool) -> None:
        self.source, self.cached, self.seconds = source, cached, 0.0
        self.turns = itertools.count(1)  # each in its own order: other pages of the data's file

    def shuffled(
        self, batch_size: int, seed: int, epoch: int, *others: Any, start: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        end = time.perf_counter() + self.seconds
        for turn in self.turns:
            for batch in self.source.shuffled(batch_size, seed, turn, *others):
                yield batch
                while self.cached and time.perf_counter() < end:
                    yield batch
                if time.perf_counter() >= end:
                    return


def plain(variant: str, classes: int) -> nn.Module:
    """The same net of stock layers in their usual order."""
    model = ConvNet(get_variant(variant), WIDTH, classes, DROPOUT_RATE)
    for stage in model.stages:
        assert isinstance(stage, nn.Sequential)
        layers: list[nn.Module] = []
        for layer in stage:
            layers.append(layer)
            if isinstance(layer, DoubleConv) and layer.pool:
                layer.pool = False
                layers.append(nn.MaxPool2d(2))
        del stage[:]
        stage.extend(layers)
    return model


def image_folder(images: str, workers: int) -> tuple[Any, int]:
    """What torchvision's documentation suggests: ``ImageFolder``, transforms, ``DataLoader``."""
    from torch.utils.data import DataLoader
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    transform = transforms.Compose(
        [
            transforms.RandomCrop(64, padding=6),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize((0.480, 0.448, 0.397), (0.276, 0.269, 0.282)),
        ]
    )
    dataset = ImageFolder(images, transform)
    loader = DataLoader(
        dataset,
        BATCH_SIZE,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
    )
    return loader, len(dataset.classes)


def user(variant: str, threads: int, images: str, workers: int) -> Rate:
    """A loop as a course's solution has it: float32, default memory format, loss read each step."""
    device = choose_hardware(threads=threads).device
    loader, classes = image_folder(images, workers)
    model = plain(variant, classes).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
    criterion = nn.CrossEntropyLoss()

    def step(x: Tensor, y: Tensor) -> None:
        x, y = x.to(device), y.to(device)
        optimizer.zero_grad()
        logits = model(x)
        loss = criterion(logits, y)
        loss.backward()
        optimizer.step()
        loss.item()
        (logits.argmax(1) == y).sum().item()

    return timed_loop(loader, step, workers)


def peer(variant: str, threads: int, images: str, workers: int) -> Rate:
    """Lightning Fabric by its guide: bf16-mixed, channels-last, fused SGD, workers that persist."""
    from lightning_fabric import Fabric

    torch.set_num_threads(threads)
    loader, classes = image_folder(images, workers)
    fabric = Fabric(accelerator="auto", devices=1, precision="bf16-mixed")
    module = plain(variant, classes).to(memory_format=torch.channels_last)
    sgd = torch.optim.SGD(module.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM, fused=True)
    module, optimizer = fabric.setup(module, sgd)
    loader = fabric.setup_dataloaders(loader)

    def step(x: Tensor, y: Tensor) -> None:
        x = x.contiguous(memory_format=torch.channels_last)
        loss = F.cross_entropy(module(x), y)
        optimizer.zero_grad()
        fabric.backward(loss)
        optimizer.step()

    return timed_loop(loader, step, workers)


def timed_loop(loader: Any, step: Callable[[Tensor, Tensor], None], workers: int) -> Rate:
    """Epoch after epoch of ``loader``, as long as a turn lasts."""
    batches = (batch for _ in itertools.count() for batch in loader)
    synchronise = choose_hardware().synchronise

    def images_per_second(seconds: float) -> float:
        for _ in range(2 * workers + 1):  # what the workers made while others had their turn
            step(*next(batches))
        synchronise()
        begin, count = time.perf_counter(), 0
        while time.perf_counter() - begin < seconds:
            x, y = next(batches)
            step(x, y)
            count += len(y)
        synchronise()
        rate = count / (time.perf_counter() - begin)
        if workers:
            time.sleep(0.3)  # they fill their queue, and don't disturb the next one's turn
        return rate

    return images_per_second


def gemm(threads: int, precision: str) -> Rate:
    """FLOP/s of large matrix products, of the size that is fastest: what the machine can do."""
    hardware = choose_hardware(threads=threads)
    kind = {"bf16": torch.bfloat16, "fp32": torch.float32}[precision]

    def flops_per_second(seconds: float, size: int) -> float:
        a, b = (torch.randn(size, size, device=hardware.device).to(kind) for _ in range(2))
        torch.mm(a, b)
        hardware.synchronise()
        begin, count = time.perf_counter(), 0
        while time.perf_counter() - begin < seconds:
            torch.mm(a, b)
            hardware.synchronise()
            count += 1
        return count * 2 * size**3 / (time.perf_counter() - begin)

    best = max((1024, 2048, 4096), key=lambda size: flops_per_second(0.3, size))
    return lambda seconds: flops_per_second(seconds, best)


KINDS: dict[str, Callable[..., Rate]] = {"ours": ours, "user": user, "peer": peer, "gemm": gemm}


def write_images(folder: Path, dataset: str, count: int) -> None:
    """A folder of JPEGs, by class, from a decoded data set, for who has no original folder."""
    from PIL import Image

    split = load_dataset(dataset).train
    rows = range(len(split.labels)) if split.rows is None else split.rows
    for row in list(rows)[:: max(1, len(rows) // count)]:
        target = folder / f"{split.labels[row]:03d}" / f"{row}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(split.images[row]).save(target, quality=90)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started this one ends it, by its input's end
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print must not mix with the answers
    options = json.loads(sys.argv[1])
    rate = KINDS[options.pop("kind")](**options)
    rate(0.5)
    print(json.dumps("ready"), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(rate(float(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
