"""Entanglement: the soft nearest neighbor loss at its best temperature, and the loss at many temperatures at once."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, log, sqrt

import numpy as np
import torch
from jaxtyping import Float, Float64, Integer
from numpy.polynomial import Chebyshev
from torch import Tensor

from fourlenses.entanglement.pairs import TILE, Pairs

DECADES, GRID = 5, 25  # of the temperatures that are tried first
STEP = DECADES * log(10) / (GRID - 1)  # from the logarithm of one to the next
FURTHER = 10  # temperatures that are tried beyond an end of these, and again
FLOOR = sqrt(torch.finfo(torch.float64).eps)  # of the mean distance: at lower temperatures rounding decides
ROUNDING = 1e-12  # of the chance level: a loss that is less by so little is not less
NODES = np.polynomial.chebyshev.chebpts1(7)
ROUNDS = (1, 1 / 16)  # steps to either side of a minimum that the nodes of each polynomial span


@dataclass(frozen=True)
class Entanglement:
    """l'_sn(x, y) = min over T of l_sn(x, y, T).

    `temperature`, the best T in units of the distance, 0 or infinity if the loss is least in this limit; `chance`, the
    loss at infinity; `n` points, of which `dropped` are alone in their class; `anchors`, the terms of the n' others at
    that temperature in the order of y, whose mean is `value`; `se`, their standard deviation / sqrt(n').
    """

    value: float
    temperature: float
    chance: float
    n: int
    dropped: int
    se: float
    anchors: Float64[Tensor, " anchors"]


def minimum_entanglement(
    x: Float[Tensor, "n ..."], y: Integer[Tensor, " n"], *, distance: str = "euclidean", block: int = 2048
) -> Entanglement:
    """l'_sn(x, y) = min over T in (0, inf] of l_sn(x, y, T): the least of all minima, in float64.

    Arguments: `x`, the points, flattened; `y`, their classes; `distance`, a name in DISTANCES; `block`, up to how many
    points all distances are held (8 n^2 bytes); those of more are computed anew, several temperatures each time.
    Returns: a value from 0 to the chance level; scaling x does not change it and scales T by the square (the cosine's
    T not at all).
    Raises: ValueError for fewer than two points, no class with two, and points that are NaN, infinite or too large to
    be squared.
    Source: Frosst et al. 2019 (arXiv:1902.01889), equation 2; the search is ours.
    """
    pairs = Pairs.of(x.double(), y, distance)
    held = list(pairs.tiles(TILE)) if len(y) <= block else None
    unit = pairs.mean_distance()

    def terms(temperatures: np.ndarray) -> Tensor:
        betas = torch.from_numpy(1 / (unit * temperatures)).to(x.device)
        return pairs.losses(betas, pairs.tiles(TILE) if held is None else held)

    anchors, best = pairs.losses_at_infinity(), inf
    chance = float(anchors.mean())
    if unit > 0:
        best = best_temperature(lambda t: terms(t).mean(1).numpy(force=True), chance)
    if best < inf:
        anchors = terms(np.array([max(best, FLOOR)]))[0]
    return Entanglement(
        value=float(anchors.mean()),
        temperature=best * unit if best < inf else inf,
        chance=chance,
        n=len(y),
        dropped=len(y) - len(anchors),
        se=float(anchors.std()) / sqrt(len(anchors)),
        anchors=anchors,
    )


def entanglement_at(
    x: Float[Tensor, "n ..."],
    y: Integer[Tensor, " n"],
    temperatures: Float[Tensor, " t"],
    *,
    distance: str = "euclidean",
    block: int = TILE,
) -> Float64[Tensor, " t"]:
    """l_sn(x, y, T) at every T, without gradient: products in the precision of x, sums in float64.

    Arguments: `temperatures`, above 0, infinity allowed; `block`, the points at an edge of a tile of distances: beside
    a copy of x, memory is a few times its square; the rest as in `minimum_entanglement`.
    Raises: ValueError as `minimum_entanglement`, and for a temperature that is not above 0.
    Source: Frosst et al. 2019 (arXiv:1902.01889), equation 1.
    """
    if not (temperatures > 0).all():
        raise ValueError(f"the least temperature is {float(temperatures.min())}: it has to be above 0")
    pairs = Pairs.of(x, y, distance)
    return pairs.losses(1 / temperatures.to(x.device, torch.float64), pairs.tiles(block)).mean(1)


def best_temperature(measure: Callable[[np.ndarray], np.ndarray], chance: float) -> float:
    """Where a loss of temperatures, which is `chance` at infinity, is least: 0, infinity or between.

    It may have several minima, so it is looked up at 25 temperatures and at one in every decade from FLOOR, which
    stands for 0, up to these; in as small steps, too, where these or the outermost of the 25 say that it is least
    beyond; and then around each minimum.
    """

    def loss(temperatures: np.ndarray) -> np.ndarray:
        values = measure(temperatures)
        return np.where(values < ROUNDING * chance, 0.0, values)  # classes apart leave rounding, or exactly 0

    s = (np.arange(GRID) - GRID // 2) * STEP
    decades = np.arange(log(FLOOR), s[0], log(10))
    below, values = np.split(loss(np.exp(np.concatenate([decades, s]))), [len(decades)])
    steps = np.arange(1, FURTHER + 1) * STEP
    while below[0] > 0 and s[0] > log(FLOOR) and (values.argmin() == 0 or below.min() < values.min()):
        s = np.concatenate([s[0] - steps[::-1], s])
        values = np.concatenate([loss(np.exp(s[:FURTHER])), values])
    while s[-1] < -log(FLOOR) and values.argmin() == len(s) - 1 and values[-1] < (1 - ROUNDING) * chance:
        s = np.concatenate([s, s[-1] + steps])
        values = np.concatenate([values, loss(np.exp(s[-FURTHER:]))])
    if not values.all():
        return 0.0 if below[0] == 0 else float(np.exp(s[values.argmin()]))
    minima = s[1:-1][(values[1:-1] <= values[:-2]) & (values[1:-1] < values[2:])] if below[0] > 0 else []
    found = [(float(below[0]), 0.0), ((1 - ROUNDING) * chance, inf)]
    found += [refined(loss, place, ROUNDING * chance) for place in minima]
    return min(found)[1]


def refined(loss: Callable[[np.ndarray], np.ndarray], s: float, least: float) -> tuple[float, float]:
    """The minimum of a loss within a step of the log temperature s, and its temperature; below `least` all is one.

    The logarithm of the loss is smooth in s, also where the loss is a small exponential: a polynomial through seven
    Chebyshev nodes finds the place, and another one through closer nodes finds it again, beyond 1e-9 of the value.
    """
    for half in ROUNDS:
        nodes = s + half * STEP * NODES
        values = loss(np.exp(nodes))
        curve = Chebyshev.fit(
            nodes, np.log(values.clip(least)), len(NODES) - 1, domain=(s - half * STEP, s + half * STEP)
        )
        roots = curve.deriv().roots()
        places = np.append(roots.real[(roots.imag == 0) & (abs(roots.real - s) < half * STEP)], nodes)
        s = places[np.argmin(curve(places))]
    return float(np.exp(curve(s))), float(np.exp(s))
