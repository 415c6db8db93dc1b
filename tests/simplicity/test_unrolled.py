"""The one-step objective: the step against torch's, the loss against a plain computation, its gradient against finite
differences."""

import copy
from collections import OrderedDict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from fourlenses.errors import UserError
from fourlenses.nets import build
from fourlenses.nets.glow import Glow, build_glow
from fourlenses.simplicity.bits import bits_per_dimension
from fourlenses.simplicity.simplifier import FORMS, build_simplifier
from fourlenses.simplicity.unrolled import (
    AdamW,
    Moments,
    Player,
    adamw_step,
    check_independent,
    decaying,
    flattened,
    gate,
    one_step_objective,
    shaped,
)

SHAPE = (1, 8, 8)
N = 5
TAU = 1.0  # closes the gate of some images and not of all


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shaken(module: nn.Module, by: float) -> nn.Module:
    generator = stream(7)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(by * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    return module


class Case:
    """A small game in float64, away from every starting point: its classifier has made a few steps."""

    def __init__(self, form: str = "mix", warm: int = 3) -> None:
        self.x = torch.rand(N, *SHAPE, generator=stream(1), dtype=torch.float64)
        self.y = torch.randint(0, 3, (N,), generator=stream(2))
        self.noise = torch.rand(N, *SHAPE, generator=stream(3), dtype=torch.float64)
        self.simplifier = shaken(build_simplifier(SHAPE, 2, form, stream(4)).double(), 0.2)
        shape = {"image_shape": SHAPE, "n_classes": 3}
        self.classifier = build(
            "groupnorm", widths=[4, 4, 4, 4], generator=stream(5), mean=0.4, std=0.3, **shape
        ).double()
        glow = build_glow(SHAPE, n_scales=2, depth=1, width=4, coupling="affine", generator=stream(6)).double()
        self.glow = shaken(glow, 0.1).requires_grad_(False)
        self.optimizer = AdamW(lr=0.02, decay=0.1)
        self.theta = dict(self.classifier.named_parameters())
        self.decays = decaying(self.theta)
        self.moments = Moments.of(self.decays)
        for seed in range(warm):
            x = torch.rand(N, *SHAPE, generator=stream(10 + seed), dtype=torch.float64)
            gradients = torch.autograd.grad(F.cross_entropy(self.classifier(x), self.y), list(self.theta.values()))
            with torch.no_grad():
                start = flattened(self.theta.values())
                new, self.moments = adamw_step(start, flattened(gradients), self.moments, self.decays, self.optimizer)
                for name, value in shaped(new, self.theta).items():
                    self.theta[name].copy_(value)

    def loss(self, weight: float = 3.0, tau: float = 50.0, glow: nn.Module | None = None, **changed):
        return one_step_objective(
            self.classifier, self.theta, self.moments, self.x, changed.get("simplified", self.simplifier(self.x)),
            self.y, self.noise, glow=glow or self.glow, weight=weight, tau=tau, optimizer=self.optimizer,
            view=lambda x: x.flip(3) if changed.get("flip") else x,
        )  # fmt: skip

    def really(self, flip: bool = False) -> tuple[float, float, list[float]]:
        """L_before, L_after and the losses of originals, by torch's AdamW on a copy of the classifier."""
        made = self.simplifier(self.x).detach()
        seen, originals = (made.flip(3), self.x.flip(3)) if flip else (made, self.x)
        network = copy.deepcopy(self.classifier)
        named = dict(network.named_parameters())
        groups = [{"params": [p], "weight_decay": 0.0 if "bias" in name else 0.1} for name, p in named.items()]
        optimizer = torch.optim.AdamW(groups, lr=0.02, betas=(0.9, 0.995))
        mean, square = (shaped(each.clone(), self.theta) for each in (self.moments.mean, self.moments.square))
        for name, parameter in named.items():
            moments = {"exp_avg": mean[name], "exp_avg_sq": square[name]}
            optimizer.state[parameter] = moments | {"step": torch.tensor(3.0)}
        before = F.cross_entropy(network(seen), self.y)
        before.backward()
        before = before.detach()
        optimizer.step()
        with torch.no_grad():
            losses = [float(F.cross_entropy(network(originals[i : i + 1]), self.y[i : i + 1])) for i in range(N)]
            return float(before), float(F.cross_entropy(network(seen), self.y)), losses

    def gradient(self, **changed) -> list[torch.Tensor]:
        return torch.autograd.grad(self.loss(**changed)[0], list(self.simplifier.parameters()))


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 1000), steps=st.integers(1, 4), lr=st.floats(1e-4, 0.5), decay=st.sampled_from([0.0, 0.3]),
    betas=st.sampled_from([(0.9, 0.995), (0.5, 0.9)]), eps=st.sampled_from([1e-8, 1e-3]),
)  # fmt: skip
def test_step_is_that_of_torch(seed, steps, lr, decay, betas, eps):
    sizes = {"conv.weight": (3, 2), "conv.bias": (3,), "norm.weight": (4,)}
    theirs = {name: torch.randn(size, generator=stream(seed), dtype=torch.float64) for name, size in sizes.items()}
    ours, decays = flattened(theirs.values()), decaying(theirs)
    assert decays.tolist() == [1] * 6 + [0] * 3 + [1] * 4
    groups = [{"params": [theirs[name].requires_grad_()], "weight_decay": 0.0 if "bias" in name else decay}
              for name in theirs]  # fmt: skip
    optimizer = torch.optim.AdamW(groups, lr=lr, betas=betas, eps=eps)
    moments, generator = Moments.of(ours), stream(seed + 1)
    for step in range(steps):
        gradient = torch.randn(13, generator=generator, dtype=torch.float64)
        gradient[9] = 0  # its second moment stays zero
        for name, each in shaped(gradient.clone(), theirs).items():
            theirs[name].grad = each
        optimizer.step()
        ours, moments = adamw_step(ours, gradient, moments, decays, AdamW(lr, betas, eps, decay))
        assert moments.steps == step + 1
        for name, each in shaped(ours, theirs).items():
            torch.testing.assert_close(each, theirs[name].detach(), rtol=1e-10, atol=1e-12)


def test_step_changes_nothing_in_place():
    case = Case()
    before = copy.deepcopy((dict(case.classifier.state_dict()), case.moments))
    case.gradient()
    assert all(torch.equal(before[0][name], value) for name, value in case.classifier.state_dict().items())
    assert torch.equal(before[1].square, case.moments.square) and torch.equal(before[1].mean, case.moments.mean)
    assert case.moments.steps == before[1].steps == 3


def test_derivative_of_the_step_by_gradcheck():
    theta = torch.randn(6, generator=stream(), dtype=torch.float64)
    moments = Moments(0.1 * theta, 0.2 * theta.square(), 4)
    g = torch.randn(6, generator=stream(1), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda g: adamw_step(theta, g, moments, theta.sign(), AdamW(0.1, eps=1e-3))[0], g)


def test_a_zero_second_moment_gives_no_nan():
    g = torch.tensor([0.0, 1.0, -2.0], requires_grad=True)
    new, _ = adamw_step(torch.ones(3), g, Moments.of(g.detach()), torch.ones(3), AdamW(0.1))
    (derivative,) = torch.autograd.grad(new.sum(), g)
    assert torch.isfinite(derivative).all() and float(new[0].detach()) == pytest.approx(1 - 0.1 * 1e-5)
    case = Case(warm=0)  # no moments yet, and a filter that nothing reaches
    with torch.no_grad():
        case.theta["head.weight"].zero_()
    assert all(torch.isfinite(each).all() for each in case.gradient())


@settings(deadline=None)
@given(losses=st.lists(st.floats(0, 5), min_size=1, max_size=6), tau=st.floats(0.05, 3))
def test_gate_by_hand(losses, tau):
    found = gate(torch.tensor(losses, dtype=torch.float64, requires_grad=True), tau)
    assert not found.requires_grad
    assert found.tolist() == pytest.approx([min(max(tau - loss, 0), 1) / tau for loss in losses])


@pytest.mark.parametrize("flip", [False, True])
def test_loss_against_a_real_step_of_a_copy(flip):
    case, weight = Case(), 2.0
    loss, logs = case.loss(weight, TAU, flip=flip)
    before, after, losses = case.really(flip)
    w = [min(max(TAU - each, 0), 1) / TAU for each in losses]
    assert min(w) == 0 < max(w) and abs(after - before) > 1e-2
    bits = bits_per_dimension(case.glow, case.simplifier(case.x).detach(), case.noise).tolist()
    simple = sum(share * each for share, each in zip(w, bits, strict=True)) / N
    original = sum(losses) / N
    assert float(loss.detach()) == pytest.approx(
        (before + after + 10 * original + weight * simple) / (12 + weight), rel=1e-9
    )
    parts = {"before": before, "after": after, "original": original, "gate": sum(w) / N}
    assert {name: float(value) for name, value in logs.items()} == pytest.approx(parts, rel=1e-9)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("weight", [0.0, 40.0])
def test_gradient_with_respect_to_the_simplifier_against_finite_differences(form, weight):
    case = Case(form)  # tau is so large that the gate is constant
    gradients = case.gradient(weight=weight)
    parameters = list(case.simplifier.parameters())
    for seed in range(3):
        generator = stream(20 + seed)
        way = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]
        slope = sum(float((g * d).sum()) for g, d in zip(gradients, way, strict=True))
        values = []
        for step in (1e-6, -2e-6):
            with torch.no_grad():
                for parameter, d in zip(parameters, way, strict=True):
                    parameter.add_(step * d)
            values.append(float(case.loss(weight)[0].detach()))
        with torch.no_grad():
            for parameter, d in zip(parameters, way, strict=True):
                parameter.add_(1e-6 * d)
        assert slope == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5, abs=1e-9)


def test_part_of_the_gradient_comes_through_the_step():
    case = Case()
    whole = case.gradient(weight=0.0)
    still = Case()
    still.optimizer = AdamW(lr=0.0, decay=0.0)
    direct = still.gradient(weight=0.0)
    assert any((a - b).abs().max() > 1e-2 * b.abs().max() for a, b in zip(whole, direct, strict=True))


class Asked(Glow):
    """A density that notes for how many images it was asked."""

    def __init__(self, glow: Glow) -> None:
        nn.Module.__init__(self)
        self.glow, self.asked = glow, []

    def log_density(self, x: torch.Tensor) -> torch.Tensor:
        self.asked.append(len(x))
        return self.glow.log_density(x)


def test_a_closed_gate_makes_the_weight_irrelevant():
    case, found = Case(), []
    for weight in (0.0, 7.0):
        asked = Asked(case.glow)
        loss, gradients = case.loss(weight, 1e-9, asked)[0], case.gradient(weight=weight, tau=1e-9)
        found.append([(12 + weight) * each for each in (loss, *gradients)])
        assert not asked.asked
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)
    assert any(each.any() for each in found[0][1:])


def test_bits_are_asked_for_images_with_an_open_gate_only_and_never_without_weight():
    case = Case()
    asked = Asked(case.glow)
    opened = sum(each < TAU for each in case.really()[2])
    case.loss(0.0, TAU, asked)
    assert not asked.asked and 0 < opened < N
    case.loss(2.0, TAU, asked)
    assert asked.asked == [opened]


@pytest.mark.parametrize("layer", [nn.BatchNorm2d(3), nn.SyncBatchNorm(3), nn.Dropout(0.1)])
def test_what_makes_images_depend_on_each_other_or_on_chance_is_refused_by_name(layer):
    with pytest.raises(UserError, match=rf"layer body\.1 \({type(layer).__name__}\)"):
        Player(nn.Sequential(OrderedDict(body=nn.Sequential(nn.Conv2d(1, 3, 3), layer))), 1e-3, "float32")


def test_the_networks_of_the_lens_are_not_refused():
    for name, widths in (("groupnorm", [4, 4, 4, 4]), ("convnet", [4, 4, 4])):
        network = build(name, widths=widths, n_classes=3, image_shape=SHAPE, generator=stream())
        check_independent(network)
    with pytest.raises(UserError, match="BatchNorm2d"):
        check_independent(build("resnet", widths=[4, 8], n_classes=3, image_shape=SHAPE, generator=stream()))


def test_a_player_makes_the_steps_that_the_objective_unrolls():
    case = Case()
    player = Player(case.classifier, 0.02, "float32")
    player.optimizer, player.moments = case.optimizer, case.moments
    made = case.simplifier(case.x).detach()
    after = case.loss(0.0, simplified=made.requires_grad_())[1]
    before = player.step(made.detach(), case.y)
    assert float(before) == pytest.approx(float(after["before"]))
    assert float(F.cross_entropy(case.classifier(made), case.y).detach()) == pytest.approx(float(after["after"]))
    state = player.state()
    player.step(made.detach(), case.y)
    again = Player(case.classifier, 0.02, "float32")
    again.restore(state)
    assert again.moments.steps == 4
    assert all(torch.equal(state[name], each) for name, each in again.state().items())
    assert float(F.cross_entropy(case.classifier(made), case.y).detach()) == pytest.approx(float(after["after"]))
