"""The alignment table against hand computation."""

import numpy as np
import pandas as pd
import pytest

from fourlenses.invariance.alignment import CELL, tabulate

JUDGES = ["J1", "J2", "J3", "other"]
PANEL = ["J1", "J2", "J3"]


def answers(seed: int = 0, losses: tuple[str, ...] = ("free", "away-1"), accept: float = 0.6) -> pd.DataFrame:
    """Two training seeds, eight images, answers 0, 0.5 and 1."""
    rng = np.random.default_rng(seed)
    rows = [
        {
            "network": network, "architecture": "resnet", "recipe": "standard", "augment": "crop", "beta": 0.0,
            "epoch": 8, "loss": loss, "regularizer": "none", "weight": 0.0, "through": "none", "backward": "exact",
            "fourier": 0, "transforms": 0, "targets": "test", "seed_image": "super-noise", "seed": k, "image": image,
            "error": rng.uniform(), "accepted": int(rng.uniform() < accept), "null_low": 0.2 + 0.1 * k,
            "null_median": 0.7 + 0.2 * k, **{judge: rng.choice([0, 0.5, 1]) for judge in JUDGES},
        }
        for network in ("a", "b") for loss in losses for k in (0, 1) for image in range(8)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def table(frame: pd.DataFrame, seed: int = 1) -> pd.DataFrame:
    return tabulate(frame, JUDGES, PANEL, 200, np.random.default_rng(seed))


def test_values_against_means_by_hand():
    frame = answers()
    found = table(frame)
    assert len(found) == 2 * 2 * (len(JUDGES) + 1)
    for _, row in found.iterrows():
        cell = frame[(frame["network"] == row["network"]) & (frame["loss"] == row["loss"])]
        kept = cell[cell["accepted"] == 1]
        judged = PANEL if row["judge"] == "median" else [row["judge"]]
        assert row["alignment"] == pytest.approx(np.median([100 * cell[judge].mean() for judge in judged]))
        assert row["alignment_kept"] == pytest.approx(np.median([100 * kept[judge].mean() for judge in judged]))
        assert (row["n"], row["n_kept"], row["seeds"]) == (16, len(kept), 2)
        assert row["kept_fraction"] == pytest.approx(len(kept) / 16)
        assert row["error_mean"] == pytest.approx(cell["error"].mean())
        assert row["error_median"] == pytest.approx(cell["error"].median())
        assert (row["null_low"], row["null_median"]) == (pytest.approx(0.25), pytest.approx(0.8))


def test_intervals_hold_their_value_and_are_percentages():
    found = table(answers())
    for low, value, high in (("low", "alignment", "high"), ("low_kept", "alignment_kept", "high_kept")):
        assert (found[low] <= found[value]).all() and (found[value] <= found[high]).all()
        assert found[low].min() >= 0 and found[high].max() <= 100
        assert (found[low] < found[high]).all()


def test_order_of_the_rows_does_not_matter():
    frame = answers(losses=("free",))
    frame = frame[frame["network"] == "a"]
    shuffled = frame.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(table(frame), table(shuffled))


def test_all_targets_are_a_hundred_and_all_seeds_zero():
    frame = answers()
    for answer, alignment in ((1.0, 100.0), (0.0, 0.0), (0.5, 50.0)):
        found = table(frame.assign(**dict.fromkeys(JUDGES, answer)))
        for column in ("alignment", "low", "high", "alignment_kept"):
            assert (found[column] == alignment).all()


@pytest.mark.filterwarnings("error")
def test_no_accepted_iri_gives_no_number_rather_than_zero():
    found = table(answers(accept=0.0))
    assert (found["n_kept"] == 0).all() and (found["kept_fraction"] == 0).all()
    assert found[["alignment_kept", "low_kept", "high_kept"]].isna().all(axis=None)
    assert found[["alignment", "low", "high"]].notna().all(axis=None)


@pytest.mark.parametrize(
    ("column", "other"),
    [("targets", "noise"), ("seed_image", "black"), ("epoch", 4), ("backward", "cut-skip"), ("augment", "none")],
)
def test_targets_starts_epochs_and_rules_have_rows_of_their_own(column, other):
    frame = answers()
    found = table(pd.concat([frame, frame.assign(**{column: other}, **dict.fromkeys(JUDGES, 1.0))]))
    pd.testing.assert_frame_equal(table(frame), found[found[column] != other].reset_index(drop=True))
    assert (found.loc[found[column] == other, "alignment"] == 100).all()


def test_every_cell_has_every_judge_once():
    found = table(answers())
    assert list(found)[: len(CELL)] == CELL
    assert not found.duplicated([*CELL, "judge"]).any()
    assert set(found["judge"]) == {*JUDGES, "median"}
