"""Scores of the structure of a similarity map: how alike are near, far and distant layers, and where are the blocks?

A map M is the CKA of all points of one network with each other, in execution order; d = |i - j| is the distance of two
of its L points. Every score takes maps (n, L, L) and the rows of points.csv of those points, and gives an array
(n,), NaN where it is undefined for that network. To add a score, write it and name it in SCORES.
Source: spec section 1 and 4.2, after Cianfarani et al. 2022; what the paper judges by eye is a number here.
"""

from collections.abc import Callable
from functools import partial
from itertools import combinations

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from numpy import ndarray

LAYERS = ("all", "no-bn", "blocks")
WINDOW = 5  # the windows on both sides of an edge are a fifth of the points long: 16 of 80


def kept(points: pd.DataFrame, layers: str) -> Int[ndarray, " k"]:
    """Positions of the points that count: all, those that are no batch normalisation, or the 13 or so block points.

    Arguments: `points`, the rows of one network in points.csv, in execution order; `layers`, a name in LAYERS.
    """
    chosen = {"all": points["index"] >= 0, "no-bn": points["kind"] != "bn", "blocks": points["block"] == 1}
    return np.flatnonzero(chosen[layers])


def mean_where(maps: Float[ndarray, "n l l"], mask: Bool[ndarray, "l l"]) -> Float[ndarray, " n"]:
    """Mean of a map over the entries of a mask, NaN for an empty one."""
    share = mask / mask.sum() if mask.any() else np.full(mask.shape, np.nan)
    return maps.reshape(len(maps), mask.size) @ share.ravel()


def at_distance(
    maps: Float[ndarray, "n l l"], points: pd.DataFrame, least: float, most: float = np.inf
) -> Float[ndarray, " n"]:
    """Mean over the pairs of points of which least <= d and d < most, as fractions of L; never of a point with itself.

    S_off is (0, inf), S_far (1/2, inf), and s_mid (1/4, 1/2) the 20 <= d < 40 of the 80 points of the paper's network.
    """
    rank = np.arange(len(points))
    distance = np.abs(rank[:, None] - rank)
    size = len(points)
    return mean_where(maps, (distance >= max(1, least * size)) & (distance < most * size))


def near(maps: Float[ndarray, "n l l"], points: pd.DataFrame) -> Float[ndarray, " n"]:
    """S_near, the mean over 1 <= d <= L / 8."""
    return at_distance(maps, points, 0.0, (len(points) // 8 + 0.5) / len(points))


def gap(maps: Float[ndarray, "n l l"], points: pd.DataFrame) -> Float[ndarray, " n"]:
    """Specialisation: S_near - S_far."""
    return near(maps, points) - at_distance(maps, points, 1 / 2)


def stage_contrast(maps: Float[ndarray, "n l l"], points: pd.DataFrame) -> Float[ndarray, " n"]:
    """SC = mean over stages of the mean within (off the diagonal) - mean over pairs of stages of the mean between.

    Stages are those of residual blocks, 1 and up; NaN with less than two of them, or less than two points in one.
    """
    stage = points["stage"].to_numpy()
    members = [stage == number for number in np.unique(stage[stage >= 1])]
    if len(members) < 2:
        return np.full(len(maps), np.nan)
    other = ~np.eye(len(stage), dtype=bool)
    within = [mean_where(maps, np.outer(one, one) & other) for one in members]
    between = [mean_where(maps, np.outer(one, two)) for one, two in combinations(members, 2)]
    return np.mean(within, axis=0) - np.mean(between, axis=0)


def edge(maps: Float[ndarray, "n l l"], points: pd.DataFrame) -> Float[ndarray, " n"]:
    """Edge score: how much less alike are points across the border of two stages than on either side of it.

    E_c = (mean within the w points before c + mean within the w points after c) / 2 - mean between the two, with
    w = L / 5 (two at least), off the diagonal; the mean over the borders c between stages.
    """
    stage, size = points["stage"].to_numpy(), len(points)
    width, rank = max(2, round(size / WINDOW)), np.arange(size)
    borders = [c for c in range(1, size) if 1 <= stage[c - 1] != stage[c] >= 1]
    if not borders:
        return np.full(len(maps), np.nan)
    scores, other = [], ~np.eye(size, dtype=bool)
    for border in borders:
        before, after = (border - width <= rank) & (rank < border), (border <= rank) & (rank < border + width)
        inside = [mean_where(maps, np.outer(side, side) & other) for side in (before, after)]
        scores.append((inside[0] + inside[1]) / 2 - mean_where(maps, np.outer(before, after)))
    return np.mean(scores, axis=0)


def longest_run(maps: Float[ndarray, "n l l"], points: pd.DataFrame, least: float) -> Float[ndarray, " n"]:
    """Run_t: the longest window of neighbouring points whose mean CKA, diagonal included, is t or more; over L.

    Robust networks have the *longer* run: what fades in them is the border between blocks, not the area of high
    similarity.
    """
    size = len(points)
    sums = np.zeros((len(maps), size + 1, size + 1))
    sums[:, 1:, 1:] = maps.cumsum(axis=1).cumsum(axis=2)
    corner, longest = np.diagonal(sums, axis1=1, axis2=2), np.zeros(len(maps))
    for length in range(1, size + 1):
        sides = (np.diagonal(sums, offset, axis1=1, axis2=2) for offset in (length, -length))
        window = corner[:, length:] + corner[:, :-length] - sum(sides)
        longest[(window >= least * length**2 - 1e-9).any(axis=1)] = length  # 1e-9: rounding of the sums
    return longest / size


def effective_rank(maps: Float[ndarray, "n l l"], points: pd.DataFrame) -> Float[ndarray, " n"]:
    """(sum of eigenvalues)^2 / sum of their squares = tr(M)^2 / ||M||_F^2, for a symmetric map."""
    return np.trace(maps, axis1=1, axis2=2) ** 2 / (maps**2).sum(axis=(1, 2))


def first_to_last(maps: Float[ndarray, "n l l"], points: pd.DataFrame) -> Float[ndarray, " n"]:
    """CKA of the first point with the last."""
    return maps[:, 0, -1]


def drop_depth(maps: Float[ndarray, "n l l"], points: pd.DataFrame) -> Float[ndarray, " n"]:
    """Depth, in [0, 1], of the first point whose CKA with the first one is below 0.5; 1 if there is none."""
    below = maps[:, 0] < 0.5
    below[:, -1] = True
    return below.argmax(axis=1) / (len(points) - 1)


SCORES: dict[str, Callable[[Float[ndarray, "n l l"], pd.DataFrame], Float[ndarray, " n"]]] = {
    "s_off": partial(at_distance, least=0.0),
    "s_near": near,
    "s_mid": partial(at_distance, least=1 / 4, most=1 / 2),
    "s_far": partial(at_distance, least=1 / 2),
    "gap": gap,
    "stage_contrast": stage_contrast,
    "run_0.9": partial(longest_run, least=0.9),
    "run_0.8": partial(longest_run, least=0.8),
    "run_0.7": partial(longest_run, least=0.7),
    "effective_rank": effective_rank,
    "first_to_last": first_to_last,
    "drop_depth": drop_depth,
    "edge": edge,
}


def scores(maps: Float[ndarray, "n l l"], points: pd.DataFrame) -> dict[str, Float[ndarray, " n"]]:
    """Every score of SCORES.

    Arguments: `maps`, CKA of all points of one network with each other, symmetric, in any number of resamples;
    `points`, the rows of points.csv of these points, in the same order, two at least.
    """
    return {name: score(maps, points) for name, score in SCORES.items()}
