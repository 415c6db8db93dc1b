"""The soft nearest neighbor loss at a temperature."""

from math import exp, inf, log

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from torch import Tensor

from fourlenses.entanglement.snnl import (
    DISTANCES,
    anchor_losses,
    chance_level,
    released_loss,
    soft_nearest_neighbor_loss,
    without_partner,
)

SCIPY = {"euclidean": "sqeuclidean", "cosine": "cosine"}


def points(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def labels(n: int, classes: int, seed: int = 0) -> Tensor:
    return torch.randint(classes, (n,), generator=torch.Generator().manual_seed(seed))


def by_loop(x: Tensor, y: Tensor, temperature: float, distance: str) -> list[float]:
    """Equation 1 pair by pair, for the points with a partner."""
    terms = []
    for i in range(len(x)):
        same = total = 0.0
        for j in range(len(x)):
            if j != i:
                weight = exp(-cdist(x[i : i + 1], x[j : j + 1], SCIPY[distance]).item() / temperature)
                total += weight
                same += weight if y[i] == y[j] else 0
        if (y == y[i]).sum() > 1:
            terms.append(-log(same / total))
    return terms


@pytest.mark.parametrize("distance", DISTANCES)
@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 1000), classes=st.integers(1, 9), temperature=st.floats(0.1, 1000))
def test_twenty_points_against_a_double_loop(distance, seed, classes, temperature):
    x, y = points(20, 6, seed), labels(20, classes, seed)
    expected = by_loop(x, y, temperature, distance)
    terms = anchor_losses(DISTANCES[distance](x), y, temperature)
    np.testing.assert_allclose(terms.numpy(), expected, rtol=1e-10, atol=1e-12)
    value = soft_nearest_neighbor_loss(x.view(20, 2, 3), y, temperature, distance=distance)
    assert float(value) == pytest.approx(np.mean(expected), rel=1e-10)
    assert without_partner(y) == 20 - len(expected)


def test_distances_by_hand():
    x = torch.tensor([[3.0, 0.0], [0.0, 4.0], [0.0, 0.0], [-6.0, 0.0]])
    squares = [[0, 25, 9, 81], [25, 0, 16, 52], [9, 16, 0, 36], [81, 52, 36, 0]]
    cosines = [[0, 1, 1, 2], [1, 0, 1, 1], [1, 1, 0, 1], [2, 1, 1, 0]]
    torch.testing.assert_close(DISTANCES["euclidean"](x), torch.tensor(squares).float())
    torch.testing.assert_close(DISTANCES["cosine"](x), torch.tensor(cosines).float(), msg="a zero vector is at 1")


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("by", ["points", "temperature"])
def test_gradients_against_finite_differences(distance, by):
    x, y, temperature = points(9, 4), labels(9, 3), torch.tensor(1.7, dtype=torch.float64)
    moved = (x if by == "points" else temperature).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda _: soft_nearest_neighbor_loss(x, y, temperature, distance=distance), moved, rtol=1e-6, atol=1e-9
    )


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), n=st.integers(2, 40), classes=st.integers(1, 5))
def test_permuted_points_and_renamed_classes_change_nothing(seed, n, classes):
    x, y = points(n, 5, seed), labels(n, classes, seed)
    y[1] = y[0]
    value = soft_nearest_neighbor_loss(x, y, 3.0)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(soft_nearest_neighbor_loss(x[order], y[order], 3.0), value)
    torch.testing.assert_close(soft_nearest_neighbor_loss(x, 70 - 3 * y, 3.0), value)


@pytest.mark.parametrize(("n", "expected"), [(100, 2.398), (256, 2.34)])
def test_infinite_temperature_gives_the_chance_level_whatever_the_points(n, expected):
    y = torch.arange(n) % 10
    assert chance_level(y) == pytest.approx(expected, abs=2e-2 if n == 256 else 1e-3)
    for temperature in (inf, 1e12):
        value = soft_nearest_neighbor_loss(points(n, 7), y, temperature)
        assert float(value) == pytest.approx(chance_level(y), rel=1e-9)


def test_chance_level_of_classes_of_three_two_and_one_by_hand():
    y = torch.tensor([4, 7, 4, 9, 7, 4])
    assert chance_level(y) == pytest.approx((3 * log(5 / 2) + 2 * log(5 / 1)) / 5)
    assert without_partner(y) == 1


@settings(deadline=None, max_examples=4)
@given(seed=st.integers(0, 1000))
def test_random_labels_are_at_chance_at_a_wide_temperature(seed):
    """By exchangeability the mean over labellings is near the level; a temperature of d averages many neighbours."""
    x = points(200, 8, seed)
    values = [soft_nearest_neighbor_loss(x, y := labels(200, 4, seed + k), 16.0) - chance_level(y) for k in range(20)]
    assert abs(float(torch.stack(values).mean())) < 0.02


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("temperature", [1e-20, 1e-3, 1.0, 100.0, 1e20, inf])
@pytest.mark.parametrize("case", ["duplicates", "identical", "alone", "large", "zeros"])
def test_value_and_gradient_are_numbers(distance, temperature, case):
    x, y = points(24, 50).float(), torch.arange(24) % 3
    if case == "duplicates":
        x = x[:6].repeat(4, 1)
    if case == "identical":
        x = torch.full((24, 50), 0.1)
    if case == "alone":
        y[:2] = torch.tensor([7, 8])
    if case == "large":
        x = 1000 * x / x.norm(dim=1, keepdim=True)
    if case == "zeros":
        x[::2] = 0
    x.requires_grad_()
    value = soft_nearest_neighbor_loss(x, y, temperature, distance=distance)
    value.backward()
    assert torch.isfinite(value) and value >= -1e-6 and torch.isfinite(x.grad).all()


def test_float32_of_a_large_norm_is_close_to_float64():
    x = points(100, 500)
    x, y = 1000 * x / x.norm(dim=1, keepdim=True) + 500, labels(100, 5)
    temperature = float(DISTANCES["euclidean"](x).mean()) / 50
    exact = soft_nearest_neighbor_loss(x.float().double(), y, temperature)
    assert float(soft_nearest_neighbor_loss(x.float(), y, temperature)) == pytest.approx(float(exact), rel=1e-4)


def test_duplicates_of_another_class_are_a_tie_at_low_temperatures():
    """Two places, each with two points of two classes: of the three others there, one has the class."""
    x, y = torch.tensor([[0.0], [10.0]]).repeat(4, 3), torch.tensor([0, 0, 1, 1]).repeat_interleave(2)
    for temperature in (1e-9, 1.0):
        assert float(soft_nearest_neighbor_loss(x, y, temperature)) == pytest.approx(log(3))
    assert float(soft_nearest_neighbor_loss(x, y, inf)) == pytest.approx(log(7 / 3))


def pairs_apart() -> tuple[Tensor, Tensor]:
    return torch.tensor([[0.0], [1.45], [100.0], [101.45]], dtype=torch.float64), torch.tensor([0, 0, 1, 1])


def test_classes_apart_at_a_low_temperature_are_at_zero_but_not_in_the_released_formula():
    x, y = pairs_apart()
    assert float(soft_nearest_neighbor_loss(x, y, 0.15)) == 0
    weight = exp(-(1.45**2) / 0.15)
    expected = -log(1e-5 + weight / (1e-5 + weight))
    assert expected == pytest.approx(2.58, abs=5e-3)
    assert float(released_loss(x, y, 0.15)) == pytest.approx(expected, rel=1e-9)
    assert float(released_loss(x, y, 1e-3)) == pytest.approx(-log(1e-5)), "all weights underflow"


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("temperature", [0.05, 1.0, 100.0])
def test_released_formula_against_a_loop(distance, temperature):
    x, y = points(20, 6), labels(20, 12)
    assert without_partner(y) > 0
    terms = []
    for i in range(20):
        weights = np.exp(-cdist(x[i : i + 1], x, SCIPY[distance])[0] / temperature)
        weights[i] = 0
        terms.append(-log(1e-5 + (weights / (1e-5 + weights.sum()))[y == y[i]].sum()))
    value = released_loss(x, y, temperature, distance=distance)
    assert float(value) == pytest.approx(np.mean(terms), rel=1e-9)


def test_released_formula_is_a_number_where_the_release_takes_the_log_of_a_negative_one():
    x, y = (3 * points(128, 1000) + 10).float(), torch.arange(128)
    squares = x.square().sum(1)
    weights = torch.exp(-(squares[:, None] + squares - 2 * x @ x.T) / 100) - torch.eye(128)
    assert weights.diagonal().min() < -1e-5, "what rounding leaves where a point meets itself"
    x.requires_grad_()
    value = released_loss(x, y, 100.0)
    value.backward()
    assert float(value.detach()) == pytest.approx(-log(1e-5)), "no point has a partner"
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize(
    ("x", "y", "temperature", "message"),
    [
        (points(1, 2), [0], 1.0, "at least 2"),
        (points(3, 2), [0, 1, 2], 1.0, "no two points share a class"),
        (points(3, 2).fill_(np.nan), [0, 0, 1], 1.0, "NaN or infinite"),
        (torch.tensor([[inf], [0.0], [1.0]]), [0, 0, 1], 1.0, "NaN or infinite"),
        (torch.tensor([[3e30], [0.0], [1.0]]), [0, 0, 1], 1.0, "squares"),
        (points(3, 2), [0, 0, 1], 0.0, "above 0"),
        (points(3, 2), [0, 0, 1], -1.0, "above 0"),
        (points(3, 2), [0, 0, 1], np.nan, "above 0"),
    ],
)
def test_what_has_no_loss_is_refused_in_a_sentence(x, y, temperature, message):
    with pytest.raises(ValueError, match=message):
        soft_nearest_neighbor_loss(x, torch.tensor(y), temperature)
