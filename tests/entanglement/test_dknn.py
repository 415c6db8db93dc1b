"""Deep k-nearest neighbours against the formulas, one input and one class at a time."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from fourlenses.entanglement.dknn import assess, nonconformity, p_values, support, votes
from fourlenses.entanglement.neighbours import nearest

CLASSES, K, LAYERS = 4, 5, 3


def drawn(seed: int, *shape: int, top: int) -> torch.Tensor:
    return torch.randint(0, top, shape, generator=torch.Generator().manual_seed(seed))


def by_formula(neighbours: list[np.ndarray], calibration: np.ndarray) -> dict[str, list]:
    """Every quantity of spec 2.7 from the classes of the neighbours, (layers, m, k), by loops."""
    found = {"alpha": [], "p": [], "credibility": [], "confidence": []}
    for x in range(len(neighbours[0])):
        alpha = [sum(int(c != j) for layer in neighbours for c in layer[x]) for j in range(CLASSES)]
        p = [sum(int(a >= each) for a in calibration) / len(calibration) for each in alpha]
        found["alpha"].append(alpha)
        found["p"].append(p)
        found["credibility"].append(max(p))
        found["confidence"].append(1 - sorted(p)[-2])
    return found


def test_everything_against_scikit_learn_and_loops():
    stream = np.random.default_rng(0)
    y = stream.integers(0, CLASSES, 60)
    centres = stream.normal(size=(CLASSES, 6))
    references = [centres[y] + stream.normal(size=(60, 6)) for _ in range(LAYERS)]
    queries = [stream.normal(size=(25, 6)) * 1.5 for _ in range(LAYERS)]
    calibration = np.sort(stream.integers(0, LAYERS * K + 1, 33))
    labels = torch.from_numpy(y)
    counts = torch.stack([
        votes(nearest(torch.from_numpy(q), torch.from_numpy(r), K)[0], labels, CLASSES)
        for q, r in zip(queries, references, strict=True)
    ])  # fmt: skip
    neighbours = [
        y[NearestNeighbors(n_neighbors=K).fit(r).kneighbors(q, return_distance=False)]
        for q, r in zip(queries, references, strict=True)
    ]
    expected = by_formula(neighbours, calibration)
    alpha = nonconformity(counts)
    assert alpha.tolist() == expected["alpha"]
    held_out = torch.from_numpy(calibration)
    np.testing.assert_allclose(p_values(alpha, held_out).numpy(), expected["p"])
    found = assess(alpha, held_out)
    np.testing.assert_allclose(found.credibility.numpy(), expected["credibility"])
    np.testing.assert_allclose(found.confidence.numpy(), expected["confidence"])
    for x, (p, j) in enumerate(zip(expected["p"], found.prediction.tolist(), strict=True)):
        assert p[j] == max(p)
        assert support(counts, found.prediction)[:, x].tolist() == [
            np.mean(layer[x] == j).item() for layer in neighbours
        ]  # fmt: skip


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 10_000), m=st.integers(1, 8), c=st.integers(1, 30))
def test_p_values_are_shares_that_fall_with_nonconformity(seed, m, c):
    alpha, calibration = drawn(seed, m, CLASSES, top=12), drawn(seed + 1, c, top=12)
    p = p_values(alpha, calibration)
    assert ((p >= 0) & (p <= 1)).all()
    flat, order = alpha.flatten().sort()
    assert (p.flatten()[order].diff() <= 0).all()
    assert torch.equal(p, p_values(alpha, calibration.flip(0))), "the order of the calibration points is nothing"
    found = assess(alpha, calibration)
    assert torch.equal(found.credibility, p.amax(1))
    assert torch.equal(p.gather(1, found.prediction[:, None])[:, 0], found.credibility)
    assert (found.confidence >= 1 - found.credibility).all()


def test_by_hand_with_the_zeros_of_calibration_kept():
    calibration = torch.tensor([0, 0, 0, 2])
    alpha = torch.tensor([[0, 2], [1, 2], [2, 3], [3, 3]])
    assert p_values(alpha, calibration).tolist() == [[1.0, 0.25], [0.25, 0.25], [0.25, 0.0], [0.0, 0.0]]
    found = assess(alpha, calibration)
    assert found.credibility.tolist() == [1.0, 0.25, 0.25, 0.0]
    assert found.confidence.tolist() == [0.75, 0.75, 1.0, 1.0]


def test_where_p_values_tie_or_are_all_zero_the_most_neighbours_decide():
    calibration = torch.tensor([0, 0])
    assert assess(torch.tensor([[9, 4, 5], [7, 7, 6], [8, 3, 3]]), calibration).prediction.tolist() == [1, 2, 1]
    tied = torch.tensor([[3, 2, 4]])
    assert p_values(tied, torch.tensor([5])).tolist() == [[1.0, 1.0, 1.0]]
    assert assess(tied, torch.tensor([5])).prediction.tolist() == [1]


def test_a_point_like_its_calibration_is_credible_in_proportion_to_its_rank():
    calibration = drawn(0, 500, top=100)
    alpha = torch.stack([calibration, torch.full_like(calibration, 200)], 1)
    credibility = assess(alpha, calibration).credibility
    for level in (0.1, 0.3, 0.7):
        assert (credibility <= level).double().mean() <= level, "a p-value is at most a level as rarely as it says"


def test_votes_and_support_count_every_neighbour():
    labels = torch.tensor([0, 1, 1, 3])
    counts = votes(torch.tensor([[0, 1, 2], [3, 3, 0]]), labels, CLASSES)
    assert counts.tolist() == [[1, 2, 0, 0], [1, 0, 0, 2]]
    layers = torch.stack([counts, counts.flip(0)])
    share = support(layers, torch.tensor([1, 2]))
    np.testing.assert_allclose(share.numpy(), [[2 / 3, 0], [0, 0]])


def test_calibration_points_are_needed():
    with pytest.raises(ValueError, match="no calibration point"):
        p_values(torch.zeros(2, 3, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))
