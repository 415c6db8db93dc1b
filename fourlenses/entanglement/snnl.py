"""The soft nearest neighbor loss (SNNL) at a temperature: how mixed classes are among near neighbours."""

from math import inf, sqrt

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

STABILITY_EPS = 1e-5  # of the released formula


def squared_distances(x: Float[Tensor, "n ..."]) -> Float[Tensor, "n n"]:
    """d_ij = ||x_i - x_j||^2, at least 0 and exactly 0 for i = j.

    Arguments: `x`, flattened over all but the first dimension. Returns: distances in the precision of `x`.
    Source: Frosst et al. 2019 (arXiv:1902.01889), released code.
    """
    return pairwise(*centred(x))


def cosine_distances(x: Float[Tensor, "n ..."]) -> Float[Tensor, "n n"]:
    """d_ij = 1 - x_i x_j / (|x_i| |x_j|) in [0, 2], exactly 0 for i = j.

    Arguments: `x`, flattened over all but the first dimension; a zero vector is at 1 from all others, without gradient.
    Returns: distances in the precision of `x`.
    Source: Frosst et al. 2019 (arXiv:1902.01889), released code (`cos_distance`).
    """
    return pairwise(*directions(x))


DISTANCES = {"euclidean": squared_distances, "cosine": cosine_distances}


def centred(x: Float[Tensor, "n ..."]) -> tuple[Float[Tensor, "n d"], Float[Tensor, " n"]]:
    """Points p and squares s with s_i + s_j - 2 p_i p_j = ||x_i - x_j||^2: x without its mean, and squared norms.

    Distances do not change with the mean, but what cancels in them does. Points that are all alike become exactly 0.
    """
    x = x.flatten(1)
    x = x - x[:1].detach()
    x = x - x.detach().mean(0)
    return x, x.square().sum(1)


def directions(x: Float[Tensor, "n ..."]) -> tuple[Float[Tensor, "n d"], Float[Tensor, " n"]]:
    """Points p and squares s with s_i + s_j - 2 p_i p_j = 1 - cos(x_i, x_j): x of norm 1 / sqrt 2, and halves."""
    x = x.flatten(1)
    norm = x.norm(dim=1, keepdim=True)
    x = x / (norm * sqrt(2)).masked_fill(norm == 0, inf)
    return x, torch.full_like(norm[:, 0], 0.5)


EMBEDDINGS = {"euclidean": centred, "cosine": directions}


def pairwise(points: Float[Tensor, "n d"], squares: Float[Tensor, " n"]) -> Float[Tensor, "n n"]:
    """d_ij = s_i + s_j - 2 p_i p_j, at least 0, and 0 on the diagonal whatever rounding leaves there."""
    distances = squares[:, None] + squares - 2 * points @ points.T
    return distances.clamp(min=0).masked_fill(diagonal(distances), 0)


def diagonal(distances: Float[Tensor, "n n"]) -> Bool[Tensor, "n n"]:
    """True where a point meets itself."""
    return torch.eye(len(distances), dtype=torch.bool, device=distances.device)


def soft_nearest_neighbor_loss(
    x: Float[Tensor, "n ..."],
    y: Integer[Tensor, " n"],
    temperature: float | Float[Tensor, ""],
    *,
    distance: str = "euclidean",
) -> Float[Tensor, ""]:
    """l_sn(x, y, T) = -1/n' sum_i log[ sum_{j != i, y_j = y_i} e^(-d_ij / T) / sum_{k != i} e^(-d_ik / T) ].

    Arguments: `x`, the points, flattened; `y`, their classes; `temperature`, T > 0 in units of the distance, infinity
    allowed; `distance`, a name in DISTANCES.
    Returns: the mean over the n' points of whose class there is another, from 0 for classes apart; differentiable in
    `x` and in `temperature`.
    Raises: ValueError as `anchor_losses`.
    Source: Frosst et al. 2019 (arXiv:1902.01889), equation 1. The released code averages over all points instead, and
    counts the log of its epsilon for one that is alone in its class.
    """
    return anchor_losses(DISTANCES[distance](x), y, temperature).mean()


def anchor_losses(
    distances: Float[Tensor, "n n"], y: Integer[Tensor, " n"], temperature: float | Float[Tensor, ""]
) -> Float[Tensor, " anchors"]:
    """The terms of the loss: -log of the probability that a neighbour drawn with weight e^(-d / T) has i's class.

    Arguments: `distances`, at least 0, their diagonal ignored; `y` and `temperature` as in
    `soft_nearest_neighbor_loss`.
    Returns: the terms of the points with a partner, in the order of `y`.
    Raises: ValueError for fewer than two points, no class with two, distances that are NaN or infinite, and a
    temperature that is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f"the temperature is {float(temperature)}: it has to be above 0")
    if not torch.isfinite(distances).all():
        raise ValueError("a distance is NaN or infinite: the points have to be finite, and so have their squares")
    same = (y[:, None] == y) & ~diagonal(distances)
    partnered = same.any(1)
    refuse_without_pairs(y)
    others = distances.masked_fill(diagonal(distances), inf)[partnered]
    partners = distances.masked_fill(~same, inf)[partnered]
    # each sum is shifted by its own nearest, so that neither underflows however small the temperature is
    nearest, nearest_partner = others.detach().amin(1), partners.detach().amin(1)
    beta = 1 / temperature
    among_others = log_sum_exp(others - nearest[:, None], beta)
    among_partners = log_sum_exp(partners - nearest_partner[:, None], beta)
    return (nearest_partner - nearest) * beta + among_others - among_partners


def log_sum_exp(distances: Float[Tensor, "n m"], beta: float | Float[Tensor, ""]) -> Float[Tensor, " n"]:
    """log sum_j e^(-beta d_ij), where an infinite distance counts nothing, also at beta = 0."""
    absent = distances.isinf()
    return torch.logsumexp((-beta * distances.masked_fill(absent, 0)).masked_fill(absent, -inf), 1)


def released_loss(
    x: Float[Tensor, "n ..."],
    y: Integer[Tensor, " n"],
    temperature: float | Float[Tensor, ""],
    *,
    distance: str = "euclidean",
) -> Float[Tensor, ""]:
    """-1/n sum_i log(eps + sum_{j: y_j = y_i} f_ij / (eps + sum_k f_ik)), f = e^(-d / T) - I, eps = 1e-5.

    I is the identity matrix, which takes the point itself out. For fidelity, and as a warning: the loss cannot exceed
    -log(eps) = 11.513, reads that without gradient where all weights underflow, and is far from 0 for classes fully
    apart if T is small beside the distances within them: 2.58 for two pairs, each of points 1.45 apart and the other
    100 away, at T = 0.15, where `soft_nearest_neighbor_loss` is 0. Rounding cannot leave the logarithm of a negative
    number, as it can in the release: distances are at least 0 here, and 0 on the diagonal.
    Arguments and returns: as `soft_nearest_neighbor_loss`, the mean over all n points.
    Source: Frosst et al. 2019 (arXiv:1902.01889), released code (cleverhans 3.1.0, loss.py, SNNLCrossEntropy).
    """
    distances = DISTANCES[distance](x)
    weights = torch.exp(-distances / temperature).masked_fill(diagonal(distances), 0)
    probabilities = weights / (STABILITY_EPS + weights.sum(1, keepdim=True))
    return -torch.log(STABILITY_EPS + (probabilities * (y[:, None] == y)).sum(1)).mean()


def chance_level(y: Integer[Tensor, " n"]) -> float:
    """mean_i log((n - 1) / (n_i - 1)), n_i points of i's class: the loss at infinite temperature, whatever the points.

    Arguments: `y`, classes. Returns: the mean over the points with a partner; no minimum over temperatures is above.
    Raises: ValueError if there is none.
    Source: the limit of Frosst et al. 2019, equation 1.
    """
    refuse_without_pairs(y)
    counts = y.unique(return_counts=True)[1].double()
    counts = counts[counts > 1]
    return float((counts * torch.log((len(y) - 1) / (counts - 1))).sum() / counts.sum())


def without_partner(y: Integer[Tensor, " n"]) -> int:
    """How many points are alone in their class: they are neighbours of others, but no anchors."""
    return int((y.unique(return_counts=True)[1] == 1).sum())


def refuse_without_pairs(y: Integer[Tensor, " n"]) -> None:
    """Raises ValueError for fewer than two points, and for points of which no two share a class."""
    if len(y) < 2:
        raise ValueError(f"{len(y)} points: the soft nearest neighbor loss needs at least 2")
    if without_partner(y) == len(y):
        raise ValueError("no two points share a class: the soft nearest neighbor loss is undefined")
