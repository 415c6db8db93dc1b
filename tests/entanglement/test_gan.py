"""GANs: their losses, how they are trained, and how they are measured."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import nn
from torch.nn import functional as F

from fourlenses.entanglement.gan import (
    KINDS,
    Comparison,
    Guided,
    Logistic,
    entropy,
    evaluations,
    generated,
    modes,
    shown,
    sides,
    train,
)  # fmt: skip
from fourlenses.entanglement.minimum import minimum_entanglement
from fourlenses.entanglement.snnl import soft_nearest_neighbor_loss
from fourlenses.nets.gan import GANS, N_NOISE, Gan, build_gan


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(deadline=None)
@given(n=st.integers(1, 8), scale=st.floats(0.1, 100), seed=st.integers(0, 1000))
def test_logistic_losses_against_a_loop(n, scale, seed):
    real, fake = scale * torch.randn(2, n, 1, generator=stream(seed), dtype=torch.float64)
    minus_log_sigmoid = [[math.log1p(math.exp(-abs(v))) + max(-v, 0) for v in d.flatten()] for d in (real, -fake, fake)]
    on_real, off_fake, on_fake = (sum(terms) / n for terms in minus_log_sigmoid)
    game = Logistic()
    assert float(game.discriminator_loss(real, fake)) == pytest.approx(on_real + off_fake)
    assert float(game.generator_loss(real, fake)) == pytest.approx(on_fake)


def same_side(real: torch.Tensor, fake: torch.Tensor, temperature: float) -> list[tuple[float, float]]:
    """For each image, weights of the neighbours on its side and of those on the other."""
    x, n = torch.cat([real, fake]).numpy(), len(real)
    sums = []
    for i in range(2 * n):
        weights = [math.exp(-((x[i] - x[j]) ** 2).sum() / temperature) if j != i else 0 for j in range(2 * n)]
        halves = sum(weights[:n]), sum(weights[n:])
        sums.append(halves if i < n else halves[::-1])
    return sums


@settings(deadline=None, max_examples=25)
@given(n=st.integers(2, 6), d=st.integers(1, 4), shift=st.floats(0, 2), seed=st.integers(0, 1000))
def test_guided_losses_against_a_double_loop(n, d, shift, seed):
    real, fake = torch.randn(2, n, d, generator=stream(seed), dtype=torch.float64)
    game = Guided()
    lower = game.discriminator_loss(real, fake + shift)
    sums = same_side(real, fake + shift, float(game.temperature))
    assert float(lower) == pytest.approx(sum(-math.log(own / (own + other)) for own, other in sums) / (2 * n))
    held = float(game.temperature)
    higher = game.generator_loss(real, fake + shift)
    assert float(higher) == pytest.approx(sum(-math.log(other / (own + other)) for own, other in sums) / (2 * n))
    assert float(game.temperature) == held, "the generator's step leaves the temperature"


def test_the_temperature_goes_to_where_the_loss_is_least():
    real, fake = torch.randn(2, 40, 3, generator=stream(), dtype=torch.float64)
    game, fake = Guided(), 10 * (fake + 0.7)
    for _ in range(300):
        loss = game.discriminator_loss(10 * real, fake)
    least = minimum_entanglement(torch.cat([10 * real, fake]), sides(real))
    assert float(loss) == pytest.approx(least.value, rel=1e-6)
    assert float(game.temperature) == pytest.approx(least.temperature, rel=1e-2)


def test_the_generator_still_has_a_gradient_when_real_and_generated_are_far_apart():
    real, fake = torch.randn(2, 20, 3, generator=stream(), dtype=torch.float64)
    fake = (fake + 30).requires_grad_()
    game = Guided()
    game.discriminator_loss(real, fake.detach())
    game.temperature.fill_(1.0)
    (slope,) = torch.autograd.grad(game.generator_loss(real, fake), fake)
    assert slope.norm() > 1 and (slope.mean(0) > 0).all(), "towards the real ones"
    loss = soft_nearest_neighbor_loss(torch.cat([real, fake]), sides(real), 1.0)
    assert torch.autograd.grad(loss, fake)[0].norm() < 1e-100, "which the loss itself has not"


@pytest.mark.parametrize("kind", ["conv", "mlp-guided"])
def test_training_against_torchs_adam_and_backward(kind):
    architecture, rule = KINDS[kind]
    x = torch.randint(0, 256, (20, 1, 8, 8), generator=stream(), dtype=torch.uint8)
    gan, peer = (build_gan(architecture, (1, 8, 8), [6, 4], rule.outputs, stream(1)) for _ in range(2))
    *_, (_, history) = train(gan, rule(), x, 8, [0, 3], stream(2), evaluate=lambda gan: {})
    game, draws, losses = rule(), stream(2), []
    adams = [torch.optim.Adam(each.parameters(), 2e-4, (0.5, 0.999)) for each in (peer.discriminator, peer.generator)]
    for _ in range(3):
        real = x[torch.randint(20, (8,), generator=draws)] / 255
        fake = peer.generator(torch.randn(8, N_NOISE, generator=draws))
        values = []
        for player, adam in enumerate(adams):
            judged = peer.discriminator(real), peer.discriminator(fake if player else fake.detach())
            values.append((game.generator_loss if player else game.discriminator_loss)(*judged))
            adam.zero_grad()
            values[-1].backward()
            adam.step()
        losses.append([value.item() for value in values])
    for name, value in gan.state_dict().items():
        torch.testing.assert_close(value, peer.state_dict()[name], atol=3e-5, rtol=1e-4)  # they moved by 6e-4
    assert history[0]["loss_d"] is None and [row["iteration"] for row in history] == [0, 3]
    np.testing.assert_allclose((history[1]["loss_d"], history[1]["loss_g"]), np.mean(losses, 0), rtol=1e-4)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_training_resumed_is_training_uninterrupted(kind):
    architecture, rule = KINDS[kind]
    x = torch.randint(0, 256, (20, 1, 8, 8), generator=stream(), dtype=torch.uint8)

    def run(schedule, **saved):
        gan = build_gan(architecture, (1, 8, 8), [6, 4], rule.outputs, stream(1))
        measure = lambda gan: {"mean": float(generated(gan, torch.ones(2, N_NOISE)).mean())}  # noqa: E731
        *_, last = train(gan, rule(), x, 8, schedule, stream(2), evaluate=measure, **saved)
        return last

    whole, rows = run([0, 2, 5])
    half, first = run([0, 2])
    state, history = run([0, 2, 5], state=half, history=first)
    assert history == rows and state.keys() == whole.keys()
    assert all(torch.equal(state[name], whole[name]) for name in whole)


def test_a_loss_that_is_not_finite_is_named():
    gan = build_gan("mlp", (1, 8, 8), None, 1, stream())
    gan.discriminator[-1].bias.data.fill_(torch.inf)
    steps = train(gan, Logistic(), torch.zeros(4, 1, 8, 8).byte(), 2, [0, 5], stream(), evaluate=lambda gan: {})
    with pytest.raises(FloatingPointError, match="iteration 0"):
        list(steps)


@given(iterations=st.integers(1, 500), every=st.integers(1, 600))
def test_evaluations_rise_from_none_to_all(iterations, every):
    schedule = evaluations(iterations, every)
    assert schedule[0] == 0 and schedule[-1] == iterations and schedule == sorted(set(schedule))
    assert {i for i in range(0, iterations, every)} <= set(schedule)
    assert len([i for i in schedule if 0 < i < every]) <= 4
    kept = shown(schedule)
    assert kept[0] == 0 and kept[-1] == iterations and set(kept) <= set(schedule)
    assert len(kept) == min(5, len(schedule))


def test_evaluations_of_the_default_study_by_hand():
    schedule = evaluations(1200, 200)
    assert schedule == [0, 25, 50, 100, 200, 400, 600, 800, 1000, 1200]
    assert shown(schedule) == [0, 50, 200, 800, 1200]


class Given(nn.Module):
    """Images for any noise."""

    def __init__(self, images: torch.Tensor) -> None:
        super().__init__()
        self.images = images

    def forward(self, noise: torch.Tensor) -> torch.Tensor:
        return self.images


class ByBrightness(nn.Module):
    """Takes images for class 0, 1, 2 or 3 as they are bright."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.one_hot((4 * x.flatten(1).mean(1)).long().clamp(max=3), 4).float()


def compared(images: torch.Tensor, real: torch.Tensor) -> dict:
    comparison = Comparison(real, torch.zeros(len(images), N_NOISE), ByBrightness())
    return comparison.measure(Gan(Given(images), nn.Identity()))


def test_real_images_in_place_of_generated_ones_reach_the_ceiling():
    real = torch.rand(40, 1, 4, 4, generator=stream())
    row = compared(real[20:], real)
    assert row["real_fake_minimum"] == row["real_real_minimum"] and row["real_fake_fixed"] == row["real_real_fixed"]
    assert row["chance"] == pytest.approx(math.log(39 / 19)) and row["n"] == 20
    distances = [float((a - b).square().sum()) for i, a in enumerate(real) for b in real[:i]]
    assert row["temperature_fixed"] == pytest.approx(np.mean(distances))
    sums = same_side(real[:20].flatten(1), real[20:].flatten(1), row["temperature_fixed"])
    assert row["real_real_fixed"] == pytest.approx(np.mean([-math.log(own / (own + other)) for own, other in sums]))


def test_a_collapsed_generator_has_one_mode_and_is_separable_but_not_at_the_fixed_temperature():
    digits = torch.tensor([0.2, 0.8]).repeat(20).view(40, 1, 1, 1)  # two tight clusters
    real = digits + 0.02 * torch.randn(40, 1, 4, 4, generator=stream())
    row = compared(torch.full((20, 1, 4, 4), 0.5), real)
    assert row["modes"] == 1 and row["entropy"] == 0
    assert row["real_fake_minimum"] < 1e-6 and row["real_fake_fixed"] > 0.5


def test_a_minimum_at_infinity_has_no_temperature():
    real = torch.rand(12, 1, 2, 2, generator=stream(5)).repeat(2, 1, 1, 1)
    row = compared(real[12:], real)  # the nearest to each is its copy on the other side
    assert row["temperature_minimum"] is None and row["real_fake_minimum"] == row["chance"]


def test_measuring_changes_nothing():
    gan = build_gan("conv", (1, 8, 8), [6, 4], 1, stream()).train()
    before = {name: value.clone() for name, value in gan.state_dict().items()}
    rng = torch.random.get_rng_state()
    comparison = Comparison(torch.rand(12, 1, 8, 8), torch.randn(6, N_NOISE), ByBrightness())
    torch.random.set_rng_state(rng)
    assert comparison.measure(gan) == comparison.measure(gan)
    assert gan.generator.training and all(p.requires_grad for p in gan.parameters())
    assert all(torch.equal(before[name], value) for name, value in gan.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), rng)


@given(counts=st.lists(st.integers(0, 60), min_size=1, max_size=10).filter(any))
def test_modes_and_entropy_against_scipy(counts):
    predictions = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    predictions = predictions[torch.randperm(len(predictions), generator=stream())]
    n_classes = len(counts) + 2
    assert entropy(predictions, n_classes) == pytest.approx(stats.entropy(counts), abs=1e-12)
    assert modes(predictions, n_classes) == sum(50 * count >= sum(counts) for count in counts)
    assert modes(predictions, n_classes, share=0.5) == sum(2 * count >= sum(counts) for count in counts)


def test_every_kind_has_an_architecture():
    assert {architecture for architecture, _ in KINDS.values()} == set(GANS)
