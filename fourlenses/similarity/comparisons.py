"""What a study compared: its pairs of states, their CKA in every resample, and the networks that form a sweep.

Networks are found by what differs from the base pair, never by name. Resamples are over training seeds (outer) and
batches of images (inner), the same for all that a quantity puts together.
Source: spec sections 2 and 6.3, after Cianfarani et al. 2022 and Nguyen et al. 2021.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Num
from numpy import ndarray

from fourlenses.similarity.structure import SCORES, kept
from fourlenses.statistics import Estimate, Undecided, resampling_counts

FOLDER = "results/similarity"
SPECIFICATION = [
    "architecture", "recipe", "augment", "beta", "norm", "strength", "width", "depth", "n_train", "schedule", "epochs",
]  # fmt: skip
CHUNK = 100  # resamples whose maps are held at once, so that they stay in the processor's cache
Tables = Mapping[str, Any]  # tables by file name, and the arrays of hsic.safetensors
State = tuple[str, int]  # a network and an epoch
Measure = Callable[[ndarray, ndarray, ndarray, ndarray], ndarray]


def cka_maps(
    ab: Float[ndarray, "b la lb"], aa: Float[ndarray, "b la"], bb: Float[ndarray, "b lb"], weights: Num[ndarray, "r b"]
) -> Float[ndarray, "r la lb"]:
    """CKA of all points of two states from the HSIC of each batch, in every resample of the batches.

    CKA = sum_b w_b ab_b / sqrt(sum_b w_b aa_b sum_b w_b bb_b): summed first, divided once, never clipped.
    Arguments: `ab`, `aa`, `bb`, unbiased HSIC between and within; `weights`, how often each batch counts, >= 0.
    Raises ValueError where a point is not similar to itself. Source: Nguyen et al. 2021, Eq. 2; spec section 2.
    """
    norm_a, norm_b = _norms(aa, weights), _norms(bb, weights)
    between = (weights @ ab.reshape(len(ab), -1).astype(float)).reshape(len(weights), *ab.shape[1:])
    between /= norm_a[:, :, None]
    between /= norm_b[:, None, :]
    return between


def matched_cka(
    ab: Float[ndarray, "b l l"], aa: Float[ndarray, "b l"], bb: Float[ndarray, "b l"], weights: Num[ndarray, "r b"]
) -> Float[ndarray, "r l"]:
    """CKA of each point with its like, the diagonal of `cka_maps`."""
    return weights @ np.diagonal(ab, axis1=1, axis2=2).astype(float) / (_norms(aa, weights) * _norms(bb, weights))


def _norms(within: Float[ndarray, "b l"], weights: Num[ndarray, "r b"]) -> Float[ndarray, "r l"]:
    total = weights @ within.astype(float)
    if not (total > 0).all():
        raise ValueError("the HSIC of a point with itself is not positive, so its CKA is undefined")
    return np.sqrt(total)


def _is(rows: pd.DataFrame, side: str, state: State) -> pd.Series:
    return (rows[f"network_{side}"] == state[0]) & (rows[f"epoch_{side}"] == state[1])


@dataclass(frozen=True)
class Study:
    """The tables of the lens: `networks` by name, `points`, `pairs` by number, and the HSIC of the pairs."""

    networks: pd.DataFrame
    points: pd.DataFrame
    pairs: pd.DataFrame
    hsic: Mapping[str, ndarray]

    def base(self, role: str) -> str:
        """The network of the base pair that is "standard" or "robust"."""
        names = self.networks.index[self.networks["role"] == role]
        if len(names) != 1:
            raise Undecided(f"this study has no {role} network of a base pair")
        return names[0]

    def alike(self, network: str, *free: str) -> list[str]:
        """Networks that differ from this one in the columns `free` of their specification at most, itself first.

        Of networks of equal specification only the first counts.
        """
        columns = [column for column in SPECIFICATION if column not in free]
        same = self.networks[SPECIFICATION].map(str)  # so that missing equals missing
        same = same[(same[columns] == same.loc[network, columns]).all(axis=1)]
        ordered = pd.concat([same.loc[[network]], same.drop(index=network)])
        return ordered.index[~ordered.duplicated()].tolist()

    def layout(self, network: str) -> pd.DataFrame:
        """The points of a network, in execution order."""
        return self.points[self.points["network"] == network].sort_values("index", ignore_index=True)

    def last(self, network: str) -> State:
        """A network at the end of its training."""
        own = self.pairs[(self.pairs["kind"] == "self") & (self.pairs["network_a"] == network)]
        if own.empty:
            raise Undecided(f"this study has no similarity map of {network}")
        return network, int(own["epoch_a"].max())

    def find(self, kind: str, a: State, b: State) -> pd.DataFrame:
        """The comparisons of one kind between two states, in either order, of all seeds; there may be none."""
        rows = self.pairs[self.pairs["kind"] == kind]
        return rows[_is(rows, "a", a) & _is(rows, "b", b) | _is(rows, "a", b) & _is(rows, "b", a)]

    def twins(self, network: str) -> pd.DataFrame:
        """The comparisons among networks of this one's specification, of other seeds or other names."""
        family = self.networks.index[(self.networks["twin_of"] == network) | (self.networks.index == network)]
        states = [self.last(name) for name in family]
        return pd.concat([self.find("twin", a, b) for a, b in combinations_with_replacement(states, 2)])


def read_study(tables: Tables) -> Study:
    """The study of the lens, from its tables; what a CSV leaves empty is empty text."""
    networks, points, pairs = (tables[f"{FOLDER}/{name}.csv"] for name in ("networks", "points", "pairs"))
    text = ["role", "twin_of", "norm"]
    networks = networks.astype(dict.fromkeys(text, object)).fillna(dict.fromkeys(text, "")).set_index("network")
    return Study(networks, points, pairs.set_index("pair"), tables[f"{FOLDER}/hsic.safetensors"])


@dataclass(frozen=True)
class Comparison:
    """Pairs that differ in their seeds only, and what is measured on each: `measure(ab, aa, bb, weights)` -> (r, ...).

    Raises Undecided, which names `what`, if the study has no such pair.
    """

    rows: pd.DataFrame
    measure: Measure
    what: str

    def __post_init__(self) -> None:
        if self.rows.empty:
            raise Undecided(f"this study does not compare {self.what}")


def map_score(study: Study, state: State, score: str, layers: str = "all") -> Comparison:
    """A score of structure.SCORES of the map of one state, (r,)."""
    points = study.layout(state[0])
    keep = kept(points, layers)
    if len(keep) < 2:
        raise Undecided(f"{state[0]} has {len(keep)} of the layers called {layers}")
    points = points.iloc[keep]

    def measure(ab: ndarray, aa: ndarray, bb: ndarray, weights: ndarray) -> ndarray:
        return SCORES[score](cka_maps(ab[:, keep][:, :, keep], aa[:, keep], bb[:, keep], weights), points)

    return Comparison(study.find("self", state, state), measure, f"the layers of {state[0]} at epoch {state[1]}")


def matched(study: Study, kind: str, a: State, b: State) -> Comparison:
    """CKA of each point with its like in another state, (r, L)."""
    return Comparison(study.find(kind, a, b), matched_cka, f"{a[0]} with {b[0]} ({kind})")


def cross(study: Study, first: str, second: str) -> Comparison:
    """Matched points of two networks at the ends of their training."""
    return matched(study, "cross", study.last(first), study.last(second))


@dataclass(frozen=True)
class Resampled:
    """Comparisons in the same resamples: `values`, one array (1 + resamples, ...) each, means over the training seeds.

    `n`, images x pairs behind the smallest; `note`, what a reader must know of the seeds.
    """

    values: list[ndarray]
    n: int
    note: str

    def estimate(self, values: Float[ndarray, " r"], note: str = "") -> Estimate:
        """A quantity of these values, with their n and note."""
        return Estimate(values, self.n, "; ".join(filter(None, [note, self.note])))


def resample(
    hsic: Mapping[str, ndarray], comparisons: Iterable[Comparison], n_resamples: int, generator: np.random.Generator
) -> Resampled:
    """Measure comparisons in the same resamples of seeds and batches.

    m_r = sum_p u_p x_p(v_r) / sum_p u_p over pairs p, of which x_p(v_r) is what was measured with batch b counted v_rb
    times, and u_p how often its seed was drawn, or the product of the two for a pair of different seeds.
    Arguments: `hsic`, as of hsic.safetensors; `n_resamples`, >= 1; `generator`, the source of the draws.
    Returns NaN where a resample holds no pair. Raises ValueError if batches differ in number.
    """
    comparisons = list(comparisons)
    every = pd.concat([comparison.rows for comparison in comparisons])
    seeds = np.unique(every[["seed_a", "seed_b"]])
    sizes = {len(hsic[f"{pair}/ab"]) for pair in every.index}
    if len(sizes) > 1:
        raise ValueError(f"what is put together was measured on {sizes} batches; it must be the same number")
    drawn, batches = resampling_counts(len(seeds), sizes.pop(), n_resamples, generator)
    values = [_mean_over_pairs(hsic, comparison, seeds, drawn, batches) for comparison in comparisons]
    n = min(int((comparison.rows["n"] * comparison.rows["batches"]).sum()) for comparison in comparisons)
    fewest = min(len(np.unique(comparison.rows[["seed_a", "seed_b"]])) for comparison in comparisons)
    one = "one training seed: the interval is over batches of images only"
    return Resampled(values, n, one if fewest == 1 else "")


def _mean_over_pairs(
    hsic: Mapping[str, ndarray], comparison: Comparison, seeds: ndarray, drawn: ndarray, batches: ndarray
) -> ndarray:
    total, count = 0.0, np.zeros(len(drawn))
    for pair, seed_a, seed_b in comparison.rows[["seed_a", "seed_b"]].itertuples():
        arrays = [hsic[f"{pair}/{name}"] for name in ("ab", "aa", "bb")]
        chunks = np.array_split(batches, -(-len(batches) // CHUNK))
        found = np.concatenate([comparison.measure(*arrays, chunk) for chunk in chunks])
        first, second = np.searchsorted(seeds, (seed_a, seed_b))
        times = drawn[:, first] * (drawn[:, second] if first != second else 1)
        total = total + found * times.reshape(-1, *[1] * (found.ndim - 1))
        count += times
    count = count.reshape(-1, *[1] * (np.ndim(total) - 1))
    return np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)


def place(points: pd.DataFrame, where: str) -> ndarray:
    """Positions of the points that `where` names: all, the last convolution, or the early or late ones (thirds)."""
    if where == "last convolution":
        return np.flatnonzero(points["kind"] == "conv")[-1:]
    depth = points["index"].to_numpy() / (len(points) - 1)
    return np.flatnonzero({"all": depth >= 0, "early": depth < 1 / 3, "late": depth >= 2 / 3}[where])


def ratio(above: Float[ndarray, " r"], below: Float[ndarray, " r"]) -> Float[ndarray, " r"]:
    """above / below in every resample, NaN where the denominator is not positive; Undecided if its estimate is not."""
    if below[0] <= 0:
        raise Undecided(f"the ratio has the denominator {below[0]:.2g}, which is not positive")
    return np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0)


FORMS = {"difference": np.subtract, "magnitude": lambda a, b: np.abs(a - b), "ratio": ratio}


def accuracy(tables: Tables, network: str, measure: str) -> pd.Series:
    """A measure of results/sweep.csv by epoch, mean over the training seeds."""
    history = tables["results/sweep.csv"]
    rows = history[history["network"] == network]
    if rows.empty:
        raise Undecided(f"results/sweep.csv has no accuracy of {network}")
    return rows.groupby("epoch")[measure].mean()


def rank_correlation(x: Float[ndarray, "r k"], y: Num[ndarray, " k"]) -> Float[ndarray, " r"]:
    """Spearman's rank correlation of every row of x with y, ties at their mean rank; NaN for a row all of one value."""
    from scipy.stats import rankdata

    ranks, others = rankdata(x, axis=1), rankdata(y)
    ranks, others = ranks - ranks.mean(axis=1, keepdims=True), others - others.mean()
    norm = np.sqrt((ranks**2).sum(axis=1) * (others**2).sum())
    return np.divide(ranks @ others, norm, out=np.full(len(ranks), np.nan), where=norm > 0)
