"""The plain convolutional network: its layers by hand, its shapes, its first weights, and the errors."""

import pytest
import torch
import torch.nn.functional as F

from fourlenses.errors import UserError
from fourlenses.nets import Network, build
from fourlenses.nets.taps import activations


def make(shape=(1, 28, 28), widths=(8, 16, 16), seed: int = 0, **options) -> Network:
    stream = torch.Generator().manual_seed(seed)
    return build("cnn", widths=list(widths), n_classes=10, image_shape=shape, generator=stream, **options)


def same(x: torch.Tensor, kernel: int, stride: int) -> torch.Tensor:
    """Zeros around images as TensorFlow's "same": as many outputs as strides, an odd one at the end."""
    pads = []
    for side in (x.shape[3], x.shape[2]):
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (2, 27, 30), (1, 30, 33)])
def test_network_is_the_stated_formula(shape):
    network = make(shape, mean=0.3, std=0.5).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(1))
    x = torch.rand(3, *shape, generator=torch.Generator().manual_seed(2))
    state = network.state_dict()
    first, second, third = ([state[f"body.{name}.{kind}"] for kind in ("weight", "bias")]
                            for name in ("stage1.1", "stage2.0", "stage3.0"))  # fmt: skip
    one = F.conv2d(same((x - 0.3) / 0.5, 8, 2), *first, stride=2).relu()
    two = F.conv2d(one, *second, stride=2).relu()
    three = F.conv2d(two, *third).relu().flatten(1)
    found = activations(network, x, [*network.stages, "body"])
    for name, expected in zip([*network.stages, "body"], (one, two, three), strict=True):
        torch.testing.assert_close(found[name], expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(network(x), three @ state["head.weight"].T + state["head.bias"], atol=1e-5, rtol=1e-4)


def test_released_network_has_the_stated_sizes():
    network = make(widths=(64, 128, 128))
    found = activations(network, torch.rand(2, 1, 28, 28), [*network.stages, "body"])
    assert [tuple(each.shape[1:]) for each in found.values()] == [(64, 14, 14), (128, 5, 5), (128,)]
    filters = 64 * (8 * 8 + 1) + 128 * (64 * 6 * 6 + 1) + 128 * (128 * 5 * 5 + 1) + 10 * (128 + 1)
    assert sum(parameter.numel() for parameter in network.parameters()) == filters


def test_first_weights_have_deviation_one_over_root_of_fan_in_and_no_biases():
    network = make(widths=(64, 128, 128))
    for name, fan_in in (("body.stage1.1", 64), ("body.stage2.0", 64 * 36), ("body.stage3.0", 128 * 25), ("head", 128)):
        layer = network.get_submodule(name)
        assert layer.weight.std().item() == pytest.approx(fan_in**-0.5, rel=0.05)
        assert not layer.bias.any()


def test_first_weights_come_from_the_generator_alone():
    before = torch.random.get_rng_state()
    first, second, other = make(seed=3), make(seed=3), make(seed=4)
    assert torch.equal(torch.random.get_rng_state(), before)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
        assert name.startswith("normalize") or "bias" in name or not torch.equal(value, other.state_dict()[name])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"shape": (1, 26, 28)}, "27 or more"),
        ({"shape": (1, 40, 8)}, "27 or more"),
        ({"widths": (8, 16)}, "at least 3"),
        ({"widths": (8, 16, 16, 16)}, "4 widths"),
    ],
)
def test_a_mistake_is_one_line(options, words):
    with pytest.raises(UserError, match=words) as caught:
        make(**options)
    assert "\n" not in str(caught.value)
