"""Ready for an accelerator: no step waits for it, and a split goes there once, as bytes."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from training_requests import request

from labcnn.data.batches import Batches, channel_statistics
from labcnn.network import ConvNet
from labcnn.training import epoch as epoch_module
from labcnn.training.epoch import Totals, train_epoch
from labcnn.training.hardware import choose_hardware
from labcnn.training.optimizers import make_optimizer
from labcnn.training.schedules import Decay

#: Operations whose answer, or its shape, the host must wait for.
WAITING = (
    "_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "masked_select", "_unique2",
    "unique_dim", "allclose", "_assert_async",
)  # fmt: skip


class NoWaiting(TorchDispatchMode):
    """Fails on each operation that would make the host wait for a device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket.__name__ in WAITING:
            raise AssertionError(f"the host waits for {func}")
        return func(*args, **(kwargs or {}))


class Watched(Batches):
    """Batches that watch the steps between the first one's begin and the last one's end."""

    def shuffled(self, *arguments, **more):
        batches = list(super().shuffled(*arguments, **more))  # cut before: what is watched is steps
        with NoWaiting():
            yield from batches


def steps_of(data, monkeypatch, **parameters):
    monkeypatch.setattr(epoch_module, "STEPS_PER_LOOK", 1000)
    wanted = request(**parameters)
    recipe, hardware = wanted.recipe, choose_hardware("cpu", "bf16", 1)
    batches = Watched(data.train, *channel_statistics(data.train), hardware.device)
    model = ConvNet(recipe.network, 4, data.classes, 0.2)
    optimizer = make_optimizer(model, recipe)
    decay = Decay(optimizer, recipe, 8)
    totals = Totals(hardware.device)
    return train_epoch(model, batches, optimizer, decay, recipe, 1, hardware, totals)


@pytest.mark.parametrize("variant", ["short_all", "mid_residual", "short_norm", "short_dropout"])
@pytest.mark.parametrize(
    "more", [{"decay": "one_cycle"}, {"optimizer": "muon", "decay": "one_cycle"}, {}]
)
def test_no_step_waits_for_the_device(small_data, monkeypatch, variant, more):
    row = steps_of(small_data, monkeypatch, variant=variant, augment=True, **more)
    assert row["train_loss"] > 0


def test_a_step_that_waits_is_found(small_data, monkeypatch):
    add = Totals.add

    def reading(totals, loss, logits, y):
        add(totals, loss, logits, y)
        loss.item()

    monkeypatch.setattr(Totals, "add", reading)
    with pytest.raises(AssertionError, match=r"the host waits for aten\._local_scalar_dense"):
        steps_of(small_data, monkeypatch)


def test_no_batch_is_waited_for(small_data):
    """Whatever is random of an epoch is drawn on the host, before its first batch."""
    batches = Batches(small_data.train, *channel_statistics(small_data.train), torch.device("cpu"))
    made = batches.shuffled(16, 0, 1, augment=True, size=40)
    next(made)
    with NoWaiting():
        assert len(list(made)) == 7


def test_an_accelerator_gets_its_rows_once_as_bytes(small_data):
    rows = torch.arange(5, 25).numpy()
    split = type(small_data.train)(small_data.train.images, small_data.train.labels, rows)
    batches = Batches(split, torch.zeros(3), torch.ones(3), torch.device("meta"))
    assert batches.images.device.type == "meta" and batches.images.dtype == torch.uint8
    assert batches.images.shape == (20, 64, 64, 3)
    x, y = next(batches.in_order(8))
    assert x.device.type == y.device.type == "meta" and x.shape == (8, 3, 64, 64)
