"""Wide residual networks: the formula, the points that a hook meets, and what folding and backward rules make of it."""

import copy
from collections import Counter

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fourlenses.errors import UserError
from fourlenses.nets import NETWORKS, Network, build
from fourlenses.nets.backward import BACKWARD
from fourlenses.nets.folding import Shadow, folded
from fourlenses.nets.taps import activations
from fourlenses.nets.wide import Sum

WIDE = [name for name in NETWORKS if name.startswith("wrn-")]
DEPTHS = {"wrn-10": 10, "wrn-16": 16, "wrn-22": 22, "wrn-28": 28}
DEPTHS |= {f"wrn-{depth}-half": depth for depth in (10, 16, 22)}
STATISTICS, AFFINE = ("running_mean", "running_var"), ("weight", "bias")
POINTS = (nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.AdaptiveAvgPool2d, nn.Linear)


def stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(architecture: str = "wrn-10", widths=(4, 8, 12, 16), shape=(1, 14, 14)) -> Network:
    options = {"n_classes": 10, "image_shape": shape, "mean": 0.3, "std": 0.5}
    return build(architecture, widths=list(widths), generator=stream(0), **options)


def used(architecture: str = "wrn-10", **options) -> Network:
    """A network whose batch normalisation is far from the identity."""
    network, generator = make(architecture, **options), stream(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.uniform_(-0.2, 0.2, generator=generator)
    return network


def watched(network: nn.Module, kinds: tuple) -> list[tuple[str, torch.Tensor]]:
    """(name, output) of every module of these kinds in one pass, in order of execution; outputs are not cloned."""
    outputs, names = [], {module: name for name, module in network.named_modules()}
    for module in network.modules():
        if isinstance(module, kinds):
            module.register_forward_hook(lambda module, inputs, output: outputs.append((names[module], output)))
    with torch.no_grad():
        network.eval()(torch.rand(2, *network.image_shape, generator=stream(2)))
    return outputs


def test_the_registry_has_these_depths():
    assert WIDE == list(DEPTHS)


@pytest.mark.parametrize("architecture", WIDE)
def test_depth_counts_every_convolution(architecture):
    convs = [name for name, module in make(architecture).named_modules() if isinstance(module, nn.Conv2d)]
    assert len(convs) == DEPTHS[architecture] and sum("shortcut" in name for name in convs) == 3


@pytest.mark.parametrize("architecture", WIDE)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (2, 9, 8)])
def test_shapes_and_stages(architecture, shape):
    network = make(architecture, shape=shape).eval()
    x = torch.rand(2, *shape, generator=stream(1))
    assert network.features(x).shape == (2, 16) and network(x).shape == (2, 10)
    seen = [side // 2 if architecture.endswith("half") else side for side in shape[1:]]
    halved = [seen, [-(-side // 2) for side in seen], [-(-side // 4) for side in seen]]
    maps = activations(network, x, network.stages)
    assert [list(value.shape[1:]) for value in maps.values()] == [
        [width, *sides] for width, sides in zip((8, 12, 16), halved, strict=True)
    ]


@pytest.mark.parametrize("widths", [(4, 8, 12, 16), (8, 8, 16, 32)])
def test_is_the_stated_formula(widths):
    network = used("wrn-16", widths=widths).eval()
    x = torch.rand(3, 1, 14, 14, generator=stream(1))
    state = {name.removeprefix("body."): value for name, value in network.state_dict().items()}

    def active(x, name):
        statistics, affine = ([state[f"{name}.{key}"] for key in keys] for keys in (STATISTICS, AFFINE))
        return F.batch_norm(x, *statistics, *affine).relu()

    def conv(x, name, stride):
        weight = state[f"{name}.weight"]
        return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)

    out = conv((x - 0.3) / 0.5, "stem", 1)
    for stage in (1, 2, 3):
        for block in (0, 1):
            name, stride = f"stage{stage}.{block}", 2 if block == 0 and stage > 1 else 1
            a = active(out, f"{name}.bn1")
            branch = conv(active(conv(a, f"{name}.conv1", stride), f"{name}.bn2"), f"{name}.conv2", 1)
            changes = stride == 2 or a.shape[1] != branch.shape[1]
            out = branch + (conv(a, f"{name}.shortcut", stride) if changes else out)
    torch.testing.assert_close(network.features(x), active(out, "bn").mean((2, 3)), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("k", "millions"), [(1, 0.37), (4, 5.85), (10, 36.48)])
def test_wrn_28_has_as_many_parameters_as_is_known(k, millions):
    network = make("wrn-28", widths=(16, 16 * k, 32 * k, 64 * k), shape=(3, 32, 32))
    assert sum(parameter.numel() for parameter in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.005)


@pytest.mark.parametrize(("k", "points"), [(1, 79), (4, 80)])
def test_wrn_28_has_the_points_of_the_paper(k, points):
    network = make("wrn-28", widths=(16, 16 * k, 32 * k, 64 * k), shape=(3, 32, 32))
    outputs = watched(network, (*POINTS, Sum))
    names = [name for name, _ in outputs if not name.endswith("sum")]
    assert len(names) == points and len(outputs) == points + 12
    assert [names.index(f"body.stage{i}.0.shortcut") for i in (2, 3)] == ([31, 56] if k == 1 else [32, 57])
    assert names[-4:] == ["body.bn", "body.relu", "body.pool", "head"]
    memory = Counter(output.data_ptr() for _, output in outputs)
    assert sorted(memory.values()) == [1] * (len(outputs) - 50) + [2] * 25, "each ReLU overwrites what enters it"


@pytest.mark.parametrize("architecture", ["wrn-10", "wrn-22", "wrn-10-half"])
def test_folded_copy_and_shadow_are_the_same_function(architecture):
    network = used(architecture).train()
    x = torch.rand(4, 1, 14, 14, generator=stream(3)).requires_grad_(True)
    shadow = Shadow("float32")
    for _ in range(2):
        plain = copy.deepcopy(network).eval()
        for fast in (folded(network), shadow.of(network)):
            assert not isinstance(fast.body.stage1[0].bn2, nn.BatchNorm2d), "the second of a block is absorbed"
            assert isinstance(fast.body.stage1[0].bn1, nn.BatchNorm2d), "the first follows a sum"
            ours, theirs = fast(x), plain(x)
            torch.testing.assert_close(ours, theirs, atol=1e-5 * float(theirs.abs().max()), rtol=1e-4)
            slopes = [torch.autograd.grad(out.square().sum(), x)[0] for out in (ours, theirs)]
            torch.testing.assert_close(*slopes, atol=1e-4 * float(slopes[1].abs().max()), rtol=1e-3)
        network(x)  # moves the statistics, which the shadow then follows
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.01)


def test_a_shadow_in_bfloat16_points_where_the_network_does():
    network = used("wrn-16")
    x = torch.rand(16, 1, 14, 14, generator=stream(3)).requires_grad_(True)
    copied, plain = Shadow("bfloat16").of(network), folded(network)
    assert copied(x).dtype == torch.bfloat16
    slopes = [torch.autograd.grad(net(x).float().logsumexp(1).sum(), x)[0].flatten(1) for net in (copied, plain)]
    assert torch.cosine_similarity(*slopes).median() > 0.98


def test_cutting_the_skips_cuts_every_one_and_leaves_the_values():
    network = used("wrn-16").eval()
    x = torch.rand(2, 1, 14, 14, generator=stream(3)).requires_grad_(True)
    cut = BACKWARD["cut-skip"](copy.deepcopy(network))
    assert torch.equal(cut(x), network(x))
    alone = copy.deepcopy(network)
    for name, module in alone.named_modules():
        if name.endswith("conv2"):
            module.weight.data.zero_()  # no branch: without skips nothing depends on the image any more
    gradient = torch.autograd.grad(BACKWARD["cut-skip"](alone)(x).sum(), x, allow_unused=True)[0]
    assert gradient is None or gradient.abs().sum() == 0


@pytest.mark.parametrize("widths", [None, [4, 8, 12], [4, 8, 12, 16, 20], [4, 8, 0, 8]])
def test_other_than_four_widths_are_refused(widths):
    with pytest.raises(UserError, match="widths"):
        build("wrn-10", widths=widths, n_classes=2, image_shape=(1, 8, 8), generator=stream(0))


def test_the_half_ones_see_the_means_of_four_pixels():
    half, whole = make("wrn-10-half", shape=(1, 28, 29)).eval(), make("wrn-10", shape=(1, 14, 14)).eval()
    x = torch.rand(3, 1, 28, 29, generator=stream(3))
    means = torch.stack([x[..., i:28:2, j:28:2] for i in (0, 1) for j in (0, 1)]).mean(0)
    torch.testing.assert_close(half(x), whole(means))
    assert [name for name, _ in half.named_parameters()] == [name for name, _ in whole.named_parameters()]
