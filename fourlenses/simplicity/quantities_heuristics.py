"""The quantities that hold SimpleBits against heuristics at equal bits; see quantities.py for their form.

Every method is a broken line from the originals through its knobs: accuracy after retraining over the mean bits of the
test images. Resamples are over seeds, and binomial over images. Source: spec section 1 (C7), after Schirrmeister et al.
2022.
"""

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray

from fourlenses.simplicity.tables import Draws, Tables, draw, table, trained
from fourlenses.statistics import Estimate, Undecided

POINTS = 51  # of the range of bits that two lines share


def line_lead(first: Float[ndarray, "2 k"], second: Float[ndarray, "2 l"]) -> float:
    """Mean height of a broken line over another, from the first point of both down to what both reach.

    Arguments: bits and accuracies of the points, the first of which both lines have. NaN if one of them reaches no
    fewer bits than that.
    """
    lowest, highest = max(first[0].min(), second[0].min()), first[0, 0]
    if not lowest < highest:
        return float("nan")
    at = np.linspace(lowest, highest, POINTS)
    above, below = (np.interp(at, *line[:, np.argsort(line[0], kind="stable")]) for line in (first, second))
    difference = above - below
    return float((difference.sum() - (difference[0] + difference[-1]) / 2) / (POINTS - 1))


def _leads(
    tables: Tables, rows: pd.DataFrame, n_resamples: int, generator: np.random.Generator
) -> tuple[Float[ndarray, " r"], Draws, int]:
    """By how many points SimpleBits is above one heuristic on one bed, in every resample, and on how many images."""
    bed = trained(tables, rows["bed"].iloc[0])
    other = rows.pivot(index="seed", columns="knob", values=["bpd", "accuracy"]).dropna()
    draws = draw(set(bed.seeds) & set(other.index), np.ones((1 + n_resamples, 1)), n_resamples, generator)
    shared = np.isin(bed.seeds, draws.seeds)
    points = {
        axis: np.hstack([bed.column(start)[shared, :1], bed.column(own)[shared], other.loc[draws.seeds, axis]])
        for axis, start, own in (
            ("bpd", "bpd_original", "bpd_simplified"), ("accuracy", "accuracy_plain", "accuracy_retrained"),
        )
    }  # fmt: skip
    n = min(bed.n_images, int(rows["n_test"].min()))
    lines = np.stack([draws.of_table(points["bpd"]), 100 * draws.of_shares(points["accuracy"], n, generator)], axis=1)
    k = 1 + len(bed.weights)
    heuristic = np.delete(lines, np.s_[1:k], axis=2)
    return np.array([line_lead(*each) for each in zip(lines[:, :, :k], heuristic, strict=True)]), draws, n


def matched_lead(
    tables: Tables, n_resamples: int, generator: np.random.Generator, method: str | None
) -> Estimate:  # fmt: skip
    """Accuracy of SimpleBits minus that of a heuristic at equal bits, in points: the mean over the bits both reach.

    `method` is "blur", "jpeg" or "mse", the simplifier trained to change little, on the bed where the lead is least;
    None takes the mean over heuristics and beds. A heuristic that reaches no fewer bits than the originals' is left
    out, and then the quantity can refute and not support.
    """
    rows = table(tables, "baselines")
    rows = rows if method is None else rows[rows["method"] == method]
    if rows.empty:
        raise Undecided(f"this study has no {method or 'heuristics'}")
    found, out, sizes, alone = [], [], [], []
    for (bed, name), group in rows.groupby(["bed", "method"], sort=True):
        values, draws, n = _leads(tables, group, n_resamples, generator)
        if np.isnan(values[0]):
            out.append(f"{name} and SimpleBits share no bits below the originals' on {bed}")
            continue
        found.append((f"{name} on {bed} {values[0]:.3g}", values))
        sizes.append(n * len(draws.seeds))
        alone += [f"{bed} has one training seed"] * (len(draws.seeds) == 1)
    if not found:
        raise Undecided("; ".join(out))
    notes = [", ".join(note for note, _ in found), *dict.fromkeys(alone), *out]
    every = np.stack([values for _, values in found])
    values = every.mean(axis=0) if method is None else every.min(axis=0)
    return Estimate(values, min(sizes), "; ".join(notes), complete=not out)
