"""Folded batch normalisation is the same function."""

import pytest
import torch
from torch import nn

from fourlenses.nets import build
from fourlenses.nets.folding import Shadow, folded
from fourlenses.nets.taps import activations

CASES = [("resnet", (1, 12, 12), [4, 8]), ("resnet-noskip", (3, 12, 12), [4, 8]), ("vgg", (1, 16, 16), [4, 8])]
CASES += [("robustness-resnet18", (3, 32, 32), None), ("robustness-densenet121", (3, 32, 32), None)]


def used(architecture: str, shape: tuple, widths: list[int] | None) -> nn.Module:
    """A network whose batch normalisation is far from the identity."""
    generator = torch.Generator().manual_seed(0)
    network = build(architecture, widths=widths, n_classes=3, image_shape=shape, generator=generator, mean=0.3, std=0.2)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.uniform_(-0.2, 0.2, generator=generator)
    return network.train()


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize(("architecture", "shape", "widths"), CASES)
def test_folded_network_is_the_same_function(architecture, shape, widths):
    network = used(architecture, shape, widths)
    fast = folded(network)
    assert network.training and norms(network) > 0
    assert not fast.training and not any(parameter.requires_grad for parameter in fast.parameters())
    assert norms(fast) < norms(network) if "densenet" in architecture else norms(fast) == 0
    x = torch.rand(2, *shape, generator=torch.Generator().manual_seed(1)).requires_grad_(True)
    plain = network.eval()
    for ours, theirs in ((fast(x), plain(x)), (fast.features(x), plain.features(x))):
        torch.testing.assert_close(ours, theirs, atol=1e-5 * float(theirs.abs().max()), rtol=1e-5)
        slopes = [torch.autograd.grad(out.square().sum(), x)[0] for out in (ours, theirs)]
        torch.testing.assert_close(*slopes, atol=1e-4 * float(slopes[1].abs().max()), rtol=1e-4)


def test_every_stage_keeps_its_maps():
    network = used(*CASES[0]).eval()
    x = torch.rand(2, 1, 12, 12, generator=torch.Generator().manual_seed(1))
    ours, theirs = (activations(net, x, network.stages) for net in (folded(network), network))
    for name in network.stages:
        torch.testing.assert_close(ours[name], theirs[name], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("architecture", "shape", "widths"), CASES[:4])
def test_a_shadow_follows_its_network_through_training(architecture, shape, widths):
    network = used(architecture, shape, widths)
    shadow = Shadow("float32")
    x = torch.rand(4, *shape, generator=torch.Generator().manual_seed(1))
    for _ in range(3):
        copied = shadow.of(network)
        assert not copied.training and not any(parameter.requires_grad for parameter in copied.parameters())
        expected = folded(network)(x)
        torch.testing.assert_close(copied(x), expected, atol=1e-5 * float(expected.abs().max()), rtol=1e-5)
        assert network.training
        network(x)  # moves the statistics
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.01)


def test_a_shadow_in_bfloat16_points_where_the_network_does():
    network = used(*CASES[0])
    x = torch.rand(8, 1, 12, 12, generator=torch.Generator().manual_seed(1)).requires_grad_(True)
    copied, plain = Shadow("bfloat16").of(network), folded(network)
    assert copied(x).dtype == copied.features(x).dtype == torch.bfloat16
    slopes = [torch.autograd.grad(net(x).float().logsumexp(1).sum(), x)[0].flatten(1) for net in (copied, plain)]
    assert torch.cosine_similarity(*slopes).median() > 0.99


def test_a_shadow_turns_to_another_network():
    shadow, first, second = Shadow("float32"), used(*CASES[0]), used(*CASES[2])
    assert shadow.of(first).architecture == "resnet"
    assert shadow.of(second).architecture == "vgg"
