"""Rules for the temperature: losses and derivatives against automatic ones, steps by hand, and where they lead."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fourlenses.entanglement.snnl import anchor_losses, chance_level, released_loss, squared_distances
from fourlenses.entanglement.temperatures import RULES, Temperatures, advance, exact, follow, partners, released


def points(seed: int = 0, n: int = 24, dtype=torch.float64, spread: float = 1.0):
    """Three classes in four dimensions, drawn apart by `spread`."""
    stream = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 3
    x = torch.randn(n, 4, generator=stream, dtype=torch.float64)
    x[:, 0] += spread * y
    return x.to(dtype), y


def at(temperature: float) -> torch.Tensor:
    return torch.tensor(temperature, dtype=torch.float64)


def test_partners_are_of_one_class_and_another_point():
    assert partners(torch.tensor([3, 1, 3])).tolist() == [[False, False, True], [False] * 3, [True, False, False]]


def test_exact_by_hand():
    d = torch.tensor([[0.0, 1.0, 2.0], [1.0, 0.0, 3.0], [2.0, 3.0, 0.0]], dtype=torch.float64)
    value, pull = exact(d, partners(torch.tensor([0, 0, 1])), 0.5)
    p = [math.exp(-0.5) / (math.exp(-0.5) + math.exp(-1.0)), math.exp(-0.5) / (math.exp(-0.5) + math.exp(-1.5))]
    assert float(value) == pytest.approx(-(math.log(p[0]) + math.log(p[1])) / 2)
    expected = [[0, 1 - p[0], p[0] - 1], [1 - p[1], 0, p[1] - 1], [0, 0, 0]]
    torch.testing.assert_close(pull, torch.tensor(expected, dtype=torch.float64) / 2)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 999),
    log_t=st.floats(-3, 6),
    labels=st.lists(st.integers(0, 4), min_size=4, max_size=12).filter(lambda y: len(set(y)) < len(y)),
)
def test_exact_is_the_loss_and_its_derivatives(seed, log_t, labels):
    y = torch.tensor(labels)
    x = torch.randn(len(y), 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    d = squared_distances(x).requires_grad_()
    t = torch.tensor(math.exp(log_t), dtype=torch.float64, requires_grad=True)
    loss = anchor_losses(d, y, t).mean()
    by_d, by_t = torch.autograd.grad(loss, (d, t))
    value, pull = exact(d.detach(), partners(y), 1 / float(t.detach()))
    torch.testing.assert_close(value, loss.detach())
    torch.testing.assert_close(pull / t.detach(), by_d, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(-(pull * d.detach()).sum() / t.detach() ** 2, by_t, rtol=1e-6, atol=1e-9)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 999), log_t=st.floats(-3, 6), labels=st.lists(st.integers(0, 4), min_size=4, max_size=12))
def test_released_is_the_released_loss_and_its_derivatives(seed, log_t, labels):
    y = torch.tensor(labels)
    x = torch.randn(len(y), 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64, requires_grad=True)
    t = torch.tensor(math.exp(log_t), dtype=torch.float64, requires_grad=True)
    loss = released_loss(x, y, t)
    by_x, by_t = torch.autograd.grad(loss, (x, t))
    x, t = x.detach(), t.detach()
    d = squared_distances(x)
    value, pull = released(d, partners(y), 1 / float(t))
    torch.testing.assert_close(value, loss.detach())
    both = pull + pull.T
    torch.testing.assert_close(2 / t * (both.sum(1, keepdim=True) * x - both @ x), by_x, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(-(pull * d).sum() / t**2, by_t, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("loss", [exact, released])
@pytest.mark.parametrize("temperature", [1e-6, 1.0, 1e9])
def test_no_nan_with_duplicates_lone_points_and_large_norms(loss, temperature):
    x, _ = points(dtype=torch.float32)
    x = 1e3 * x
    x[3], y = x[0], torch.arange(24) // 2
    y[5] = 99
    value, pull = loss(squared_distances(x), partners(y), 1 / temperature)
    assert torch.isfinite(value) and torch.isfinite(pull).all() and value >= 0
    alone = loss(squared_distances(x), partners(torch.arange(24)), 1 / temperature)
    assert torch.isfinite(alone[0]) and torch.isfinite(alone[1]).all()


def test_fixed_stays_at_its_start():
    x, y = points()
    d, same = squared_distances(x), partners(y)
    assert advance("fixed", at(100.0), d, same, 100.0) == 100.0
    assert follow("fixed", d, y, 7.0, 5) == (pytest.approx(float(anchor_losses(d, y, 7.0).mean())), 7.0)


def test_released_steps_are_those_of_automatic_differentiation():
    x, y = points()
    d, same, t = squared_distances(x), partners(y), torch.tensor(1.0, dtype=torch.float64)
    temperature = at(5.0)
    for _ in range(3):
        t = t.detach().requires_grad_()
        (slope,) = torch.autograd.grad(released_loss(x, y, 5.0 / t), t)
        t = t - 0.1 * slope
        temperature = advance("released", temperature, d, same, 5.0)
        assert float(temperature) == pytest.approx(5.0 / t.item(), rel=1e-9)
        assert temperature != 5.0


def test_released_temperature_stays_above_zero_where_t_would_not():
    y = torch.tensor([0, 1, 0, 1])
    x = torch.tensor([[0.0], [0.5], [6.0], [6.5]], dtype=torch.float64)  # neighbours are of the other class
    d, same, temperature = squared_distances(x), partners(y), at(10.0)
    for _ in range(100):
        temperature = advance("released", temperature, d, same, 10.0)
        assert temperature > 0
    assert float(temperature) == pytest.approx(10.0 / 1e-5)


def test_tracked_begins_at_the_mean_distance_and_takes_two_steps():
    x, y = points()
    d, same = squared_distances(x), partners(y)
    mean = float(d.sum()) / (24 * 23)
    s = torch.tensor(-math.log(mean), dtype=torch.float64)
    for _ in range(2):
        s = s.detach().requires_grad_()
        (slope,) = torch.autograd.grad(anchor_losses(d, y, torch.exp(-s)).mean(), s)
        s = s - slope.clamp(-1, 1)
    found = advance("tracked", at(0.0), d, same, 1.0)
    assert float(found) == pytest.approx(math.exp(-float(s.detach())), rel=1e-9)
    assert advance("tracked", at(mean), d, same, 1.0) == found


@pytest.mark.parametrize("spread", [0.5, 1.0, 3.0])
def test_tracked_comes_to_rest_where_the_loss_is_least(spread):
    x, y = points(seed=2, n=60, spread=spread)
    d = squared_distances(x)
    value, temperature = follow("tracked", d, y, float(d.mean()), 200)
    around = [float(anchor_losses(d, y, temperature * k).mean()) for k in (0.9, 0.99, 1.01, 1.1)]
    assert value <= min(around) and value < chance_level(y)
    assert value == pytest.approx(float(anchor_losses(d, y, temperature).mean()))


@pytest.mark.parametrize("temperature", [1e-30, 1e30])
def test_tracked_stays_near_the_mean_distance(temperature):
    x, y = points()
    d = squared_distances(x)
    mean = float(d.sum()) / (24 * 23)
    found = advance("tracked", at(temperature), d, partners(y), 1.0)
    assert mean / 1e3 / 10 < found < mean * 1e3 * 10


@pytest.mark.parametrize("rule", RULES)
def test_no_rule_is_shaken_by_points_that_are_one(rule):
    d, y = torch.zeros(6, 6), torch.arange(6) % 2
    temperatures = Temperatures(rule, 100.0, 1)
    for _ in range(3):
        value, by_distance = temperatures.loss(0, d, partners(y))
        assert torch.isfinite(by_distance).all() and float(value) == pytest.approx(math.log(5 / 2), rel=1e-4)
        assert 0 < float(temperatures.values[0]) < math.inf


@pytest.mark.parametrize("rule", RULES)
def test_each_layer_has_a_temperature_that_is_kept(rule):
    x, y = points()
    d, same = squared_distances(x), partners(y)
    temperatures, by_hand = Temperatures(rule, 100.0, 2), at(0.0 if rule == "tracked" else 100.0)
    for _ in range(3):
        value, by_distance = temperatures.loss(1, d, same)
        by_hand = advance(rule, by_hand, d, same, 100.0)
        assert temperatures.values[1] == by_hand
        expected = released(d, same, 1 / by_hand) if rule == "released" else exact(d, same, 1 / by_hand)
        assert torch.equal(value, expected[0]) and torch.equal(by_distance, expected[1] / by_hand)
    assert float(temperatures.values[0]) == (0.0 if rule == "tracked" else 100.0)
    again = Temperatures(rule, 100.0, 2)
    again.load_state_dict(temperatures.state_dict())
    assert torch.equal(again.values, temperatures.values) and not list(again.parameters())
