"""TRADES and MART: the losses by hand and by loop, the attacks, and which images pass through the network when."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fourlenses.attacks import frozen
from fourlenses.nets import build
from fourlenses.training.objectives import Threat
from fourlenses.training.trades import ascend, divergence, mart, mart_loss, trades, trades_loss

SHAPE = (1, 8, 8)
X = torch.rand(16, *SHAPE, generator=torch.Generator().manual_seed(1))
Y = torch.arange(16) % 3
THREATS = {"l2": Threat("l2", 0.5, 4), "linf": Threat("linf", 0.1, 4)}
LOSSES = {"trades": trades_loss, "mart": mart_loss}
OBJECTIVES = {"trades": trades, "mart": mart}


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def network() -> nn.Module:
    network = build("resnet", widths=[4, 8], n_classes=3, image_shape=SHAPE, generator=stream())
    for _ in range(20):
        network(torch.rand(64, *SHAPE, generator=stream(1)))
    network.body.stem[1].num_batches_tracked.zero_()
    return network


def test_losses_by_hand():
    p = torch.tensor([[1 / 2, 1 / 4, 1 / 4], [1 / 2, 1 / 4, 1 / 4]]).log()
    p_adv = torch.tensor([[1 / 4, 1 / 2, 1 / 4], [1 / 8, 1 / 8, 3 / 4]]).log()
    y = torch.tensor([0, 1])
    two, three = math.log(2), math.log(3)
    kl = [two / 4, 1.25 * two - 0.25 * three]
    torch.testing.assert_close(divergence(p, p_adv), torch.tensor(kl))
    cross_entropy = (two + 2 * two) / 2
    assert float(trades_loss(p, p_adv, y, 2.0)) == pytest.approx(cross_entropy + (kl[0] + kl[1]))
    boosted = [2 * two + two, 3 * two + 2 * two]
    by_hand = (boosted[0] + 2 * kl[0] * 0.5 + boosted[1] + 2 * kl[1] * 0.75) / 2
    assert float(mart_loss(p, p_adv, y, 2.0)) == pytest.approx(by_hand)


def looped(name: str, logits: torch.Tensor, logits_adv: torch.Tensor, y: torch.Tensor, beta: float) -> float:
    total = 0.0
    for clean, adv, label in zip(logits.double().tolist(), logits_adv.double().tolist(), y.tolist(), strict=True):
        p, q = ([math.exp(v) / sum(math.exp(w) for w in row) for v in row] for row in (clean, adv))
        kl = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
        if name == "trades":
            total += -math.log(p[label]) + beta * kl
        else:
            rival = max(q[k] for k in range(len(q)) if k != label)
            total += -math.log(q[label]) - math.log(1 - rival) + beta * kl * (1 - p[label])
    return total / len(y)


@pytest.mark.parametrize("name", LOSSES)
@settings(max_examples=50, deadline=None)
@given(n=st.integers(1, 6), classes=st.integers(2, 6), beta=st.floats(0, 10), seed=st.integers(0, 1000))
def test_losses_against_a_float64_loop(name, n, classes, beta, seed):
    logits, logits_adv = 3 * torch.randn(2, n, classes, generator=stream(seed))
    y = torch.randint(classes, (n,), generator=stream(seed))
    expected = looped(name, logits, logits_adv, y, beta)
    assert float(LOSSES[name](logits, logits_adv, y, beta)) == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_through_both_branches_against_finite_differences(name):
    logits, logits_adv = torch.randn(2, 4, 3, generator=stream(), dtype=torch.float64).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda a, b: LOSSES[name](a, b, Y[:4], 3.0), (logits, logits_adv))
    gradients = torch.autograd.grad(LOSSES[name](logits, logits_adv, Y[:4], 3.0), (logits, logits_adv))
    assert all((gradient.abs().sum(1) > 1e-3).all() for gradient in gradients)


def test_without_beta_trades_is_clean_cross_entropy_and_mart_sees_adversaries_only():
    logits, logits_adv = torch.randn(2, 16, 3, generator=stream()).requires_grad_(True)
    loss = trades_loss(logits, logits_adv, Y, 0.0)
    torch.testing.assert_close(loss, nn.functional.cross_entropy(logits, Y))
    assert (torch.autograd.grad(loss, logits_adv)[0] == 0).all()
    assert (torch.autograd.grad(mart_loss(logits, logits_adv, Y, 0.0), logits)[0] == 0).all()


@pytest.mark.parametrize("beta", [0.0, 6.0])
def test_an_adversary_that_changes_nothing_costs_nothing(beta):
    logits = torch.randn(16, 3, generator=stream())
    torch.testing.assert_close(trades_loss(logits, logits, Y, beta), nn.functional.cross_entropy(logits, Y))
    torch.testing.assert_close(mart_loss(logits, logits, Y, beta), mart_loss(logits, logits, Y, 0.0))


@pytest.mark.parametrize("name", LOSSES)
def test_certainty_in_the_wrong_class_has_a_finite_loss_and_gradient(name):
    logits_adv = torch.tensor([[-300.0, 300.0, 0.0]], requires_grad=True)
    loss = LOSSES[name](torch.tensor([[300.0, -300.0, 0.0]]), logits_adv, torch.tensor([0]), 1.0)
    loss.backward()
    assert float(loss.detach()) == pytest.approx({"trades": 600, "mart": 600 + 300}[name])
    assert torch.isfinite(logits_adv.grad).all() and (logits_adv.grad != 0).any()


@pytest.mark.parametrize("norm", THREATS)
def test_ascent_of_a_linear_loss_ends_at_the_far_side_of_the_ball(norm):
    x = 0.5 + torch.zeros_like(X)
    slope = torch.randn(SHAPE, generator=stream(2))
    threat = Threat(norm, 0.1, 20)
    found = ascend(lambda z: (slope * z).flatten(1).sum(1), x, threat, 0.05, 0.001, stream())
    direction = slope / slope.norm() if norm == "l2" else slope.sign()
    away = (found - x - 0.1 * direction).flatten(1)
    assert (away.norm(dim=1) if norm == "l2" else away.abs().amax(1)).max() < 0.02, "up to the noise at the start"


@pytest.mark.parametrize("norm", THREATS)
def test_ascent_leaves_a_place_where_the_loss_is_flat(norm):
    threat = THREATS[norm]
    found = ascend(lambda z: 0 * z.flatten(1).sum(1), 0.5 + 0 * X, threat, threat.eps, 1e-5, stream())
    size = (found - 0.5).flatten(1).norm(dim=1) if norm == "l2" else (found - 0.5).flatten(1).abs().amax(1)
    torch.testing.assert_close(size, torch.full((16,), threat.eps))


@pytest.mark.parametrize("norm", THREATS)
def test_ascent_starts_near_the_image_by_the_generator_alone(norm):
    seen = []

    def loss(z: torch.Tensor) -> torch.Tensor:
        seen.append(z.detach())
        return (z**2).flatten(1).sum(1)

    before = torch.get_rng_state()
    found = [ascend(loss, X, Threat(norm, 0.5, 1), 0.1, 0.001, stream(seed)) for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), before)
    noise = seen[0] - X
    assert float(noise.std()) == pytest.approx(0.001, rel=0.1) and abs(float(noise.mean())) < 1e-4
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def watched(network: nn.Module) -> list[torch.Tensor]:
    """Images of every pass in training mode, as they happen."""
    passes = []
    network.register_forward_pre_hook(lambda module, args: passes.append(args[0].detach()) if module.training else None)
    return passes


@pytest.mark.parametrize("norm", THREATS)
@pytest.mark.parametrize("name", OBJECTIVES)
def test_objective_trains_on_images_and_their_adversaries_in_a_pass_each(network, name, norm):
    threat = THREATS[norm]
    passes = watched(network)
    loss, logits = OBJECTIVES[name]("float32", threat, 6.0)(network, X, Y, stream())
    clean, adversaries = passes
    assert torch.equal(clean, X)
    assert network.body.stem[1].num_batches_tracked == 2, "the attack's passes do not count"
    moved = (adversaries - X).flatten(1)
    size = moved.norm(dim=1) if norm == "l2" else moved.abs().amax(1)
    assert adversaries.min() >= 0 and adversaries.max() <= 1
    assert (size <= threat.eps * 1.00001).all() and (size > 0.5 * threat.eps).all()

    expected, expected_adv = network(X), network(adversaries)
    torch.testing.assert_close(logits, expected if name == "trades" else expected_adv)
    torch.testing.assert_close(loss, LOSSES[name](expected, expected_adv, Y, 6.0))
    loss.backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize("norm", THREATS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_attack_raises_what_it_is_to_raise_more_than_noise_does(network, name, precision, norm):
    threat = THREATS[norm]

    def harm(images: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            logits = network(images)
            if name == "trades":
                return divergence(network(X), logits)
            return nn.functional.cross_entropy(logits, Y, reduction="none")

    noise = torch.randn(X.shape, generator=stream(5)).sign() * (0.1 if norm == "linf" else 0.5 / 8)
    with frozen(network):
        of_noise = harm((X + noise).clamp(0, 1))
    passes = watched(network)
    statistics = {key: value.clone() for key, value in network.state_dict().items()}
    OBJECTIVES[name](precision, threat, 1.0)(network, X, Y, stream())
    network.load_state_dict(statistics)
    with frozen(network):
        attacked = harm(passes[-1])
    assert (attacked > of_noise).all()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_bfloat16_gives_nearly_the_loss_of_float32(network, name):
    losses = [
        float(OBJECTIVES[name](precision, THREATS["l2"], 6.0)(network, X, Y, stream())[0].detach())
        for precision in ("float32", "bfloat16")
    ]
    assert losses[0] != losses[1] and losses[1] == pytest.approx(losses[0], rel=0.03)
