"""The bootstrap over training seeds and images."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fourlenses.statistics import Estimate, resampled_alignment, resampled_means, resampling_counts


def bootstrap_alignment(answers: np.ndarray, n_resamples: int, generator: np.random.Generator) -> tuple:
    """Alignment by the median of the judges (judges, seeds, images), with its interval."""
    counts = resampling_counts(*answers.shape[1:], n_resamples, generator)
    estimate = Estimate(np.median(resampled_alignment(answers, *counts), axis=1), answers.size)
    return estimate.effect, *estimate.interval



def test_the_interval_is_scipys_for_one_seed():
    answers = np.random.default_rng(1).integers(0, 2, (1, 1, 80)).astype(float)
    value, low, high = bootstrap_alignment(answers, 4000, np.random.default_rng(2))
    peer = stats.bootstrap((100 * answers[0, 0],), np.mean, n_resamples=4000, method="percentile", rng=3)
    assert value == 100 * answers.mean()
    assert (low, high) == pytest.approx(peer.confidence_interval, abs=2.6)  # two answers of 80


def test_seeds_that_differ_widen_the_interval():
    answers = np.repeat([[[0.0], [0.5], [1.0]]], 50, axis=2)
    assert bootstrap_alignment(answers, 2000, np.random.default_rng(0)) == pytest.approx((50, 0, 100))


def test_means_are_weighted_by_counts_and_leave_out_what_is_dropped():
    answers = np.array([[[1.0, 0.0, np.nan], [1.0, 1.0, 0.0]]])
    means = resampled_means(answers, np.array([[1, 1], [2, 0], [0, 2]]), np.array([[1, 1, 1], [0, 2, 1], [0, 0, 3]]))
    np.testing.assert_allclose(means[:, 0], [3 / 5, 0, 0])
    assert np.isnan(resampled_means(answers, np.array([[2, 0]]), np.array([[0, 0, 3]]))).all()


def test_counts_add_up_and_start_with_the_sample():
    seeds, images = resampling_counts(3, 7, 40, np.random.default_rng(0))
    assert seeds.shape == (41, 3) and images.shape == (41, 7)
    assert (seeds.sum(1) == 3).all() and (images.sum(1) == 7).all()
    assert (seeds[0] == 1).all() and (images[0] == 1).all()


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 4), st.integers(1, 12), st.integers(1, 5), st.integers(0, 10**6))
def test_properties_of_alignment(seeds, images, judges, seed):
    rng = np.random.default_rng(seed)
    answers = rng.choice([0.0, 0.5, 1.0, np.nan], (judges, seeds, images), p=[0.4, 0.1, 0.4, 0.1])
    answers[:, 0, 0] = 1.0
    value, low, high = bootstrap_alignment(answers, 50, np.random.default_rng(0))
    assert 0 <= low <= value <= high <= 100
    assert bootstrap_alignment(np.ones_like(answers), 50, rng) == (100, 100, 100)
    inverse = bootstrap_alignment(1 - answers, 50, np.random.default_rng(0))
    assert inverse == pytest.approx((100 - value, 100 - high, 100 - low))
    assert bootstrap_alignment(answers[:, ::-1, ::-1], 50, rng)[0] == pytest.approx(value)


def test_nothing_accepted_is_nan_and_nonsense_is_refused():
    assert np.isnan(bootstrap_alignment(np.full((1, 2, 5), np.nan), 50, np.random.default_rng(0))).all()
    with pytest.raises(ValueError, match="outside"):
        bootstrap_alignment(np.full((1, 1, 5), 2.0), 50, np.random.default_rng(0))
