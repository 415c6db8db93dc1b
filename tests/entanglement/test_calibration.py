"""Rankings and reliability of scores."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import roc_auc_score

from fourlenses.entanglement.calibration import auroc, ece, reliability

SCORES = st.lists(st.integers(0, 6).map(lambda v: v / 6), min_size=1, max_size=25).map(np.array)  # with ties


@settings(deadline=None, max_examples=60)
@given(inside=SCORES, outside=SCORES)
def test_auroc_is_scikit_learns_and_the_share_of_pairs(inside, outside):
    found = auroc(inside, outside)
    y = np.r_[np.ones(len(inside)), np.zeros(len(outside))]
    assert found == pytest.approx(roc_auc_score(y, np.r_[inside, outside]))
    assert found == pytest.approx(np.mean([(a > b) + (a == b) / 2 for a in inside for b in outside]))
    assert auroc(outside, inside) == pytest.approx(1 - found)
    assert auroc(np.exp(3 * inside), np.exp(3 * outside)) == pytest.approx(found), "only the order counts"


def test_auroc_by_hand():
    assert auroc(np.array([1.0, 2.0]), np.array([0.0])) == 1
    assert auroc(np.array([1.0, 1.0]), np.array([1.0])) == 0.5
    assert auroc(np.array([0.0, 2.0]), np.array([1.0, 2.0])) == 3 / 8
    with pytest.raises(ValueError, match="0 scores inside and 1 outside"):
        auroc(np.array([]), np.array([1.0]))


def by_loop(score, right, bins) -> float:
    total = 0.0
    for b in range(bins):
        own = [i for i, s in enumerate(score) if b / bins <= s < (b + 1) / bins or (b == bins - 1 and s == 1)]
        if own:
            total += len(own) / len(score) * abs(np.mean([right[i] for i in own]) - np.mean([score[i] for i in own]))
    return total


@settings(deadline=None, max_examples=40)
@given(n=st.integers(1, 60), bins=st.sampled_from([1, 4, 10]), seed=st.integers(0, 1000))
def test_reliability_is_scikit_learns_and_ece_the_loops(n, bins, seed):
    stream = np.random.default_rng(seed)
    score = stream.random(n)
    right = stream.random(n) < score
    found = reliability(score, right, bins)
    full = found.n > 0
    accuracy, mean = calibration_curve(right, score, n_bins=bins, pos_label=True)
    np.testing.assert_allclose(found.accuracy[full], accuracy)
    np.testing.assert_allclose(found.mean_score[full], mean)
    assert found.n.sum() == n and len(found.n) == bins
    assert np.isnan(found.accuracy[~full]).all() and np.isnan(found.mean_score[~full]).all()
    assert ece(score, right, bins) == pytest.approx(by_loop(score, right, bins))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tenths_lie_in_the_bin_that_they_open_and_one_in_the_last(dtype):
    score = (np.arange(11) / 10).astype(dtype)
    assert reliability(score, np.ones(11, bool)).n.tolist() == [1] * 9 + [2]


def test_ece_of_scores_that_say_what_they_mean_is_zero_and_of_the_opposite_one():
    score = np.repeat([0.25, 0.75], 4)
    right = np.array([1, 0, 0, 0, 1, 1, 1, 0], bool)
    assert ece(score, right) == 0
    assert ece(np.r_[np.ones(3), np.zeros(2)], np.r_[np.zeros(3), np.ones(2)].astype(bool)) == 1
    assert ece(np.full(8, 0.9), right) == pytest.approx(0.4)


@pytest.mark.parametrize("bad", [-0.01, 1.01, np.nan])
def test_scores_outside_of_probabilities_are_refused(bad):
    with pytest.raises(ValueError, match=r"not in \[0, 1\]"):
        reliability(np.array([0.5, bad]), np.array([True, False]))
    with pytest.raises(ValueError, match="no score"):
        ece(np.array([]), np.array([], bool))
