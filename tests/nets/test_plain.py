"""The plain convolutional networks: their layers by hand, their shapes, first weights, derivatives, and the errors."""

import pytest
import torch
import torch.nn.functional as F

from fourlenses.errors import UserError
from fourlenses.nets import Network, build
from fourlenses.nets.taps import activations


def make(shape=(1, 28, 28), widths=(8, 16, 16), seed: int = 0, name: str = "cnn", **options) -> Network:
    stream = torch.Generator().manual_seed(seed)
    return build(name, widths=list(widths), n_classes=10, image_shape=shape, generator=stream, **options)


def drawn(name: str, shape=(1, 28, 28), widths=(), **options) -> Network:
    """A network without batch statistics, in double precision, every parameter drawn, so that all of them matter."""
    network = make(shape, widths or {"groupnorm": (8, 6, 5, 16), "convnet": (4, 6, 5)}[name], 0, name, **options)
    for parameter in network.double().parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(1))
    return network


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


BATCHLESS = pytest.mark.parametrize("name", ["groupnorm", "convnet"])


def normalised(x: torch.Tensor, groups: int, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Group normalisation of images, one image and group after the other."""
    out = torch.empty_like(x)
    for i in range(len(x)):
        for part in torch.arange(x.shape[1]).chunk(groups):
            values = x[i, part]
            out[i, part] = (values - values.mean()) / (values.var(correction=0) + 1e-5).sqrt()
    return out * weight[:, None, None] + bias[:, None, None]


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (2, 8, 13)])
@BATCHLESS
def test_networks_without_batch_statistics_are_the_stated_formula(name, shape):
    network = drawn(name, shape, mean=0.3, std=0.5)
    x = torch.rand(3, *shape, generator=torch.Generator().manual_seed(2)).double()
    state, found = network.state_dict(), activations(network, x, [*network.stages, "body"])
    out = (x - network.normalize.mean) / network.normalize.std
    strides, groups = {"groupnorm": ((2, 2, 1, 1), (4, 2, 1, 4)), "convnet": ((1, 1, 1), (4, 6, 5))}[name]
    for i, (stride, parts) in enumerate(zip(strides, groups, strict=True), 1):
        weights = [state[f"body.stage{i}.{each}"] for each in ("0.weight", "1.weight", "1.bias")]
        out = normalised(F.conv2d(out, weights[0], stride=stride, padding=1), parts, *weights[1:])
        out = F.silu(out) if name == "groupnorm" else out.clamp(min=0)
        torch.testing.assert_close(found[f"body.stage{i}"], out)
        out = out if name == "groupnorm" and i < 4 else F.avg_pool2d(out, 2)
    out = out.flatten(1)
    torch.testing.assert_close(found["body"], out)
    torch.testing.assert_close(network(x), out @ state["head.weight"].T + state["head.bias"])


def test_the_network_of_condensation_has_the_stated_size():
    found = make((3, 32, 32), (128, 128, 128), name="convnet")
    convolutions = 9 * 128 * (3 + 128 + 128)
    assert sum(parameter.numel() for parameter in found.parameters()) == convolutions + 6 * 128 + 10 * (2048 + 1)


@BATCHLESS
def test_an_image_is_classified_by_itself_in_training_too(name):
    network = drawn(name).train()
    x = torch.rand(6, 1, 28, 28, generator=torch.Generator().manual_seed(0)).double()
    alone = torch.cat([network(each[None]) for each in x])
    torch.testing.assert_close(network(x), alone)
    torch.testing.assert_close(network.eval()(x), alone)


@BATCHLESS
def test_gradients_of_each_image_are_those_of_a_loop(name):
    network = drawn(name)
    x = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(0)).double()
    weights = {name: value.detach() for name, value in network.named_parameters()}

    def loss(weights: dict, image: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(network, weights, (image[None],)).square().sum()

    found = torch.func.vmap(torch.func.grad(loss), (None, 0))(weights, x)
    for i, image in enumerate(x):
        expected = torch.autograd.grad(network(image[None]).square().sum(), list(network.parameters()))
        for each, value in zip(found.values(), expected, strict=True):
            torch.testing.assert_close(each[i], value)


def test_group_normalised_network_can_be_differentiated_twice():
    network = drawn("groupnorm", (1, 8, 8), (4, 3, 2, 4))
    x = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    assert torch.autograd.gradcheck(network, x) and torch.autograd.gradgradcheck(network, x)


@BATCHLESS
def test_their_first_weights_come_from_the_generator_alone(name):
    before = torch.random.get_rng_state()
    widths = {"groupnorm": (64, 64, 64, 64), "convnet": (64, 64, 64)}[name]
    first, second, other = (make(widths=widths, seed=seed, name=name) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    for key, value in first.named_parameters():
        assert torch.equal(value, second.get_parameter(key)), key
        normalises = ".1." in key
        assert torch.equal(value, other.get_parameter(key)) == normalises
        if normalises:
            assert (value == key.endswith("weight")).all()
    deviation = first.get_submodule("body.stage2.0").weight.std().item()
    assert deviation == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.05), "Kaiming, fan out"


@pytest.mark.parametrize(
    ("name", "widths", "words"),
    [
        ("groupnorm", (8, 8, 8), "at least 4"),
        ("groupnorm", (8, 8, 8, 8, 8), "5 widths.*4, one a convolution"),
        ("convnet", (8, 8), "at least 3"),
        ("convnet", (8, 8, 8, 8), "4 widths.*3, one a convolution"),
    ],
)
def test_a_mistake_in_their_widths_is_one_line(name, widths, words):
    with pytest.raises(UserError, match=words) as caught:
        make(widths=widths, name=name)
    assert "\n" not in str(caught.value)
