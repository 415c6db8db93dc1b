"""The small networks: shapes, initialisation, the skip, and the errors."""

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from fourlenses.errors import UserError
from fourlenses.nets import NETWORKS, Network, build

SMALL = ("resnet", "resnet-noskip", "resnet-maxpool", "vgg")


def make(architecture: str, shape=(1, 28, 28), widths=(8, 12, 16), seed: int = 0, **options) -> Network:
    return build(architecture, widths=list(widths), n_classes=10, image_shape=shape,
                 generator=torch.Generator().manual_seed(seed), **options)


@pytest.mark.parametrize("architecture", SMALL)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 8, 8), (2, 33, 40)])
def test_shapes_and_head_of_features(architecture, shape):
    network = make(architecture, shape).eval()
    x = torch.rand(5, *shape, generator=torch.Generator().manual_seed(1))
    features, logits = network.features(x), network(x)
    assert features.ndim == 2 and features.shape[0] == 5 and features.shape[1] == network.head.in_features
    assert logits.shape == (5, 10)
    assert torch.equal(logits, network.head(features))
    assert (features >= 0).all() and features.std() > 0


@pytest.mark.parametrize("architecture", SMALL)
def test_initialisation_comes_from_the_generator_alone(architecture):
    before = torch.random.get_rng_state()
    first = make(architecture, seed=3)
    torch.rand(7)
    second, other = make(architecture, seed=3), make(architecture, seed=4)
    torch.random.set_rng_state(before)
    make(architecture, seed=3)
    assert torch.equal(torch.random.get_rng_state(), before)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
    weights = [name for name, p in first.named_parameters() if p.ndim > 1]
    assert all(not torch.equal(first.state_dict()[name], other.state_dict()[name]) for name in weights)


def test_initialisation_has_the_stated_spread():
    network = make("resnet", widths=(64, 128, 128))
    weight = network.body.block1.conv2.weight
    assert weight.std().item() == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.02)
    bound = 128**-0.5
    assert network.head.weight.abs().max().item() == pytest.approx(bound, rel=0.02)
    assert network.head.weight.abs().max() <= bound and network.head.bias.abs().max() <= bound


@pytest.mark.parametrize("architecture", SMALL)
def test_first_weights_are_these_draws_in_order_of_depth_body_before_head(architecture):
    network = make(architecture, seed=3)
    stream = torch.Generator().manual_seed(3)
    for layer in [*network.body.modules(), network.head]:
        if isinstance(layer, torch.nn.Conv2d):
            deviation = (2 / (layer.out_channels * layer.kernel_size[0] ** 2)) ** 0.5
            drawn = torch.empty(layer.weight.shape).normal_(0, deviation, generator=stream)
            assert torch.equal(layer.weight, drawn)
    bound = network.head.in_features**-0.5
    for parameter in (network.head.weight, network.head.bias):
        assert torch.equal(parameter, torch.empty(parameter.shape).uniform_(-bound, bound, generator=stream))


def test_names_of_the_state_are_those_of_the_checkpoints():
    norm = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    block = ["conv1.weight", *(f"bn1.{n}" for n in norm), "conv2.weight", *(f"bn2.{n}" for n in norm)]
    block += ["shortcut.0.weight", *(f"shortcut.1.{n}" for n in norm)]
    names = ["stem.0.weight", *(f"stem.1.{n}" for n in norm), *(f"block1.{n}" for n in block)]
    own = [name for name in make("resnet", widths=(4, 6)).state_dict() if name.startswith("body.")]
    assert own == [f"body.{name}" for name in names]


def test_noskip_is_the_resnet_without_its_shortcut():
    with_skip, without = make("resnet"), make("resnet-noskip")
    extra = {name for name in with_skip.state_dict() if "shortcut" in name}
    assert extra and set(without.state_dict()) == set(with_skip.state_dict()) - extra
    without.load_state_dict({k: v for k, v in with_skip.state_dict().items() if k not in extra})
    x = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    assert not torch.allclose(with_skip.eval()(x), without.eval()(x))
    for block in (with_skip.body.block1, with_skip.body.block2):
        block.shortcut[1].weight.data.zero_()
    assert torch.allclose(with_skip(x), without(x), atol=1e-6)


@pytest.mark.parametrize("pool", ["average", "max"])
def test_resnet_is_the_stated_formula(pool):
    architecture = {"average": "resnet", "max": "resnet-maxpool"}[pool]
    network = make(architecture, widths=(4, 6), mean=0.3, std=0.5).eval()
    x = torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    state = network.state_dict()

    def conv(x, name, **options):
        return F.conv2d(x, state[f"body.{name}.weight"], **options) / (1 + 1e-5) ** 0.5

    stem = conv((x - 0.3) / 0.5, "stem.0", padding=1).relu()
    inner = conv(stem, "block1.conv1", stride=2, padding=1).relu()
    block = (conv(inner, "block1.conv2", padding=1) + conv(stem, "block1.shortcut.0", stride=2)).relu()
    expected = {"average": block.mean((2, 3)), "max": block.amax((2, 3))}
    assert torch.allclose(network.features(x), expected[pool], atol=1e-5)


def test_vgg_has_one_then_two_convolutions_and_halves_the_side():
    network = make("vgg", widths=(4, 6, 8))
    convs = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [(c.in_channels, c.out_channels) for c in convs] == [(1, 4), (4, 6), (6, 6), (6, 8), (8, 8)]
    assert network.head.in_features == 8 * 3 * 3


def test_batch_norm_statistics_start_fresh():
    for module in make("vgg").modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert (module.running_mean == 0).all() and (module.running_var == 1).all() and module.weight.eq(1).all()


@pytest.mark.parametrize(("options", "words"), [
    ({"architecture": "resnett"}, "did you mean 'resnet'"),
    ({"architecture": "vgg", "widths": [4] * 5}, "fewer widths"),
    ({"architecture": "resnet", "widths": [4]}, "at least 2"),
    ({"architecture": "resnet", "widths": None}, "at least 2"),
    ({"architecture": "resnet", "image_shape": (1, 7, 28)}, "8 or more"),
    ({"architecture": "resnet", "mean": [0.1, 0.2]}, "one or 1"),
    ({"architecture": "resnet", "std": 0.0}, "above 0"),
    ({"architecture": "resnet", "n_classes": 0}, "at least 1"),
])
def test_a_mistake_is_one_line(options, words):
    good = {"widths": [4, 8], "n_classes": 10, "image_shape": (1, 28, 28), "generator": torch.Generator()}
    with pytest.raises(UserError, match=words) as caught:
        build(**(good | options))
    assert "\n" not in str(caught.value)


def test_no_straight_through_relu_on_the_small_networks():
    with pytest.raises(UserError, match="straight-through"):
        make("resnet").features(torch.rand(1, 1, 28, 28), fake_relu=True)


def test_importing_networks_does_not_import_torchvision():
    code = ("import sys, fourlenses.nets, fourlenses.invariance.judges; "
            "sys.exit(bool({'torchvision', 'robustness', 'lpips', 'piq'} & sys.modules.keys()))")
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_building_a_small_network_does_not_import_sympy():
    code = ("import sys, torch; from fourlenses.nets import build; "
            "build('vgg', widths=[4], n_classes=2, image_shape=(1, 8, 8), generator=torch.Generator()); "
            "sys.exit('sympy' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_registry_names_are_what_build_takes():
    assert set(SMALL) < set(NETWORKS)
