"""SimCLR: the loss against lightly and a loop, the projector, the probe, and adversarial views."""

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightly.loss import NTXentLoss
from torch.nn import functional as F

from fourlenses.attacks import frozen
from fourlenses.nets import Network, build
from fourlenses.training.contrastive import Projector, add_projector, contrastive, contrastive_adversarial, nt_xent
from fourlenses.training.objectives import Threat

SHAPE = (1, 8, 8)
X = torch.rand(32, *SHAPE, generator=torch.Generator().manual_seed(1))
Y = torch.arange(16) % 3
THREAT = Threat("l2", 0.5, 5)


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def network() -> Network:
    network = build("resnet", widths=[4, 8], n_classes=3, image_shape=SHAPE, generator=stream())
    add_projector(network, stream(1))
    for _ in range(20):
        network.scaffold(network.features(torch.rand(64, *SHAPE, generator=stream(2))))
    network.body.stem[1].num_batches_tracked.zero_()
    network.scaffold.layers[1].num_batches_tracked.zero_()
    return network


def pairs(n: int, d: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(F.normalize(torch.randn(2, n, d, generator=stream(seed)), dim=2))


@settings(max_examples=50, deadline=None)
@given(n=st.integers(1, 12), d=st.integers(1, 20), temperature=st.floats(0.05, 5), seed=st.integers(0, 1000))
def test_nt_xent_against_lightly(n, d, temperature, seed):
    a, b = pairs(n, d, seed)
    expected = NTXentLoss(temperature)(a, b)
    torch.testing.assert_close(nt_xent(a, b, temperature), expected, atol=1e-5, rtol=1e-5)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 6), d=st.integers(1, 8), temperature=st.sampled_from([0.01, 0.5, 2.0]), seed=st.integers(0, 99))
def test_nt_xent_against_a_float64_loop(n, d, temperature, seed):
    a, b = pairs(n, d, seed)
    z = torch.cat([a, b]).double().numpy()
    total = 0.0
    for i in range(2 * n):
        others = [float(z[i] @ z[k]) / temperature for k in range(2 * n) if k != i]
        partner = float(z[i] @ z[(i + n) % (2 * n)]) / temperature
        largest = max(others)
        total += largest + math.log(sum(math.exp(value - largest) for value in others)) - partner
    assert float(nt_xent(a, b, temperature)) == pytest.approx(total / (2 * n), rel=1e-4, abs=1e-4)


def test_nt_xent_by_hand_with_the_temperature_of_the_paper():
    a, b = torch.eye(2), torch.eye(2)
    expected = -2 + math.log(math.exp(2) + 2)  # the partner at similarity 1, two others at 0
    assert float(nt_xent(a, b)) == pytest.approx(expected)
    assert float(nt_xent(a[:1], b[:1])) == 0, "one pair has nobody to be told apart from"


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 12), seed=st.integers(0, 1000))
def test_nt_xent_does_not_depend_on_the_order_of_pairs_or_partners(n, seed):
    a, b = pairs(n, 6, seed)
    order = torch.randperm(n, generator=stream(seed))
    swapped = torch.rand(n, 1, generator=stream(seed)) < 0.5
    loss = nt_xent(a, b)
    torch.testing.assert_close(nt_xent(a[order], b[order]), loss)
    torch.testing.assert_close(nt_xent(torch.where(swapped, b, a), torch.where(swapped, a, b)), loss)


def test_nt_xent_gradient_against_finite_differences():
    a, b = (value.double().requires_grad_(True) for value in pairs(4, 3, 0))
    assert torch.autograd.gradcheck(nt_xent, (a, b))


def test_projector_is_two_layers_with_batch_normalisation_of_length_one():
    projector = Projector(6)
    linear, norm, _, last = projector.layers
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.uniform_(-1, 1)
    g = torch.randn(10, 6, generator=stream())
    wide = g.double().numpy() @ linear.weight.detach().double().numpy().T + linear.bias.detach().double().numpy()
    wide = (wide - wide.mean(0)) / np.sqrt(wide.var(0) + norm.eps)
    wide = np.maximum(wide * norm.weight.detach().double().numpy() + norm.bias.detach().double().numpy(), 0)
    expected = wide @ last.weight.detach().double().numpy().T
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(projector(g).detach().numpy(), expected, atol=1e-5)
    assert last.bias is None and last.weight.shape == (128, 6)


def test_added_projector_is_drawn_from_the_generator_alone():
    networks = [build("resnet", widths=[4, 8], n_classes=3, image_shape=SHAPE, generator=stream()) for _ in range(3)]
    before = torch.get_rng_state()
    for network, seed in zip(networks, (0, 0, 1), strict=True):
        torch.rand(seed + 1)  # the global stream stands elsewhere each time
        add_projector(network, stream(seed))
    torch.set_rng_state(before)
    add_projector(networks[0], stream(0))
    assert torch.equal(torch.get_rng_state(), before)
    first, same, other = (network.scaffold.state_dict() for network in networks)
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert not torch.equal(first["layers.0.weight"], other["layers.0.weight"])
    assert first["layers.0.weight"].shape == (8, 8)
    assert "scaffold.layers.0.weight" in networks[0].state_dict()


def test_objective_is_nt_xent_of_the_halves_and_the_cross_entropy_of_a_probe(network):
    loss, logits = contrastive("float32")(network, X, Y, stream())
    assert network.body.stem[1].num_batches_tracked == 1
    g = network.features(X)
    h = network.scaffold(g)
    torch.testing.assert_close(logits, network.head(g))
    labels = torch.cat([Y, Y])
    expected = NTXentLoss(0.5)(h[:16], h[16:]) + F.cross_entropy(logits, labels)
    torch.testing.assert_close(loss, expected)


def test_no_gradient_of_the_probe_reaches_the_body(network):
    gradients = []
    for labels in (Y, Y.flip(0)):
        probed = copy.deepcopy(network)
        contrastive("float32")(probed, X, labels, stream())[0].backward()
        gradients.append({name: parameter.grad for name, parameter in probed.named_parameters()})
    assert all((gradient != 0).any() for name, gradient in gradients[0].items() if not name.endswith("layers.0.bias"))
    for name, gradient in gradients[0].items():
        assert torch.equal(gradient, gradients[1][name]) == (not name.startswith("head.")), name


def watched(network: Network) -> list[torch.Tensor]:
    """Images of every pass in training mode, as they happen."""
    passes = []
    network.normalize.register_forward_pre_hook(
        lambda module, args: passes.append(args[0].detach()) if module.training else None
    )
    return passes


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_adversarial_views_are_in_the_ball_and_far_by_the_head(network, precision):
    def distance(images: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            h = network.scaffold(network.features(X))
            return (network.scaffold(network.features(images)) - h).norm(dim=1) / h.norm(dim=1)

    noise = torch.randn(X.shape, generator=stream(5))
    noise *= THREAT.eps / noise.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    with frozen(network):
        of_noise = distance((X + noise).clamp(0, 1))
    passes = watched(network)
    state = {key: value.clone() for key, value in network.state_dict().items()}
    loss, logits = contrastive_adversarial(precision, THREAT)(network, X, Y, stream())
    (views,) = passes
    assert network.body.stem[1].num_batches_tracked == network.scaffold.layers[1].num_batches_tracked == 1
    assert views.min() >= 0 and views.max() <= 1
    size = (views - X).flatten(1).norm(dim=1)
    assert (size <= THREAT.eps * 1.00001).all() and (size > 0.5 * THREAT.eps).all(), "both halves, every view"
    assert logits.shape == (32, 3)
    network.load_state_dict(state)
    torch.testing.assert_close(loss, contrastive(precision)(network, views, Y, stream())[0])
    network.load_state_dict(state)
    with frozen(network):
        attacked = distance(views)
    assert (attacked > of_noise).all() and attacked.mean() > 1.5 * of_noise.mean()


def test_adversarial_views_come_from_the_generator_alone(network):
    before = torch.get_rng_state()
    passes = watched(network)
    state = {key: value.clone() for key, value in network.state_dict().items()}
    for seed in (0, 0, 1):
        network.load_state_dict(state)
        contrastive_adversarial("float32", THREAT)(network, X, Y, stream(seed))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(passes[0], passes[1]) and not torch.equal(passes[0], passes[2])


def test_bfloat16_gives_nearly_the_loss_of_float32(network):
    losses = [
        float(contrastive(precision)(network, X, Y, stream())[0].detach()) for precision in ("float32", "bfloat16")
    ]
    assert losses[0] != losses[1] and losses[1] == pytest.approx(losses[0], rel=0.02)
