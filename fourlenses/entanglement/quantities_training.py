"""The quantities that watch the blocks of a residual network while it is trained; see quantities.py for their form.

The temperature of a measurement is that of all its anchors; resamples are over training seeds and anchors, the images
whose losses the mean is of. Source: spec section 1 (C3), after Frosst et al. 2019.
"""

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from fourlenses.entanglement.tables import Draws, Tables, draw, spearman, table
from fourlenses.statistics import Estimate, Undecided

RECIPE = "standard"  # that of the paper's network
LEAST_BLOCKS = 3  # for a claim about the last and all others


def _watched(
    tables: Tables, n_resamples: int, generator: np.random.Generator
) -> tuple[Float[ndarray, "seeds blocks steps anchors"], Int[ndarray, " steps"], Draws]:
    """The losses of the anchors at every block, in order of depth, the steps of the measurements, and the resamples."""
    rows = table(tables, "dynamics")
    rows = rows[rows["recipe"] == RECIPE]
    blocks = np.sort(rows.loc[rows["kind"] == "block", "index"].unique())
    if len(blocks) < LEAST_BLOCKS:
        raise Undecided(f"this study watched {len(blocks)} blocks of a {RECIPE} network, of {LEAST_BLOCKS} or more")
    arrays, seeds = tables["results/watched.safetensors"], sorted(rows["seed"].unique().tolist())
    losses = np.stack([arrays[f"{RECIPE}/seed{seed}"][:, blocks] for seed in seeds]).swapaxes(1, 2)
    return losses, arrays[f"{RECIPE}/steps"], draw(seeds, losses.shape[-1], n_resamples, generator)


def _at_the_end(
    tables: Tables, n_resamples: int, generator: np.random.Generator
) -> tuple[Float[ndarray, "r blocks"], Draws, int]:
    losses, _, draws = _watched(tables, n_resamples, generator)
    final = draws.over_seeds(draws.mean(own[:, -1]) for own in losses)
    return final, draws, losses.shape[-1]


def correlation_with_depth(tables: Tables, n_resamples: int, generator: np.random.Generator) -> Estimate:
    """Spearman's correlation of the entanglement of the blocks with their depth, at the end of training."""
    final, draws, n = _at_the_end(tables, n_resamples, generator)
    return draws.estimate(spearman(final, np.arange(final.shape[1])), n, f"{final.shape[1]} blocks")


def last_block_ratio(tables: Tables, n_resamples: int, generator: np.random.Generator) -> Estimate:
    """Entanglement of the last block over the mean of all others, at the end of training."""
    final, draws, n = _at_the_end(tables, n_resamples, generator)
    return draws.estimate(final[:, -1] / final[:, :-1].mean(axis=1), n)


def rebound(tables: Tables, n_resamples: int, generator: np.random.Generator, measure: str) -> Estimate:
    """How entanglement rises again after its minimum, at the block but the last that does so least.

    The step of the minimum is found on every second anchor and read on the others, so that noise alone shows no rise.
    `measure` is final minus minimum in "nats", the same over its standard error (the "noise": that of the paired
    difference over the anchors), or the "time" of the latest minimum as a share of the training.
    """
    losses, steps, draws = _watched(tables, n_resamples, generator)
    found = [
        draws.over_seeds(_risen(own[block], steps, draws.image_counts, measure) for own in losses)
        for block in range(losses.shape[1] - 1)
    ]
    worst = np.max if measure == "time" else np.min
    return draws.estimate(worst(found, axis=0), losses.shape[-1] // 2, f"{len(found)} blocks")


def _risen(
    curves: Float[ndarray, "steps anchors"], steps: Int[ndarray, " steps"], counts: Float[ndarray, "r anchors"],
    measure: str,
) -> Float[ndarray, " r"]:  # fmt: skip
    """One block of one seed, in every resample of the anchors."""
    lowest = np.argmin(counts[:, ::2] @ curves[:, ::2].T, axis=1)
    if measure == "time":
        return steps[lowest] / steps[-1]
    others, risen = counts[:, 1::2], (curves[-1] - curves)[:, 1::2]
    n, rows = others.sum(axis=1), np.arange(len(counts))
    mean = (others @ risen.T)[rows, lowest] / n
    if measure == "nats":
        return mean
    noise = np.sqrt(np.maximum((others @ (risen**2).T)[rows, lowest] / n - mean**2, 0) / n)
    return np.divide(mean, noise, out=np.zeros(len(mean)), where=noise > 0)
