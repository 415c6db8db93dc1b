"""Backward rules: the same values, another gradient."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fourlenses.errors import UserError
from fourlenses.nets import build
from fourlenses.nets.backward import BACKWARD
from fourlenses.nets.folding import folded

SMALL = ["resnet", "resnet-noskip", "resnet-maxpool", "vgg"]
BRIDGED = ["robustness-resnet18", "robustness-densenet121"]
CAN = {
    "exact": [*SMALL, *BRIDGED, "robustness-vgg16"],
    "straight-through": [*SMALL, *BRIDGED],
    "cut-skip": ["resnet", "resnet-maxpool", "robustness-resnet18"],
}
PAIRS = [(rule, architecture) for rule, architectures in CAN.items() for architecture in architectures]


def used(architecture: str) -> nn.Module:
    """A network whose batch normalisation is far from the identity."""
    generator = torch.Generator().manual_seed(0)
    widths, shape = ([4, 6, 8], (1, 16, 16)) if architecture in SMALL else (None, (3, 32, 32))
    network = build(architecture, widths=widths, n_classes=3, image_shape=shape, generator=generator, mean=0.3, std=0.2)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2, generator=generator)
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.uniform_(-0.2, 0.2, generator=generator)
    return network.eval()


def images(network: nn.Module) -> torch.Tensor:
    return torch.rand(2, *network.image_shape, generator=torch.Generator().manual_seed(1)).requires_grad_(True)


def slope(values: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Gradient of a sum in which every unit of the representation has another weight."""
    weights = torch.randn(values.shape, generator=torch.Generator().manual_seed(2), dtype=values.dtype)
    return torch.autograd.grad((weights * values).sum(), x)[0]


@pytest.mark.parametrize(("rule", "architecture"), PAIRS)
def test_values_stay_and_the_gradient_changes(rule, architecture):
    network = used(architecture)
    ruled = BACKWARD[rule](copy.deepcopy(network))
    x = images(network)
    assert torch.equal(ruled.features(x), network.features(x)) and torch.equal(ruled(x), network(x))
    slopes = [slope(net.features(x), x) for net in (ruled, network)]
    assert torch.equal(*slopes) == (rule == "exact")
    assert slopes[0].abs().sum() > 0 and torch.isfinite(slopes[0]).all()


@pytest.mark.parametrize(("rule", "architecture"), PAIRS)
def test_folded_copy_has_the_same_values_and_the_same_gradient(rule, architecture):
    network = used(architecture)
    plain, fast = BACKWARD[rule](copy.deepcopy(network)), BACKWARD[rule](folded(network))
    x = images(network)
    torch.testing.assert_close(fast.features(x), plain.features(x), atol=1e-4, rtol=1e-4)
    ours, theirs = slope(fast.features(x), x), slope(plain.features(x), x)
    torch.testing.assert_close(ours, theirs, atol=1e-3 * float(theirs.abs().max()), rtol=1e-3)


def block(module: nn.Module, x: torch.Tensor, skip, last) -> torch.Tensor:
    """A residual block whose shortcut's output goes through `skip`, and whose last ReLU is `last`."""
    inner = F.relu(module.bn1(module.conv1(x)))
    out = module.bn2(module.conv2(inner))
    return last(out + skip(module.shortcut(x)))


@pytest.mark.parametrize("rule", BACKWARD)
def test_resnet_against_one_built_by_hand(rule):
    network = used("resnet").double()
    x = images(network).detach().double().requires_grad_(True)
    skip = torch.detach if rule == "cut-skip" else torch.clone
    body = network.body
    maps = block(body.block1, body.stem(network.normalize(x)), skip, F.relu)
    if rule == "straight-through":
        before = block(body.block2, maps, skip, torch.clone)
        after = before + (before.clamp_min(0) - before).detach()
    else:
        after = block(body.block2, maps, skip, F.relu)
    expected = slope(after.mean((2, 3)), x)
    ruled = BACKWARD[rule](copy.deepcopy(network))
    torch.testing.assert_close(slope(ruled.features(x), x), expected)


def test_straight_through_vgg_against_one_built_by_hand():
    network = used("vgg").double()
    x = images(network).detach().double().requires_grad_(True)
    *before, last = network.body.stage2
    assert isinstance(last, nn.ReLU)
    y = network.body.pool1(network.body.stage1(network.body.pool0(network.body.stage0(network.normalize(x)))))
    for layer in list(before):
        y = layer(y)
    y = y + (y.clamp_min(0) - y).detach()
    expected = slope(network.body.pool2(y).flatten(1), x)
    ruled = BACKWARD["straight-through"](copy.deepcopy(network))
    torch.testing.assert_close(slope(ruled.features(x), x), expected)


@pytest.mark.parametrize("architecture", BRIDGED)
def test_straight_through_of_robustness_is_its_own(architecture):
    network = used(architecture)
    x = images(network)
    ruled = BACKWARD["straight-through"](copy.deepcopy(network))
    assert torch.equal(slope(ruled.features(x), x), slope(network.features(x, fake_relu=True), x))


def test_cut_skip_is_what_a_constant_shortcut_gives():
    network = used("robustness-resnet18")
    x = images(network)
    ruled, constant = BACKWARD["cut-skip"](copy.deepcopy(network)), copy.deepcopy(network)
    places = [name for name, _ in network.named_modules() if name.endswith(".shortcut")]
    assert len(places) == 8, "a shortcut in each block, the identity ones included"
    for name in places:
        module, kept = constant.get_submodule(name), []
        handle = module.register_forward_hook(lambda _module, _inputs, output, kept=kept: kept.append(output.detach()))
        constant.features(x)
        handle.remove()
        module.register_forward_hook(lambda _module, _inputs, _output, kept=kept: kept[0])
    torch.testing.assert_close(slope(ruled.features(x), x), slope(constant.features(x), x))


def test_cut_skip_and_no_cut_differ_by_what_the_shortcut_carries():
    network = used("resnet").double()
    block1 = network.body.block1
    x = torch.rand(2, 4, 8, 8, generator=torch.Generator().manual_seed(3), dtype=torch.float64).requires_grad_(True)
    whole = slope(block1(x), x)
    cut = slope(BACKWARD["cut-skip"](copy.deepcopy(network)).body.block1(x), x)
    on = (block1(x) > 0).double()
    inner = block1.bn2(block1.conv2(F.relu(block1.bn1(block1.conv1(x))))).detach()
    carried = slope(on * (inner + block1.shortcut(x)), x)
    torch.testing.assert_close(whole - cut, carried)


@pytest.mark.parametrize(
    ("rule", "architecture"),
    [
        ("cut-skip", "resnet-noskip"),
        ("cut-skip", "vgg"),
        ("cut-skip", "robustness-densenet121"),
        ("straight-through", "robustness-vgg16"),
        ("straight-through", "robustness-inceptionv3"),
    ],
)
def test_architecture_that_cannot_take_the_rule_is_one_line(rule, architecture):
    with pytest.raises(UserError, match=f"{rule}.*{architecture}") as caught:
        BACKWARD[rule](used(architecture))
    assert "\n" not in str(caught.value)
