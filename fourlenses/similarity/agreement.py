"""The quantities that compare linear CKA with metrics of other families; see quantities.py for their form.

Metrics were measured once on all images, so their intervals are over training seeds only.
Source: spec section 1 (C12), after Cianfarani et al. 2022.
"""

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray

from fourlenses.similarity.comparisons import FOLDER, Study, Tables, rank_correlation, read_study
from fourlenses.statistics import Estimate, Undecided, resampling_counts


def _metrics(tables: Tables, study: Study) -> pd.DataFrame:
    """Similarity of every two different points, (role, seed, i, j) by metric; both orders of a pair count as one."""
    table = tables[f"{FOLDER}/metrics.csv"]
    roles = {study.base(role): role for role in ("standard", "robust")}
    table = table[table["network"].isin(list(roles)) & (table["i"] != table["j"])]
    if table["seed"].nunique() < 2:
        raise Undecided("other metrics were measured on one training seed, all images at once: they have no interval")
    table = table.assign(
        role=table["network"].map(roles), i=table[["i", "j"]].min(axis=1), j=table[["i", "j"]].max(axis=1)
    )
    wide = table.pivot_table(index=["role", "seed", "i", "j"], columns="metric", values="value")
    if wide.isna().any(axis=None):
        raise ValueError("metrics.csv must hold every metric for the same pairs of points")
    return wide


def _others(table: pd.DataFrame) -> list[str]:
    """The metrics of other families than CKA's."""
    found = [metric for metric in table if "CKA" not in metric]
    if not found:
        raise Undecided("this study has no metric of another family than CKA")
    return found


def _over_seeds(values: Float[ndarray, "k s"], n_resamples: int, generator: np.random.Generator) -> ndarray:
    """Means over the training seeds in every resample, (1 + resamples, k)."""
    drawn, _ = resampling_counts(values.shape[1], 1, n_resamples, generator)
    return drawn @ values.T / values.shape[1]


def metric_agreement(tables: Tables, n_resamples: int, generator: np.random.Generator, every: bool) -> Estimate:
    """Spearman's correlation of linear CKA with another metric over pairs of points of one network.

    The lowest (`every`) or highest over metrics of other families and the two networks of the base pair, means over
    training seeds, of which alone the interval speaks; n is pairs of points x seeds.
    """
    table = _metrics(tables, read_study(tables))
    others = _others(table)
    agreement = []
    for role in ("standard", "robust"):
        groups = [rows for _, rows in table.loc[role].groupby("seed")]
        ranks = [(rows[others].to_numpy().T, rows["linear CKA"].to_numpy()) for rows in groups]
        agreement.append([rank_correlation(*both) for both in ranks])
    values = _over_seeds(np.concatenate(np.swapaxes(agreement, 1, 2)), n_resamples, generator)
    n = int(table.groupby("role").size().min())
    return Estimate(values.min(axis=1) if every else values.max(axis=1), n, f"other metrics: {', '.join(others)}")


def metric_change(tables: Tables, n_resamples: int, generator: np.random.Generator) -> Estimate:
    """S_off(robust) - S_off(standard) by other metrics than CKA, the smallest over them; intervals are over seeds."""
    table = _metrics(tables, read_study(tables))
    means = table[_others(table)].groupby(["role", "seed"]).mean()
    change = (means.loc["robust"] - means.loc["standard"]).dropna()
    values = _over_seeds(change.to_numpy().T, n_resamples, generator)
    note = "s_off: " + ", ".join(f"{metric} {value:+.3g}" for metric, value in zip(change, values[0], strict=True))
    return Estimate(values.min(axis=1), int(table.groupby("role").size().min()), note)
