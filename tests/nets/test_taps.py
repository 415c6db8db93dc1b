"""Activations by name against a manual forward pass."""

import pytest
import torch

from fourlenses.errors import UserError
from fourlenses.nets import build
from fourlenses.nets.taps import activations, layer_names


@pytest.fixture
def network():
    return build("vgg", widths=[4, 6], n_classes=3, image_shape=(1, 16, 16), generator=torch.Generator().manual_seed(0))


X = torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(1))


def test_every_layer_equals_the_manual_pass(network):
    network.eval()
    names = ["normalize"] + [f"body.stage{i}.{j}" for i, n in ((0, 3), (1, 6)) for j in range(n)] + ["head"]
    got = activations(network, X, names)
    value = network.normalize(X)
    assert torch.equal(got["normalize"], value)
    for i, n in ((0, 3), (1, 6)):
        for j in range(n):
            value = network.body[2 * i][j](value.clone())
            assert torch.equal(got[f"body.stage{i}.{j}"], value), (i, j)
        value = network.body[2 * i + 1](value)
    assert torch.equal(got["head"], network.head(value.flatten(1)))
    assert got["body.stage0.1"].min() < 0  # not overwritten by the in-place ReLU that follows


def test_order_of_execution_whatever_is_asked(network):
    asked = ["head", "body.stage1", "normalize", "body.stage0"]
    assert list(activations(network, X, asked)) == ["normalize", "body.stage0", "body.stage1", "head"]


def test_hooks_are_gone_even_after_an_error(network):
    activations(network, X, ["body.stage0"])
    with pytest.raises(RuntimeError):
        activations(network, X[:, :, :2], ["body.stage0"])
    assert all(not module._forward_hooks for module in network.modules())


def test_layer_names_run_in_order_and_leave_the_network_as_it_was(network):
    network.train()
    network.body.stage1.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    names = layer_names(network)
    assert names[0] == "normalize" and names[-1] == "head"
    assert names.index("body.stage0.2") < names.index("body.stage0") < names.index("body.pool0")
    assert network.training and network.body.stage0.training and not network.body.stage1.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert list(activations(network.eval(), X, names)) == names


def test_gradient_reaches_the_image(network):
    x = X.clone().requires_grad_()
    activations(network.eval(), x, ["body.stage1"])["body.stage1"].sum().backward()
    assert x.grad.abs().sum() > 0


def test_unknown_layer_names_close_ones(network):
    with pytest.raises(UserError, match="body.stage1"):
        activations(network, X, ["body.stag1"])
