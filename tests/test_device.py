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
from training_requests import request, trainer_of

from labcnn.data.batches import Batches
from labcnn.training import checkpoint, trainer
from labcnn.training.trainer import Totals

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
    {"variant": "short_norm", "augment": True, "optimizer": "muon", "momentum": 0.6,
     "whiten": True, "first_size": 32, "last_size": 48, "label_smoothing": 0.1},
    {"variant": "short_residual", "optimizer": "adamw", "weight_decay": 0.01},
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
    dtype = torch.float32

    def autocast(self):
        return nullcontext()

    def synchronise(self):
        pass


def make_trainer(data, parameters):
    """A trainer of eight steps an epoch."""
    wanted = request(**{"batch_size": 15, "epochs": 3, "precision": "bf16"} | parameters)
    return trainer_of(wanted, data)


@pytest.mark.parametrize("parameters", CASES)
def test_no_step_reads_a_value_back(small_data, monkeypatch, parameters):
    """But each look at the loss does, and the end of the epoch: its loss and its hits."""
    monkeypatch.setattr(trainer, "STEPS_PER_LOOK", 3)
    run = make_trainer(small_data, parameters)
    with Reads() as reads, Readers() as readers:
        run.train_epoch()
    assert run.totals.steps == 8
    assert reads.seen == {"_local_scalar_dense": 2 + 2}
    # the shifts of augmentation are drawn on the CPU, before the first step
    shifts = {"tolist": 1} if parameters.get("augment") else {}
    assert +readers.seen == {"item": 2, "__bool__": 2} | shifts


def test_a_planted_read_is_seen(small_data):
    """Else the test above would prove nothing."""
    for plant in (
        lambda logits: logits.sum().item(),
        lambda logits: logits[logits > 0],
        lambda logits: logits.detach().cpu(),
    ):
        run = make_trainer(small_data, CASES[0])
        run.model.register_forward_hook(lambda _, __, logits, plant=plant: (plant(logits), None)[1])
        with Reads() as reads, Readers() as readers:
            run.train_epoch()
        assert reads.seen.total() + readers.seen.total() > 2 + 2 + 1


@pytest.mark.parametrize("parameters", CASES)
def test_the_steps_need_no_values(small_data, parameters):
    """A device without values gets through all of them, and only their sums can't be read."""
    run = make_trainer(small_data, parameters)
    run.model.to("meta")
    run.hardware, run.totals = Meta(), Totals(Meta.device)
    run.batches["train"] = Batches(small_data.train, run.mean, run.std, Meta.device)
    run.optimizer = trainer.make_optimizer(run.model, run.recipe)
    run.decay = trainer.Decay(run.optimizer, run.recipe, 8)
    with pytest.raises(RuntimeError, match=r"item\(\) cannot be called on meta tensors"):
        run.train_epoch()
    assert run.totals.steps == 8 and run.totals.images == 120


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


def test_an_accelerator_gets_the_images_once_as_uint8(small_data):
    pixels = 120 * 64 * 64 * 3
    with Copies() as copies:
        batches = Batches(small_data.train, torch.zeros(3), torch.ones(3), torch.device("meta"))
    assert [n for dtype, n in copies.seen if dtype == torch.uint8] == [pixels]
    assert max(n for dtype, n in copies.seen if dtype != torch.uint8) <= 120
    assert batches.images.dtype == torch.uint8 and batches.images.device.type == "meta"
    with Copies() as copies:
        for epoch, size in ((1, 64), (2, 48)):
            for x, _ in batches.shuffled(16, 0, epoch, augment=True, size=size):
                assert x.device.type == "meta" and x.dtype == torch.float32
    # of an epoch, only its order and which images are mirrored
    assert copies.seen == [(torch.int64, 120), (torch.bool, 120)] * 2


def test_an_accelerators_random_state_is_saved_and_kept(monkeypatch):
    """Its dropout masks come from its own generator, which torch's fork_rng leaves out for MPS."""
    states = [torch.tensor([7], dtype=torch.uint8)]
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda: states[-1])
    monkeypatch.setattr(torch.mps, "set_rng_state", states.append)
    device = torch.device("mps")
    with checkpoint.keep_random_state(device):
        states.append(torch.tensor([0], dtype=torch.uint8))
    assert states[-1].item() == 7
    state = checkpoint.random_state(device)
    assert state.keys() == {"cpu", "mps"} and state["mps"].item() == 7
