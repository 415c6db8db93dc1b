"""What a study measured of entanglement: the networks that its claims compare, and their resamples.

Resamples are over training seeds and images together where the results hold an answer for every image, and over seeds
elsewhere. Networks compared within a seed start from the same weights and see the same batches, so they are paired.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Num
from numpy import ndarray

from fourlenses.statistics import Draws, Estimate, Undecided, drawn_images, drawn_seeds, resampling_counts

FOLDER = "results/entanglement"
ATTACKS = ("fgsm", "bim")  # untargeted, as the claims have them; the other attacks are drawn, not judged
Tables = Mapping[str, Any]  # tables by file name, and the arrays of safetensors


def table(tables: Tables, name: str) -> pd.DataFrame:
    """A table of the lens."""
    return tables[f"{FOLDER}/{name}.csv"]


def named(tables: Tables, role: str) -> str:
    """The network that the study calls plain, entangled or control; raises Undecided without one."""
    rows = table(tables, "networks")
    names = rows.loc[rows["role"] == role, "network"].unique()
    if len(names) != 1:
        raise Undecided(f"this study has no {role} network")
    return names[0]


def by_seed(rows: pd.DataFrame, columns: str | list[str], value: str, what: str) -> pd.DataFrame:
    """Values by training seed and by `columns`, for the seeds that have them all.

    Raises Undecided, which says `what` was sought, where there is none.
    """
    found = rows.pivot(index="seed", columns=columns, values=value).dropna()
    if found.empty:
        raise Undecided(f"this study has no {what}")
    return found


def common(first: pd.DataFrame, second: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two tables by seed, in the seeds that both have; raises Undecided without any."""
    seeds = first.index.intersection(second.index)
    if seeds.empty:
        raise Undecided("the networks to compare have no training seed in common")
    return first.loc[seeds], second.loc[seeds]


def over_seeds(
    values: Num[ndarray, "seeds *shape"], n_resamples: int, generator: np.random.Generator
) -> Float[ndarray, "r *shape"]:
    """Mean over training seeds in every resample of them; row 0 is the mean itself."""
    drawn, _ = resampling_counts(len(values), 1, n_resamples, generator)
    return np.tensordot(drawn.astype(float), values, 1) / len(values)


def of_seeds(values: Float[ndarray, " r"], n_seeds: int, note: str = "") -> Estimate:
    """A quantity resampled over seeds alone; one seed gives no interval, so that it can refute and not support."""
    alone = "one seed gives no interval" if n_seeds == 1 else ""
    return Estimate(values, n_seeds, "; ".join(filter(None, [note, alone])), complete=n_seeds > 1)


def spearman(x: Num[ndarray, "r k"], y: Num[ndarray, " k"]) -> Float[ndarray, " r"]:
    """Spearman's rank correlation of every row of x with y, ties at their mean rank; 0 for a row all of one value."""
    from scipy.stats import rankdata

    ranks, others = rankdata(x, axis=1), rankdata(y)
    ranks, others = ranks - ranks.mean(axis=1, keepdims=True), others - others.mean()
    norm = np.sqrt((ranks**2).sum(axis=1) * (others**2).sum())
    return np.divide(ranks @ others, norm, out=np.zeros(len(ranks)), where=norm > 0)


def ratio(above: Float[ndarray, " r"], below: Float[ndarray, " r"]) -> Float[ndarray, " r"]:
    """above / below in every resample, NaN where the denominator is not positive; Undecided if its estimate is not."""
    if below[0] <= 0:
        raise Undecided(f"the ratio has the denominator {below[0]:.2g}, which is not positive")
    return np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0)


def draw(seeds: Iterable[int], n_images: int, n_resamples: int, generator: np.random.Generator) -> Draws:
    """Draw seeds and images; raises Undecided without seeds."""
    return Draws(*drawn_seeds(seeds, n_resamples, generator), drawn_images(n_images, n_resamples, generator))
