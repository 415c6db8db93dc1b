"""Recipes: which modes the network is in, and which images the loss is taken of."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fourlenses.attacks import frozen, projected_gradient
from fourlenses.nets import build
from fourlenses.training import RECIPES, Threat, add_projector

SHAPE = (1, 8, 8)
X = torch.rand(16, *SHAPE, generator=torch.Generator().manual_seed(1))
Y = torch.arange(16) % 3
THREATS = {"adversarial-l2": Threat("l2", 0.5, 2), "adversarial-linf": Threat("linf", 0.1, 3)}


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def network() -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    return build("resnet", widths=[4, 8], n_classes=3, image_shape=SHAPE, generator=generator).train()


def watched(network: nn.Module) -> list[tuple[bool, torch.Tensor]]:
    """(training mode, images) of every pass, as they happen."""
    passes = []
    network.register_forward_pre_hook(lambda module, args: passes.append((module.training, args[0].detach().clone())))
    return passes


def test_standard_is_cross_entropy_in_training_mode(network):
    passes = watched(network)
    objective = RECIPES["standard"].objective("float32", THREATS["adversarial-l2"], 0.0)
    loss, logits = objective(network, X, Y, torch.Generator())
    assert [mode for mode, _ in passes] == [True]
    torch.testing.assert_close(loss, F.cross_entropy(logits, Y))
    assert network.body.stem[1].num_batches_tracked == 1


@pytest.mark.parametrize("recipe", THREATS)
def test_adversarial_attacks_in_evaluation_mode_and_trains_in_training_mode(network, recipe):
    threat = THREATS[recipe]
    passes = watched(network)
    loss, logits = RECIPES[recipe].objective("float32", threat, 0.0)(network, X, Y, torch.Generator().manual_seed(0))
    assert [mode for mode, _ in passes] == [False] * threat.steps + [True]
    assert network.body.stem[1].num_batches_tracked == 1, "the attack's passes do not count"
    last = passes[-1][1]
    moved = (last - X).flatten(1)
    size = moved.norm(dim=1) if threat.norm == "l2" else moved.abs().amax(1)
    assert last.min() >= 0 and last.max() <= 1
    assert (size <= threat.eps * 1.00001).all() and (size > 0.5 * threat.eps).all()
    with frozen(network), torch.no_grad():
        assert F.cross_entropy(network(last), Y) > F.cross_entropy(network(X), Y)
    loss.backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    torch.testing.assert_close(loss.detach(), F.cross_entropy(logits.detach(), Y))


@pytest.mark.parametrize("norm", ["jpeg", "gabor", "snow"])
def test_drawn_threats_are_drawn_in_evaluation_mode_and_learned_in_training_mode(network, norm):
    threat = Threat(norm, {"jpeg": 20.0, "gabor": 0.3, "snow": 0.3}[norm], 3)
    passes = watched(network)
    loss, logits = RECIPES[f"adversarial-{norm}"].objective("float32", threat, 0.0)(network, X, Y, stream())
    assert [mode for mode, _ in passes] == [False] * 3 + [True]
    last = passes[-1][1]
    assert last.min() >= 0 and last.max() <= 1 and not torch.equal(last, X)
    assert RECIPES[f"adversarial-{norm}"].norm == norm
    with frozen(network), torch.no_grad():
        assert F.cross_entropy(network(last), Y) > F.cross_entropy(network(X), Y)
    torch.testing.assert_close(loss.detach(), F.cross_entropy(logits.detach(), Y))


def test_fast_is_one_step_of_five_quarters_from_a_random_start(network):
    """The formula of the paper by hand, from the start that the step of the same stream draws."""
    eps, before = 0.1, copy.deepcopy(network)
    passes = watched(network)
    RECIPES["fast-linf"].objective("float32", Threat("linf", eps, 7), 0.0)(network, X, Y, stream())
    starts = []

    def flat(x):
        starts.append(x.detach().clone())
        return 0 * x.flatten(1).sum(1)

    projected_gradient(flat, X, norm="linf", eps=eps, step_size=0.0, steps=1, generator=stream())
    with frozen(before):
        x = starts[0].requires_grad_(True)
        (gradient,) = torch.autograd.grad(F.cross_entropy(before(x), Y), x)
    delta = (starts[0] - X + 1.25 * eps * gradient.sign()).clamp(-eps, eps)
    assert [mode for mode, _ in passes[:2]] == [False, True]
    torch.testing.assert_close(passes[1][1], (X + delta).clamp(0, 1).detach())


def test_half_half_is_the_mean_of_both_losses(network):
    threat = Threat("linf", 0.1, 3)
    passes = watched(network)
    loss, logits = RECIPES["half-half-linf"].objective("float32", threat, 0.0)(network, X, Y, stream())
    assert [mode for mode, _ in passes] == [True] + [False] * 3 + [True]
    x_adv = passes[-1][1]
    assert torch.equal(passes[0][1], X) and float((x_adv - X).abs().amax()) == pytest.approx(0.1, rel=1e-4)
    with torch.no_grad():
        losses = [F.cross_entropy(network(images), Y) for images in (X, x_adv)]
        torch.testing.assert_close(logits.detach(), network(x_adv))
    torch.testing.assert_close(loss.detach(), (losses[0] + losses[1]) / 2)
    assert float(losses[0]) != pytest.approx(float(losses[1]), rel=1e-3)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_trades_reaches_the_faces_of_the_linf_ball(network, precision):
    passes = watched(network)
    RECIPES["trades-linf"].objective(precision, Threat("linf", 0.1, 3), 6.0)(network, X, Y, stream())
    clean, x_adv = (images for mode, images in passes if mode)
    moved, room = (x_adv - X).abs(), torch.where(x_adv > X, 1 - X, X)
    assert torch.equal(clean, X) and moved.max() <= 0.1 + 1e-6
    assert (moved > 0.06).float()[room > 0.1].mean() > 0.8


def test_l2_starts_at_the_image_and_linf_at_random(network):
    starts = {}
    for recipe, threat in THREATS.items():
        passes = watched(network)
        for seed in (0, 1):
            RECIPES[recipe].objective("float32", threat, 0.0)(network, X, Y, torch.Generator().manual_seed(seed))
        starts[recipe] = passes[0][1], passes[threat.steps + 1][1]
    assert all(torch.equal(start, X) for start in starts["adversarial-l2"])
    assert not torch.equal(*starts["adversarial-linf"])


@pytest.mark.parametrize("recipe", [name for name, recipe in RECIPES.items() if recipe.objective])
def test_bfloat16_gives_nearly_the_loss_of_float32(network, recipe):
    made = RECIPES[recipe]
    if made.contrastive:
        add_projector(network, torch.Generator().manual_seed(1))
    x, y = (X, Y[:8]) if made.contrastive else (X, Y)
    threat = Threat(made.norm or "l2", 0.1, 2)
    losses = [
        float(made.objective(precision, threat, 1.0)(network, x, y, torch.Generator().manual_seed(0))[0].detach())
        for precision in ("float32", "bfloat16")
    ]
    assert losses[0] != losses[1] and losses[1] == pytest.approx(losses[0], rel=0.02)
