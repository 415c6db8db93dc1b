"""What a study measured of simplicity, its resamples, and the statistics that several claims share.

Resamples are over training seeds and images together where the results hold a value for every image. Where they hold
only a share of so many right answers, its resamples are binomial, which leaves out that two shares are of the same
images and so widens the interval of their difference.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Num
from numpy import ndarray

from fourlenses import statistics
from fourlenses.statistics import Undecided, drawn_seeds

FOLDER = "results/simplicity"
CHUNK = 256  # resamples whose ranks are held at once
FORM = "mix"  # of the simplifier; beds of the other form are ablations, drawn and not judged
MOST_LOST = 2.0  # points of accuracy that a simplification may cost
Tables = Mapping[str, Any]  # tables by file name, and the arrays of safetensors


def table(tables: Tables, name: str) -> pd.DataFrame:
    """A table of the lens."""
    return tables[f"{FOLDER}/{name}.csv"]


def arrays(tables: Tables, name: str) -> Mapping[str, ndarray]:
    """The arrays that a stage of the lens kept."""
    return tables[f"{FOLDER}/{name}.safetensors"]


class Draws(statistics.Draws):
    """Resamples in which medians can be taken too, and numbers that are known for a whole seed only."""

    def median(self, values: Num[ndarray, " images"]) -> Float[ndarray, " r"]:
        """Median over images, of one seed, in every resample."""
        order = np.argsort(values)
        upto, ordered = self._by_image[order], values[order].astype(float)
        for before, here in pairwise(upto):  # a tenth of the time of numpy's cumsum along the first axis
            here += before
        below, above = ((upto <= middle).sum(axis=0) for middle in ((len(order) - 1) // 2, len(order) // 2))
        return (ordered[below] + ordered[above]) / 2

    @cached_property
    def _by_image(self) -> Int[ndarray, "images r"]:
        return np.ascontiguousarray(self.image_counts.T, np.int32)

    def of_table(self, values: Num[ndarray, "seeds *shape"]) -> Float[ndarray, "r *shape"]:
        """Mean over seeds of numbers that are known for a whole seed only."""
        return np.tensordot(self.seed_counts, values.astype(float), 1) / len(self.seeds)

    def of_shares(
        self, shares: Float[ndarray, "seeds *shape"], n: int, generator: np.random.Generator
    ) -> Float[ndarray, "r *shape"]:
        """Mean over seeds of shares of n images, each binomial in every resample."""
        drawn = generator.binomial(n, shares.clip(0, 1), (len(self.seed_counts) - 1, *shares.shape)) / n
        return self.over_seeds(np.moveaxis(np.concatenate([shares[None], drawn]), 1, 0))


def draw(
    seeds: Iterable[int], images: Float[ndarray, "r images"], n_resamples: int, generator: np.random.Generator
) -> Draws:
    """Draw seeds, for images that are drawn already; raises Undecided without seeds."""
    return Draws(*drawn_seeds(seeds, n_resamples, generator), images)


def spearman(
    x: Num[ndarray, " images"], y: Num[ndarray, " images"], counts: Float[ndarray, "r images"]
) -> Float[ndarray, " r"]:
    """Spearman's rank correlation in every resample, ties at their mean rank; 0 where one side is all of one value."""
    found = []
    for own in np.array_split(counts, -(-len(counts) // CHUNK)):
        ranks, others = _centred_ranks(x, own), _centred_ranks(y, own)
        both, norm = (own * ranks * others).sum(axis=1), np.sqrt((own * ranks**2).sum(1) * (own * others**2).sum(1))
        found.append(np.divide(both, norm, out=np.zeros(len(own)), where=norm > 0))
    return np.concatenate(found)


def _centred_ranks(x: Num[ndarray, " images"], counts: Float[ndarray, "r images"]) -> Float[ndarray, "r images"]:
    levels, place = np.unique(x, return_inverse=True)
    order = np.argsort(place, kind="stable")
    own = np.add.reduceat(counts[:, order], np.searchsorted(place[order], np.arange(len(levels))), axis=1)
    ranks = np.cumsum(own, axis=1) - own / 2  # of ties the mean; half a rank is left off everywhere
    return (ranks - counts.sum(axis=1, keepdims=True) / 2)[:, place]


def kendall(values: Float[ndarray, "r weights"], weights: Float[ndarray, " weights"]) -> Float[ndarray, " r"]:
    """Kendall's rank correlation (tau-a: a tie counts for neither side) of values with weights that all differ."""
    first, second = np.triu_indices(len(weights), 1)
    order = np.sign(weights[second] - weights[first])
    return (np.sign(values[:, second] - values[:, first]) * order).mean(axis=1)


def simplest(lost: Float[ndarray, "r k"], worth: Float[ndarray, "r k"]) -> Int[ndarray, " r"]:
    """The place of the largest worth among the simplifications that lose MOST_LOST points or less.

    At place 0 is what was not simplified, which loses nothing and is worth 0, so that there always is one.
    """
    return np.argmax(np.where((lost <= MOST_LOST) & ~np.isnan(worth), worth, -np.inf), axis=1)


@dataclass(frozen=True)
class Trained:
    """A bed's simplifiers: the rows of their table, and a value for every test image.

    `seeds` are those that have every weight.
    """

    name: str
    rows: pd.DataFrame
    tables: Tables
    seeds: list[int]
    weights: Float[ndarray, " weights"]

    @property
    def kept(self) -> Mapping[str, ndarray]:
        return arrays(self.tables, "simplify")

    @property
    def n_images(self) -> int:
        return int(self.rows["n_test"].min())

    def images(self, seed: int, what: str) -> Num[ndarray, "weights images"]:
        """What was measured on every simplified image, by weight."""
        return np.stack([self.kept[f"{self.name}/seed{seed}/{weight:g}/{what}"] for weight in self.weights])

    def mean(self, draws: Draws, what: str) -> Float[ndarray, "r weights"]:
        """Its mean over images and seeds."""
        return draws.over_seeds(draws.mean(self.images(seed, what)) for seed in draws.seeds)

    def original(self, draws: Draws, what: str) -> Float[ndarray, " r"]:
        """Mean over originals of "original/bpd", or of the right answers of the "plain" classifier."""
        return draws.over_seeds(draws.mean(self.kept[f"{self.name}/seed{seed}/{what}"]) for seed in draws.seeds)

    def column(self, name: str) -> Float[ndarray, "seeds weights"]:
        """A column of the table."""
        values = self.rows.pivot(index="seed", columns="weight", values=name)
        return values.loc[self.seeds, self.weights].to_numpy(float)


def trained(tables: Tables, name: str) -> Trained:
    """A bed by its name; raises Undecided without one."""
    rows = table(tables, "simplify")
    rows = rows[rows["bed"] == name]
    if rows.empty:
        raise Undecided(f"this study has no bed {name}")
    weights = np.sort(rows["weight"].unique().astype(float))
    counts = rows.groupby("seed")["weight"].nunique()
    seeds = sorted(counts.index[counts == len(weights)].tolist())
    if not seeds:
        raise Undecided(f"no seed of the bed {name} has every weight")
    return Trained(name, rows, tables, seeds, weights)
