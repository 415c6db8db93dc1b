"""The quantities that compare networks by how they were built and trained, against results computed by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fourlenses.invariance.quantities import QUANTITIES
from fourlenses.statistics import Estimate, Undecided, resampling_counts
from tests import synthetic
from tests.synthetic import aligned

ANSWERS, JUDGES, PREDICTIONS = "results/answers.csv", "results/judges.csv", "results/predictions.csv"
AT, VIEWS = "adversarial-l2", "simclr-adversarial"


def free(architecture: str, recipe: str, augment: str = "crop", votes: int = 0, **changes: object) -> pd.DataFrame:
    return synthetic.cell(architecture, recipe, "free", aligned(votes), augment=augment, **changes)


def through(architecture: str, votes: int) -> pd.DataFrame:
    return synthetic.cell(architecture, AT, "straight-through", aligned(votes), backward="straight-through")


CELLS = {  # answers for the target among twenty
    "resnet standard": free("resnet", "standard", votes=1),
    "vgg standard": free("vgg", "standard", votes=8),
    "resnet standard simclr": free("resnet", "standard", "simclr", votes=0),
    "vgg standard simclr": free("vgg", "standard", "simclr", votes=2),
    "resnet AT": free("resnet", AT, votes=18),
    "vgg AT": free("vgg", AT, votes=11),
    "noskip AT": free("resnet-noskip", AT, votes=19),
    "resnet AT none": free("resnet", AT, "none", votes=6),
    "vgg AT none": free("vgg", AT, "none", votes=14),
    "resnet TRADES none": free("resnet", "trades-l2", "none", votes=0),
    "resnet AT through": through("resnet", 12),
    "vgg AT through": through("vgg", 15),
    "resnet SimCLR": free("resnet", "simclr", "simclr", votes=4),
    "resnet SimCLR without colour": free("resnet", "simclr", "simclr-without-colour", votes=7),
    "resnet views 2": free("resnet", VIEWS, "simclr", votes=9, epoch=2),
    "resnet views 4": free("resnet", VIEWS, "simclr", votes=20, epoch=4),
    "resnet views": free("resnet", VIEWS, "simclr", votes=12),
    "vgg views": free("vgg", VIEWS, "simclr", votes=20),
}


def tables(*left_out: str, **more: pd.DataFrame) -> dict:
    cells = {name: frame for name, frame in CELLS.items() if not name.startswith(left_out or ("none",))} | more
    return {ANSWERS: pd.concat(cells.values(), ignore_index=True), JUDGES: synthetic.two_judges()}


def measure(name: str, results: dict) -> Estimate:
    return QUANTITIES[name](results, 50, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("quantity", "effect", "note"),
    [
        ("robust gain in some architecture", 90 - 5, ""),
        ("robust gain in every architecture", 55 - 40, ""),
        ("residual gain over vgg, free", 90 - 55, ""),
        ("residual gain over vgg, straight-through", 60 - 75, ""),
        ("residual gain over resnet-noskip, free", 90 - 95, ""),
        ("alignment by augmentation alone in some architecture", 0, ""),
        ("alignment by augmentation alone in every architecture", 10, ""),
        ("range between architectures of the effect of augmentation", 60 + 15, "crop minus none: resnet +60, vgg -15"),
        ("gain by adversarial views in every architecture", 60 - 20, ""),
        ("contrastive lead at the best epoch", 100 - 90, ""),
        ("contrastive lead at the final epoch", 60 - 90, ""),
        ("effect of colour in every architecture", 35 - 20, "with colour: resnet -15"),
    ],
)
def test_comparisons_by_hand(quantity, effect, note):
    found = measure(quantity, tables())
    assert found.effect == pytest.approx(effect)
    assert (found.n, found.note, len(found.values)) == (20, note, 51)


@pytest.mark.parametrize(
    ("quantity", "left_out", "message"),
    [
        ("residual gain over vgg, free", "vgg AT", "no vgg of the recipe adversarial-l2"),
        ("residual gain over vgg, free", "resnet AT", "no resnet of the recipe adversarial-l2"),
        ("residual gain over vgg, straight-through", "vgg AT through", "no vgg of the recipe adversarial-l2"),
        ("residual gain over resnet-noskip, free", "noskip", "no resnet-noskip of the recipe"),
        ("alignment by augmentation alone in some architecture", ("resnet standard s", "vgg standard s"),
         "recipe standard with the augmentation simclr"),
        ("range between architectures of the effect of augmentation", "vgg AT none", "one architecture only"),
        ("range between architectures of the effect of augmentation", ("resnet AT none", "vgg AT none"),
         "adversarial-l2 with the augmentation none"),
        ("gain by adversarial views in every architecture", "resnet SimCLR", "recipe simclr with"),
        ("gain by adversarial views in every architecture", "resnet views", "no architecture was trained both by"),
        ("contrastive lead at the best epoch", "resnet views", "no resnet of the recipe simclr-adversarial"),
        ("contrastive lead at the final epoch", "resnet AT", "no resnet of the recipe adversarial-l2"),
        ("effect of colour in every architecture", "resnet SimCLR without", "simclr-without-colour"),
        ("robust gain in every architecture", ("resnet standard", "vgg standard"), "no architecture was trained both"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named(quantity, left_out, message):
    with pytest.raises(Undecided, match=message):
        measure(quantity, tables(*([left_out] if isinstance(left_out, str) else left_out)))


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 20))
def test_networks_of_one_kind_count_as_one_by_their_mean(first, second, other):
    results = tables(
        "resnet AT", "vgg AT", a=free("resnet", AT, votes=first, network="a"),
        b=free("resnet", AT, votes=second, network="b"), c=free("vgg", AT, votes=other, network="c"),
    )  # fmt: skip
    expected = 5 * ((first + second) / 2 - other)
    assert measure("residual gain over vgg, free", results).effect == pytest.approx(expected)


def test_the_best_epoch_is_chosen_anew_in_every_resample():
    early, late = aligned(10), aligned(10)[::-1]  # equally good, on different images
    at = free("resnet", AT, votes=10)
    views = [synthetic.cell("resnet", VIEWS, "free", votes, augment="simclr", epoch=epoch)
             for epoch, votes in ((4, early), (8, late))]  # fmt: skip
    results = {ANSWERS: pd.concat([at, *views]), JUDGES: synthetic.two_judges()}
    found = measure("contrastive lead at the best epoch", results)
    _, counts = resampling_counts(1, 20, 50, np.random.default_rng(0))
    expected = [100 * (max(row @ early, row @ late) - row @ aligned(10)) / 20 for row in counts]
    np.testing.assert_allclose(found.values, expected, atol=1e-9)
    assert found.effect == 0 and found.values.max() > 0
    assert (found.values >= measure("contrastive lead at the final epoch", results).values - 1e-9).all()


def test_a_single_checkpoint_is_said_to_be_one():
    found = measure("contrastive lead at the best epoch", tables("resnet views 2", "resnet views 4"))
    assert (found.effect, found.note) == (60 - 90, "one checkpoint only, the final one")


# ---- which of two networks to trust --------------------------------------------------------------------------------


def trusting(levels: dict[str, int], predictions: dict[str, list[int]], labels: list[int], seeds: int = 1) -> dict:
    """Networks by name with their answers for the target among twenty, and what they predict for test images."""
    cells = [free("resnet", "standard", votes=votes, network=name) for name, votes in levels.items()]
    n = len(labels) // seeds
    frame = pd.DataFrame({"seed": np.repeat(range(seeds), n), "image": list(range(n)) * seeds, "label": labels})
    return {ANSWERS: pd.concat(cells), JUDGES: synthetic.two_judges(), PREDICTIONS: frame.assign(**predictions)}


LABELS = [0, 1, 2, 3, 4, 5, 6, 7]
BY_HAND = trusting(
    {"high": 18, "middle": 8, "low": 4},
    {
        "high": [0, 1, 2, 3, 4, 5, 0, 0],  # six right
        "middle": [0, 1, 2, 3, 9, 9, 6, 9],  # against high: they disagree on the last four, 2 right against 1
        "low": [0, 1, 2, 3, 4, 9, 6, 7],  # against high: they disagree on the last three, 1 right against 2
    },
    LABELS,
)


@pytest.mark.parametrize(("over", "effect"), [("some", 25), ("mean", (25 - 100 / 3) / 2), ("every", -100 / 3)])
def test_trust_by_hand(over, effect):
    found = measure(f"accuracy lead of the better aligned, {over} pair", BY_HAND)
    assert found.effect == pytest.approx(effect)
    assert (found.n, found.note) == (3, "2 pairs of networks")


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 3))
def test_trust_is_a_loop_over_images_in_every_resample(seed, seeds):
    rng = np.random.default_rng(seed)
    labels = np.tile(rng.integers(0, 3, 12), seeds)
    high, low = rng.integers(0, 3, (2, 12 * seeds))
    low[0] = (high[0] + 1) % 3  # they disagree at least once
    results = trusting({"low": 2, "high": 15}, {"low": low, "high": high}, labels.tolist(), seeds)
    found = measure("accuracy lead of the better aligned, mean pair", results)
    generator = np.random.default_rng(0)
    resampling_counts(1, 20, 50, generator)  # those of the IRIs
    for value, u, v in zip(found.values, *resampling_counts(seeds, 12, 50, generator), strict=True):
        lead = n = 0
        for row in range(12 * seeds):
            times = u[row // 12] * v[row % 12] * (high[row] != low[row])
            lead += times * (int(high[row] == labels[row]) - int(low[row] == labels[row]))
            n += times
        assert value == pytest.approx(100 * lead / n) if n else np.isnan(value)
    assert found.n == (high != low).sum()


def test_trust_needs_a_gap_a_disagreement_and_every_prediction():
    name = "accuracy lead of the better aligned, some pair"
    close = trusting({"a": 10, "b": 3}, {"a": LABELS, "b": [9] * 8}, LABELS)
    same = trusting({"a": 18, "b": 3}, {"a": LABELS, "b": LABELS}, LABELS)
    for results in (close, same):
        with pytest.raises(Undecided, match="no two networks that ever disagree differ by 40 points"):
            measure(name, results)
    with pytest.raises(Undecided, match="predictions.csv lacks low"):
        measure(name, BY_HAND | {PREDICTIONS: BY_HAND[PREDICTIONS].drop(columns="low")})
    for torn in (BY_HAND[PREDICTIONS].iloc[[0, 0, *range(2, 8)]], pd.concat([BY_HAND[PREDICTIONS]] * 2)):
        with pytest.raises(ValueError, match="every test image once"):
            measure(name, BY_HAND | {PREDICTIONS: torn})


def test_better_aligned_networks_that_are_right_more_often_are_found_so():
    answers = synthetic.answers(2, 20)
    results = {ANSWERS: answers, JUDGES: synthetic.judges(), PREDICTIONS: synthetic.predictions(2, 400)}
    low, _ = measure("accuracy lead of the better aligned, every pair", results).interval
    assert low > 0
    upside_down = {name: (*about[:2], 100 - about[2]) for name, about in synthetic.NETWORKS.items()}
    results[PREDICTIONS] = synthetic.predictions(2, 400, upside_down)
    _, high = measure("accuracy lead of the better aligned, some pair", results).interval
    assert high < 0
