"""Verdicts and quantities against results computed by hand, and the bootstrap against scipy's."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fourlenses.claims import Claim, Test, decide, evaluate, load_claims, undecided, verdict
from fourlenses.errors import UserError
from fourlenses.invariance.quantities import QUANTITIES, kendall_tau
from fourlenses.statistics import Estimate, Undecided, bootstrap_alignment, resampled_means, resampling_counts
from tests import synthetic

BOOK = Path(__file__).parents[1] / "paper/claims.yaml"
ANSWERS, JUDGES = "results/answers.csv", "results/judges.csv"


def a_test(operator: str = ">=", threshold: float = 30.0, null: float = 0.0, name: str = "t") -> Test:
    return Test(name=name, quantity="q", operator=operator, threshold=threshold, null_value=null, unit="pp")


def estimate(effect: float, low: float, high: float, n: int = 100, note: str = "") -> Estimate:
    """An estimate whose resamples have exactly this interval."""
    found = Estimate(np.array([effect, *[low] * 500, *[high] * 500], float), n, note)
    assert found.interval == (low, high)
    return found


# ---- the verdict rule ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operator", "threshold", "null", "effect", "low", "high", "holds", "beyond"),
    [
        (">=", 30, 0, 30, 5, 60, True, True),
        (">=", 30, 0, 29.9, 5, 60, False, True),
        (">=", 30, 0, 35, 0, 60, True, False),
        (">=", 40, 40, 45, 41, 50, True, True),
        (">=", 40, 40, 45, 40, 50, True, False),
        ("<=", 10, 10, 10, 2, 10, True, False),
        ("<=", 10, 10, 0, 0, 0, True, True),
        ("<=", 10, 10, 11, 2, 20, False, False),
        (">", 0, 0, 0, -1, 1, False, False),
        ("<", 0, 0, -2, -3, -1, True, True),
    ],
)
def test_a_test_holds_at_its_threshold_and_excludes_only_what_lies_beyond(
    operator, threshold, null, effect, low, high, holds, beyond
):
    found = decide(a_test(operator, threshold, null), estimate(effect, low, high), "x-C1")
    assert (found.holds, found.excludes_null) == (holds, beyond)


HOLDS, UNSURE, FAILS = estimate(50, 40, 60), estimate(50, -5, 60), estimate(10, 5, 20)


@pytest.mark.parametrize(
    ("estimates", "word", "shown", "reason"),
    [
        ([HOLDS], "reproduced", 0, "every test holds"),
        ([HOLDS, HOLDS], "reproduced", 0, "every test holds"),
        ([UNSURE], "partly", 0, "t0: the interval -5 to 60 includes 0"),
        ([HOLDS, UNSURE], "partly", 1, "t1: the interval -5 to 60 includes 0"),
        ([HOLDS, FAILS], "partly", 1, "t1: 10 is not >= 30"),
        ([UNSURE, FAILS], "partly", 1, "t1: 10 is not >= 30; t0: the interval"),
        ([FAILS], "not", 0, "t0: 10 is not >= 30"),
        ([FAILS, HOLDS], "not", 0, "t0: 10 is not >= 30"),
        ([HOLDS, "no such loss"], "partly", 0, "t1: undecided, no such loss"),
        (["no such loss", HOLDS], "not tested", 0, "no such loss"),
        (["no such loss", FAILS], "not tested", 0, "no such loss"),
        ([FAILS, "no such loss"], "not", 0, "t0: 10 is not >= 30"),
    ],
)
def test_every_branch_of_the_verdict(estimates, word, shown, reason):
    outcomes = [
        undecided(a_test(name=f"t{i}"), "x-C1", each)
        if isinstance(each, str)
        else decide(a_test(name=f"t{i}"), each, "x-C1")
        for i, each in enumerate(estimates)
    ]
    found, why, decisive = verdict(outcomes)
    assert found == word
    assert why.startswith(reason)
    assert decisive is outcomes[shown]


def test_what_was_left_out_is_part_of_the_reason():
    found = decide(a_test(), estimate(50, 40, 60, note="one network left out"), "x-C1")
    assert verdict([found])[:2] == (
        "reproduced", "every test holds and every interval excludes its null; one network left out",
    )  # fmt: skip


def test_an_incomplete_quantity_can_refute_but_not_support():
    part = Estimate(np.full(101, 5.0), 20, "no loss matches for vgg", complete=False)
    assert decide(a_test("<=", 10, 10), part, "x-C1").note == "no loss matches for vgg"
    assert decide(a_test("<=", 10, 10), part, "x-C1").holds is None
    assert decide(a_test("<=", 4, 4), part, "x-C1").holds is False


def test_an_undefined_quantity_is_undecided_not_false():
    found = decide(a_test(), Estimate(np.array([np.nan, np.nan]), 0), "x-C1")
    assert (found.holds, found.excludes_null) == (None, None)


def test_a_missing_table_and_a_missing_loss_are_not_tested_with_the_reason():
    claim = Claim(id="x-C1", paper="p", statement="s", reads=["results/none.csv"], paper_value="v", tests=[a_test()])
    rows, tests = evaluate([claim], {}, {"q": lambda *_: HOLDS}, 100, 0)
    assert rows.loc[0, ["verdict", "reason"]].tolist() == ["not tested", "this study has no results/none.csv"]
    assert tests["holds"].tolist() == ["undecided"]
    losses = {name: about for name, about in synthetic.LOSSES.items() if name != "transforms"}
    tables = {ANSWERS: synthetic.answers(1, 20, losses=losses), JUDGES: synthetic.judges()}
    rows, _ = evaluate(load_claims(BOOK, QUANTITIES), tables, QUANTITIES, 100, 0)
    row = rows.set_index("claim").loc["invariance-C3"]
    assert row[["verdict", "reason"]].tolist() == ["not tested", "this study has no loss called transforms"]


def test_tables_have_the_documented_columns():
    tables = {ANSWERS: synthetic.answers(1, 20), JUDGES: synthetic.judges()}
    rows, tests = evaluate(load_claims(BOOK, QUANTITIES), tables, QUANTITIES, 100, 0)
    assert list(rows) == [
        "claim", "statement", "quantity", "effect", "low", "high", "n", "threshold", "paper", "verdict", "reason",
    ]  # fmt: skip
    assert rows["claim"].tolist() == [f"invariance-C{i}" for i in (1, 2, 3, 4, 5, 11)]
    assert list(tests)[:12] == [
        "claim", "test", "quantity", "effect", "low", "high", "null", "operator", "threshold", "holds",
        "excludes_null", "n",
    ]  # fmt: skip
    assert ((tests["low"] <= tests["effect"]) & (tests["effect"] <= tests["high"])).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('operator: ">="', 'operator: "=>"'), "claims.0.tests.0.operator"),
        (("unit: pp", "units: pp"), "claims.0.tests.0"),
        (("threshold: 40.0", "threshold: forty"), "claims.0.tests.0.threshold"),
        (("quantity: loss range in some network", "quantity: loss rnage"), "loss rnage"),
        (("id: invariance-C2", "id: invariance-C1"), "repeats a claim id"),
        (("claims:", "claims: ["), "does not parse"),
    ],
)
def test_a_mistake_in_the_list_of_claims_is_one_line(tmp_path, change, message):
    path = tmp_path / "claims.yaml"
    path.write_text(BOOK.read_text().replace(*change, 1))
    with pytest.raises(UserError) as error:
        load_claims(path, QUANTITIES)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


# ---- the quantities ------------------------------------------------------------------------------------------------


def table(cells: dict[tuple[str, str, str], tuple[list[float], list[float]]], tau: float = 0.3) -> dict:
    """Tables of two judges from {(architecture, recipe, loss): (answers, errors)}, one seed; both judges agree."""
    rows = []
    for (architecture, recipe, loss), (votes, errors) in cells.items():
        form, _, weight = loss.partition("-")
        for image, (vote, error) in enumerate(zip(votes, errors, strict=True)):
            rows.append({
                "network": f"{architecture}-{recipe}", "architecture": architecture, "recipe": recipe, "seed": 0,
                "loss": loss, "regularizer": form if weight else "none", "weight": float(weight or 0),
                "seed_image": "super-noise", "image": image, "error": error, "accepted": int(error <= tau),
                "J1": vote, "J2": vote,
            })  # fmt: skip
    judges = pd.DataFrame({"judge": ["J1", "J2", "J9-0", "J9-1"], "panel": [1, 1, 0, 0], "passes": [1, 1, 0, 1]})
    return {ANSWERS: pd.DataFrame(rows), JUDGES: judges}


def measure(name: str, tables: dict) -> Estimate:
    return QUANTITIES[name](tables, 50, np.random.default_rng(0))


def votes(aligned: int, n: int = 20) -> list[float]:
    return [1.0] * aligned + [0.0] * (n - aligned)


TABLES = table({
    ("resnet", "standard", "free"): (votes(1), [0.1] * 20),
    ("resnet", "standard", "transforms"): (votes(9), [0.2] * 20),
    ("resnet", "standard", "away-1"): (votes(0), [0.2] * 20),
    ("resnet", "adversarial-l2", "free"): (votes(18), [0.1] * 20),
    ("resnet", "adversarial-l2", "transforms"): (votes(19), [0.1] * 20),
    ("resnet", "adversarial-l2", "away-0.1"): (votes(16), [0.12] * 20),
    ("resnet", "adversarial-l2", "away-1"): (votes(4), [0.5] * 8 + [0.2] * 12),
    ("vgg", "standard", "free"): (votes(0), [0.1] * 20),
    ("vgg", "standard", "transforms"): (votes(2), [0.1] * 20),
    ("vgg", "standard", "away-1"): (votes(0), [0.4] * 11 + [0.1] * 9),
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


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_quantities_do_not_depend_on_the_order_of_rows(quantity):
    tables = {ANSWERS: synthetic.answers(2, 20), JUDGES: synthetic.judges()}
    shuffled = tables | {ANSWERS: tables[ANSWERS].sample(frac=1, random_state=1)}
    np.testing.assert_allclose(measure(quantity, tables).values, measure(quantity, shuffled).values, rtol=1e-9)


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


@settings(deadline=None, max_examples=25)
@given(st.integers(3, 12), st.integers(2, 4), st.integers(0, 10**6))
def test_kendall_tau_is_scipys(items, judges, seed):
    scores = np.random.default_rng(seed).integers(0, 5, (1, items, judges)).astype(float)
    pairs = [(j, k) for j in range(judges) for k in range(j + 1, judges)]
    with np.errstate(invalid="ignore"):
        expected = [stats.kendalltau(scores[0, :, j], scores[0, :, k]).statistic for j, k in pairs]
    np.testing.assert_allclose(kendall_tau(scores)[0], expected, atol=1e-6)


# ---- the bootstrap -------------------------------------------------------------------------------------------------


def test_the_interval_is_scipys_for_one_seed():
    answers = np.random.default_rng(1).integers(0, 2, (1, 80)).astype(float)
    value, low, high = bootstrap_alignment(answers, 4000, np.random.default_rng(2))
    peer = stats.bootstrap((100 * answers[0],), np.mean, n_resamples=4000, method="percentile", rng=3)
    assert value == 100 * answers.mean()
    assert (low, high) == pytest.approx(peer.confidence_interval, abs=2.6)  # two answers of 80


def test_seeds_that_differ_widen_the_interval():
    answers = np.repeat([[0.0], [0.5], [1.0]], 50, axis=1)
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
    assert np.isnan(bootstrap_alignment(np.full((2, 5), np.nan), 50, np.random.default_rng(0))).all()
    with pytest.raises((ValueError, TypeError)):  # TypeError: the shapes are checked while testing
        bootstrap_alignment(np.zeros(5), 50, np.random.default_rng(0))
    with pytest.raises(ValueError, match="outside"):
        bootstrap_alignment(np.full((1, 5), 2.0), 50, np.random.default_rng(0))
