"""Clustering: which target a judge puts an IRI with."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fourlenses.invariance.clustering import clustering, compared, draw_targets, placed
from fourlenses.statistics import Undecided

LABELS = np.repeat(np.arange(5), 6)


def stream(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def of_places(places: np.ndarray) -> np.ndarray:
    """Distances between points on a line: one training seed, three IRIs that each lie where their target lies."""
    return np.abs(places[:, None] - places)[None, None].repeat(3, axis=1).astype(float)


def score(distances: np.ndarray, hard: bool = False, labels: np.ndarray = LABELS) -> tuple[float, float, float]:
    return clustering(distances[None], draw_targets(labels, hard, stream()), 300, stream(1))


@pytest.mark.parametrize("hard", [False, True])
def test_draws_are_of_three_classes_or_of_one(hard):
    labels = stream(5).permutation(LABELS)
    draws = draw_targets(labels, hard, stream(), n_draws=2000)
    assert draws.shape == (2000, 3) and draw_targets(labels, hard, stream()).shape == (200, 3)
    assert all(len(set(draw)) == 3 for draw in draws.tolist())
    assert all(len(set(labels[draw])) == (1 if hard else 3) for draw in draws)
    times = np.bincount(draws.ravel(), minlength=len(labels))
    assert abs(times - 200).max() < 5 * np.sqrt(200), "every target is drawn as often as any other"
    assert (draws == draw_targets(labels, hard, stream(), n_draws=2000)).all()
    assert (draws != draw_targets(labels, hard, stream(1), n_draws=2000)).any()


def test_too_few_classes_or_targets_are_said_to_be_so():
    with pytest.raises(Undecided, match="different classes"):
        draw_targets(np.array([0, 0, 0, 1, 1, 1]), False, stream())
    with pytest.raises(Undecided, match="one class"):
        draw_targets(np.array([0, 0, 1, 1, 2, 2]), True, stream())
    uneven = np.array([0, 0, 1, 1, 1, 2])
    assert (uneven[draw_targets(uneven, True, stream())] == 1).all()


@pytest.mark.parametrize("hard", [False, True])
def test_targets_themselves_score_100_and_a_judge_that_sees_nothing_scores_chance(hard):
    places = stream().normal(size=len(LABELS))
    assert score(of_places(places), hard) == (100, 100, 100)
    assert score(np.ones((2, 3, 30, 30)), hard) == pytest.approx((100 / 3,) * 3), "ties are split evenly"
    assert score(-of_places(places), hard)[0] == 0
    value, low, high = score(stream().random((3, 3, 30, 30)), hard)
    assert low < 100 / 3 < high and high - low < 25


def test_a_judge_that_sees_only_the_class_is_perfect_on_easy_draws_and_at_chance_on_hard_ones():
    distances = of_places(LABELS.astype(float))
    assert score(distances) == (100, 100, 100)
    assert score(distances, hard=True) == pytest.approx((100 / 3,) * 3)


def test_placements_by_hand():
    draws = np.array([[0, 1, 2]])
    first = [[1.0, 2.0, 3.0], [0.0, 1.0, 1.0], [2.0, 2.0, 2.0]]  # own; another; all tie
    second = [[1.0, 1.0, 3.0], [1.0, 0.0, 1.0], [2.0, 1.0, 1.0]]  # tie of two; own; tie of two
    expected = [[(1 + 1 / 2) / 2, (0 + 1) / 2, (1 / 3 + 1 / 2) / 2]]
    found = placed(np.array([[first, second]]), draws)
    np.testing.assert_allclose(found, [expected])
    np.testing.assert_allclose(placed(np.array([[first], [second]]), draws)[:, 0], [[1, 0, 1 / 3], [1 / 2, 1, 1 / 2]])
    assert clustering(np.array([[[first, second]]]), draws, 10, stream())[0] == pytest.approx(100 * np.mean(expected))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 3), st.booleans())
def test_the_score_and_its_resamples_are_a_loop(seed, seeds, starts, hard):
    rng = stream(seed)
    distances = rng.integers(0, 4, (seeds, starts, 30, 30)).astype(float)
    draws = draw_targets(LABELS, hard, rng, n_draws=15)
    generator = stream(2)
    u = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=40)
    v = generator.multinomial(30, np.full(30, 1 / 30), size=40)
    means = []
    for times, counts in zip([np.ones(seeds), *u], [np.ones(30), *v], strict=True):
        right = n = 0.0
        for draw in draws:
            for target in draw:
                for k in range(seeds):
                    for start in range(starts):
                        to = [distances[k, start, target, other] for other in draw]
                        own = distances[k, start, target, target]
                        right += times[k] * counts[target] * (own == min(to)) / to.count(min(to))
                        n += times[k] * counts[target]
        means.append(100 * right / n)
    low, high = np.quantile(means[1:], (0.025, 0.975))
    expected = means[0], min(low, means[0]), max(high, means[0])
    assert clustering(distances[None], draws, 40, stream(2)) == pytest.approx(expected)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6), st.floats(0.1, 10))
def test_only_the_order_of_distances_counts(seed, power):
    distances = stream(seed).random((2, 3, 30, 30))
    assert score(distances**power) == score(distances)
    assert score(distances[:, ::-1]) == pytest.approx(score(distances))


def test_seeds_that_differ_widen_the_interval():
    places = of_places(stream().normal(size=30))
    value, low, high = score(np.concatenate([places, -places, places, -places]))
    assert value == pytest.approx(50) and low < 10 and high > 90


def test_a_distance_that_is_no_number_is_refused():
    draws = draw_targets(LABELS, False, stream())
    distances = np.where(compared([draws], 30), 1.0, np.nan)[None, None]
    assert np.isfinite(placed(distances, draws)).all(), "only what is in a draw is looked at"
    distances[0, 0, draws[0, 0], draws[0, 1]] = np.nan
    with pytest.raises(ValueError, match="finite"):
        placed(distances, draws)


def test_several_judges_give_their_median_under_shared_resamples():
    distances = np.random.default_rng(3).random((3, 2, 2, 9, 9))
    draws = draw_targets(np.arange(9) % 3, False, stream(), 30)
    alone = [clustering(each[None], draws, 40, stream(2)) for each in distances]
    together = clustering(distances, draws, 40, stream(2))
    assert together[0] == pytest.approx(np.median([value for value, *_ in alone]))
    assert together[1] <= together[0] <= together[2]
