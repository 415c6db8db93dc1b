"""Points in the plane that move to lower their own loss."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from fourlenses.entanglement.minimum import minimum_entanglement
from fourlenses.entanglement.toy import (
    CLASSES,
    RULES,
    descend,
    mean_distances,
    nearest_neighbour_accuracy,
    scattered,
)


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def loss_by_hand(points: list[list[float]], labels: list[int], temperature: float) -> float:
    """Equation 1, one pair at a time."""

    def log_sum(distances: list[float]) -> float:
        nearest = min(distances)
        return -nearest / temperature + math.log(sum(math.exp((nearest - d) / temperature) for d in distances))

    terms = []
    for i, (a, own) in enumerate(zip(points, labels, strict=True)):
        others = {j: math.dist(a, b) ** 2 for j, b in enumerate(points) if j != i}
        terms.append(log_sum(list(others.values())) - log_sum([d for j, d in others.items() if labels[j] == own]))
    return sum(terms) / len(terms)


def pairs_by_hand(points: list[list[float]], labels: list[int]) -> tuple[float, float]:
    found: dict[bool, list[float]] = {True: [], False: []}
    for i, a in enumerate(points):
        for j, b in enumerate(points):
            if i != j:
                found[labels[i] == labels[j]].append(math.dist(a, b) ** 2)
    return sum(found[True]) / len(found[True]), sum(found[False]) / len(found[False])


@given(st.integers(8, 60), st.integers(0, 1000))
def test_labels_come_in_equal_numbers_and_every_point_has_a_partner(n, seed):
    points, labels = scattered(n, stream(seed))
    counts = labels.bincount(minlength=CLASSES)
    assert points.shape == (n, 2) and counts.min() >= 2 and counts.max() - counts.min() <= 1
    assert torch.equal(points, scattered(n, stream(seed))[0])


def test_labels_say_nothing_of_the_points():
    points, labels = scattered(4000, stream())
    centres = torch.stack([points[labels == k].mean(0) for k in range(CLASSES)])
    assert centres.abs().max() < 0.15 and (points.std(0) - 1).abs().max() < 0.05
    assert labels[:200].bincount().min() > 30, "their order is random"


def test_mean_distances_of_three_points():
    x = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
    assert mean_distances(x, torch.tensor([0, 0, 1])) == (9.0, pytest.approx((16 + 25) / 2))
    assert math.isnan(mean_distances(x, torch.tensor([0, 0, 0]))[1])


@given(st.integers(8, 20), st.integers(0, 100))
@settings(max_examples=10, deadline=None)
def test_mean_distances_are_those_of_a_loop(n, seed):
    points, labels = scattered(n, stream(seed))
    assert mean_distances(points, labels) == pytest.approx(pairs_by_hand(points.tolist(), labels.tolist()))


@pytest.mark.parametrize("seed", range(5))
def test_nearest_neighbours_are_those_of_another_library(seed):
    points, labels = scattered(50, stream(seed))
    _, order = NearestNeighbors(n_neighbors=2).fit(points.numpy()).kneighbors(points.numpy())
    expected = (labels[torch.from_numpy(order[:, 1])] == labels).double().mean().item()
    assert nearest_neighbour_accuracy(points, labels) == pytest.approx(expected)


@pytest.mark.parametrize(("rule", "temperature"), [("T=1", 1.0), ("T=100", 100.0)])
def test_the_first_step_goes_down_the_slope_of_the_loss(rule, temperature):
    """Adam's first step is lr times the sign of each coordinate's slope, found here by finite differences."""
    points, labels = scattered(9, stream(3))
    end, history = descend(points, labels, rule, 1, 0.01)
    assert history[0]["loss"] == pytest.approx(loss_by_hand(points.tolist(), labels.tolist(), temperature))
    for i in range(9):
        for k in range(2):
            sides = [points.clone(), points.clone()]
            sides[0][i, k] -= 1e-5
            sides[1][i, k] += 1e-5
            low, high = (loss_by_hand(side.tolist(), labels.tolist(), temperature) for side in sides)
            slope = (high - low) / 2e-5
            assert abs(slope) > 1e-6, "the sign is one"
            assert (end - points)[i, k].item() == pytest.approx(-math.copysign(0.01, slope), rel=1e-2)


@pytest.mark.parametrize("rule", RULES)
def test_the_history_is_of_the_points_at_its_steps(rule):
    points, labels = scattered(16, stream(1))
    before = points.clone()
    end, history = descend(points, labels, rule, 25, 0.05, every=10)
    assert [row["step"] for row in history] == [0, 10, 20, 25]
    assert torch.equal(points, before) and not torch.equal(points, end)
    for row, at in ((history[0], points), (history[-1], end)):
        assert row["entanglement"] == pytest.approx(minimum_entanglement(at, labels).value)
        assert row["loss"] == pytest.approx(loss_by_hand(at.tolist(), labels.tolist(), row["temperature"]), abs=1e-9)
        assert (row["intra"], row["inter"]) == pytest.approx(pairs_by_hand(at.tolist(), labels.tolist()))
        assert row["accuracy_1nn"] == nearest_neighbour_accuracy(at, labels)
    if RULES[rule]:
        assert {row["temperature"] for row in history} == {RULES[rule]}
    for row in history:
        assert row["entanglement"] <= row["loss"] + 1e-9, "no temperature is better than the best"


def test_a_descent_of_no_steps_is_measured_once():
    points, labels = scattered(12, stream())
    end, history = descend(points, labels, "T=1", 0, 0.1)
    assert torch.equal(end, points) and [row["step"] for row in history] == [0]


@pytest.mark.parametrize("rule", RULES)
def test_random_labels_become_clusters(rule):
    points, labels = scattered(40, stream(2))
    _, history = descend(points, labels, rule, 150, 0.1, every=150)
    start, end = history
    assert start["entanglement"] > 0.9 * math.log(CLASSES) and start["accuracy_1nn"] <= 0.35
    assert end["entanglement"] < 0.1 and end["accuracy_1nn"] >= 0.9


def test_points_move_also_where_no_temperature_beats_an_infinite_one():
    """Corners of a square, each nearest to those of the other class: at the best temperature the loss has no slope."""
    corners = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 1.05], [1.0, -0.1]], dtype=torch.float64)
    labels = torch.tensor([0, 0, 1, 1])
    assert math.isinf(minimum_entanglement(corners, labels).temperature)
    _, history = descend(corners, labels, "minimum", 100, 0.05, every=100)
    assert history[0]["entanglement"] == pytest.approx(math.log(3)) and history[-1]["entanglement"] < 0.01
    assert all(math.isfinite(row["temperature"]) for row in history)
