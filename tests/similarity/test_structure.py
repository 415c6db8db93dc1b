"""The scores of a map against loops, by hand, and on the two maps that the authors published."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy import ndarray

from fourlenses.similarity.structure import LAYERS, SCORES, kept, scores
from tests.similarity import synthetic

STANDARD, ROBUST = synthetic.published()


def of(m: ndarray, points) -> dict[str, float]:
    """The scores of one map."""
    return {name: float(values[0]) for name, values in scores(m[None], points).items()}


def mean(entries: list[float]) -> float:
    return sum(entries) / len(entries) if entries else np.nan


def loops(m: ndarray, points) -> dict[str, float]:
    """Every score by its definition, entry by entry."""
    size, stage = len(m), points["stage"].tolist()
    pairs = [(i, j, abs(i - j), m[i, j]) for i in range(size) for j in range(size) if i != j]
    near = mean([v for _, _, d, v in pairs if d <= size / 8])
    far = mean([v for _, _, d, v in pairs if d >= size / 2])
    names = sorted({s for s in stage if s >= 1})
    within = [mean([v for i, j, _, v in pairs if stage[i] == stage[j] == s]) for s in names]
    between = [mean([v for i, j, _, v in pairs if (stage[i], stage[j]) == both]) for both in combinations(names, 2)]
    w, edges = max(2, round(size / 5)), []
    for cut in range(1, size):
        if stage[cut - 1] >= 1 and stage[cut] >= 1 and stage[cut - 1] != stage[cut]:
            a, b = range(max(0, cut - w), cut), range(cut, min(size, cut + w))
            sides = [mean([v for i, j, _, v in pairs if i in side and j in side]) for side in (a, b)]
            edges.append(mean(sides) - mean([v for i, j, _, v in pairs if i in a and j in b]))
    found = {
        "s_off": mean([v for *_, v in pairs]),
        "s_near": near,
        "s_mid": mean([v for _, _, d, v in pairs if size / 4 <= d < size / 2]),
        "s_far": far,
        "gap": near - far,
        "stage_contrast": mean(within) - mean(between),
        "effective_rank": np.linalg.eigvalsh(m).sum() ** 2 / (np.linalg.eigvalsh(m) ** 2).sum(),
        "first_to_last": m[0, size - 1],
        "drop_depth": next((i / (size - 1) for i in range(size) if m[0, i] < 0.5), 1.0),
        "edge": mean(edges),
    }
    for least in (0.9, 0.8, 0.7):
        runs = [j - i for i in range(size) for j in range(i + 1, size + 1) if m[i:j, i:j].mean() >= least]
        found[f"run_{least}"] = max(runs) / size
    return found


def a_map(seed: int, size: int) -> ndarray:
    """A symmetric map of a random walk, with ones on its diagonal."""
    rng = np.random.default_rng(seed)
    walk = rng.normal(size=(size, 6)).cumsum(axis=0) + rng.normal(size=6)
    walk /= np.linalg.norm(walk, axis=1, keepdims=True)
    return (walk @ walk.T) ** 2


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.integers(0, 2))
def test_every_score_is_a_loop_over_the_map(seed, layers):
    points = synthetic.layout()
    keep = kept(points, LAYERS[layers])
    m, points = a_map(seed, 16)[np.ix_(keep, keep)], points.iloc[keep]
    expected = loops(m, points)
    found = scores(np.stack([m, np.eye(len(m)), m]), points)
    assert list(found) == list(SCORES)
    for name, values in found.items():
        np.testing.assert_allclose(values[[0, 2]], expected[name], rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize(("m", "s_off", "rank"), [(STANDARD, 0.565, 2.36), (ROBUST, 0.738, 1.60)])
def test_the_authors_maps_have_the_scores_that_were_read_off_them(m, s_off, rank):
    found = of(m, synthetic.block_points())
    assert found["s_off"] == pytest.approx(s_off, abs=5e-4)
    assert found["effective_rank"] == pytest.approx(rank, abs=0.01)


def test_the_authors_maps_bear_out_the_claims():
    standard, robust = (of(m, synthetic.block_points()) for m in (STANDARD, ROBUST))
    for fades in ("stage_contrast", "edge", "gap", "effective_rank"):
        assert robust[fades] < standard[fades]
    for grows in ("s_off", "s_mid", "s_far", "drop_depth", "run_0.9", "run_0.8", "run_0.7"):
        assert robust[grows] > standard[grows]
    assert abs(robust["first_to_last"] - standard["first_to_last"]) <= 0.05


def test_scores_by_hand():
    blocks = np.kron(np.eye(3), np.ones((4, 4)))
    points = synthetic.block_points().iloc[:12]
    found = of(blocks, points)
    expected = {"s_off": 3 * 12 / 132, "s_near": 18 / 22, "s_far": 0, "gap": 18 / 22, "stage_contrast": 1, "edge": 1,
                "effective_rank": 3, "first_to_last": 0, "drop_depth": 4 / 11, "run_0.9": 4 / 12}  # fmt: skip
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    ones = of(np.ones((12, 12)), points)
    expected = {"s_off": 1, "gap": 0, "stage_contrast": 0, "edge": 0, "effective_rank": 1, "run_0.9": 1}
    assert {name: ones[name] for name in expected} == pytest.approx(expected)


def test_what_needs_stages_is_undefined_without_them():
    plain = synthetic.block_points().assign(stage=1)
    found = of(STANDARD, plain)
    assert np.isnan(found["stage_contrast"]) and np.isnan(found["edge"])
    assert np.isfinite(found["s_off"])
    single = synthetic.block_points().iloc[[0, 4, 5, 8, 9, 12]]
    assert np.isnan(of(STANDARD[np.ix_(single.index, single.index)], single)["stage_contrast"])


def test_which_points_count():
    points = synthetic.layout()
    assert kept(points, "all").tolist() == list(range(16))
    assert kept(points, "no-bn").tolist() == [i for i in range(16) if i not in (1, 5, 9, 13)]
    assert kept(points, "blocks").tolist() == [2, 4, 6, 8, 10, 12, 14]


def test_scores_leave_the_map_as_it_was():
    m = STANDARD.copy()
    of(m, synthetic.block_points())
    np.testing.assert_array_equal(m, STANDARD)
