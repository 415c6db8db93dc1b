"""Points against counts from the released code, a pass with copied outputs, and tensors that in-place layers spoil."""

from collections import Counter

import pytest
import torch

from fourlenses.nets import build
from fourlenses.nets.points import points, watching


def made(architecture, widths=None, shape=(3, 32, 32)):
    stream = torch.Generator().manual_seed(0)
    return build(architecture, widths=widths, n_classes=10, image_shape=shape, generator=stream).eval()


def images(network, n=4):
    return torch.rand(n, *network.image_shape, generator=torch.Generator().manual_seed(1))


WIDE = [16, 64, 128, 256]  # WRN-28-4
SMALL = {
    "resnet": ([4, 6, 8], (1, 16, 16)),
    "resnet-noskip": ([4, 6], (1, 16, 16)),
    "resnet-maxpool": ([4, 6], (1, 16, 16)),
    "vgg": ([4, 6], (1, 16, 16)),
    "wrn-10": ([4, 4, 6, 8], (1, 12, 12)),
    "imagenet-resnet18": (None, (3, 32, 32)),
}


def test_wide_resnet_has_the_released_points_and_the_sums():
    found = points(made("wrn-28", WIDE))
    assert len({point.name for point in found}) == len(found) == 92
    released = [point for point in found if point.kind != "sum"]
    assert len(released) == 80 and Counter(point.kind for point in released)["bn"] == 25
    shortcuts = [i for i, point in enumerate(released) if point.name.endswith("shortcut")]
    assert shortcuts == [7, 32, 57]
    bounds = {stage: [i for i, point in enumerate(released) if point.stage == stage] for stage in (0, 1, 2, 3, -1)}
    assert [(each[0], each[-1]) for each in bounds.values()] == [(0, 0), (1, 25), (26, 50), (51, 75), (76, 79)]
    narrow = points(made("wrn-28", [16, 16, 32, 64]))
    assert sum(point.kind != "sum" for point in narrow) == 79, "no shortcut convolution in the first stage"


def test_block_points_are_what_enters_each_residual_block_and_the_last_relu():
    names = [point.name for point in points(made("wrn-28", WIDE)) if point.block]
    assert names == [f"body.stage{s}.{b}.relu1" for s in (1, 2, 3) for b in range(4)] + ["body.relu"]
    names = [point.name for point in points(made("resnet", *SMALL["resnet"])) if point.block]
    assert names == ["body.stem.2", "body.block1.relu2", "body.block2.relu2"]
    names = [point.name for point in points(made("imagenet-resnet18")) if point.block]
    assert names == ["body.relu"] + [f"body.layer{s}.{b}.relu#2" for s in (1, 2, 3, 4) for b in (0, 1)]


def test_second_calls_have_points_of_their_own():
    found = points(made("imagenet-resnet18"))
    assert len(found) == 59
    last = {point.name.partition("#")[0]: i for i, point in enumerate(found)}
    assert len(last) == 51, "the released code keeps a layer's last call only"
    lost = [i for i in range(59) if i not in last.values()]
    assert [found[i].name for i in lost] == [f"body.layer{s}.{b}.relu" for s in (1, 2, 3, 4) for b in (0, 1)]
    pairs = [point for i, point in enumerate(found) if point.aliased_by != i]
    assert len(pairs) == 17
    assert sum(point.aliased_by in last.values() for point in pairs) == 9, "the pairs that are equal in the release"


@pytest.mark.parametrize(
    ("architecture", "stages"),
    [("resnet", [0] * 3 + [1] * 8 + [2] * 8 + [-1] * 2), ("vgg", [1] * 3 + [2] * 6 + [-1])],
)
def test_stages_of_small_networks(architecture, stages):
    assert [point.stage for point in points(made(architecture, *SMALL[architecture]))] == stages


def test_a_stage_that_is_a_layer_ends_there():
    found = points(made("robustness-vgg16"))
    last_relus = [point.stage for point, after in zip(found, found[1:], strict=False) if after.stage != point.stage]
    assert last_relus == [1, 2, 3, 4, 5] and [point.kind for point in found if point.stage == -1] == ["pool", "linear"]
    assert not any(point.block for point in found)


@pytest.mark.parametrize("architecture", SMALL)
def test_watching_gives_each_output_before_it_is_overwritten(architecture):
    network = made(architecture, *SMALL[architecture])
    seen, kept = [], []

    def visit(index, output):
        assert index == len(seen)
        seen.append(output.clone())
        kept.append(output)  # no copy: what the released hooks hold

    with torch.no_grad(), watching(network, visit):
        network(images(network))
    found = points(network)
    assert len(seen) == len(found)
    for i, (point, value) in enumerate(zip(found, seen, strict=True)):
        if point.kind == "relu":
            assert value.min() >= 0
        if point.aliased_by == i:
            assert torch.equal(value, kept[i]), point.name
        else:
            assert found[point.aliased_by].kind == "relu" and value.min() < 0
            assert torch.equal(kept[i], seen[point.aliased_by]), point.name


def test_watched_values_against_a_pass_by_hand():
    network = made("vgg", *SMALL["vgg"])
    seen = []
    with torch.no_grad(), watching(network, lambda _, output: seen.append(output.clone())):
        network(images(network))
        value, by_hand = network.normalize(images(network)), []
        for layer in [*network.body.stage0, network.body.pool0, *network.body.stage1, network.body.pool1]:
            value = layer(value.clone())
            by_hand += [value] * (not isinstance(layer, torch.nn.MaxPool2d))
    by_hand.append(network.head(value.flatten(1)))
    assert all(torch.equal(a, b) for a, b in zip(seen[:10], by_hand, strict=True))


def test_every_pass_starts_at_zero_and_hooks_go_even_after_an_error():
    network = made("resnet", *SMALL["resnet"])
    order = []
    with watching(network, lambda index, _: order.append(index)):
        network(images(network))
        with pytest.raises(RuntimeError):
            network(images(network)[:, :, :1].expand(-1, 2, -1, -1))
        network(images(network))
    n = len(points(network))
    assert order == 2 * list(range(n))
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in network.modules())


def test_points_leave_the_network_as_it_was():
    network = made("resnet", *SMALL["resnet"]).train()
    network.body.block1.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with watching(network, lambda *_: pytest.fail("the pass of points was seen")):
        points(network)
    assert network.training and not network.body.block1.training and network.body.block2.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(not module._forward_hooks for module in network.modules())
