"""Detectors of unfamiliar inputs: each formula, and that familiar inputs score higher."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.covariance import EmpiricalCovariance
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from fourlenses.entanglement.detectors import DETECTORS, Known, Seen, energy, knn_distance, mahalanobis, max_softmax


def points(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), scale=st.floats(0.01, 300), classes=st.integers(2, 12))
def test_softmax_and_energy_against_loops(seed, scale, classes):
    z = points(5, classes, seed) * scale
    for row, top, free in zip(z.tolist(), max_softmax(z).tolist(), energy(z).tolist(), strict=True):
        highest = max(row)
        total = sum(np.exp(each - highest) for each in row)
        assert top == pytest.approx(1 / total)
        assert free == pytest.approx(highest + np.log(total))
    assert torch.isfinite(energy(z.float() * 1e3)).all()


def test_energy_sees_a_common_shift_of_the_logits_and_softmax_does_not():
    z = points(6, 4)
    torch.testing.assert_close(energy(z + 5), energy(z) + 5)
    torch.testing.assert_close(max_softmax(z + 5), max_softmax(z))


def grouped(n: int = 200, d: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    y = torch.arange(n) % 3
    mixing = points(d, d, 7)
    return points(3, d, 8)[y] * 4 + points(n, d, 9) @ mixing, y * 2  # class 1 and class 3 have no image


def test_mahalanobis_against_scikit_learn():
    x, y = grouped()
    means = {c: x[y == c].mean(0).numpy() for c in (0, 2, 4)}
    within = np.stack([row - means[c] for row, c in zip(x.numpy(), y.tolist(), strict=True)])
    fitted = EmpiricalCovariance(assume_centered=True).fit(within)
    queries = points(30, 5, 3) * 6
    expected = -np.min([fitted.mahalanobis(queries.numpy() - mean) for mean in means.values()], axis=0)
    np.testing.assert_allclose(mahalanobis(queries, x, y).numpy(), expected, rtol=1e-9)


def test_mahalanobis_is_the_same_in_any_coordinates():
    x, y = grouped()
    queries, change = points(30, 5, 3), points(5, 5, 4)
    torch.testing.assert_close(mahalanobis(queries @ change, x @ change, y), mahalanobis(queries, x, y))


def test_mahalanobis_leaves_out_units_that_are_dead_or_copies():
    x, y = grouped()
    queries = points(30, 5, 3)
    wider = [torch.cat([each, torch.zeros(len(each), 1), each[:, :1]], 1).float() for each in (x, queries)]
    found = mahalanobis(wider[1], wider[0], y)
    torch.testing.assert_close(found, mahalanobis(queries, x, y), rtol=1e-3, atol=1e-3)


def test_distance_to_the_kth_neighbour_against_scikit_learn():
    x, queries = points(80, 6) + 1, points(20, 6, 1)
    index = NearestNeighbors(n_neighbors=7).fit(normalize(x.numpy()))
    expected = -index.kneighbors(normalize(queries.numpy()))[0][:, -1]
    np.testing.assert_allclose(knn_distance(queries, x, 7).numpy(), expected, atol=1e-9)
    torch.testing.assert_close(knn_distance(queries * 50, x / 9, 7), knn_distance(queries, x, 7))


@pytest.mark.parametrize("name", DETECTORS)
def test_training_images_score_higher_than_what_is_unlike_them(name):
    x, y = grouped()
    far = -3 * x.mean(0) + 0.1 * points(100, 5, 2)
    logits = 8 * torch.eye(5, dtype=torch.float64)[y]
    known, inside, outside = Known(x, y, 10), Seen(x, logits), Seen(far, points(100, 5, 3))
    scores = [DETECTORS[name](seen, known) for seen in (inside, outside)]
    assert [each.shape for each in scores] == [(200,), (100,)]
    assert scores[0].median() > scores[1].quantile(0.9)
