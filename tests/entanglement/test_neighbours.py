"""Exact neighbours."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from fourlenses.entanglement.neighbours import nearest, normalised


def points(n: int, d: int, seed: int = 0, dtype=torch.float64) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@settings(deadline=None, max_examples=40)
@given(
    m=st.integers(1, 9), n=st.integers(1, 40), d=st.integers(1, 12), k=st.integers(1, 40), block=st.integers(1, 10),
    seed=st.integers(0, 1000),
)  # fmt: skip
def test_neighbours_are_those_of_scikit_learn(m, n, d, k, block, seed):
    k = min(k, n)
    queries, references = points(m, d, seed), points(n, d, seed + 1) + 3
    indices, distances = nearest(queries, references, k, block)
    index = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(references.numpy())
    expected, expected_indices = index.kneighbors(queries.numpy())
    assert indices.tolist() == expected_indices.tolist()
    np.testing.assert_allclose(distances.numpy(), expected**2, atol=1e-9)


def test_float32_finds_neighbours_as_near_as_float64_does():
    queries, references = normalised(points(50, 300, 0) + 2), normalised(points(400, 300, 1) + 2)
    mean = references.mean(0)
    exact = nearest(queries, references, 10)[1]
    indices, distances = nearest((queries - mean).float(), (references - mean).float(), 10)
    true = (queries[:, None] - references[indices]).square().sum(2)
    torch.testing.assert_close(true, exact, rtol=0, atol=1e-6)
    torch.testing.assert_close(distances.double(), exact, rtol=0, atol=1e-6)


def test_distances_of_copies_are_not_below_zero():
    x = points(30, 200, dtype=torch.float32) * 1e3
    indices, distances = nearest(x, x, 1)
    assert indices[:, 0].tolist() == list(range(30))
    assert (distances >= 0).all()


def test_blocks_change_nothing():
    queries, references = points(23, 6), points(17, 6, 1)
    whole = nearest(queries, references, 5, block=100)
    for one, other in zip(whole, nearest(queries, references, 5, block=4), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("k", [0, 4])
def test_as_many_references_as_neighbours(k):
    with pytest.raises(ValueError, match=f"{k} neighbours among 3 references"):
        nearest(points(2, 2), points(3, 2), k)


def test_rows_have_length_one_and_zeros_stay_zero():
    x = points(20, 5) * 100
    x[3] = 0
    units = normalised(x)
    expected = [row / np.sqrt((row**2).sum()) if row.any() else row for row in x.numpy()]
    np.testing.assert_allclose(units.numpy(), expected, atol=1e-12)
    mean = points(1, 5, 2)[0]
    np.testing.assert_allclose(normalised(x, mean).numpy(), expected - mean.numpy(), atol=1e-12)


def test_distances_between_normalised_rows_are_twice_the_cosine_distances_whatever_the_mean():
    from sklearn.metrics.pairwise import cosine_distances

    x, mean = points(12, 4), points(1, 4, 3)[0]
    for rows in (normalised(x), normalised(x, mean)):
        np.testing.assert_allclose(torch.cdist(rows, rows).square(), 2 * cosine_distances(x.numpy()), atol=1e-9)
