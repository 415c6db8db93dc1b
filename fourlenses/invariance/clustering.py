"""Clustering: how often a judge puts an IRI with its own target, and not with one of two other targets.

The paper names the task without its details; this is our operational form of it: three targets, three IRIs of each
(from three seed images), and a judge that puts each of the nine with its nearest target. Chance is 33.3 %.
Source: spec 3.2, after Nanda et al. 2023.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from fourlenses.statistics import Estimate, Undecided, resampling_counts

TARGETS = 3  # in a draw


def draw_targets(
    labels: Int[ndarray, " n"], hard: bool, generator: np.random.Generator, n_draws: int = 200
) -> Int[ndarray, "draws k"]:
    """Draw sets of three targets: of three classes, or (`hard`) of one and the same class.

    Classes are drawn first, each as likely as another, then targets within them, without replacement.
    Arguments: `labels`, the class of each target; `n_draws`, >= 1. Returns indices into `labels`.
    Raises Undecided if there are no three classes, or (`hard`) no class of three targets.
    """
    classes, sizes = np.unique(labels, return_counts=True)
    if hard:
        classes = classes[sizes >= TARGETS]
    if len(classes) < (1 if hard else TARGETS):
        raise Undecided(f"no {TARGETS} targets of {'one class' if hard else 'different classes'}")
    members = {k: np.flatnonzero(labels == k) for k in classes}
    drawn = []
    for _ in range(n_draws):
        if hard:
            drawn.append(generator.choice(members[generator.choice(classes)], TARGETS, replace=False))
        else:
            drawn.append([generator.choice(members[k]) for k in generator.choice(classes, TARGETS, replace=False)])
    return np.array(drawn)


def compared(draws: Sequence[Int[ndarray, "draws k"]], n: int) -> Bool[ndarray, "n n"]:
    """Which of `n` IRIs meets which target in one of the draws."""
    asked = np.zeros((n, n), bool)
    for each in draws:
        asked[each[:, :, None], each[:, None, :]] = True
    return asked


def placed(
    distances: Float[ndarray, "seeds starts n n"], draws: Int[ndarray, "draws k"]
) -> Float[ndarray, "seeds draws k"]:
    """Share of the IRIs of each drawn target that are nearest to it among the targets of its draw; ties split evenly.

    p_sdk = mean over starts of [d(x*_k, x_k) = min_j d(x*_k, x_j)] / #{j: d(x*_k, x_j) is that minimum}.
    Arguments: `distances`, of IRI i to target j, one matrix per training seed and seed image; `draws`, from
    `draw_targets`; only distances within a draw are looked at. Returns shares in [0, 1]. Raises ValueError for one of
    them that is not finite.
    """
    among = distances[:, :, draws[:, :, None], draws[:, None, :]]
    if not np.isfinite(among).all():
        raise ValueError("a distance that is not finite")
    nearest = among == among.min(axis=-1, keepdims=True)
    own = np.diagonal(nearest, axis1=-2, axis2=-1)
    return (own / nearest.sum(axis=-1)).mean(axis=1)


def clustering(
    distances: Float[ndarray, "judges seeds starts n n"],
    draws: Int[ndarray, "draws k"],
    n_resamples: int,
    generator: np.random.Generator,
) -> tuple[float, float, float]:
    """Share of IRIs put with their own target, over all draws, with a 95 % interval over training seeds and targets.

    A_clust = 100 mean over draws, targets and seeds of p_sdk; with several judges the median over them, all sharing
    each resample. A resampled target brings all placements of its IRIs, each among the targets that it was drawn with.

    Arguments: `distances`, as for `placed`, one set per judge; `n_resamples`, >= 1; `generator`, the source of the
    resamples. Returns (value, low, high) in percent. Source: spec 3.2.
    """
    _, seeds, _, n, _ = distances.shape
    flat = draws.ravel()
    times = np.bincount(flat, minlength=n)
    seed_counts, target_counts = resampling_counts(seeds, n, n_resamples, generator)
    counts = seeds * (target_counts @ times)
    scores = []
    for of_judge in distances:
        shares = placed(of_judge, draws).reshape(seeds, -1)
        total = np.stack([np.bincount(flat, weights=share, minlength=n) for share in shares])
        sums = ((seed_counts @ total) * target_counts).sum(axis=1)
        scores.append(np.divide(100 * sums, counts, out=np.full(len(sums), np.nan), where=counts > 0))
    estimate = Estimate(np.median(scores, axis=0), len(flat) * seeds)
    return estimate.effect, *estimate.interval
