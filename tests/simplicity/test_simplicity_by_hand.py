"""The quantities of the simplicity lens against values known by hand, plain loops and other libraries."""

import numpy as np
import pytest
from scipy import integrate, stats

from fourlenses.simplicity.quantities import QUANTITIES
from fourlenses.simplicity.quantities_beds import LEAST_SHARE
from fourlenses.simplicity.quantities_heuristics import line_lead
from fourlenses.simplicity.quantities_parts import ASKED
from fourlenses.simplicity.tables import MOST_LOST, Draws, draw, kendall, simplest, spearman
from fourlenses.statistics import Undecided, drawn_images
from tests.simplicity.synthetic_simplicity import BEDS, FOLDER, HARD, LOST, SHARES, WEIGHTS, simplify, study
from tests.simplicity.test_simplicity_quantities import measure

BY_HAND = study()
EXPECTED = {  # the value, and how far noise may move it
    "smallest step of the ladder": (0.7, 0.1),
    "smallest step of the ladder, in standard errors": (0.7 / (0.3 * np.sqrt(2 / 120)), 2.0),
    "clothes between digits and natural images": (0.3, 0.1),
    "natural images above house numbers": (0.3, 0.1),
    "bits and PNG, every set": (6 / np.pi * np.arcsin(np.sqrt(10 / 11) / 2), 0.02),  # from Pearson's, of two normals
    "bits and PNG, all sets as one": (6 / np.pi * np.arcsin(np.sqrt(10 / 11) / 2), 0.02),
    "images simplified by blur": (100.0, 1e-9),
    "bits with the weight": (-1.0, 1e-9),
    "accuracy with the weight, joint": (-0.25, 0.05),
    "accuracy with the weight, retrained": (-0.5, 0.1),
    "bits saved at the largest weight": (85.0, 0.5),
    "PNG bits saved at the largest weight": (85.0, 1e-9),
    "bits saved at the largest weight, at full contrast": (100 * 0.5 * 0.85 * 3 / 3.1, 1e-9),
    "removal beyond fading, some composite": (0.7, 0.01),
    "removal beyond fading, every composite": (0.7, 0.01),
    "bits of the other part saved": (0.7 * 4.5 / 1.5, 0.01),
    "other part removed": (0.8, 0.01),
    "part with the label retained": (0.9, 0.01),
    "accuracy, simplified minus composite": (-0.5, 1e-9),
    "removal beyond fading, either label": (0.7, 0.01),
    "fewest bits, harder set minus easier": (0.7 - 0.3, 0.01),
    "condensed bits saved, some size": (100 * (1 - 2.75 / 6.05), 1e-9),
    "condensed bits saved, one image a class": (100 * (1 - 2.75 / 6.05), 1e-9),
    "condensed bits saved, ten images a class": (100 * (1 - 2.75 / 6.05), 1e-9),
    "condensed accuracy lost, one image a class": (0.5, 1e-9),
    "condensed accuracy lost, ten images a class": (0.5, 1e-9),
    "label kept with fewer bits": (95.0, 1e-9),
    "label kept": (95.0, 1e-9),
    "divergence of the answers": (0.05, 0.005),
    "bits saved, explained": (40.0, 1.0),
    "label kept, beyond blur": (45.0, 1e-9),
    "simplified otherwise for random weights": (0.6, 0.03),
    "rehearsal gained over none": (29.8, 1e-9),
    "rehearsal lost, some way": (0.2, 1e-9),
    "rehearsal lost, every way": (0.2, 1e-9),
    "bits of rehearsed images saved": (50.0, 1e-9),
}


def some_draws(n: int, seeds: int = 1, n_resamples: int = 30) -> Draws:
    generator = np.random.default_rng(5)
    return draw(range(seeds), drawn_images(n, n_resamples, generator), n_resamples, generator)


def drawn(draws: Draws, row: int) -> np.ndarray:
    """The images of a resample, each as often as it was drawn."""
    return np.repeat(np.arange(draws.image_counts.shape[1]), draws.image_counts[row].astype(int))


@pytest.mark.parametrize("quantity", EXPECTED)
def test_quantities_by_hand(quantity):
    value, noise = EXPECTED[quantity]
    found = measure(quantity, BY_HAND)
    assert found.effect == pytest.approx(value, abs=noise)
    assert len(found.values) == 41 and found.n >= 3


def test_every_quantity_has_a_value_by_hand_or_a_test_of_its_own():
    own = {name for name in QUANTITIES if name.startswith(("SimpleBits over", "accuracy lost by the harder set"))}
    assert set(EXPECTED) | own == set(QUANTITIES) and not own & set(EXPECTED)


def test_draws_are_the_sample_and_then_as_many_images_at_random():
    found = some_draws(50, 3, 2000)
    assert (found.image_counts[0] == 1).all() and (found.seed_counts[0] == 1).all()
    assert (found.image_counts.sum(axis=1) == 50).all() and (found.seed_counts.sum(axis=1) == 3).all()
    counts = found.image_counts[1:]
    assert counts.mean(axis=0) == pytest.approx(np.ones(50), abs=0.12)
    assert counts.var() == pytest.approx(1 - 1 / 50, rel=0.05)  # as of multinomial counts
    with pytest.raises(Undecided, match="no training seed in common"):
        some_draws(50, 0)


@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_means_and_medians_are_those_of_the_images_that_were_drawn(n):
    draws, values = some_draws(n), np.random.default_rng(n).integers(5, size=(2, n)) / 4
    means = draws.mean(values)
    medians = draws.median(values[0])
    for row in range(31):
        again = drawn(draws, row)
        np.testing.assert_allclose(means[row], values[:, again].mean(axis=1), rtol=1e-12)
        assert medians[row] == np.median(values[0, again])


def test_means_over_seeds_count_a_seed_as_often_as_it_was_drawn():
    draws, values = some_draws(3, seeds=4), np.random.default_rng(0).random((4, 5))
    found, by_seed = draws.of_table(values), draws.over_seeds(np.tile(own, (31, 1)) for own in values)
    for row in range(31):
        again = np.repeat(values, draws.seed_counts[row].astype(int), axis=0)
        np.testing.assert_allclose(found[row], again.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(by_seed, found, rtol=1e-12)


def test_shares_without_answers_spread_as_binomial_ones():
    draws = some_draws(1, n_resamples=4000)
    found = draws.of_shares(np.array([[0.9, 0.5, 1.0]]), 400, np.random.default_rng(0))
    np.testing.assert_array_equal(found[0], [0.9, 0.5, 1.0])
    np.testing.assert_allclose(found[1:].std(axis=0), np.sqrt([0.09 / 400, 0.25 / 400, 0]), rtol=0.05)
    np.testing.assert_allclose(found[1:].mean(axis=0), [0.9, 0.5, 1.0], atol=0.002)


def test_images_that_blur_does_not_simplify_count_against_it():
    tables = study(ladder={"blurred": 0.0})
    kept = tables[f"{FOLDER}/ladder.safetensors"]
    shares = [100 * np.mean(kept[f"{blurred}/glow/bpd"] < kept[f"{own}/glow/bpd"])
              for own, blurred in (("mnist", "own-blurred"), ("photos", "photos-blurred"))]  # fmt: skip
    assert 30 < min(shares) < max(shares) < 70
    assert measure("images simplified by blur", tables).effect == pytest.approx(min(shares))


@pytest.mark.parametrize("levels", [3, 1000], ids=["ties", "none"])
def test_rank_correlation_is_scipys_on_the_images_that_were_drawn(levels):
    draws, rng = some_draws(40, n_resamples=300), np.random.default_rng(levels)
    x, y = rng.integers(levels, size=40) / 7, rng.integers(levels, size=40) / 7
    found = spearman(x, y, draws.image_counts)
    for row in range(0, 301, 15):
        again = drawn(draws, row)
        assert found[row] == pytest.approx(stats.spearmanr(x[again], y[again]).statistic, abs=1e-12)
    assert (spearman(x, np.ones(40), draws.image_counts) == 0).all()


def test_kendalls_correlation_is_scipys():
    values, weights = np.random.default_rng(0).random((6, 7)), np.array([0.0, 3.0, 1.0, 30.0, 10.0, 2.0, 100.0])
    expected = [stats.kendalltau(row, weights).statistic for row in values]
    np.testing.assert_allclose(kendall(values, weights), expected, atol=1e-12)
    assert kendall(np.ones((1, 7)), weights) == [0.0]  # where nothing changes


def test_the_simplest_is_the_best_of_those_that_lose_little_and_never_worse_than_nothing():
    lost = np.array([[0.0, 1.0, MOST_LOST, 5.0], [0.0, 3.0, 4.0, 5.0], [0.0, -1.0, 1.0, 1.0]])
    worth = np.array([[0.0, 0.2, 0.4, 0.9], [0.0, 0.2, 0.4, 0.9], [0.0, -0.1, np.nan, -0.2]])
    assert simplest(lost, worth).tolist() == [2, 0, 0]


def test_the_area_is_that_of_another_integrator_and_the_harder_set_is_the_less_accurate():
    areas, kept = [], BY_HAND[f"{FOLDER}/simplify.safetensors"]
    for bed, lost in (("images", LOST), ("cifar10", HARD)):
        start, *bits = (np.mean([kept[f"{bed}/seed{seed}/{at}/bpd"].mean(dtype=float) for seed in range(3)])
                        for at in ("original", *(f"{weight:g}" for weight in WEIGHTS)))  # fmt: skip
        relative = [1 - 0.01 * points / BEDS[bed][4] for points in lost]
        x, y = zip(*sorted([(1.0, 1.0), *zip(np.divide(bits, start), relative, strict=True)]), strict=True)
        at = np.linspace(LEAST_SHARE, 1, 200_001)
        areas.append(integrate.simpson(1 - np.interp(at, x, y), x=at))
    found = measure("accuracy lost by the harder set, down to a fifth", BY_HAND)
    assert found.effect == pytest.approx(areas[1] - areas[0], rel=1e-6)
    assert found.note.startswith("down to 20 % of the bits; from easy to hard images")
    np.testing.assert_array_equal(
        found.values, measure("accuracy lost by the harder set, as far as both go", BY_HAND).values
    )
    short = study(simplify={"shares": (1.0, 0.9, 0.8, 0.7, 0.6)})
    assert "down to 60.1 % of the bits" in measure("accuracy lost by the harder set, as far as both go", short).note
    with pytest.raises(Undecided, match=r"a set reaches 60.1 % of its bits, of 20 % or less"):
        measure("accuracy lost by the harder set, down to a fifth", short)
    with pytest.raises(Undecided, match="not every set of natural images takes fewer bits at some weight"):
        measure("accuracy lost by the harder set, as far as both go", study(simplify={"shares": (1.0,) * 4 + (1.1,)}))


def test_composites_count_at_the_weight_a_plain_loop_chooses():
    rng = np.random.default_rng(0)
    for _ in range(12):
        removed, kept, lost = rng.random(5), rng.random(5), rng.choice([0.0, 0.5, 1.0, 3.0], 5)
        chosen, best = None, 0.0
        for place in range(5):
            saved = (1 - SHARES[place]) * 4.5 / 1.5  # of the gap
            worst = min(saved / ASKED["bits"], removed[place] / ASKED["removal"], kept[place] / ASKED["retention"])
            if lost[place] <= MOST_LOST and worst > best:
                chosen, best = place, worst
        made = {"removed": {"noise": tuple(removed)}, "retained": tuple(kept), "lost": tuple(lost), "beds": ("noise",)}
        names = ("other part removed", "part with the label retained")
        found = {name: measure(name, simplify(**made), 5) for name in names}
        weight = "no weight" if chosen is None else f"weight {WEIGHTS[chosen]:g}"
        expected = (0.0, 1.0) if chosen is None else (removed[chosen], kept[chosen])
        assert {each.note for each in found.values()} == {f"noise at {weight}"}
        assert [each.effect for each in found.values()] == pytest.approx(expected, abs=0.01)


def test_the_accuracy_of_composites_is_that_of_one_weight_and_so_may_be_below_what_was_asked():
    tables = simplify(lost=(0.0, 0.25, 0.5, 1.75, 8.0), beds=("noise",))
    found = measure("accuracy, simplified minus composite", tables, 200)
    assert found.note == "noise at weight 10" and found.effect == pytest.approx(-1.75)
    assert found.interval[0] < -MOST_LOST
    assert measure("other part removed", tables, 200).interval == pytest.approx((0.6, 0.8), abs=0.01)  # or weight 3


def test_composites_whose_parts_no_image_shows_are_not_judged():
    tables = simplify(beds=("noise",))
    kept = tables[f"{FOLDER}/simplify.safetensors"]
    tables[f"{FOLDER}/simplify.safetensors"] = {name: each for name, each in kept.items() if "removal" not in name}
    with pytest.raises(Undecided, match="no composite of noise shows both parts"):
        measure("other part removed", tables)


def test_an_image_that_keeps_its_label_at_more_bits_is_not_simplified():
    tables = study(explain={"after": 3.5})
    assert measure("label kept", tables).effect == pytest.approx(95)
    assert measure("label kept with fewer bits", tables).effect == 0


def test_a_line_leads_by_the_mean_height_over_what_both_reach():
    first, second = np.array([[3.0, 1.0], [90.0, 70.0]]), np.array([[3.0, 2.0, 2.5], [90.0, 60.0, 80.0]])
    below = integrate.trapezoid([60.0, 80.0, 90.0], [2.0, 2.5, 3.0])
    assert line_lead(first, second) == pytest.approx((90 + 80) / 2 - below, rel=1e-3)
    assert line_lead(second, first) == pytest.approx(-line_lead(first, second), rel=1e-12)
    assert np.isnan(line_lead(first, np.array([[3.0, 3.2], [90.0, 80.0]])))


def test_leads_over_heuristics_are_those_of_their_lines():
    found = measure("SimpleBits over blur", BY_HAND, 400)
    own, bits = [100 * BEDS["images"][4] - x for x in (0, *LOST)], [3.0, *(3.0 * share for share in SHARES)]
    blur = np.array([[3.0 * (1 - 0.6 * k / 3) for k in range(4)], [96 - 20 * k / 3 for k in range(4)]])
    expected = line_lead(np.array([bits, own]), blur)
    assert found.note.startswith(f"blur on images {expected:.3g}, blur on noise")
    assert found.effect == pytest.approx(expected, abs=0.2)
    assert found.interval[0] < found.effect - 0.3  # of 400 images, 3 times
    other = measure("SimpleBits over blur", study(baselines={"better": {"blur": 1.0}}))
    assert 0.8 < found.effect - other.effect < 1  # but for the originals, which both have


def test_a_heuristic_that_saves_nothing_can_refute_and_not_support():
    rows = BY_HAND[f"{FOLDER}/baselines.csv"]
    fixed = rows.assign(bpd=rows["bpd"].where(rows["method"] != "jpeg", 9.0))
    found = measure("SimpleBits over heuristics", BY_HAND | {f"{FOLDER}/baselines.csv": fixed})
    assert not found.complete and "jpeg and SimpleBits share no bits below the originals' on noise" in found.note
    with pytest.raises(Undecided, match="jpeg and SimpleBits share no bits"):
        measure("SimpleBits over JPEG", BY_HAND | {f"{FOLDER}/baselines.csv": fixed})


def test_a_loss_of_condensed_images_is_that_of_the_weight_chosen():
    tables = study(condense={"sets": {1000.0: (1.5, 88.5)}})  # 1.5 points lost at a quarter of the bits
    assert measure("condensed bits saved, one image a class", tables).effect == pytest.approx(100 * (1 - 1.55 / 6.05))
    found = measure("condensed accuracy lost, one image a class", tables, 400)
    assert found.effect == pytest.approx(1.5) and found.interval[1] > MOST_LOST
    assert found.note == "1 image a class: weight 1000"
    with pytest.raises(Undecided, match="no condensed sets of 10 images a class"):
        measure("condensed bits saved, ten images a class", study(condense={"ipcs": (1,)}))


def test_rehearsal_is_judged_after_the_stage_that_loses_most():
    tables = study(rehearse={"lost": {(100.0, 0): 3.0, (100.0, 1): 1.0}})
    rows = tables[f"{FOLDER}/rehearse.csv"]
    at = (rows["weight"] == 100) & (rows["distilled"] == 1) & (rows["stage"] == 2) & (rows["task"] == "own")
    rows.loc[at, "accuracy"] -= 0.02  # of two tasks: one point more
    assert measure("rehearsal lost, some way", tables).effect == pytest.approx(2.0)
    assert measure("rehearsal lost, every way", tables).effect == pytest.approx(3.0)
    assert measure("rehearsal gained over none", tables).effect == pytest.approx(29.0)
