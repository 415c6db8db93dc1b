"""The claims about simplicity on studies whose values are set by hand."""

from pathlib import Path
from time import process_time

import numpy as np
import pandas as pd
import pytest

from fourlenses.claims import evaluate, load_claims
from fourlenses.simplicity.quantities import QUANTITIES
from fourlenses.statistics import Estimate, Undecided
from stages.claims import QUANTITIES as ALL
from tests.simplicity.synthetic_simplicity import FOLDER, study

BOOK = [claim for claim in load_claims(Path(__file__).parents[2] / "paper/claims.yaml", ALL)
        if claim.id.startswith("simplicity")]  # fmt: skip
TESTED = [claim for claim in BOOK if claim.tests]
BY_HAND = study()


def measure(name: str, tables: dict, n_resamples: int = 40) -> Estimate:
    return QUANTITIES[name](tables, n_resamples, np.random.default_rng(0))


def judged(tables: dict, claim: str) -> tuple[str, str]:
    book = [each for each in BOOK if each.id == f"simplicity-{claim}"]
    rows, _ = evaluate(book, tables, QUANTITIES, 200, 0)
    return rows.loc[0, "verdict"], rows.loc[0, "reason"]


FADED = {bed: (0.0, 0.1, 0.05, 0.1, 0.7) for bed in ("noise", "beside", "beside-reversed")}
RISING = (1.0, 1.01, 1.02, 1.03, 1.04)
REFUTED = {
    "C1": ({"ladder": {"bits": {"cifar10": 2.5}}}, "ladder, sign: -0."),
    "C2": ({"simplify": {"shares": RISING}}, "bits, sign: 1 is not < 0"),
    "C3": ({"simplify": {"removed": FADED, "retained": (1.0, 0.8, 0.9, 0.8, 0.2)}}, "some composite, sign: -0.0999"),
    "C4": ({"simplify": {"lost": (0.0, 2.0, 9.0, 20.0, 40.0), "hard": (0.0, 0.1, 0.2, 0.3, 0.4)}}, "as far as"),
    "C5": ({"condense": {"sets": {10.0: (4.5, 80.0), 100.0: (2.7, 70.0)}}}, "some size, sign: 0 is not > 0"),
    "C6": ({"explain": {"kept": 0.3}}, "most, with fewer bits: 30 is not > 50"),
    "C7": ({"baselines": {"better": dict.fromkeys(("blur", "jpeg", "mse"), 15.0)}}, "mean: -"),
    "C9": ({"rehearse": {"none": 0.1, "lost": {(100.0, 0): 1.0, (100.0, 1): 1.0}}}, "over none: -0.9 is not > 0"),
}  # fmt: skip
PARTLY = {
    "C1": ({"ladder": {"bits": {"svhn": 3.8}}}, "house numbers: -0.2"),
    "C2": ({"simplify": {"shares": (1.0, 0.98, 0.96, 0.94, 0.9)}}, "bits saved: 9.99"),
    "C3": ({"simplify": {"removed": {"noise": (0.0, 0.1, 0.3, 0.4, 0.5)}}}, "removal: 0.399"),
    "C4": ({"simplify": {"shares": (1.0, 0.8, 0.7, 0.6, 0.5)}}, "down to a fifth: undecided, a set reaches 5"),
    "C5": ({"condense": {"sets": {100.0: (3.5, 89.5)}}}, "one image, bits: 41.3"),
    "C6": ({"explain": {"blurred": 0.9}}, "beyond blur: 5 is not >= 15"),
    "C7": ({"baselines": {"better": {"mse": 20.0}}}, "small change: -"),
    "C9": ({"rehearse": {"lost": {(100.0, 1): 5.0}}}, "every way: 5 is not <= 2"),
}
OPEN = {
    "C1": ({"ladder": {"without": ("mnist",)}}, "this study has no bits of mnist or mnist5k"),
    "C2": ({"simplify": {"weights": (0.0, 10.0)}}, "this study has 2 weights of the bits, of 5 or more"),
    "C3": ({"simplify": {"beds": ("images", "photo-residual")}}, "this study has no images with a distractor"),
    "C4": ({"simplify": {"beds": ("images", "noise")}}, "this study simplifies 1 sets of natural images, of two"),
    "C5": ({"condense": {"weights": (0.0,)}}, "this study has condensed sets of 1 images a class at one weight only"),
    "C6": ({"explain": {"groups": ("right",)}}, "the network gets no test image wrong"),
    "C7": ({"baselines": {"saved": -0.1}}, "blur and SimpleBits share no bits below the originals' on images"),
    "C9": ({"rehearse": {"tasks": ("own",)}}, "this study does not rehearse two tasks"),
}
CLAIMS = [claim.id.removeprefix("simplicity-") for claim in TESTED]


@pytest.mark.parametrize("claim", CLAIMS)
def test_every_claim_is_reproduced_where_all_is_as_it_says(claim):
    word, reason = judged(BY_HAND, claim)
    assert (word, reason.split(";")[0]) == ("reproduced", "every test holds and every interval excludes its null")


@pytest.mark.parametrize("claim", CLAIMS)
def test_every_claim_can_be_refuted(claim):
    changes, reason = REFUTED[claim]
    word, why = judged(study(**changes), claim)
    assert word == "not" and why.startswith(reason), why


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claim_that_holds_for_a_part_is_partly_reproduced(claim):
    changes, reason = PARTLY[claim]
    word, why = judged(study(**changes), claim)
    assert word == "partly" and reason in why, why


@pytest.mark.parametrize("claim", CLAIMS)
def test_every_claim_can_be_left_open_and_says_what_is_missing(claim):
    changes, reason = OPEN[claim]
    word, why = judged(study(**changes), claim)
    assert word == "not tested" and why.startswith(reason), why


@pytest.mark.parametrize("claim", TESTED, ids=CLAIMS)
def test_a_claim_reads_the_files_it_says_and_no_other(claim):
    needed = {name: BY_HAND[name] for name in claim.reads}
    judged(needed, claim.id.removeprefix("simplicity-"))  # a KeyError if it reads another
    for name in claim.reads:
        left = {other: table for other, table in needed.items() if other != name}
        with pytest.raises(KeyError, match=name):
            for test in claim.tests:
                measure(test.quantity, left)


def test_every_quantity_decides_a_claim_and_every_claim_has_its_quantity():
    assert [claim.id for claim in BOOK] == [f"simplicity-C{number}" for number in range(1, 10)]
    assert {test.quantity for claim in BOOK for test in claim.tests} == set(QUANTITIES)
    assert set(QUANTITIES) <= set(ALL) and len(ALL) > len(QUANTITIES)
    assert judged({}, "C8") == ("not tested", "needs credentialed data (chest radiographs)")


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_quantities_do_not_depend_on_the_order_of_rows(quantity):
    mixed = {name: table.sample(frac=1, random_state=1) if isinstance(table, pd.DataFrame) else table
             for name, table in BY_HAND.items()}  # fmt: skip
    for name, first in (("ladder", "prior"), ("condense", "evaluated_on"), ("explain", "network")):  # the first counts
        table = mixed[f"{FOLDER}/{name}.csv"]
        chosen = table[first] == BY_HAND[f"{FOLDER}/{name}.csv"][first].iloc[0]
        mixed[f"{FOLDER}/{name}.csv"] = pd.concat([table[chosen], table[~chosen]])
    np.testing.assert_allclose(measure(quantity, BY_HAND).values, measure(quantity, mixed).values, rtol=1e-9)


@pytest.mark.parametrize("quantity", [test.quantity for claim in TESTED[1:] for test in claim.tests])  # C1 has none
def test_one_seed_never_gives_a_false_interval(quantity):
    try:
        found = measure(quantity, study(seeds=1))
    except Undecided as error:
        assert str(error)
        return
    assert not found.complete or "one training seed" in found.note


def test_the_knob_needs_three_seeds():
    for seeds in (1, 2):
        assert judged(study(seeds=seeds), "C2")[0] == "not tested"
    assert judged(study(seeds=2, simplify={"shares": RISING}), "C2")[0] == "not"


def test_a_composite_without_superfluous_bits_can_refute_and_not_support():
    word, why = judged(study(simplify={"target": {"noise": 5.0}}), "C3")
    assert word == "partly" and "undecided, beside at weight 10, of 2 beds" in why
    assert "noise takes no more bits than the part that carries its label" in why
    everywhere = dict.fromkeys(("noise", "beside", "beside-reversed"), 9.0)
    assert judged(study(simplify={"target": everywhere}), "C3") == (
        "not tested", "no composite takes more bits than the part of it that carries the label",
    )  # fmt: skip


def test_parts_that_fade_together_are_not_told_apart():
    half = dict.fromkeys(("noise", "beside", "beside-reversed"), (0.0, 0.5, 0.5, 0.5, 0.5))
    tables = study(simplify={"removed": half, "retained": (1.0, 0.5, 0.5, 0.5, 0.5)})
    assert measure("removal beyond fading, some composite", tables).effect == pytest.approx(0, abs=0.01)
    assert measure("other part removed", tables).effect == pytest.approx(0.5, abs=0.01)
    stronger = study(simplify={"removed": FADED, "retained": (1.0, 3.0, 3.0, 3.0, 3.0)})
    assert measure("removal beyond fading, some composite", stronger).effect < 0.2  # a stronger target is no removal


def test_photographs_stand_for_natural_images_where_a_study_has_no_others():
    found = measure("smallest step of the ladder", study(ladder={"without": ("cifar10",)}))
    assert found.note.startswith("black 2, mnist 2.8") and "photos 3.4" in found.note


def test_the_claims_are_decided_in_seconds():
    tables = study(ladder={"n": 500}, simplify={"n": 1000}, baselines={"n": 1000}, condense={"n": 1000})
    start = process_time()
    rows, _ = evaluate(BOOK, tables, QUANTITIES, 200, 0)
    assert process_time() - start < 5  # 2,000 resamples, the default, take about 6
    assert set(rows["verdict"]) == {"reproduced", "not tested"}
