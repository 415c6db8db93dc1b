"""The quantities of the similarity lens, against results computed by hand on maps made by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fourlenses.claims import load_claims
from fourlenses.invariance.quantities import QUANTITIES as INVARIANCE
from fourlenses.similarity.quantities import QUANTITIES
from fourlenses.similarity.structure import SCORES, kept
from fourlenses.statistics import Estimate, Undecided
from stages.claims import QUANTITIES as EVERY_LENS
from tests.similarity.synthetic import (
    EARLIER,
    MAPS,
    METRICS,
    NETWORKS,
    PAIRS,
    STEPS,
    SWEEP,
    layout,
    other_metrics,
    sweep,
)

BY_HAND = sweep().tables()


def measure(name: str, tables: dict) -> Estimate:
    return QUANTITIES[name](tables, 40, np.random.default_rng(0))


def score(name: str, m: np.ndarray, layers: str = "all") -> float:
    keep = kept(layout(), layers)
    return float(SCORES[name](m[np.ix_(keep, keep)][None], layout().iloc[keep])[0])


def change(name: str, layers: str = "all", other: np.ndarray = MAPS["standard"]) -> float:
    return score(name, MAPS["robust"], layers) - score(name, other, layers)


def contrast(network: str, layers: str = "all") -> float:
    return score("stage_contrast", MAPS[network], layers)


def all_points(early: float, late: float) -> float:
    """Mean of a profile of `alike`."""
    return (5 * early + 5 * (early + late) / 2 + 6 * late) / 16


WITH_STANDARD = [all_points(0.6, 0.4), all_points(0.7, 0.5), all_points(0.8, 0.6)]
EXPECTED = {
    "S_off, robust minus standard": change("s_off"),
    "S_off, robust minus standard, no batch norm": change("s_off", "no-bn"),
    "S_off, robust minus standard, block points": change("s_off", "blocks"),
    "S_off, robust minus standard, equal accuracy": change("s_off", other=EARLIER),
    "S_mid, robust minus standard": change("s_mid"),
    "first to last layer, robust against standard": abs(change("first_to_last")),
    "stage contrast, robust over standard": contrast("robust") / contrast("standard"),
    "stage contrast, robust over standard, no batch norm": contrast("robust", "no-bn") / contrast("standard", "no-bn"),
    "stage contrast, robust over standard, equal accuracy": contrast("robust") / score("stage_contrast", EARLIER),
    "edge score, robust minus standard": change("edge"),
    "effective rank, robust minus standard, block points": change("effective_rank", "blocks"),
    "matched layers, standard with robust": all_points(0.6, 0.4),
    "matched layers, standard twins minus standard with robust": all_points(0.9, 0.8) - all_points(0.6, 0.4),
    "gap, robust minus standard": change("gap"),
    "gap, robust minus standard, equal accuracy": change("gap", other=EARLIER),
    "depth of the drop, robust minus standard": change("drop_depth"),
    "movement by overfitting, late minus early": 0.25 + 0.01 / 15 * (12.5 - 2),
    "movement by overfitting, correlation with depth": 1.0,
    "benign with adversarial, robust minus standard": 0.9 - 0.2,
    "benign with adversarial, robust": 0.9,
    "benign with adversarial, standard": 0.2,
    "benign with adversarial, early layers of both": 0.95,
    "budgets, among robust minus with standard": 0.8 - np.mean(WITH_STANDARD),
    "budgets, among robust minus with standard, last convolution": 0.8 - np.mean([0.4, 0.5, 0.6]),
    "budgets, least among robust minus most with standard": 0.7 - max(WITH_STANDARD),
    # |log ratio| 1, 2, 1 (in octaves) of robust with half, robust with quarter, half with quarter: .9 .7 .8
    "similarity with the ratio of budgets": -np.sqrt(3) / 2,
    "threat models, among robust minus with standard": np.mean(
        [all_points(0.9, 0.5), all_points(0.8, 0.5), all_points(0.7, 0.5)]
    ) - np.mean([all_points(0.6, 0.4), all_points(0.6, 0.2), all_points(0.6, 0.2)]),
    "threat models, early minus late layers": (0.4 + 0.3 + 0.2) / 3,
    "longest run with width, standard": 1.0,
    "stage contrast, standard minus robust, every width": min(
        contrast(f"standard-{k}") - contrast(f"robust-{k}") for k in ("k4", "k8")
    ),
    "widths, early minus late layers": (0.2 + 0.1) / 2,
    "S_off, second best procedure minus standard": score("s_off", MAPS["trades"]) - score("s_off", MAPS["standard"]),
    "S_mid, second best procedure minus standard": score("s_mid", MAPS["trades"]) - score("s_mid", MAPS["standard"]),
    "stage contrast, second best procedure over standard": contrast("trades") / contrast("standard"),
    "agreement with linear CKA, some metric": 1.0,
    "agreement with linear CKA, every metric": -1.0,
    # Procrustes: robust .545, standard 1 - .345, means over pairs, seeds a little higher
    "S_off, robust minus standard, every other metric": 0.545 + 0.001 - (1 - 0.345 - 0.001),
}  # fmt: skip


def ratio_of(own: tuple, other: tuple) -> float:
    """Late over early movement of one window over that of another; the rise of every profile included."""
    early, late = 0.01 / 15 * (2 - 7.5), 0.01 / 15 * (12.5 - 7.5)
    return ((own[1] + late) / (own[0] + early)) / ((other[1] + late) / (other[0] + early))


OWN = STEPS["robust-step", 20, 40]
EXPECTED |= {
    "concentration of overfitting, over standard training": ratio_of(OWN, STEPS["standard-step", 20, 40]),
    "concentration of overfitting, over an earlier window": ratio_of(OWN, STEPS["robust-step", 2, 20]),
}


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_quantities_by_hand(quantity):
    found = measure(quantity, BY_HAND)
    assert found.effect == pytest.approx(EXPECTED[quantity], rel=1e-5, abs=1e-6)
    assert len(found.values) == 41
    assert found.n >= 3 * 10


NOTES = {
    "S_off, robust minus standard": "",
    "S_off, robust minus standard, equal accuracy": "clean accuracy of standard after epoch 3 72.0 %, of robust 70.0 %",
    "movement by overfitting, late minus early": "epochs 20 to 40, 5.0 points of robust accuracy lost",
    "concentration of overfitting, over an earlier window":
        "epochs 20 to 40, 5.0 points of robust accuracy lost; earlier window 2 to 20",
    "budgets, among robust minus with standard": "3 budgets",
    "threat models, early minus late layers": "3 pairs of networks",
    "stage contrast, standard minus robust, every width": "widths 4, 8",
    "agreement with linear CKA, some metric": "other metrics: CCA, Procrustes",
}  # fmt: skip


@pytest.mark.parametrize(("quantity", "note"), NOTES.items())
def test_notes(quantity, note):
    assert measure(quantity, BY_HAND).note == note


def without(tables: dict, *names: str) -> dict:
    """A study in which some networks were never trained."""
    pairs, networks = tables[PAIRS], tables[NETWORKS]
    gone = pairs["network_a"].isin(names) | pairs["network_b"].isin(names)
    return tables | {NETWORKS: networks[~networks["network"].isin(names)], PAIRS: pairs[~gone]}


def accuracy(network: str, measure: str, value: float) -> dict:
    """The study with another last accuracy of a network."""
    history = BY_HAND[SWEEP].copy()
    last = (history["network"] == network) & (history["epoch"] == history.groupby("network")["epoch"].transform("max"))
    history.loc[last, measure] = value
    return BY_HAND | {SWEEP: history}


def kinds(*left_out: str) -> dict:
    return BY_HAND | {PAIRS: BY_HAND[PAIRS][~BY_HAND[PAIRS]["kind"].isin(left_out)]}


@pytest.mark.parametrize(
    ("quantity", "tables", "message"),
    [
        ("S_off, robust minus standard", without(BY_HAND, "standard"), "no standard network of a base pair"),
        ("S_off, robust minus standard, equal accuracy", accuracy("robust", "accuracy_clean", 0.5),
         "no kept epoch of standard is within 5 points of the clean accuracy of robust, 50.0 %"),
        ("S_off, robust minus standard, equal accuracy", BY_HAND | {SWEEP: BY_HAND[SWEEP].head(0)},
         "no accuracy of standard"),
        ("matched layers, standard twins minus standard with robust", kinds("twin"),
         "does not compare standard with a twin of another seed"),
        ("matched layers, standard with robust", kinds("cross"), "does not compare standard with robust"),
        ("benign with adversarial, robust", kinds("adversarial"), r"compare robust with robust \(adversarial\)"),
        ("movement by overfitting, late minus early", without(BY_HAND, "robust-step"), "no robust network of the step"),
        ("movement by overfitting, late minus early", accuracy("robust-step", "accuracy_robust", 0.49),
         "robust-step does not overfit: from its best epoch to its last it loses 1.0 points"),
        ("movement by overfitting, late minus early", kinds("epochs"), "does not compare robust-step between epochs"),
        ("concentration of overfitting, over standard training", without(BY_HAND, "standard-step"),
         "no standard network trained as robust-step was"),
        ("concentration of overfitting, over an earlier window",
         BY_HAND | {PAIRS: BY_HAND[PAIRS][~BY_HAND[PAIRS]["epoch_a"].isin([2, 10])]},
         "robust-step has no two kept epochs up to 20 that are 10 or more apart"),
        ("similarity with the ratio of budgets", without(BY_HAND, "robust-half"), "2 budgets, and the claim needs 3"),
        ("threat models, among robust minus with standard", without(BY_HAND, "l2"), "has 2 threat models"),
        ("threat models, early minus late layers", without(BY_HAND, "l2"), "has 2 threat models"),
        ("longest run with width, standard", without(BY_HAND, "standard-k4"), "has 2 widths of the standard network"),
        ("stage contrast, standard minus robust, every width", without(BY_HAND, "standard-k4", "robust-k8"),
         "no width of 4 or more"),
        ("widths, early minus late layers", kinds("cross"), "differ in their width only"),
        ("S_off, second best procedure minus standard", without(BY_HAND, "fast", "trades"),
         "has 1 robust training procedures"),
        ("agreement with linear CKA, some metric", BY_HAND | {METRICS: other_metrics(1)}, "one training seed"),
        ("S_off, robust minus standard, every other metric",
         BY_HAND | {METRICS: BY_HAND[METRICS][BY_HAND[METRICS]["metric"].str.contains("CKA")]}, "another family"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named_in_one_sentence(quantity, tables, message):
    with pytest.raises(Undecided, match=message):
        measure(quantity, tables)


NOISY = sweep(noise=0.02).tables()


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_quantities_do_not_depend_on_the_order_of_rows(quantity):
    shuffled = {name: table.sample(frac=1, random_state=1) if isinstance(table, pd.DataFrame) else table
                for name, table in NOISY.items()}  # fmt: skip
    networks = shuffled[NETWORKS]
    shuffled[NETWORKS] = pd.concat([networks[networks["schedule"] == "step"], networks[networks["schedule"] != "step"]])
    np.testing.assert_allclose(measure(quantity, NOISY).values, measure(quantity, shuffled).values, rtol=1e-9)


def test_intervals_hold_what_seeds_and_batches_vary():
    found = measure("S_off, robust minus standard", NOISY)
    assert found.interval[0] < found.effect < found.interval[1]
    assert found.interval[0] > 0
    assert (found.n, found.note) == (3 * 4 * 64, "")
    one = measure("S_off, robust minus standard", sweep(seeds=1, noise=0.02).tables())
    assert one.interval[0] < one.interval[1]
    assert (one.n, one.note) == (4 * 64, "one training seed: the interval is over batches of images only")


def test_other_seeds_are_twins_in_every_resample_that_holds_two():
    values = measure("matched layers, standard twins minus standard with robust", NOISY).values
    assert np.isnan(values).any() and np.isfinite(values).sum() > 30


def test_every_quantity_decides_a_claim_and_every_claim_has_its_quantity():
    path = Path(__file__).parents[2] / "paper/claims.yaml"
    claims = [claim for claim in load_claims(path, EVERY_LENS) if claim.id.startswith("similarity")]
    assert [claim.id.removeprefix("similarity-") for claim in claims] == [
        "C1", "C1b", *(f"C{number}" for number in range(2, 13)),
    ]  # fmt: skip
    assert {test.quantity for claim in claims for test in claim.tests} == set(QUANTITIES)
    assert not set(QUANTITIES) & set(INVARIANCE)
    assert set(QUANTITIES) < set(EVERY_LENS)
