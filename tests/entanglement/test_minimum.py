"""Entanglement: the soft nearest neighbor loss at its best temperature, and at many at once."""

from math import exp, inf, log

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from torch import Tensor

from fourlenses.entanglement import minimum
from fourlenses.entanglement.minimum import best_temperature, entanglement_at, minimum_entanglement, refined
from fourlenses.entanglement.snnl import DISTANCES, anchor_losses, chance_level, soft_nearest_neighbor_loss


def stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def mixed(n: int, classes: int, apart: float, seed: int = 0, d: int = 4) -> tuple[Tensor, Tensor]:
    """Points around the middle of their class, of different spread, so that no temperature suits all."""
    y = torch.randint(classes, (n,), generator=stream(seed))
    y[:2] = 0
    middles = apart * torch.randn(classes, d, generator=stream(seed + 1), dtype=torch.float64)
    spread = torch.rand(n, 1, generator=stream(seed + 2), dtype=torch.float64).mul(2).exp()
    return middles[y] + spread * torch.randn(n, d, generator=stream(seed + 3), dtype=torch.float64), y


def least(x: Tensor, y: Tensor, distance: str) -> tuple[float, float]:
    """The minimum by brute force over the log temperature, and scipy's bounded search around the best."""
    distances = DISTANCES[distance](x)
    middle = log(float(distances.mean()))

    def loss(s: float) -> float:
        return float(anchor_losses(distances, y, exp(s)).mean())

    grid = np.linspace(middle - 14, middle + 14, 200)
    values = [loss(s) for s in grid]
    k = int(np.argmin(values))
    bounds = grid[max(k - 1, 0)], grid[min(k + 1, len(grid) - 1)]
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-9})
    return min((found.fun, exp(found.x)), (chance_level(y), inf))


@pytest.mark.parametrize("distance", DISTANCES)
@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 1000), n=st.integers(4, 60), classes=st.integers(2, 6), apart=st.floats(0, 4))
def test_minimum_against_brute_force(distance, seed, n, classes, apart):
    x, y = mixed(n, classes, apart, seed)
    entanglement = minimum_entanglement(x, y, distance=distance)
    value, temperature = least(x, y, distance)
    assert entanglement.value == pytest.approx(value, rel=1e-9, abs=1e-12)
    if 1e-3 < value < 0.99 * entanglement.chance:
        assert entanglement.temperature == pytest.approx(temperature, rel=1e-4)


@pytest.mark.parametrize(
    ("deep", "flat"), [(2.0, -3.0), (-3.0, 2.0), (4.0, -9.0), (-9.0, 4.0), (-14.0, 0), (9.0, 20.0)]
)
def test_of_two_wells_the_deeper_is_found_also_beyond_the_first_temperatures(deep, flat):
    def loss(temperatures: np.ndarray) -> np.ndarray:
        s = np.log(temperatures)
        return 1 - 0.5 * np.exp(-(((s - flat) / 1.5) ** 2)) - 0.6 * np.exp(-(((s - deep) / 1.5) ** 2))

    assert log(best_temperature(loss, 2.0)) == pytest.approx(deep, abs=1e-3)
    assert best_temperature(loss, 0.3) == inf, "the limit is lower"


def test_limits_of_a_loss_that_rises_or_falls_all_the_way():
    assert best_temperature(lambda t: t / (1 + t), 1.0) == 0
    assert best_temperature(lambda t: 1 + 1 / (1 + t), 1.0) == inf
    assert best_temperature(np.ones_like, 1.0) == inf, "a loss that is the same everywhere"


def test_rounding_that_classes_apart_leave_counts_as_nothing():
    """Sums of tiles cancel to 0 at some temperatures and to 1e-17 at others."""
    noise = np.random.default_rng(0)
    assert best_temperature(lambda t: np.where(t < 1, noise.choice([0.0, 1e-17], len(t)), t / (1 + t)), 1.0) == 0
    inside = best_temperature(lambda t: np.where((t > 0.1) & (t < 10), 1e-17, 0.5), 1.0)
    assert 0.1 < inside < 10


@settings(deadline=None, max_examples=15)
@given(scale=st.floats(1e-6, 1e6), shift=st.floats(-10, 10), seed=st.integers(0, 1000))
def test_scale_and_place_do_not_change_the_value_and_the_temperature_goes_with_the_square(scale, shift, seed):
    x, y = mixed(50, 3, 1.5, seed)
    before, after = minimum_entanglement(x, y), minimum_entanglement(scale * (x + shift), y)
    assert after.value == pytest.approx(before.value, rel=1e-9)
    if before.temperature not in (0, inf):
        assert after.temperature == pytest.approx(scale**2 * before.temperature, rel=1e-5)


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 1000))
def test_permuted_points_and_renamed_classes(seed):
    x, y = mixed(50, 4, 1.0, seed)
    order = torch.randperm(50, generator=stream(seed))
    before, after = minimum_entanglement(x, y), minimum_entanglement(x[order], 9 - y[order])
    assert after.value == pytest.approx(before.value, rel=1e-12)
    partnered = y.bincount()[y] > 1
    at = torch.full((50,), -1.0, dtype=torch.float64).masked_scatter(partnered, before.anchors)[order]
    torch.testing.assert_close(after.anchors, at[at >= 0])


def test_all_that_is_reported():
    x, y = mixed(80, 4, 1.5)
    y[:2] = torch.tensor([11, 12])
    found = minimum_entanglement(x.view(80, 2, 2), y)
    assert (found.n, found.dropped) == (80, 2) and 0 < found.temperature < inf
    assert found.chance == pytest.approx(chance_level(y))
    torch.testing.assert_close(found.anchors, anchor_losses(DISTANCES["euclidean"](x), y, found.temperature))
    assert found.value == float(found.anchors.mean()) < found.chance
    assert found.se == pytest.approx(found.anchors.numpy().std(ddof=1) / 78**0.5)


def test_classes_apart_are_at_zero_in_the_limit_of_low_temperatures():
    x, y = torch.tensor([[0.0], [1.45], [100.0], [101.45]]), torch.tensor([0, 0, 1, 1])
    found = minimum_entanglement(x, y)
    assert (found.value, found.temperature, found.se) == (0, 0, 0) and found.chance == pytest.approx(log(3))


def test_pairs_closer_than_any_temperature_of_the_grid_are_found():
    places = torch.randn(100, 5, generator=stream(0), dtype=torch.float64)
    y = torch.randint(4, (100,), generator=stream(1)).repeat(2)
    apart = torch.cat([places, places + 1e-3])
    assert minimum_entanglement(apart, y).value == 0
    y[-1] = (y[-1] + 1) % 4
    found = minimum_entanglement(apart, y)
    assert found.value == pytest.approx(least(apart, y, "euclidean")[0], rel=1e-9)


@pytest.mark.parametrize("distance", DISTANCES)
def test_points_that_are_all_one_are_at_chance_at_every_temperature(distance):
    y = torch.tensor([0, 1, 0, 1, 1, 2])
    for x in (torch.full((6, 3), 0.1), torch.zeros(6, 3)):
        found = minimum_entanglement(x, y, distance=distance)
        assert (found.value, found.temperature) == (pytest.approx(chance_level(y)), inf)


def test_classes_that_avoid_each_other_less_than_themselves_are_at_chance():
    """Each point's nearest are of the other class, so every finite temperature is worse than none."""
    x, y = torch.tensor([[0.0, 0], [0, 1], [9, 0], [9, 1]]), torch.tensor([0, 1, 1, 0])
    found = minimum_entanglement(x, y)
    assert found.temperature == inf and found.value == pytest.approx(log(3))


def test_duplicates_of_another_class_are_a_tie():
    x, y = torch.tensor([[0.3], [10.1]]).repeat(4, 1), torch.tensor([0, 1]).repeat(4)
    assert minimum_entanglement(x, y).value == 0, "each class has a place"
    y = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    found = minimum_entanglement(x, y)
    assert found.value == pytest.approx(log(7 / 3)) and found.temperature == inf


@example(n=7, classes=2, tile=3, seed=0)  # a tile of one row
@settings(deadline=None, max_examples=12)
@given(n=st.integers(2, 40), classes=st.integers(1, 20), tile=st.integers(3, 30), seed=st.integers(0, 1000))
@pytest.mark.parametrize("distance", DISTANCES)
def test_tiles_of_any_size_give_what_the_plain_loss_gives(distance, n, classes, tile, seed):
    x, y = mixed(n, classes, 1.0, seed)
    temperatures = torch.tensor([1e-30, 1e-3, 0.4, 30.0, 1e9, inf], dtype=torch.float64)
    plain = [soft_nearest_neighbor_loss(x, y, float(t), distance=distance) for t in temperatures]
    tiled = entanglement_at(x, y, temperatures, distance=distance, block=tile)
    torch.testing.assert_close(tiled, torch.stack(plain), rtol=1e-10, atol=1e-10)


def test_tiled_loss_of_float32_of_a_large_norm_is_close_to_float64():
    x, y = mixed(300, 5, 1.0, d=100)
    x = 1000 * x / x.norm(dim=1, keepdim=True) + 100
    temperatures = float(DISTANCES["euclidean"](x).mean()) * torch.logspace(-4, 3, 8)
    exact = entanglement_at(x.float().double(), y, temperatures)
    torch.testing.assert_close(entanglement_at(x.float(), y, temperatures, block=64), exact, rtol=1e-3, atol=1e-4)
    assert entanglement_at(x.float(), y, temperatures).dtype == torch.float64


def test_more_points_than_are_held_give_the_same(monkeypatch):
    x, y = mixed(90, 4, 1.5)
    held = minimum_entanglement(x, y)
    monkeypatch.setattr(minimum, "TILE", 20)
    anew = minimum_entanglement(x, y, block=50)
    assert anew.value == pytest.approx(held.value, rel=1e-12)
    assert anew.temperature == pytest.approx(held.temperature, rel=1e-5)
    torch.testing.assert_close(anew.anchors, held.anchors, rtol=1e-4, atol=1e-6)


def test_refinement_finds_the_minimum_of_a_known_function():
    """e^(cosh(s - 0.3)) is least at s = 0.3."""
    value, temperature = refined(lambda t: np.exp(np.cosh(np.log(t) - 0.3)), 0.0, 1e-12)
    assert value == pytest.approx(exp(1), rel=1e-12) and log(temperature) == pytest.approx(0.3, abs=1e-6)


@pytest.mark.parametrize("function", [minimum_entanglement, lambda x, y: entanglement_at(x, y, torch.ones(1))])
@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (torch.ones(1, 2), [0], "at least 2"),
        (torch.ones(3, 2), [0, 1, 2], "no two points share a class"),
        (torch.tensor([[np.nan], [0.0], [1.0]]), [0, 0, 1], "NaN, infinite"),
        (torch.tensor([[inf], [0.0], [1.0]]), [0, 0, 1], "NaN, infinite"),
        (torch.tensor([[1e200], [0.0], [1.0]], dtype=torch.float64), [0, 0, 1], "too large to be squared"),
    ],
)
def test_what_has_no_entanglement_is_refused_in_a_sentence(function, x, y, message):
    with pytest.raises(ValueError, match=message):
        function(x, torch.tensor(y))


@pytest.mark.parametrize("temperature", [0.0, -1.0, np.nan])
def test_temperatures_are_above_zero(temperature):
    with pytest.raises(ValueError, match="above 0"):
        entanglement_at(torch.eye(3), torch.zeros(3, dtype=torch.long), torch.tensor([1.0, temperature]))
