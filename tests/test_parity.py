"""What was made faster computes what its plain form does; the tricks do what they say."""

import copy
import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from training_requests import request

from labcnn.data.batches import Batches
from labcnn.models import ConvNet, DoubleConv, whiten
from labcnn.training.evaluate import mean_log_probability, views_of
from labcnn.training.hardware import choose_hardware
from labcnn.training.optimizers import Muon, make_optimizer, orthogonal
from labcnn.training.trainer import fit
from labcnn.variants import Variant


class PlainBlock(nn.Module):
    """A double convolution with ReLU, then pooling if any; nothing in place."""

    def __init__(self, block: DoubleConv) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.block.second(F.relu(self.block.first(x)))
        if self.block.shortcut is not None:
            y = y + self.block.shortcut(x)
        y = F.relu(y)
        return F.max_pool2d(y, 2, ceil_mode=True) if self.block.pool else y


def test_a_block_has_the_bits_of_its_plain_form(subtests):
    for residual, norm, precision, widths, (pool, size) in itertools.product(
        [False, True], [False, True], ["fp32", "bf16"], [(8, 8), (8, 16)],
        [(True, 12), (True, 7), (False, 12)],
    ):  # fmt: skip
        with subtests.test(f"{residual=} {norm=} {precision} {widths} {pool=} {size}"):
            compare_with_plain_form(pool, size, widths, residual, norm, precision)


def compare_with_plain_form(pool, size, widths, residual, norm, precision):
    torch.manual_seed(0)
    variant = Variant("short", norm=norm, residual=residual)
    block = DoubleConv(*widths, variant, pool).to(memory_format=torch.channels_last)
    plain = PlainBlock(copy.deepcopy(block))
    hardware = choose_hardware("cpu", precision, 1)
    x = torch.randn(5, widths[0], size, size).contiguous(memory_format=torch.channels_last)
    x = x.bfloat16() if precision == "bf16" else x  # as the layer before gives it
    results = []
    for module in (block, plain):
        given = x.clone().requires_grad_()
        with hardware.autocast():
            y = module(given)
        (y.float() ** 2).sum().backward()
        results.append([y, given.grad, *(p.grad for p in module.parameters())])
    assert len(results[0]) == len(results[1]) > 3
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_variants_of_one_seed_see_the_same_batches(small_data, monkeypatch):
    """The same images, order, mirrors and shifts, whatever else a variant draws; no other seed."""
    real = Batches.shuffled
    seen = []

    def noted(self, *arguments, **named):
        for x, y in real(self, *arguments, **named):
            seen[-1].append((x.numpy().tobytes(), y.tolist()))
            yield x, y

    monkeypatch.setattr(Batches, "shuffled", noted)
    for variant, seed in (("short_baseline", 0), ("short_all", 0), ("short_all", 1)):
        seen.append([])
        fit(request(variant=variant, seed=seed, augment=True), small_data)
    assert len(seen[0]) == 2 * 8 and seen[0][:8] != seen[0][8:]
    assert seen[0] == seen[1]
    assert seen[1] != seen[2] and sorted(seen[1]) != sorted(seen[2])


def test_muons_step_is_nearly_orthogonal():
    torch.manual_seed(0)
    for shape in ((32, 288), (64, 32)):
        matrix = torch.randn(shape)
        step = orthogonal(matrix, iterations=5)
        u, _, v = torch.linalg.svd(matrix, full_matrices=False)
        values = torch.linalg.svdvals(step)
        assert step.shape == matrix.shape and values.min() > 0.4 and values.max() < 1.35
        inside = (u.T @ step @ v.T).diagonal()  # along the matrix's own directions
        assert (inside > 0.4).all()


def test_muon_trains_the_hidden_convolutions_and_nothing_frozen():
    recipe = request(variant="short_all", optimizer="muon", learning_rate=0.1).recipe
    model = ConvNet(recipe.network, 4, 4)
    whiten(model.stem_convolution, torch.randn(20, 3, 32, 32))
    optimizer = make_optimizer(model, recipe)
    assert isinstance(optimizer, Muon)
    hidden, others, head = optimizer.param_groups
    assert {w.ndim for w in hidden["params"]} == {4} and len(hidden["params"]) == 8 + 3
    assert len(head["params"]) == 2 and hidden["lr"] == pytest.approx(0.1)
    trained = [w for group in optimizer.param_groups for w in group["params"]]
    assert all(w is not model.stem_convolution.weight for w in trained)
    assert len(trained) == len([w for w in model.parameters() if w.requires_grad])
    before = [w.detach().clone() for w in trained]
    model(torch.randn(8, 3, 64, 64)).square().sum().backward()
    optimizer.step()
    assert all(not torch.equal(a, b) for a, b in zip(before, trained, strict=True))
    assert others["lr"] > 0


def test_a_whitened_stem_gives_uncorrelated_outputs_of_variance_one():
    """Where its width allows it; a stem of any width can be whitened."""
    torch.manual_seed(0)
    noise = torch.randn(200, 3, 33, 33)
    images = F.avg_pool2d(noise, 2, stride=1)  # neighbours are alike, as in photographs
    stem = nn.Conv2d(3, 32, 3, 2, 1, bias=False)
    whiten(stem, images)
    assert not stem.weight.requires_grad
    outputs = F.conv2d(images, stem.weight, stride=2)[:, :16].transpose(0, 1).flatten(1)
    covariance = outputs @ outputs.T / outputs.shape[1]
    assert (covariance - torch.eye(16)).abs().max() < 0.1
    assert torch.equal(stem.weight[16:], -stem.weight[:16])
    for out_channels in (4, 64, 70):
        stem = nn.Conv2d(3, out_channels, 3, 2, 1)
        whiten(stem, torch.randn(50, 3, 32, 32))
        assert stem.weight.isfinite().all() and (stem.weight.flatten(1).norm(dim=1) > 0).all()


class Corner(nn.Module):
    """Logits that say which pixel is in the upper left corner."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x[:, 0, 0, 0], torch.zeros(len(x))], 1)


def test_views_average_probabilities():
    x = torch.arange(36.0).view(1, 1, 6, 6)
    hardware = choose_hardware("cpu", "fp32", 1)
    weights = {1: [1], 2: [1, 1], 6: [1, 1, 0.5, 0.5, 0.5, 0.5]}
    for count in (1, 2, 6):
        views = views_of(x, count)
        assert sum(weight for weight, _ in views) == sum(weights[count])
        got = mean_log_probability(Corner(), views, hardware).exp()
        seen = sorted((float(view[0, 0, 0, 0]), weight) for weight, view in views)
        mean = sum(w * torch.tensor([v, 0.0]).softmax(0) for v, w in seen) / sum(weights[count])
        torch.testing.assert_close(got[0], mean)
    plain = sorted(float(view[0, 0, 0, 0]) for _, view in views_of(x, 2))
    assert plain == [0.0, 5.0]


def test_sizes_grow_from_the_first_to_the_last():
    recipe = request(first_size=32, last_size=48, epochs=3).recipe
    assert [recipe.image_size(epoch) for epoch in (1, 2, 3)] == [32, 40, 48]
    assert request(first_size=32, last_size=50, epochs=1).recipe.image_size(1) == 50
    still = request(first_size=20, last_size=20, epochs=3).recipe
    assert [still.image_size(epoch) for epoch in (1, 2, 3)] == [20, 20, 20]
    whole = request(first_size=64, last_size=64, epochs=9).recipe
    assert {whole.image_size(epoch) for epoch in range(1, 10)} == {64}
