"""CKA in resamples against loops, and how pairs and sweeps are found."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fourlenses.similarity.comparisons import (
    Comparison,
    cka_maps,
    map_score,
    matched,
    matched_cka,
    place,
    rank_correlation,
    ratio,
    read_study,
    resample,
)
from fourlenses.similarity.structure import SCORES
from fourlenses.statistics import Undecided, resampling_counts
from tests.similarity import synthetic
from tests.similarity.synthetic import STANDARD, STEP, Book, falling


def hsic(seed: int, batches: int = 4, la: int = 3, lb: int = 3) -> tuple:
    rng = np.random.default_rng(seed)
    ab = rng.normal(size=(batches, la, lb)).astype(np.float32)
    aa, bb = (rng.uniform(0.5, 9, (batches, size)).astype(np.float32) for size in (la, lb))
    return ab, aa, bb


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6))
def test_maps_are_sums_of_hsic_divided_once(seed):
    ab, aa, bb = hsic(seed, lb=4)
    weights = np.random.default_rng(seed).multinomial(4, [0.25] * 4, size=5)
    found = cka_maps(ab, aa, bb, weights)
    for r, w in enumerate(weights):
        for i in range(3):
            for j in range(4):
                above = sum(w[b] * float(ab[b, i, j]) for b in range(4))
                below = sum(w[b] * float(aa[b, i]) for b in range(4)) * sum(w[b] * float(bb[b, j]) for b in range(4))
                assert found[r, i, j] == pytest.approx(above / below**0.5, rel=1e-12)
    ab, aa, bb = hsic(seed)
    np.testing.assert_allclose(
        matched_cka(ab, aa, bb, weights), np.diagonal(cka_maps(ab, aa, bb, weights), axis1=1, axis2=2), rtol=1e-12
    )


def test_cka_is_never_clipped_and_never_nan():
    ab, aa, bb = (np.full(shape, value) for shape, value in (((1, 1, 1), -3.0), ((1, 1), 1.0), ((1, 1), 1.0)))
    assert cka_maps(ab, aa, bb, np.ones((1, 1))) == -3
    for bad in (0.0, -1.0, np.nan):
        for function in (cka_maps, matched_cka):
            with pytest.raises(ValueError, match="not positive"):
                function(ab, aa, np.full((1, 1), bad), np.ones((1, 1)))


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10**6))
def test_resamples_are_a_loop_over_pairs_of_seeds_and_batches(seed):
    arrays = {f"{pair}/{name}": values for pair in range(4)
              for name, values in zip(("ab", "aa", "bb"), hsic(seed + pair), strict=True)}  # fmt: skip
    pairs = {0: (3, 3), 1: (5, 5), 2: (3, 5), 3: (5, 9)}  # the number of a pair, and its two training seeds
    frame = pd.DataFrame(pairs.values(), columns=["seed_a", "seed_b"], index=pairs).assign(n=10, batches=4)
    same, other = Comparison(frame[:2], matched_cka, "same"), Comparison(frame[2:], cka_maps, "other")
    found = resample(arrays, [same, other], 250, np.random.default_rng(seed))
    drawn, batches = resampling_counts(3, 4, 250, np.random.default_rng(seed))
    assert (found.n, found.note) == (80, "")
    rank = {3: 0, 5: 1, 9: 2}
    for r in (0, 1, 100, 101, 250):  # on both sides of the borders of chunks
        for comparison, values in zip((same, other), found.values, strict=True):
            total, count = 0, 0
            for pair in comparison.rows.index:
                a, b = pairs[pair]
                times = drawn[r, rank[a]] * (1 if a == b else drawn[r, rank[b]])
                total = total + times * comparison.measure(*(arrays[f"{pair}/{n}"] for n in ("ab", "aa", "bb")),
                                                           batches[r : r + 1])[0]  # fmt: skip
                count += times
            expected = total / count if count else np.full(values[r].shape, np.nan)
            np.testing.assert_allclose(values[r], expected, rtol=1e-9)


def test_one_seed_is_said_and_different_batches_are_refused():
    rows = pd.DataFrame({"seed_a": [0, 0], "seed_b": [0, 0], "n": 10, "batches": 4}, index=[0, 1])
    arrays = {f"{p}/{n}": v for p in (0, 1) for n, v in zip(("ab", "aa", "bb"), hsic(p, 4 + p), strict=True)}
    one = resample(arrays, [Comparison(rows[:1], matched_cka, "it")], 20, np.random.default_rng(0))
    assert one.note == "one training seed: the interval is over batches of images only"
    estimate = one.estimate(one.values[0][:, 0], "and more")
    assert (estimate.n, estimate.note) == (40, f"and more; {one.note}")
    with pytest.raises(ValueError, match="batches"):
        resample(arrays, [Comparison(rows, matched_cka, "it")], 20, np.random.default_rng(0))
    with pytest.raises(Undecided, match="does not compare apples with pears"):
        Comparison(rows[:0], matched_cka, "apples with pears")


NETWORKS = {
    "twin": {"twin_of": "robust"},
    "other": STANDARD | {"twin_of": "standard"},
    "standard": STANDARD | {"role": "standard"},
    "robust": {"role": "robust"},
    "robust-2": {"strength": 2.0},
    "robust-k4": {"width": 4.0},
    "robust-2-k4": {"strength": 2.0, "width": 4.0},
    "trades": {"recipe": "trades-linf", "beta": 6.0},
    "zoo": {"source": "zoo", "architecture": "resnet", "width": np.nan, "depth": np.nan},
    "step": STEP,
    "standard-step": STANDARD | STEP,
}


def study(book: Book | None = None):
    return read_study((book or Book(NETWORKS)).tables())


@pytest.mark.parametrize(
    ("network", "free", "names"),
    [
        ("robust", ["strength"], ["robust", "robust-2"]),
        ("robust", ["width"], ["robust", "robust-k4"]),
        ("robust", ["width", "strength"], ["robust", "robust-2", "robust-k4", "robust-2-k4"]),
        ("robust", ["recipe", "beta"], ["robust", "trades"]),
        ("robust", ["recipe"], ["robust"]),
        ("standard", ["width"], ["standard"]),
        ("step", ["recipe", "norm"], ["step", "standard-step"]),
        ("zoo", ["width", "depth"], ["zoo"]),
        ("zoo", ["architecture", "width", "depth"], ["zoo", "twin", "robust-k4"]),
    ],
)
def test_a_sweep_is_what_differs_in_nothing_else(network, free, names):
    assert study().alike(network, *free) == names


def test_the_base_pair_must_be_there_once():
    assert (study().base("standard"), study().base("robust")) == ("standard", "robust")
    for networks in ({"a": {}}, {"a": {"role": "robust"}, "b": {"role": "robust"}}):
        with pytest.raises(Undecided, match="no robust network of a base pair"):
            study(Book(networks)).base("robust")


def test_pairs_are_found_in_either_order_and_at_the_last_epoch():
    book = Book(NETWORKS, seeds=2)
    for epoch in (2, 8, 4):
        book.selves("standard", epoch, falling(0.1))
    book.selves("other", 8, falling(0.1))
    book.add("cross", ("robust", 8), ("standard", 8), falling(0.1))
    book.add("epochs", ("standard", 2), ("standard", 8), falling(0.1))
    book.add("twin", ("other", 8), ("standard", 8), falling(0.1)).add(
        "twin", ("standard", 8), ("standard", 8), falling(0.1), seeds=(0, 1)
    )
    found = study(book)
    assert found.last("standard") == ("standard", 8)
    assert len(found.find("cross", ("standard", 8), ("robust", 8))) == 2
    assert len(found.find("cross", ("robust", 8), ("standard", 8))) == 2
    assert found.find("cross", ("standard", 8), ("standard", 8)).empty
    assert found.find("cross", ("standard", 2), ("robust", 8)).empty
    assert found.find("cross", ("standard", 8), ("robust", 2)).empty
    assert len(found.find("epochs", ("standard", 8), ("standard", 2))) == 2
    assert found.twins("standard")["seed_b"].tolist() == [0, 1, 1]
    with pytest.raises(Undecided, match="no similarity map of robust-2"):
        found.last("robust-2")
    with pytest.raises(Undecided, match="does not compare standard with robust-2 "):
        matched(found, "cross", ("standard", 8), ("robust-2", 8))


def test_a_score_of_fewer_layers_is_that_of_their_map():
    m = falling(0.2, 0.3)
    found = study(Book(NETWORKS).selves("robust", 8, m))
    points = found.layout("robust")
    for layers, keep in (("no-bn", points["kind"] != "bn"), ("blocks", points["block"] == 1)):
        expected = SCORES["s_off"](m[np.ix_(keep, keep)][None], points[keep])
        values = resample(found.hsic, [map_score(found, ("robust", 8), "s_off", layers)], 10, np.random.default_rng(0))
        np.testing.assert_allclose(values.values[0], np.full(11, expected[0]), rtol=1e-6)
    bare = replace(found, points=found.points.assign(block=0))
    with pytest.raises(Undecided, match="robust has 0 of the layers called blocks"):
        map_score(bare, ("robust", 8), "s_off", "blocks")


def test_places():
    points = synthetic.layout()
    found = {where: place(points, where).tolist() for where in ("all", "early", "late", "last convolution")}
    assert found == {"all": list(range(16)), "early": [0, 1, 2, 3, 4], "late": [10, 11, 12, 13, 14, 15],
                     "last convolution": [11]}  # fmt: skip


@settings(deadline=None, max_examples=25)
@given(st.integers(3, 12), st.integers(0, 10**6))
def test_rank_correlation_is_scipys(size, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 6, (4, size)).astype(float), rng.integers(0, 6, size)
    x[0] = 1.0
    with np.errstate(invalid="ignore"):
        expected = [np.nan, *(stats.spearmanr(row, y).statistic if len(set(row)) > 1 else np.nan for row in x[1:])]
    np.testing.assert_allclose(rank_correlation(x, y), expected, atol=1e-12)


def test_a_ratio_needs_a_positive_denominator():
    np.testing.assert_array_equal(ratio(np.array([6.0, 1.0, 1.0]), np.array([2.0, 0.0, -1.0])), [3, np.nan, np.nan])
    with pytest.raises(Undecided, match="which is not positive"):
        ratio(np.ones(2), np.zeros(2))
