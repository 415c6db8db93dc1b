"""The quantities of condensed data sets, and of their use as a memory of earlier tasks; see quantities.py.

Condensed images are judged by the first kind of network in the table. Differences of accuracy are in percentage points.
Source: spec section 1 (C5, C9), after Schirrmeister et al. 2022.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray

from fourlenses.simplicity.tables import Draws, Tables, arrays, draw, simplest, table
from fourlenses.statistics import Estimate, Undecided, drawn_images


@dataclass(frozen=True)
class _Condensed:
    """Condensed sets of one size, in every resample, by weight; the first weight is 0.

    `saved`, bits that they take less than those of weight 0, in percent; `lost`, points of accuracy lost.
    """

    ipc: int
    weights: list[float]
    saved: Float[ndarray, "r weights"]
    lost: Float[ndarray, "r weights"]
    draws: Draws

    def estimate(self, values: Float[ndarray, " r"], place: int) -> Estimate:
        at = f"weight {self.weights[place]:g}" if place else "no weight"
        many = "image" if self.ipc == 1 else "images"
        return self.draws.estimate(values, self.draws.image_counts.shape[1], f"{self.ipc} {many} a class: {at}")


def _condensed(
    rows: pd.DataFrame, kept: dict[str, ndarray], n_resamples: int, generator: np.random.Generator
) -> _Condensed:  # fmt: skip
    """The sets of one size, from their rows for one kind of network."""
    ipc, kind, networks = rows["ipc"].iloc[0], rows["evaluated_on"].iloc[0], sorted(rows["network"].unique())
    bits = rows.groupby(["seed", "weight"])["bpd"].mean().unstack().dropna()
    if bits.empty or len(bits.columns) < 2:
        raise Undecided(f"this study has condensed sets of {ipc} images a class at one weight only")
    counts = drawn_images(int(rows["n_test"].min()), n_resamples, generator)
    draws = draw(bits.index, counts, n_resamples, generator)
    accuracy = 0.0
    for network in networks:
        right = {
            seed: np.stack([kept[f"{ipc}/{weight:g}/seed{seed}/{kind}/{network}"] for weight in bits.columns])
            for seed in draws.seeds
        }
        accuracy = accuracy + 100 * draws.over_seeds(draws.mean(right[seed]) for seed in draws.seeds) / len(networks)
    means = draws.of_table(bits.to_numpy())
    weights, saved = bits.columns.astype(float).tolist(), 100 * (1 - means / means[:, :1])
    return _Condensed(int(ipc), weights, saved, accuracy[:, :1] - accuracy, draws)


def condensed(
    tables: Tables, n_resamples: int, generator: np.random.Generator, measure: str, ipc: int | None
) -> Estimate:  # fmt: skip
    """Bits saved, in percent, by condensed images that lose MOST_LOST points or less, or the points that they lose.

    Of the weights that lose so little the one of the fewest bits counts, or none, which saves and loses nothing; the
    points "lost" are those of the weight chosen on the sample. `ipc` is the number of images a class, or None for that
    of which more bits are "saved".
    """
    rows = table(tables, "condense")
    rows = rows[rows["evaluated_on"] == rows["evaluated_on"].iloc[0]]
    sizes = sorted(rows["ipc"].unique()) if ipc is None else [ipc]
    if not set(sizes) <= set(rows["ipc"]):
        raise Undecided(f"this study has no condensed sets of {ipc} images a class")
    found = []
    for size in sizes:
        sets = _condensed(rows[rows["ipc"] == size], arrays(tables, "condense"), n_resamples, generator)
        chosen = simplest(sets.lost, sets.saved)
        values = sets.saved[np.arange(len(chosen)), chosen] if measure == "saved" else sets.lost[:, chosen[0]]
        found.append(sets.estimate(values, int(chosen[0])))
    return max(found, key=lambda estimate: estimate.effect)


@dataclass(frozen=True)
class _Rehearsed:
    """Mean accuracy over the tasks seen so far, in percent, and bits, in every resample.

    Ways to rehearse are pairs of a weight and whether distilled; stages are those with two tasks or more.
    """

    ways: list[tuple[float, int]]
    accuracy: Float[ndarray, "r ways stages"]
    unsimplified: Float[ndarray, "r ways stages"]  # the same way with weight 0
    without: Float[ndarray, "r stages"]  # without rehearsal
    saved: Float[ndarray, "r ways"]  # bits fewer than of weight 0, in percent
    draws: Draws
    n: int

    def estimate(self, values: Float[ndarray, "r ways"], largest: bool) -> Estimate:
        names = [f"weight {weight:g}{', distilled' if distilled else ''}" for weight, distilled in self.ways]
        note = ", ".join(f"{value:.3g} at {name}" for name, value in zip(names, values[0], strict=True))
        return self.draws.estimate((values.max if largest else values.min)(axis=1), self.n, note)


def _rehearsed(tables: Tables, n_resamples: int, generator: np.random.Generator) -> _Rehearsed:
    rows = table(tables, "rehearse")
    rows = rows[rows["stage"] > 1].sort_values(["rehearsed", "weight", "distilled", "stage", "task"])
    kinds = rows.fillna({"weight": -1.0}).assign(distilled=rows["distilled"].where(rows["rehearsed"] == 1, 0))
    by_seed = kinds.pivot_table(
        index="seed", columns=["rehearsed", "weight", "distilled", "stage", "task"], values="accuracy"
    ).dropna()
    columns = by_seed.columns.droplevel("task")
    stages = sorted(rows["stage"].unique())
    ways = [key for key in columns.droplevel("stage").unique() if key[0] == 1 and key[1] > 0]
    ways = [key for key in ways if (1, 0.0, key[2]) in columns.droplevel("stage").unique()]
    if by_seed.empty or not ways or (0, -1.0, 0) not in columns.droplevel("stage").unique():
        raise Undecided("this study does not rehearse two tasks with simplified images, with others and with none")
    n = int(rows["n_test"].min())
    draws = draw(by_seed.index, np.ones((1 + n_resamples, 1)), n_resamples, generator)
    shares = 100 * draws.of_shares(by_seed.to_numpy(), n, generator)

    def of(way: tuple) -> Float[ndarray, "r stages"]:
        """Mean over tasks, by stage."""
        return np.stack([shares[:, columns == (*way, stage)].mean(axis=1) for stage in stages], axis=1)

    bits = kinds[kinds["rehearsed"] == 1].groupby(["seed", "weight"])["bpd"].mean().unstack().loc[draws.seeds]
    means = {weight: draws.of_table(values.to_numpy()) for weight, values in bits.items()}
    return _Rehearsed(
        ways=[way[1:] for way in ways], accuracy=np.stack([of(way) for way in ways], axis=1),
        unsimplified=np.stack([of((1, 0.0, way[2])) for way in ways], axis=1), without=of((0, -1.0, 0)),
        saved=np.stack([100 * (1 - means[way[1]] / means[0.0]) for way in ways], axis=1), draws=draws, n=n,
    )  # fmt: skip


def rehearsal_lost(tables: Tables, n_resamples: int, generator: np.random.Generator, every: bool) -> Estimate:
    """Points of accuracy over the seen tasks lost to rehearsal with unsimplified images, after the stage of most.

    Of the ways to rehearse, the one that loses least or (`every`) most.
    """
    found = _rehearsed(tables, n_resamples, generator)
    return found.estimate((found.unsimplified - found.accuracy).max(axis=2), largest=every)


def rehearsal_gain(tables: Tables, n_resamples: int, generator: np.random.Generator) -> Estimate:
    """Points of accuracy over the seen tasks gained by rehearsal with simplified images over none, after the last.

    Of the ways to rehearse, the one that gains most.
    """
    found = _rehearsed(tables, n_resamples, generator)
    return found.estimate(found.accuracy[:, :, -1] - found.without[:, None, -1], largest=True)


def rehearsal_saved(tables: Tables, n_resamples: int, generator: np.random.Generator) -> Estimate:
    """Bits that the rehearsed images take less than unsimplified ones, in percent, of the way that saves least."""
    found = _rehearsed(tables, n_resamples, generator)
    return found.estimate(found.saved, largest=False)
