import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from labcnn.models import ConvNet, DoubleConv, model_size
from labcnn.runs import ModelSize
from labcnn.variants import VARIANTS, Variant, get_variant

BASELINES = {name: f"{name.split('_')[0]}_baseline" for name in VARIANTS}


def net(name, width=8, classes=10, dropout_rate=0.2, seed=0):
    return ConvNet(get_variant(name), width, classes, dropout_rate, seed)


def test_forward_and_backward(subtests):
    """Every weight gets a gradient, and the first loss is that of no knowledge.

    No net's activations explode or fade on the way through: its first guess is about even.
    """
    x = torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for name in VARIANTS:
        with subtests.test(name):
            model = net(name, width=16, classes=200)
            logits = model(x)
            assert logits.shape == (16, 200)
            loss = F.cross_entropy(logits, torch.arange(16))
            loss.backward()
            for parameter_name, parameter in model.named_parameters():
                assert parameter.grad is not None, parameter_name
                assert parameter.grad.isfinite().all(), parameter_name
            assert abs(loss.item() - math.log(200)) < 0.6


def modules(name):
    """Every layer with its settings, apart from containers and the bias that norm replaces."""
    kinds = (nn.Conv2d, nn.BatchNorm2d, nn.Dropout, nn.MaxPool2d, nn.Linear)
    return {
        path: repr(module).replace(", bias=False", "")
        for path, module in net(name).named_modules()
        if isinstance(module, kinds)
    }


def test_a_variants_layers_are_its_baselines_plus_those_of_its_switches(subtests):
    for name, variant in VARIANTS.items():
        with subtests.test(name):
            mine, reference = modules(name), modules(BASELINES[name])
            assert {path: mine.get(path) for path in reference} == reference
            added = {path: layer for path, layer in mine.items() if path not in reference}
            norms = {path for path, layer in added.items() if layer.startswith("BatchNorm2d")}
            dropouts = {path for path, layer in added.items() if layer.startswith("Dropout")}
            shortcuts = {
                path
                for path, layer in added.items()
                if "shortcut" in path and layer.startswith("Conv2d")
            }
            assert norms | dropouts | shortcuts == set(added)
            convolutions = [m for m in net(name).modules() if isinstance(m, nn.Conv2d)]
            assert len(norms) == (len(convolutions) if variant.norm else 0)
            assert len(dropouts) == (1 if variant.dropout else 0)  # before the head
            assert len(shortcuts) == (3 if variant.residual else 0)  # where the width doubles
            blocks = [m for m in net(name).modules() if isinstance(m, DoubleConv)]
            assert len(blocks) == 4 * variant.blocks_per_stage
            assert all((block.shortcut is not None) == variant.residual for block in blocks)
            assert all(conv.bias is None for conv in convolutions) == variant.norm


def test_shared_layers_start_from_the_same_draw(subtests):
    """The same weights; a branch that is added without norm is scaled by its net's block count."""
    for name, variant in VARIANTS.items():
        with subtests.test(name):
            mine, reference = net(name).state_dict(), net(BASELINES[name]).state_dict()
            weights = [key for key in reference if key.endswith("weight")]
            assert len(weights) == len(reference) / 2
            for key in weights:
                scaled = variant.residual and not variant.norm and ".second." in key
                scale = (4 * variant.blocks_per_stage) ** -0.5 if scaled else 1
                torch.testing.assert_close(mine[key], reference[key] * scale, rtol=1e-6, atol=0)


def test_seeds_decide_the_initial_weights_of_he_fan_in():
    torch.manual_seed(1)
    one = net("mid_all", seed=3).state_dict()
    torch.manual_seed(2)
    same, other = net("mid_all", seed=3).state_dict(), net("mid_all", seed=4).state_dict()
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not torch.equal(one["stem.0.weight"], other["stem.0.weight"])
    assert not torch.equal(one["stages.3.0.second.0.weight"], one["stages.3.1.second.0.weight"])
    weight = net("long_baseline", width=32).get_parameter("stages.3.1.first.0.weight")
    assert weight.shape == (256, 256, 3, 3)
    assert weight.std().item() == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.01)


def test_residual_norm_block_equals_torchvisions_basic_block():
    """Where the width stays, and where it doubles."""
    compare_with_basic_block(16, 16)
    compare_with_basic_block(16, 32)


def compare_with_basic_block(before, after):
    from torchvision.models.resnet import BasicBlock  # it loads as much as torch itself

    torch.manual_seed(0)
    mine = DoubleConv(before, after, Variant("short", norm=True, residual=True))
    down = None
    if before != after:
        down = nn.Sequential(nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after))
    theirs = BasicBlock(before, after, downsample=down)
    for module in theirs.modules():  # so that a forgotten scale or shift shows
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -1, 1)
    names = {"first.0": "conv1", "first.1": "bn1", "second.0": "conv2", "second.1": "bn2"}
    names |= {"shortcut.0": "downsample.0", "shortcut.1": "downsample.1"}
    source = theirs.state_dict()
    mine.load_state_dict(
        {
            key: source[f"{names[key.rsplit('.', 1)[0]]}.{key.rsplit('.', 1)[1]}"]
            for key in mine.state_dict()
        }
    )
    x = torch.randn(3, before, 12, 12)
    for mode in (True, False):
        inputs = [x.clone().requires_grad_(), x.clone().requires_grad_()]
        outputs = [block.train(mode)(i) for block, i in zip((mine, theirs), inputs, strict=True)]
        torch.testing.assert_close(outputs[0], outputs[1])
        for output in outputs:
            output.square().sum().backward()
        torch.testing.assert_close(inputs[0].grad, inputs[1].grad)


def expected_size(name, width, classes):
    """Parameters and FLOPs by hand: 2 per multiply-add of every convolution and the head."""
    variant = VARIANTS[name]
    per_output = 2 if variant.norm else 1  # scale and shift, or a bias
    parameters = flops = 0

    def convolution(fan_in, out, kernel, size):
        nonlocal parameters, flops
        parameters += fan_in * out * kernel**2 + per_output * out
        flops += 2 * fan_in * out * kernel**2 * size**2

    convolution(3, width, 3, 32)
    before = width
    for stage, size in enumerate((32, 16, 8, 4)):
        after = width * 2**stage
        for _ in range(variant.blocks_per_stage):
            convolution(before, after, 3, size)
            convolution(after, after, 3, size)
            if variant.residual and before != after:
                convolution(before, after, 1, size)
            before = after
    return ModelSize(
        parameters=parameters + before * classes + classes, flops=flops + 2 * before * classes
    )


def test_counted_size_is_the_one_by_hand():
    assert model_size("long_all") == expected_size("long_all", 32, 200)
    for name in VARIANTS:
        assert model_size(name, width=8, classes=20) == expected_size(name, 8, 20), name


def overfits(name: str) -> bool:
    """Whether a small net of this variant gets eight random images right within 300 steps."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(8, 3, 64, 64, generator=generator)
    y = torch.arange(8) % 4
    torch.manual_seed(0)
    model = net(name, classes=4, dropout_rate=0.05)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for step in range(300):
        model.train()
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 10 == 9 and (model.eval()(x).argmax(1) == y).all():
            return True
    return False


def test_variants_overfit_one_small_batch():
    assert overfits("short_baseline")
    assert overfits("long_all")
