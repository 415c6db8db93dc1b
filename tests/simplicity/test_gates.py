"""What a network uses of an image, against loops over images, finite differences and numbers by hand."""

import pytest
import torch
from attacked import SHAPE, stream, trained_a_little
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from fourlenses.nets import build
from fourlenses.simplicity.gates import agreement, divergence, gate_gradients, needs

FACTOR = 0.9
X = torch.rand(3, *SHAPE, generator=stream(7), dtype=torch.float64)


@pytest.fixture(scope="module")
def network():
    return trained_a_little().eval().double()


def one_by_one(network, x, log_p, factor):
    """The gradients of each image by autograd on a copy of the network that really is shrunk."""
    shrunk = trained_a_little().eval().double()
    with torch.no_grad():
        for small, large in zip(shrunk.parameters(), network.parameters(), strict=True):
            small.copy_(factor * large)
    found = {name: [] for name, _ in network.named_parameters()}
    for image, wanted in zip(x, log_p, strict=True):
        shrunk.zero_grad()
        F.kl_div(shrunk(image[None]).log_softmax(1), wanted[None], log_target=True, reduction="sum").backward()
        for name, parameter in shrunk.named_parameters():
            found[name].append(parameter.detach() * parameter.grad)
    return {name: torch.stack(each) for name, each in found.items()}, shrunk(x).log_softmax(1)


def log_p_of(network, x):
    return network(x).log_softmax(1)


def test_gradients_are_those_of_a_shrunk_copy_one_image_at_a_time(network):
    log_p = log_p_of(network, X).detach()
    found, log_q = gate_gradients(network, X, log_p, FACTOR)
    expected, expected_q = one_by_one(network, X, log_p, FACTOR)
    assert found.keys() == expected.keys() == dict(network.named_parameters()).keys()
    for name, each in expected.items():
        torch.testing.assert_close(found[name], each, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(log_q, expected_q)
    assert max(each.abs().max() for each in expected.values()) > 1e-4, "something is lost by shrinking"


def test_a_negative_gradient_says_that_growth_restores_the_prediction(network):
    log_p = log_p_of(network, X[:1]).detach()
    gates, log_q = gate_gradients(network, X[:1], log_p, FACTOR)
    h, name = 1e-4, max(gates, key=lambda each: gates[each].abs().max())
    place = gates[name].flatten().abs().argmax()
    copy = trained_a_little().eval().double()
    with torch.no_grad():
        for small, large in zip(copy.parameters(), network.parameters(), strict=True):
            small.copy_(FACTOR * large)
        grown = dict(copy.named_parameters())[name].view(-1)
        grown[place] *= 1 + h
        changed = (divergence(log_p, log_p_of(copy, X[:1])) - divergence(log_p, log_q)).item()
    assert changed == pytest.approx(h * gates[name].flatten()[place].item(), rel=1e-2)


def test_gradients_of_the_agreement_are_those_of_finite_differences(network):
    needed = needs(gate_gradients(network, X, log_p_of(network, X).detach(), FACTOR)[0])
    start = (X + 0.1 * torch.rand(X.shape, generator=stream(8), dtype=torch.float64)).requires_grad_(True)

    def match(x):
        return agreement(needed, gate_gradients(network, x, log_p_of(network, x), FACTOR)[0])

    (gradient,) = torch.autograd.grad(match(start).sum(), start)
    h = 1e-6
    for seed in range(3):
        direction = torch.randn(X.shape, generator=stream(seed), dtype=torch.float64)
        with torch.no_grad():
            slope = (match(start + h * direction) - match(start - h * direction)) / (2 * h)
        torch.testing.assert_close((gradient * direction).sum((1, 2, 3)), slope, rtol=1e-4, atol=1e-7)
    assert gradient.abs().amax((1, 2, 3)).min() > 0


def test_an_image_agrees_with_itself_and_not_with_another(network):
    gates, _ = gate_gradients(network, X, log_p_of(network, X).detach(), FACTOR)
    same, other = (agreement(needs(gates), {n: g[order] for n, g in gates.items()}) for order in ([0, 1, 2], [1, 2, 0]))
    some = torch.stack([(g < 0).flatten(1).any(1) for g in gates.values()]).double().mean(0)  # not of offsets, all zero
    torch.testing.assert_close(same, some)
    assert some.min() > 0.5 and (other < 0.99 * some).all()


def test_cosines_by_hand():
    g = {"a": torch.tensor([[-3.0, 4.0, -4.0], [1.0, 2.0, 3.0]]), "b": torch.tensor([[[-1.0, 0.0]], [[-2.0, 2.0]]])}
    other = {"a": torch.tensor([[4.0, 9.0, -3.0], [-1.0] * 3]), "b": torch.tensor([[[-5.0, 7.0]], [[0.0, 1.0]]])}
    needed = needs(g)
    torch.testing.assert_close(needed["a"], torch.tensor([[-0.6, 0.0, -0.8], [0.0, 0.0, 0.0]]))
    first = (-3 * 4 + -4 * -3) / 25  # the mask leaves (-3, -4) and (4, -3)
    torch.testing.assert_close(agreement(needed, other), torch.tensor([(first + 1) / 2, 0.0]))


@given(st.integers(0, 1000), st.floats(-12, 3), st.floats(-12, 3))
@settings(deadline=None, max_examples=30)
def test_agreement_is_a_cosine_whatever_the_lengths(seed, longer, shorter):
    g, other = torch.randn(2, 4, 3, 5, generator=stream(seed)).unbind()
    expected = F.cosine_similarity(g.clamp(max=0).flatten(1), (other * (g < 0)).flatten(1))
    found = agreement(needs({"a": 10**longer * g}), {"a": 10**shorter * other})
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert found.abs().max() <= 1 + 1e-5


def test_nothing_has_no_direction_and_no_gradient():
    zeros = torch.zeros(2, 3, requires_grad=True)
    match = agreement(needs({"a": -torch.ones(2, 3)}), {"a": zeros})
    (gradient,) = torch.autograd.grad(match.sum(), zeros)
    assert match.tolist() == [0, 0] and (gradient == 0).all()


def test_divergence_is_that_of_torch_and_zero_only_for_the_same():
    log_p, log_q = torch.randn(2, 6, 4, generator=stream(), dtype=torch.float64).log_softmax(-1).unbind()
    expected = F.kl_div(log_q, log_p, log_target=True, reduction="none").sum(1)
    torch.testing.assert_close(divergence(log_p, log_q), expected)
    assert (divergence(log_p, log_q) > 0).all() and divergence(log_p, log_p).abs().max() < 1e-12


@pytest.mark.parametrize("architecture,widths", [("vgg", [4, 8]), ("wrn-10", [4, 4, 8, 8]), ("resnet-noskip", [4, 8])])
def test_every_network_of_the_zoo_can_be_looked_at(architecture, widths):
    network = build(architecture, widths=widths, n_classes=5, image_shape=SHAPE, generator=stream()).eval()
    x = X.float()
    gates, _ = gate_gradients(network, x, network(x).log_softmax(1).detach(), FACTOR)
    assert {name: each.shape[1:] for name, each in gates.items()} == {n: p.shape for n, p in network.named_parameters()}
    assert all(torch.isfinite(each).all() for each in gates.values())
