"""The verdict rule on estimates made by hand, and the list of claims."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from fourlenses.claims import Claim, Test, decide, evaluate, load_claims, undecided, verdict
from fourlenses.errors import UserError
from fourlenses.statistics import Estimate
from stages.claims import QUANTITIES
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
    assert rows["claim"].tolist() == [
        *(f"invariance-C{i}" for i in range(1, 14)),
        "similarity-C1", "similarity-C1b", *(f"similarity-C{i}" for i in range(2, 13)),
        "entanglement-C1", "entanglement-C2", "entanglement-C2b", *(f"entanglement-C{i}" for i in range(3, 14)),
        *(f"simplicity-C{i}" for i in range(1, 10)),
    ]  # fmt: skip
    assert list(tests)[:12] == [
        "claim", "test", "quantity", "effect", "low", "high", "null", "operator", "threshold", "holds",
        "excludes_null", "n",
    ]  # fmt: skip
    decided = tests[tests["holds"] != "undecided"]
    assert {f"invariance-C{i}" for i in (1, 2, 3, 4, 5, 6, 11)} <= set(decided["claim"])
    assert ((decided["low"] <= decided["effect"]) & (decided["effect"] <= decided["high"])).all()


UNTESTED = {"id": "x-C1", "paper": "p", "statement": "s", "paper_value": "v"}


def test_a_claim_without_tests_is_not_tested_for_its_reason():
    rows, tests = evaluate([Claim(**UNTESTED, reason="it follows from another")], {}, {}, 100, 0)
    row = rows.loc[0]
    assert row[["verdict", "reason", "quantity", "threshold", "n"]].tolist() == [
        "not tested", "it follows from another", "", "", 0,
    ]  # fmt: skip
    assert row[["effect", "low", "high"]].isna().all()
    assert tests.empty and "holds" in tests


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"tests": [a_test()]},
        {"reads": ["results/a.csv"]},
        {"reads": ["results/a.csv"], "reason": "r"},
        {"tests": [a_test()], "reason": "r"},
        {"reads": ["results/a.csv"], "tests": [a_test()], "reason": "r"},
    ],
)
def test_a_claim_has_either_tests_that_read_something_or_a_reason(parts):
    with pytest.raises(ValidationError, match="a reason why there are none"):
        Claim(**UNTESTED, **parts)
    Claim(**UNTESTED, reads=["results/a.csv"], tests=[a_test()])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('operator: ">="', 'operator: "=>"'), "claims.0.tests.0.operator"),
        (("unit: pp", "units: pp"), "claims.0.tests.0"),
        (("threshold: 40.0", "threshold: forty"), "claims.0.tests.0.threshold"),
        (("quantity: loss range in some network", "quantity: loss rnage"), "loss rnage"),
        (("id: invariance-C2", "id: invariance-C1"), "repeats a claim id"),
        (("reason: >-\n      it follows from C2 and has no test of its own", ""), "claims.11: Value error, give tests"),
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
