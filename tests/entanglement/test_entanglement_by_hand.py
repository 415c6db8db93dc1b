"""The quantities of the entanglement lens against values known by hand, plain loops and other libraries."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from fourlenses.entanglement.quantities import QUANTITIES
from fourlenses.entanglement.quantities_accuracy import entangling_gain, seeds_needed
from fourlenses.entanglement.quantities_detection import BINS, auroc, calibration_error
from fourlenses.entanglement.tables import Draws, by_seed, draw, over_seeds, ratio, spearman
from fourlenses.statistics import Undecided, resampling_counts
from tests.entanglement.synthetic_tables import FOLDER, STARTS, networks, study, watched
from tests.entanglement.test_entanglement_quantities import measure

BY_HAND = study(detection={"n": 400}, perturbed={"n": 400})
EXPECTED = {  # the value, and how far noise may move it
    "entanglement lost by the points": (1.389, 1e-9),
    "entanglement of the points, before": (1.39 / np.log(4), 1e-9),
    "entanglement of the points, after": (0.001, 1e-9),
    "nearest neighbours of the points, before": (0.259, 1e-9),
    "nearest neighbours of the points, after": (0.999, 1e-9),
    "spread over starts, minimised temperature": (0.0, 1e-9),
    "spread over starts, fixed temperature": (72.0, 1e-9),
    "spread over starts, released rule": (0.0, 1e-9),
    "entanglement with depth": (-1.0, 1e-9),
    "entanglement, last block over the others": (0.6 / 2.1, 0.02),
    "rebound of every block but the last": (0.3, 0.02),
    "rebound of every block but the last, in noise": (0.3 / (0.02 * np.sqrt(2 / 30)), 15.0),
    "time of the minimum of every block but the last": (0.1, 1e-9),
    "real and generated with training, fixed temperature": (1.0, 1e-9),
    "real and generated with training, some GAN": (1.0, 1e-9),
    "real and generated with training, every GAN": (1.0, 1e-9),
    "real and generated at the end, some GAN": (0.51 - 1.5 * 0.06, 1e-9),
    "real and generated at the end, every GAN": (0.31 - 1.5 * 0.11, 1e-9),
    "real and generated below two sets of real images": (0.51 - 0.61, 1e-9),
    "modes and entanglement of GANs agree": (1.0, 1e-9),
    "accuracy, entangled minus plain": (0.3, 0.05),
    "hidden entanglement, entangled over plain": (2.0, 1e-9),
    "entanglement of the logits, entangled over plain": (1.0, 1e-9),
    "distance within classes, entangled minus plain": (0.1, 1e-9),
    "accuracy, first half against logits": (2.2, 0.05),
    "accuracy, first half against hidden": (0.1, 0.05),
    "accuracy, hidden against logits": (2.1, 0.05),
    "neighbours of the predicted class lost outside": (0.2, 0.01),
    "transfer, some direction, plain": (0.5, 0.05),
    "transfer to the entangled, plain": (0.4, 0.05),
    "transfer from the entangled, plain": (0.5, 0.05),
    "transfer to the entangled, control": (0.3, 0.05),
    "transfer from the entangled, control": (0.3, 0.05),
    "gradients by class, untargeted, plain": (2.0, 1e-9),
    "gradients by class, targeted, plain": (2.0, 1e-9),
    "gradients by class, untargeted, control": (4 / 3, 1e-9),
    "gradients by class, targeted, control": (4 / 3, 1e-9),
}
for role, lead in {"plain": 0.2, "control": 0.1}.items():  # half the difference of the largest credibilities
    EXPECTED |= {
        f"credibility lost outside or attacked, {role}": (lead, 1e-6),
        f"credibility lost outside and attacked, {role}": (lead, 1e-6),
        f"credibility on test images, {role}": (0.0, 1e-6),
        f"calibration under attack, {role}": (lead, 1e-6),
        f"novelty by credibility, {role}": (lead, 0.003),
        f"novelty by softmax, {role}": (lead, 0.003),
        f"attacks detected, most, {role}": (lead, 0.003),
        f"attacks detected, every, {role}": (lead, 0.003),
    }


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_quantities_by_hand(quantity):
    value, noise = EXPECTED[quantity]
    found = measure(quantity, BY_HAND)
    assert found.effect == pytest.approx(value, abs=noise)
    assert len(found.values) == 41 and found.n >= 3


def some_draws(n: int, seeds: int = 1, n_resamples: int = 20) -> Draws:
    return draw(range(seeds), n, n_resamples, np.random.default_rng(5))


def test_draws_are_the_sample_and_then_as_many_images_at_random():
    found = some_draws(50, 3, 2000)
    assert (found.image_counts[0] == 1).all() and (found.seed_counts[0] == 1).all()
    assert (found.image_counts.sum(axis=1) == 50).all() and (found.seed_counts.sum(axis=1) == 3).all()
    drawn = found.image_counts[1:]
    assert drawn.mean(axis=0) == pytest.approx(np.ones(50), abs=0.12)
    assert drawn.var() == pytest.approx(1 - 1 / 50, rel=0.05)  # as of multinomial counts
    with pytest.raises(Undecided, match="no training seed in common"):
        draw([], 50, 10, np.random.default_rng(0))


def test_means_count_an_image_as_often_as_it_was_drawn():
    found, answers = some_draws(30), np.random.default_rng(0).random((2, 20))
    means = found.mean(answers)
    for row in range(21):
        again = np.repeat(np.arange(20), found.image_counts[row, :20].astype(int))
        np.testing.assert_allclose(means[row], answers[:, again].mean(axis=1), rtol=1e-12)


def test_means_over_seeds_count_a_seed_as_often_as_it_was_drawn():
    values = np.random.default_rng(0).random((4, 3))
    found = over_seeds(values, 30, np.random.default_rng(1))
    drawn, _ = resampling_counts(4, 1, 30, np.random.default_rng(1))
    for row in range(31):
        np.testing.assert_allclose(found[row], np.repeat(values, drawn[row], axis=0).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found[0], values.mean(axis=0))


@pytest.mark.parametrize("levels", [3, 1000], ids=["ties", "none"])
@pytest.mark.parametrize(("n", "m"), [(40, 40), (40, 25), (25, 40)])
def test_auroc_is_that_of_scikit_learn_on_the_images_that_were_drawn(levels, n, m):
    rng, found = np.random.default_rng(levels + n), some_draws(40, n_resamples=100)
    inside, *outside = (rng.integers(levels, size=size) / levels for size in (n, m, 40))
    areas = auroc(inside, outside, found)
    assert areas.shape == (101, 2)
    for row in np.flatnonzero(found.image_counts[:, 0])[:15]:
        counts = found.image_counts[row]
        for place, other in enumerate(outside):
            truth = np.repeat([1, 0], [n, len(other)])
            weights = np.concatenate([counts[:n], counts[: len(other)]])
            assert areas[row, place] == pytest.approx(
                roc_auc_score(truth, np.concatenate([inside, other]), sample_weight=weights), abs=1e-12
            )


def test_auroc_sees_order_only_and_what_one_side_wins_the_other_loses():
    rng, found = np.random.default_rng(0), some_draws(30)
    first, second = rng.integers(8, size=30) / 8, rng.integers(8, size=30) / 8
    areas = auroc(first, [second, first], found)
    np.testing.assert_allclose(auroc(np.exp(first), [np.exp(second), np.exp(first)], found), areas, rtol=1e-12)
    np.testing.assert_allclose(auroc(second, [first], found)[:, 0], 1 - areas[:, 0], rtol=1e-12)
    np.testing.assert_allclose(areas[:, 1], 0.5)


def test_calibration_error_is_that_of_a_plain_loop_on_the_images_that_were_drawn():
    rng, found = np.random.default_rng(0), some_draws(60)
    score, right = np.append(rng.random((2, 58)), [[0.0, 1.0]] * 2, axis=1), rng.random((2, 60)) < 0.6
    errors = calibration_error(score, right, found)
    for row, of in np.ndindex(21, 2):
        again = np.repeat(np.arange(60), found.image_counts[row].astype(int))
        error = 0.0
        for low in range(BINS):
            inside = [i for i in again if low <= score[of, i] * BINS < low + 1 + (low == BINS - 1)]
            if inside:
                gap = np.mean(right[of, inside]) - np.mean(score[of, inside])
                error += len(inside) / len(again) * abs(gap)
        assert errors[row, of] == pytest.approx(error, abs=1e-12)


def test_rank_correlation_is_scipys_and_0_where_nothing_changes():
    x, y = np.random.default_rng(0).integers(4, size=(5, 9)), np.arange(9)
    np.testing.assert_allclose(spearman(x, y), [stats.spearmanr(row, y).statistic for row in x], atol=1e-12)
    assert spearman(np.ones((2, 9)), y).tolist() == [0.0, 0.0]


def test_a_ratio_needs_a_positive_denominator():
    np.testing.assert_array_equal(ratio(np.array([1.0, 2.0]), np.array([2.0, 0.0])), [0.5, np.nan])
    with pytest.raises(Undecided, match="denominator 0, which is not positive"):
        ratio(np.ones(2), np.zeros(2))


def test_the_rebound_is_that_of_a_plain_loop_and_noise_alone_has_none():
    tables = study(watched={"noise": 0.5})
    arrays = tables["results/watched.safetensors"]
    losses = [arrays[f"standard/seed{seed}"][:, 1:4].astype(float) for seed in range(3)]
    risen = np.empty((3, 3, 2))
    for seed, block in np.ndindex(3, 3):
        curve = losses[seed][:, block]
        step = min(range(21), key=lambda t: curve[t, ::2].mean())
        difference = curve[-1, 1::2] - curve[step, 1::2]
        risen[seed, block] = difference.mean(), difference.mean() / (difference.std() / np.sqrt(30))
    nats, noise = risen.mean(axis=0).min(axis=0)
    assert measure("rebound of every block but the last", tables).effect == pytest.approx(nats, rel=1e-5)
    assert measure("rebound of every block but the last, in noise", tables).effect == pytest.approx(noise, rel=1e-4)
    flat = study() | watched(lost=0.0, final=(2.2, 2.2, 2.2, 0.6), noise=1.0, anchors=400)
    assert measure("rebound of every block but the last, in noise", flat).effect < 1


def test_transfer_is_that_of_a_plain_loop():
    arrays, errors = BY_HAND[f"{FOLDER}/perturbed.safetensors"], {}
    labels = arrays["labels"]
    for source, target in (("cnn", "cnn"), ("cnn", "mixed")):
        found = []
        for seed, other in [(s, t) for s in range(3) for t in range(3) if s != t]:
            clean = arrays[f"clean/{source}/seed{seed}"], arrays[f"clean/{target}/seed{other}"]
            both = [i for i in range(len(labels)) if clean[0][i] == labels[i] == clean[1][i]]
            for eps in (0.1, 0.2):
                shown = arrays[f"fgsm/{eps:g}/{source}/seed{seed}/on/{target}/seed{other}"]
                found.append(np.mean([shown[i] != labels[i] for i in both]))
        errors[source, target] = np.mean(found)
    drop = measure("transfer to the entangled, plain", BY_HAND, 200)
    assert drop.effect == pytest.approx(errors["cnn", "cnn"] - errors["cnn", "mixed"], rel=1e-9)
    assert np.isnan(drop.values).any()  # a resample of one seed has no pair of seeds
    assert drop.note == measure("transfer from the entangled, plain", BY_HAND).note


def test_intervals_of_accuracy_are_students_and_the_power_analysis_is_the_textbooks():
    tables = networks(noise=0.02)
    rows = tables[f"{FOLDER}/networks.csv"]
    own, other = (
        100 * by_seed(rows[rows["network"] == name], "network", "accuracy_test", name) for name in ("mild", "cnn")
    )
    found = entangling_gain(tables, 4000, np.random.default_rng(0))
    expected = stats.ttest_rel(own.iloc[:, 0], other.iloc[:, 0]).confidence_interval(0.95)
    assert found.interval == pytest.approx((expected.low, expected.high), abs=2e-3)
    assert "mild, chosen by calibration accuracy, against cnn; best seeds 98.29 and 97.98 %" in found.note
    assert seeds_needed(0.42 * np.sqrt(2)) == 70  # two arms of sd .42, as in the specification
    assert (seeds_needed(0.1 * np.sqrt(2)), seeds_needed(0.0)) == (4, 2)
    with pytest.raises(Undecided, match=r"95 % interval -\d.+ takes \d+ seeds, and there are 3$"):
        entangling_gain(networks(noise=0.5), 400, np.random.default_rng(0))


def test_a_spread_survives_infinite_and_vanishing_values():
    tables = study()
    rows = tables[f"{FOLDER}/temperatures.csv"]
    rows.loc[(rows["rule"] == "fixed") & (rows["start"] == STARTS[0]), "value"] = np.inf
    rows.loc[rows["rule"] == "released", "value"] = 0.0
    assert measure("spread over starts, fixed temperature", tables).effect == 100.0
    assert measure("spread over starts, released rule", tables).effect == 0.0
