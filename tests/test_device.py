"""An accelerator is never waited for inside a step, and gets the images once, as uint8.

No accelerator is needed: torch's own modes see each operation that would read a value back, and the
device ``meta``, which has no values at all, stands in for one.
"""

from collections import Counter
from contextlib import nullcontext

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from training_requests import request

from labcnn.data.batches import Batches, channel_statistics
from labcnn.models import ConvNet, whiten
from labcnn.training import epoch as epoch_module
from labcnn.training.checkpoint import Checkpoint
from labcnn.training.epoch import Totals, train_epoch
from labcnn.training.hardware import choose_hardware
from labcnn.training.optimizers import make_optimizer
from labcnn.training.schedules import Decay

#: Operations whose result, or its shape, the host must wait for.
READING = {
    "_local_scalar_dense", "is_nonzero", "equal", "allclose", "nonzero", "nonzero_numpy",
    "masked_select", "unique_dim", "unique_consecutive", "_unique", "_unique2", "bincount",
    "repeat_interleave",
}  # fmt: skip
#: What does the same from Python.
READERS = {"item", "cpu", "numpy", "tolist", "__bool__", "__float__", "__int__", "__array__"}
CASES = [
    {"variant": "short_all", "augment": True, "decay": "one_cycle"},
    {"variant": "long_residual"},
    {"variant": "short_norm", "augment": True, "optimizer": "muon", "momentum": 0.6,
     "whiten": True, "first_size": 32, "last_size": 48, "label_smoothing": 0.1},
    {"variant": "short_lrdecay", "decay": "plateau"},
    {"variant": "mid_all", "decay": "one_cycle", "optimizer": "muon"},
    {"variant": "short_all", "optimizer": "adamw", "weight_decay": 0.01},
    {"variant": "short_dropout", "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    {"variant": "long_baseline"},
]  # fmt: skip


class Reads(TorchDispatchMode):
    """Counts the operations that read a value back."""

    def __init__(self):
        super().__init__()
        self.seen = Counter()

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        name = function.overloadpacket.__name__
        indices = arguments[1] if name in ("index", "index_put", "index_put_") else ()
        by_mask = any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in indices)
        if name in READING or by_mask:
            self.seen[name] += 1
        return function(*arguments, **(named or {}))


class Readers(TorchFunctionMode):
    """Counts Python's ways to a value, also those that need no operation on a CPU."""

    def __init__(self):
        super().__init__()
        self.seen = Counter()

    def __torch_function__(self, function, types, arguments=(), named=None):
        if (name := getattr(function, "__name__", "")) in READERS:
            self.seen[name] += 1
        return function(*arguments, **(named or {}))


class Meta:
    """Hardware without values."""

    device = torch.device("meta")

    def autocast(self):
        return nullcontext()

    def synchronise(self):
        pass


def prepared(data, parameters, hardware):
    """The arguments of `train_epoch`, as `train` makes them."""
    recipe = request(**{"batch_size": 15, "epochs": 3} | parameters).recipe
    device = hardware.device
    batches = Batches(data.train, *channel_statistics(data.train), device)
    model = ConvNet(recipe.network, recipe.width, data.classes, recipe.dropout_rate)
    model = model.to(device).to(memory_format=torch.channels_last)
    if recipe.whiten and device.type != "meta":
        whiten(model.stem_convolution, batches.take(batches.spread(20))[0])
    optimizer = make_optimizer(model, recipe)
    decay = Decay(optimizer, recipe, 8)
    return [model, batches, optimizer, decay, recipe, 2, hardware, Totals(device)]


@pytest.mark.parametrize("parameters", CASES)
@pytest.mark.parametrize("steps_per_look", [50, 3])
def test_no_step_reads_a_value_back(small_data, monkeypatch, parameters, steps_per_look):
    """But each look at the loss does, and the end of the epoch: its loss and its hits."""
    monkeypatch.setattr(epoch_module, "STEPS_PER_LOOK", steps_per_look)
    arguments = prepared(small_data, parameters, choose_hardware("cpu", "bf16"))
    with Reads() as reads, Readers() as readers:
        train_epoch(*arguments)
    looks = 8 // steps_per_look
    assert arguments[-1].steps == 8
    assert reads.seen == {"_local_scalar_dense": looks + 2}
    # the shifts of augmentation are drawn on the CPU, before the first step
    shifts = {"tolist": 1} if parameters.get("augment") else {}
    assert +readers.seen == {"item": 2} | ({"__bool__": looks} if looks else {}) | shifts


@pytest.mark.parametrize(
    "plant",
    [
        lambda logits: logits.sum().item(),
        lambda logits: bool(logits.sum() > 0),
        lambda logits: logits[logits > 0],
        lambda logits: logits.detach().cpu(),
        lambda logits: logits.nonzero(),
    ],
)
def test_a_planted_read_is_seen(small_data, plant):
    """Else the test above would prove nothing."""
    arguments = prepared(small_data, CASES[0], choose_hardware("cpu", "bf16"))
    arguments[0].register_forward_hook(lambda module, given, logits: (plant(logits), None)[1])
    with Reads() as reads, Readers() as readers:
        train_epoch(*arguments)
    assert reads.seen.total() + readers.seen.total() > 2 + 2 + 1


@pytest.mark.parametrize("parameters", CASES)
def test_the_steps_need_no_values(small_data, parameters):
    """A device without values gets through all of them, and only their sums can't be read."""
    arguments = prepared(small_data, parameters, Meta())
    with pytest.raises(RuntimeError, match=r"item\(\) cannot be called on meta tensors"):
        train_epoch(*arguments)
    assert arguments[-1].steps == 8 and arguments[-1].images == 120


class Copies(TorchDispatchMode):
    """Notes what goes from the CPU to the device: types and numbers of values."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        result = function(*arguments, **(named or {}))
        if function.overloadpacket.__name__ == "_to_copy":
            before = arguments[0]
            if before.device.type == "cpu" != result.device.type:
                self.seen.append((before.dtype, before.numel()))
        return result


@pytest.mark.parametrize("size", [64, 48])
def test_an_accelerator_gets_the_images_once_as_uint8(small_data, size):
    pixels = 120 * 64 * 64 * 3
    with Copies() as copies:
        batches = Batches(small_data.train, torch.zeros(3), torch.ones(3), torch.device("meta"))
    assert [n for dtype, n in copies.seen if dtype == torch.uint8] == [pixels]
    assert max(n for dtype, n in copies.seen if dtype != torch.uint8) <= 120
    assert batches.images.dtype == torch.uint8 and batches.images.device.type == "meta"
    with Copies() as copies:
        for epoch in (1, 2):
            for x, _ in batches.shuffled(16, 0, epoch, augment=True, size=size):
                assert x.device.type == "meta" and x.dtype == torch.float32
    # of an epoch, only its order and which images are mirrored
    assert copies.seen == [(torch.int64, 120), (torch.bool, 120)] * 2


def test_an_accelerators_random_state_is_in_the_checkpoint(tmp_path, monkeypatch):
    """Its dropout masks come from its own generator."""
    states = [torch.tensor([7], dtype=torch.uint8)]
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda: states[-1])
    monkeypatch.setattr(torch.mps, "set_rng_state", states.append)
    saved = Checkpoint(tmp_path / "checkpoint.pt", {}, {}, {}, torch.device("mps"))
    saved.save()
    cpu = torch.rand(3)
    states.append(torch.tensor([0], dtype=torch.uint8))
    assert saved.load()
    assert states[-1].item() == 7
    assert torch.equal(torch.rand(3), cpu)
