"""Names of layers, and the sets of them."""

import itertools

import pytest
import torch

from fourlenses.entanglement.layers import LAYER_SETS, label, layer_set, layers
from fourlenses.nets import build
from fourlenses.nets.taps import activations


def network(architecture: str, widths: list[int]):
    stream = torch.Generator().manual_seed(0)
    return build(architecture, widths=widths, n_classes=5, image_shape=(1, 28, 28), generator=stream)


def test_sets_of_the_plain_network():
    cnn = network("cnn", [4, 4, 4])
    one, two = "body.stage1", "body.stage2"
    assert layers(cnn) == [one, two, "body", "head"]
    expected = {
        "first-half": [one], "hidden": [one, two], "penultimate": [one, two, "body"],
        "logits": [one, two, "body", "head"],
    }  # fmt: skip
    assert {name: layer_set(cnn, name) for name in LAYER_SETS} == expected
    assert [label(layer) for layer in layers(cnn)] == ["stage1", "stage2", "penultimate", "logits"]


@pytest.mark.parametrize("widths", [[4, 4], [4, 4, 4], [4, 4, 4, 4]])
def test_first_half_is_rounded_up_and_sets_grow(widths):
    resnet = network("resnet", widths)
    sets = [layer_set(resnet, name) for name in LAYER_SETS]
    assert len(sets[0]) == -(-len(widths) // 2)
    assert all(small == large[: len(small)] for small, large in itertools.pairwise(sets))
    assert [len(each) for each in sets[1:]] == [len(widths), len(widths) + 1, len(widths) + 2]
    assert sets[1] == list(resnet.stages) and sets[3] == layers(resnet)


@pytest.mark.parametrize(("architecture", "widths"), [("cnn", [4, 4, 4]), ("wrn-10", [4, 4, 4, 4]), ("vgg", [4, 4])])
def test_layers_can_be_read_and_end_in_features_and_logits(architecture, widths):
    net = network(architecture, widths).eval()
    x = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    found = activations(net, x, layers(net))
    torch.testing.assert_close(found["body"], net.features(x))
    torch.testing.assert_close(found["head"], net(x))
    assert len({label(layer) for layer in layers(net)}) == len(layers(net))


def test_a_set_that_there_is_not_is_refused():
    with pytest.raises(KeyError, match="last-half"):
        layer_set(network("cnn", [4, 4, 4]), "last-half")
