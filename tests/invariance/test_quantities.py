"""The quantities that compare losses and judges, against results computed by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fourlenses.invariance.quantities import QUANTITIES, kendall_tau
from fourlenses.statistics import Estimate, Undecided
from tests import synthetic
from tests.synthetic import aligned

ANSWERS, JUDGES = "results/answers.csv", "results/judges.csv"


def table(cells: dict[tuple[str, str, str], tuple[list[float], list[float]]]) -> dict:
    """Tables of two judges that agree, from {(architecture, recipe, loss): (answers, errors)}, one seed."""
    return tables_of(synthetic.cell(*key, votes, errors) for key, (votes, errors) in cells.items())


def tables_of(frames) -> dict:
    return {ANSWERS: pd.concat(frames, ignore_index=True), JUDGES: synthetic.two_judges()}


def measure(name: str, tables: dict) -> Estimate:
    return QUANTITIES[name](tables, 50, np.random.default_rng(0))


TABLES = table({
    ("resnet", "standard", "free"): (aligned(1), [0.1] * 20),
    ("resnet", "standard", "transforms"): (aligned(9), [0.2] * 20),
    ("resnet", "standard", "away-1"): (aligned(0), [0.2] * 20),
    ("resnet", "adversarial-l2", "free"): (aligned(18), [0.1] * 20),
    ("resnet", "adversarial-l2", "transforms"): (aligned(19), [0.1] * 20),
    ("resnet", "adversarial-l2", "away-0.1"): (aligned(16), [0.12] * 20),
    ("resnet", "adversarial-l2", "away-1"): (aligned(4), [0.5] * 8 + [0.2] * 12),
    ("vgg", "standard", "free"): (aligned(0), [0.1] * 20),
    ("vgg", "standard", "transforms"): (aligned(2), [0.1] * 20),
    ("vgg", "standard", "away-1"): (aligned(0), [0.4] * 11 + [0.1] * 9),
})  # fmt: skip


@pytest.mark.parametrize(
    ("quantity", "effect", "n"),
    [
        # accepted away-1 IRIs of the robust ResNet are the last twelve, none aligned; its best loss reaches 95
        ("loss range in some network", 95, 12),
        ("loss range in some robust network", 95, 12),
        # ResNet: 45 - 0; VGG: 10 - 0, away-1 with nine accepted does not count
        ("loss range in some standard network", 45, 20),
        ("adversarial alignment in some network", 0, 20),
        ("adversarial alignment in every network", 20, 20),
        # means: ResNet .2 / .1, robust ResNet .32 / .1, VGG .265 / .1
        ("adversarial error ratio in every network", 3.2, 20),
        ("adversarial alignment, accepted IRIs", 0, 12),
        ("adversarial alignment, matched mean error", 80, 20),
        ("human-leaning gain in some standard network", 40, 20),
        ("human-leaning gain in every standard network", 10, 20),
        ("robust gain in some architecture", 85, 20),
        ("robust gain in every architecture", 85, 20),
        ("range between networks, free", 90, 20),
        ("range between networks, adversarial", 20, 20),
        ("range lost by the human-leaning loss", 90 - 85, 20),
        ("agreement on networks, free", 1, 20),
        ("agreement on cells, median pair", 1, 20),
        ("controls that fail", 50, 2),
    ],
)
def test_quantities_by_hand(quantity, effect, n):
    found = measure(quantity, TABLES)
    assert found.effect == pytest.approx(effect)
    assert found.n == n
    assert len(found.values) == 51


def test_what_cannot_be_matched_is_named():
    notes = {
        "loss range in some standard network": "fewer than 10 IRIs accepted: away-1 of vgg-standard (9)",
        "adversarial alignment, accepted IRIs": "no adversarial loss leaves 10 accepted IRIs for vgg-standard",
        "adversarial alignment, matched mean error": (
            "every adversarial loss has more than 1.5 times the regularizer-free error "
            "for resnet-standard, vgg-standard"
        ),
    }
    for quantity, note in notes.items():
        assert measure(quantity, TABLES).note == note


KINDS = {  # every kind of network that some quantity asks for: alignment in percent
    ("resnet", "standard", "crop"): 5, ("vgg", "standard", "crop"): 10, ("resnet", "standard", "simclr"): 0,
    ("resnet", "adversarial-l2", "crop"): 90, ("vgg", "adversarial-l2", "crop"): 60,
    ("resnet-noskip", "adversarial-l2", "crop"): 80, ("resnet", "adversarial-l2", "none"): 40,
    ("vgg", "adversarial-l2", "none"): 50, ("resnet", "simclr", "simclr"): 20,
    ("resnet", "simclr", "simclr-without-colour"): 30, ("resnet", "simclr-adversarial", "simclr"): 85,
}  # fmt: skip


def every_kind() -> dict:
    """Answers at chance, in two seeds, from which every quantity can be had."""
    rng = np.random.default_rng(0)
    frames, levels = [], {}
    for (architecture, recipe, augment), level in KINDS.items():
        for loss in ("free", "transforms", "away-0.1", "away-1", "straight-through"):
            for seed in (0, 1):
                votes = (100 * rng.random(20) < level).astype(float).tolist()
                backward = "straight-through" if loss == "straight-through" else "exact"
                about = {"augment": augment, "seed": seed, "backward": backward}
                frames.append(synthetic.cell(architecture, recipe, loss, votes, **about))
        levels[frames[-1]["network"][0]] = (architecture, recipe, level)
    return tables_of(frames) | {"results/predictions.csv": synthetic.predictions(2, 40, levels)}


EVERY = every_kind()


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_quantities_do_not_depend_on_the_order_of_rows(quantity):
    shuffled = {name: frame.sample(frac=1, random_state=1) for name, frame in EVERY.items()}
    shuffled[JUDGES] = EVERY[JUDGES]
    np.testing.assert_allclose(measure(quantity, EVERY).values, measure(quantity, shuffled).values, rtol=1e-9)


def test_one_network_only_cannot_decide_between_networks():
    one = {key: value for key, value in synthetic.NETWORKS.items() if key == "resnet-standard"}
    tables = {ANSWERS: synthetic.answers(1, 20, networks=one), JUDGES: synthetic.judges()}
    for quantity in ("range between networks, free", "robust gain in some architecture", "agreement on networks, free"):
        with pytest.raises(Undecided):
            measure(quantity, tables)


def test_a_repeated_row_and_a_missing_answer_are_errors():
    repeated = TABLES | {ANSWERS: pd.concat([TABLES[ANSWERS], TABLES[ANSWERS].head(1)])}
    with pytest.raises(ValueError, match="repeats"):
        measure("range between networks, free", repeated)
    holed = TABLES | {ANSWERS: TABLES[ANSWERS].assign(J1=np.nan)}
    with pytest.raises(ValueError, match="answer"):
        measure("range between networks, free", holed)


def changed(frame: pd.DataFrame, **columns: object) -> pd.DataFrame:
    """Rows that no claim about networks as trained and inverted in the usual way may count, all for the target."""
    return frame.assign(J1=1 - frame["J1"], J2=1 - frame["J2"], error=0.9, **columns)


BESIDE = {
    "untrained control": {"network": "control", "recipe": "untrained"},
    "noise as target": {"targets": "noise"},
    "another seed image": {"seed_image": "black"},
    "an earlier epoch": {"epoch": 3},
    "another backward rule": {"loss": "cut-skip", "backward": "cut-skip"},
}


@pytest.mark.parametrize("columns", BESIDE.values(), ids=BESIDE)
@pytest.mark.parametrize("quantity", [name for name in QUANTITIES if "best epoch" not in name])
def test_what_stands_beside_the_usual_cells_changes_nothing(quantity, columns):
    more = pd.concat([EVERY[ANSWERS], changed(EVERY[ANSWERS], **columns)]).drop_duplicates(
        ["network", "loss", "seed", "image", "targets", "seed_image", "epoch"]
    )
    found, usual = measure(quantity, EVERY | {ANSWERS: more}), measure(quantity, EVERY)
    np.testing.assert_array_equal(found.values, usual.values)
    assert (found.n, found.note) == (usual.n, usual.note)


def test_a_loss_through_another_trunk_is_adversarial_but_the_strongest_is_the_one_that_most_networks_have():
    frames = [
        synthetic.cell(network, "standard", loss, aligned(votes))
        for network, losses in (("resnet", {"free": 1, "away-z-1": 6, "away-1": 8}), ("vgg", {"free": 1, "away-1": 10}))
        for loss, votes in losses.items()
    ]
    assert measure("adversarial alignment in some network", tables_of(frames)).effect == 40
    assert measure("adversarial alignment in every network", tables_of(frames)).effect == 50
    assert measure("adversarial alignment, accepted IRIs", tables_of(frames[:3])).effect == 30
    renamed = [frame.replace({"loss": {"away-1": "away-zz-1"}}) for frame in frames]
    assert measure("adversarial alignment in some network", tables_of(renamed)).effect == 40


def test_a_standard_network_is_one_of_the_usual_augmentation():
    free = synthetic.cell("resnet", "standard", "free", aligned(1))
    both = [free, synthetic.cell("resnet", "standard", "transforms", aligned(9))]
    plain = tables_of([*both, *(frame.assign(augment="none", network="other", J1=1.0, J2=1.0) for frame in both)])
    assert measure("human-leaning gain in every standard network", plain).effect == 40


@settings(deadline=None, max_examples=25)
@given(st.integers(3, 12), st.integers(2, 4), st.integers(0, 10**6))
def test_kendall_tau_is_scipys(items, judges, seed):
    scores = np.random.default_rng(seed).integers(0, 5, (1, items, judges)).astype(float)
    pairs = [(j, k) for j in range(judges) for k in range(j + 1, judges)]
    with np.errstate(invalid="ignore"):
        expected = [stats.kendalltau(scores[0, :, j], scores[0, :, k]).statistic for j, k in pairs]
    np.testing.assert_allclose(kendall_tau(scores)[0], expected, atol=1e-6)
