"""Each metric's invariances hold, and those it does not declare do not."""

import math

import pytest
import torch

from fourlenses.similarity.metrics import METRICS


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def alike(n: int = 120, p: int = 25, q: int = 30, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Features that depend on each other, of unequal variances and with large means."""
    x = draw(n, p, seed=seed) * torch.linspace(0.5, 3, p)
    return x + 3, x @ draw(p, q, seed=seed + 1) + 5 * draw(n, q, seed=seed + 2) - 2


def stretched(x: torch.Tensor) -> torch.Tensor:
    """An invertible linear map that is no rotation: singular values from 0.3 to 3."""
    p = x.shape[1]
    turns = [torch.linalg.qr(draw(p, p, seed=seed)).Q for seed in (8, 9)]
    return x @ turns[0] * torch.linspace(0.3, 3, p) @ turns[1]


CHANGES = {
    "orthogonal": lambda x: x @ torch.linalg.qr(draw(x.shape[1], x.shape[1], seed=7)).Q,
    "scale": lambda x: 37.5 * x,
    "translation": lambda x: x + 100 * draw(1, x.shape[1], seed=6),
    "linear": stretched,
}
PAIRS = [(name, change) for name in METRICS for change in CHANGES]


def moves(name: str, change: str) -> list[float]:
    """How far the metric moves when the first, the second or both layers are changed."""
    function, (x, y), turn = METRICS[name].function, alike(), CHANGES[change]
    changed = [(turn(x), y), (x, turn(y)), (turn(x), turn(y))]
    return [abs(function(*layers) - function(x, y)) for layers in changed]


@pytest.mark.parametrize(("name", "change"), [pair for pair in PAIRS if pair[1] in METRICS[pair[0]].invariances])
def test_declared_invariances_hold(name, change):
    assert max(moves(name, change)) < 1e-8


@pytest.mark.parametrize(("name", "change"), [pair for pair in PAIRS if pair[1] not in METRICS[pair[0]].invariances])
def test_undeclared_invariances_do_not_hold(name, change):
    assert max(moves(name, change)) > 1e-3


def test_invariances_are_of_the_four_kinds():
    assert all(metric.invariances <= set(CHANGES) for metric in METRICS.values())


@pytest.mark.parametrize("name", METRICS)
def test_metrics_are_one_with_itself_less_with_another_and_least_with_other_images(name):
    x, y = (z.float() for z in alike(1000, 10, 8))
    function = METRICS[name].function
    order = torch.randperm(1000, generator=torch.Generator().manual_seed(0))
    values = function(x, x), function(x, y), function(x, y[order])
    assert all(isinstance(value, float) and math.isfinite(value) for value in values)
    assert values[0] == pytest.approx(1, abs=1e-10) and values[0] > values[1] + 0.05 > values[2] + 0.2


def test_names_are_those_of_six_ways_to_compare_and_one_to_warn():
    assert list(METRICS) == ["linear CKA", "linear CKA (biased)", "RBF CKA", "CCA", "SVCCA", "PWCCA", "Procrustes"]
    x, y = draw(64, 500), draw(64, 500, seed=1)
    assert METRICS["linear CKA (biased)"].function(x, y) > 0.8 > 0.1 > abs(METRICS["linear CKA"].function(x, y))
