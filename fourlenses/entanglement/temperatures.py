"""The temperature of the soft nearest neighbor loss in training: what it does to the loss, and rules that find it."""

from collections.abc import Callable
from math import inf

import torch
from jaxtyping import Bool, Float, Float64, Integer
from torch import Tensor, nn

from fourlenses.entanglement.snnl import STABILITY_EPS

RELEASED_STEP, LEAST = 0.1, 1e-5  # of the released rule: its step, and the least t, which keeps the temperature above 0
STEPS, REACH = 2, 1e3  # of the tracked rule: steps a batch, and how far from the mean distance it may go
NEAREST = 1e-12  # stands for a mean distance of 0, where all points are one

Scalar = float | Float64[Tensor, ""]  # in training a tensor: reading its number would wait for the GPU


def partners(y: Integer[Tensor, " n"]) -> Bool[Tensor, "n n"]:
    """Which points share a class, a point and itself excepted."""
    return (y[:, None] == y).fill_diagonal_(False)


def exact(
    distances: Float[Tensor, "n n"], same: Bool[Tensor, "n n"], beta: Scalar
) -> tuple[Float[Tensor, ""], Float[Tensor, "n n"]]:
    """The loss l at beta = 1 / T, and its pull C: dl/dbeta = sum_ij C_ij d_ij, and dl/dd_ij = beta C_ij.

    C_ij = (p_ij - q_ij) / n', p_i and q_i the weights e^(-beta d_ij) normalised over i's partners and over all others:
    what draws i to its class, less what draws it to everyone. A point without a partner is no anchor.

    Arguments: `distances`, finite, at least 0, their diagonal ignored; `same`, as `partners` gives it; `beta` >= 0.
    Returns the mean over the n' anchors (0 if there are none), and C.
    Source: Frosst et al. 2019 (arXiv:1902.01889), equation 1, differentiated.
    """
    others = (-beta * distances).fill_diagonal_(-inf)
    own = others.where(same, -inf)
    partnered = same.any(1)
    n = partnered.sum().clamp(min=1)
    terms = (others.logsumexp(1) - own.logsumexp(1)).where(partnered, 0)
    pull = (own.softmax(1) - others.softmax(1)).where(partnered[:, None], 0)
    return terms.sum() / n, pull / n


def released(
    distances: Float[Tensor, "n n"], same: Bool[Tensor, "n n"], beta: Scalar
) -> tuple[Float[Tensor, ""], Float[Tensor, "n n"]]:
    """The released loss, with its epsilon of 1e-5 twice, and its pull, which means the same as that of `exact`.

    With w_ij = e^(-beta d_ij), A_i = eps + sum_j w_ij and q_i = sum_same w_ij / A_i, the loss is -mean_i log(eps + q_i)
    and C_ij = w_ij (same_ij - q_i) / (n A_i (eps + q_i)). A point is taken out of its own row by a mask; the release
    subtracts 1 there, which rounding can leave below 0, and the logarithm then NaN.
    Source: Frosst et al. 2019, released code (cleverhans 3.1.0, loss.py, SNNLCrossEntropy).
    """
    weights = (-beta * distances).exp_().fill_diagonal_(0)
    total = STABILITY_EPS + weights.sum(1, keepdim=True)
    own = weights * same
    probability = own.sum(1, keepdim=True) / total
    pull = (own - weights * probability) / (total * (STABILITY_EPS + probability) * len(distances))
    return -torch.log(STABILITY_EPS + probability).mean(), pull


# rule: the loss that it minimises
LOSSES: dict[str, Callable[[Tensor, Tensor, Scalar], tuple[Tensor, Tensor]]] = {
    "fixed": exact,
    "released": released,
    "tracked": exact,
}
RULES = tuple(LOSSES)


def advance(
    rule: str,
    temperature: Float64[Tensor, ""],
    distances: Float[Tensor, "n n"],
    same: Bool[Tensor, "n n"],
    start: float,
) -> Float64[Tensor, ""]:
    """The temperature at which a rule takes the loss of these points, from that of the last ones.

    "fixed": T = start. "released": T = start / t, and t <- t - 0.1 dl/dt once, but t is at least 1e-5 (the release lets
    it go below 0). "tracked": s = log(1/T), and s <- s - dl/ds twice, dl/ds clipped to [-1, 1] and T kept within a
    factor of 1,000 of the mean distance, at which it begins. T always minimises the loss, whatever the loss is for.

    Arguments: `rule`, a name in RULES; `temperature`, the last one, in units of the distance, 0 for "tracked" to begin;
    `distances` and `same`, as in `exact`; `start`, of "fixed" and "released".
    Source: Frosst et al. 2019 (arXiv:1902.01889), equation 2; its released code ("released").
    """
    if rule == "released":
        _, pull = released(distances, same, 1 / temperature)
        begun = torch.full_like(temperature, start)  # a number over a tensor would be rounded twice
        t = begun / temperature - RELEASED_STEP * (pull * distances).sum().double() / start
        return begun / t.clamp(min=LEAST)
    if rule == "tracked":
        n = len(distances)
        mean = (distances.sum().double() / (n * (n - 1))).clamp(min=NEAREST)
        temperature = torch.where(temperature == 0, mean, temperature)
        for _ in range(STEPS):
            temperature = temperature.clamp(mean / REACH, mean * REACH)
            _, pull = exact(distances, same, 1 / temperature)
            slope = (pull * distances).sum().double() / temperature
            temperature = temperature * slope.clamp(-1, 1).exp()
    return temperature


def follow(
    rule: str, distances: Float[Tensor, "n n"], y: Integer[Tensor, " n"], start: float, steps: int
) -> tuple[float, float]:
    """The loss of fixed points, and the temperature, after `steps` advances of a rule from the temperature `start`."""
    same, temperature = partners(y), torch.tensor(start, dtype=torch.float64, device=distances.device)
    for _ in range(steps):
        temperature = advance(rule, temperature, distances, same, start)
    return float(LOSSES[rule](distances, same, 1 / temperature)[0]), float(temperature)


class Temperatures(nn.Module):
    """The temperature of each layer, kept from batch to batch: part of a network's state while it is trained."""

    def __init__(self, rule: str, start: float, layers: int) -> None:
        super().__init__()
        self.rule, self.start = rule, start
        begin = 0.0 if rule == "tracked" else start
        self.register_buffer("values", torch.full((layers,), begin, dtype=torch.float64))

    def loss(
        self, layer: int, distances: Float[Tensor, "n n"], same: Bool[Tensor, "n n"]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "n n"]]:
        """The loss at a layer's next temperature, and its derivatives by the distances."""
        temperature = advance(self.rule, self.values[layer].double(), distances, same, self.start)
        self.values[layer] = temperature
        value, pull = LOSSES[self.rule](distances, same, 1 / temperature)
        return value, pull / temperature
