"""Projected gradient: what must hold whatever the network."""

import pytest
import torch
from attacked import L2, LINF, SHAPE, X, Y, attack, loss_of, stream, trained_a_little
from hypothesis import given, settings
from hypothesis import strategies as st

from fourlenses.attacks import STEPS, cross_entropy, frozen, projected_gradient

NETWORK = trained_a_little()


@settings(max_examples=25, deadline=None)
@given(
    norm=st.sampled_from(["l2", "linf", "unconstrained"]),
    eps=st.floats(1e-3, 5),
    step=st.floats(1e-3, 10),
    targeted=st.booleans(),
    random=st.booleans(),
    seed=st.integers(0, 100),
)
def test_never_leaves_the_ball_nor_the_pixels(norm, eps, step, targeted, random, seed):
    x = (torch.rand(3, *SHAPE, generator=stream(seed)) * 1.5 - 0.25).clamp(0, 1)
    found = attack(
        NETWORK, x, Y[:3], norm=norm, eps=eps, step_size=step, steps=2, targeted=targeted,
        generator=stream(seed) if random else None,
    )  # fmt: skip
    assert 0 <= found.min() and found.max() <= 1 and found.shape == x.shape
    moved = (found - x).flatten(1)
    if norm == "l2":
        assert (moved.norm(dim=1) <= eps * (1 + 1e-5)).all()
    if norm == "linf":
        assert (moved.abs() <= eps + 1e-6).all()


def test_leaves_modes_statistics_and_gradients_as_they_were():
    network = trained_a_little().train()
    network.body.stem.eval()
    network.head.weight.requires_grad_(False)
    modes = [module.training for module in network.modules()]
    wanted = [parameter.requires_grad for parameter in network.parameters()]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    attack(network, **L2, generator=stream())
    assert [module.training for module in network.modules()] == modes
    assert [parameter.requires_grad for parameter in network.parameters()] == wanted
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_frozen_restores_after_an_exception():
    network = trained_a_little().train()
    with pytest.raises(RuntimeError, match="boom"), frozen(network):
        assert not network.body.stem[1].training
        raise RuntimeError("boom")
    assert all(module.training for module in network.modules())
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("best", [False, True])
@pytest.mark.parametrize("options", [L2, LINF])
def test_more_restarts_are_never_worse(options, best):
    """Both attacks draw the same first start."""
    short = options | {"steps": 2, "best": best}
    once, often = (loss_of(NETWORK, attack(NETWORK, **short, generator=stream(5), restarts=n)) for n in (1, 6))
    assert (often >= once - 1e-6).all() and (often > once + 1e-6).any()


def test_best_iterate_is_monotone_in_the_steps():
    bold = L2 | {"step_size": 5.0, "eps": 5.0}  # so bold that single steps overshoot
    losses = [loss_of(NETWORK, attack(NETWORK, **bold | {"steps": n})) for n in range(6)]
    last = [loss_of(NETWORK, attack(NETWORK, **bold | {"steps": n}, best=False)) for n in range(6)]
    assert all((after >= before - 1e-6).all() for before, after in zip(losses, losses[1:], strict=False))
    assert any((after < before - 1e-3).any() for before, after in zip(last, last[1:], strict=False))
    torch.testing.assert_close(losses[-1], torch.stack(last).amax(0), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("options", [L2, LINF])
def test_random_start_is_reproducible_and_leaves_the_global_stream(options):
    state = torch.random.get_rng_state()
    first, again, other = (attack(NETWORK, **options, generator=stream(seed)) for seed in (4, 4, 5))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first, again) and not torch.equal(first, other)
    torch.manual_seed(123)
    assert torch.equal(first, attack(NETWORK, **options, generator=stream(4)))


def test_two_random_starts_from_one_stream_differ():
    generator = stream()
    assert not torch.equal(*(attack(NETWORK, **LINF, generator=generator) for _ in range(2)))


def test_fourier_descends_in_an_unclipped_spectrum():
    start = torch.randn(4, *SHAPE, 2, generator=stream()) * 0.3
    target = torch.rand(4, *SHAPE, generator=stream(1))
    spectra = []

    def loss(x):
        assert 0 < x.min() and x.max() < 1
        return (x - target).square().flatten(1).sum(1)

    class Recorded(STEPS["fourier"]):
        def project(self, x):
            spectra.append(super().project(x))
            return spectra[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(STEPS, "fourier", Recorded)
        found = projected_gradient(loss, start, norm="fourier", eps=0.0, step_size=1.0, steps=60, targeted=True)
    decoded = STEPS["fourier"](orig_input=start, eps=0.0, step_size=1.0).to_image(start)
    assert found.shape == target.shape
    assert (loss(found) < 0.5 * loss(decoded)).all()
    assert spectra[-1].min() < -1 and spectra[-1].max() > 1


def test_step_has_length_eta_before_clipping_and_decays_to_zero():
    middle = torch.full((2, *SHAPE), 0.5)
    direction = torch.randn(2, *SHAPE, generator=stream())
    points = []

    def loss(x):
        points.append(x.detach().clone())
        return (x * direction).flatten(1).sum(1)

    options = {"norm": "unconstrained", "eps": 0.0, "step_size": 0.01, "steps": 4}
    projected_gradient(loss, middle, **options, best=False)
    lengths = torch.stack([(b - a).flatten(1).norm(dim=1) for a, b in zip(points, points[1:], strict=False)])
    torch.testing.assert_close(lengths, torch.full((3, 2), 0.01), atol=1e-6, rtol=0)

    points.clear()
    found = projected_gradient(loss, middle, **options, best=False, decay=True)
    points.append(found)
    lengths = torch.stack([(b - a).flatten(1).norm(dim=1) for a, b in zip(points, points[1:], strict=False)])
    torch.testing.assert_close(lengths[:, 0], torch.tensor([0.01, 0.0075, 0.005, 0.0025]), atol=1e-6, rtol=0)


def test_score_decides_what_is_best_where_the_loss_is_random():
    draws = iter([1.0, -1.0, 1.0, -1.0])

    def loss(x):
        return next(draws) * x.flatten(1).sum(1)

    def score(x):
        return x.flatten(1).sum(1)

    found = projected_gradient(
        loss, torch.full((1, 1, 2, 2), 0.5), norm="linf", eps=0.5, step_size=0.1, steps=2, score=score
    )
    torch.testing.assert_close(found, torch.full((1, 1, 2, 2), 0.6))


def test_loss_that_is_not_finite_stops_the_attack():
    def loss(x):
        return x.flatten(1).sum(1) * torch.tensor([1.0, float("nan")])

    with pytest.raises(FloatingPointError, match="not finite"):
        projected_gradient(loss, X[:2], **LINF)


def test_bfloat16_reaches_nearly_the_loss_of_float32():
    half = cross_entropy(NETWORK, Y, "bfloat16")
    with frozen(NETWORK):
        found = projected_gradient(half, X, **L2)
        assert half(X).dtype == torch.float32
    gain = loss_of(NETWORK, attack(NETWORK, **L2)) - loss_of(NETWORK, X)
    assert ((loss_of(NETWORK, found) - loss_of(NETWORK, X)) > 0.9 * gain).all()


@pytest.mark.parametrize("options", [L2, LINF])
def test_splitting_the_batch_changes_nothing(options):
    whole = attack(NETWORK, **options)
    halves = torch.cat([attack(NETWORK, X[part], Y[part], **options) for part in (slice(0, 3), slice(3, 8))])
    torch.testing.assert_close(whole, halves, atol=1e-6, rtol=0)
