"""The quantities that compare accuracies, paired by training seed; see quantities.py for their form.

Differences are in percentage points of test accuracy. Their intervals are Student's, mean +- t sd / sqrt(n), given as
evenly spaced quantiles in place of resamples: those of three seeds would reach no further than the three differences.
Source: spec sections 1 (C6, C13), 3.3 and 5.2, after Frosst et al. 2019.
"""

import math

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray

from fourlenses.entanglement.tables import Tables, by_seed, common, named, table
from fourlenses.statistics import Estimate, Undecided

MARGIN = 0.1  # points of accuracy: so much less still counts as no loss
SOUGHT, POWER, LEVEL = 0.2, 0.8, 0.05  # points to be seen, with this probability, by a two-sided test at this level


def seeds_needed(sd: float) -> int:
    """Seeds that show a mean difference of SOUGHT points, at least 2.

    n = ((z_{1 - LEVEL / 2} + z_POWER) sd / SOUGHT)^2, with `sd` the standard deviation of the paired differences.
    """
    from scipy.special import ndtri

    return max(2, math.ceil(((ndtri(1 - LEVEL / 2) + ndtri(POWER)) * sd / SOUGHT) ** 2))


def _points(tables: Tables, name: str, split: str = "test") -> pd.DataFrame:
    """Accuracy of a network by seed, in percent."""
    rows = table(tables, "networks")
    return 100 * by_seed(rows[rows["network"] == name], "network", f"accuracy_{split}", f"network {name}")


def _differences(tables: Tables, first: str, second: str) -> Float[ndarray, " seeds"]:
    """Accuracy of the first minus the second network, by seed; raises Undecided for fewer than two seeds."""
    own, other = common(_points(tables, first), _points(tables, second))
    if len(own) < 2:
        raise Undecided(f"{first} and {second} have one training seed in common, which gives no interval")
    return own.to_numpy()[:, 0] - other.to_numpy()[:, 0]


def _student(differences: Float[ndarray, " seeds"], n_resamples: int) -> Float[ndarray, " r"]:
    from scipy.special import stdtrit

    n = len(differences)
    quantiles = stdtrit(n - 1, (np.arange(n_resamples) + 0.5) / n_resamples)
    return differences.mean() + np.concatenate([[0.0], quantiles * differences.std(ddof=1) / math.sqrt(n)])


def _entangling(tables: Tables) -> pd.DataFrame:
    """The rows of networks trained to entangle, controls left out."""
    rows = table(tables, "networks")
    return rows[(rows["alpha"] < 0) & (rows["scale"] == 0) & ~rows["shuffled"].astype(bool)]


def entangling_gain(tables: Tables, n_resamples: int, generator: np.random.Generator) -> Estimate:
    """Test accuracy of the entangled network of the best calibration accuracy, minus that of the plain one.

    Raises Undecided, with the power analysis, unless the interval lies above -MARGIN or below 0.
    """
    rows, plain = _entangling(tables), named(tables, "plain")
    if rows.empty:
        raise Undecided("this study has no network trained to entangle")
    best = rows.groupby("network")["accuracy_calibration"].mean().idxmax()
    differences = _differences(tables, best, plain)
    tops = [_points(tables, name).max().item() for name in (best, plain)]
    note = f"{best}, chosen by calibration accuracy, against {plain}; best seeds {tops[0]:.2f} and {tops[1]:.2f} %"
    found = Estimate(_student(differences, n_resamples), len(differences), note)
    low, high = found.interval
    if low <= -MARGIN and high >= 0:
        sd = differences.std(ddof=1)
        raise Undecided(
            f"not tested at power: {note}; mean difference {found.effect:+.2f} points (95 % interval {low:+.2f} to "
            f"{high:+.2f}), standard deviation over seeds {sd:.2f}; to see {SOUGHT:g} points ({100 * POWER:g} % "
            f"power, two-sided {100 * LEVEL:g} %) takes {seeds_needed(sd)} seeds, and there are {len(differences)}"
        )
    return found


def layer_set_lead(
    tables: Tables, n_resamples: int, generator: np.random.Generator, better: str, worse: str
) -> Estimate:
    """Test accuracy of a network that entangles one set of layers minus that of its like with another set.

    The two differ in their layers only. Of several such groups the first in the table counts that has the sets
    first-half, hidden and logits.
    """
    rows = _entangling(tables)
    for (alpha, rule), group in rows.groupby(["alpha", "rule"], sort=False):
        names = group.drop_duplicates("layers").set_index("layers")["network"]
        if {"first-half", "hidden", "logits"} <= set(names.index):
            differences = _differences(tables, names[better], names[worse])
            means = ", ".join(f"{layers} {_points(tables, name).mean().item():.2f} %" for layers, name in names.items())
            note = f"alpha {alpha:g}, temperature {rule}: {means}"
            return Estimate(_student(differences, n_resamples), len(differences), note)
    raise Undecided("this study has no entangled networks that differ only in their layers: first half, hidden, logits")
