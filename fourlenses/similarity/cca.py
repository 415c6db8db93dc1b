"""Similarities by canonical correlation: CCA, SVCCA and PWCCA, for features fewer than images (pool maps first)."""

import torch
from jaxtyping import Float
from torch import Tensor

from fourlenses.similarity.hsic import centred, same_images

NEGLIGIBLE = 1e-7  # directions with less than this share of the variance are left out, as in the paper's released code
SINGULAR_DIRECTIONS = 20  # that SVCCA keeps, as in the paper's released code


def directions(x: Float[Tensor, "n ..."]) -> Float[Tensor, "n r"]:
    """U of X_c = U S V^T: the r directions of the centred features, largest first, without the negligible ones."""
    u, s, _ = torch.linalg.svd(centred(x), full_matrices=False)
    return u[:, s.square() > NEGLIGIBLE * s.square().sum()]


def canonical(u_x: Float[Tensor, "n r"], u_y: Float[Tensor, "m s"]) -> tuple[Tensor, Float[Tensor, " k"]]:
    """Rotations W (r, k) that make the columns of U_x W canonical variates, and the correlations rho, largest first.

    U_x^T U_y = W diag(rho) V^T, k = min(r, s). Raises ValueError for different n, and for n - 1 directions or more:
    they span what centred features of n images can be, and every rho is 1.
    """
    n = same_images(u_x, u_y)
    if max(u_x.shape[1], u_y.shape[1]) >= n - 1:
        raise ValueError(f"features of {n} images with {n - 1} directions have a CCA of 1 with any: show more images")
    w, rho, _ = torch.linalg.svd(u_x.T @ u_y, full_matrices=False)
    return w, rho


def cca(x: Float[Tensor, "n ..."], y: Float[Tensor, "m ..."]) -> float:
    """Mean of the canonical correlations, the singular values of S_xx^{-1/2} S_xy S_yy^{-1/2}.

    Arguments: `x` and `y`, features of the same n images, flattened over all else. Returns a mean in [0, 1] over
    min(rank X, rank Y) correlations, ranks without directions of less than 1e-7 of the variance.
    Raises: ValueError for different n, features of rank n - 1, and features that are NaN, infinite or the same for
    every image.
    Source: Raghu et al. 2017 (arXiv:1706.05806).
    """
    return canonical(directions(x), directions(y))[1].mean().item()


def svcca(x: Float[Tensor, "n ..."], y: Float[Tensor, "m ..."]) -> float:
    """CCA of the first 20 singular directions of each, all where there are fewer; arguments and errors as in `cca`.

    Source: Raghu et al. 2017 (arXiv:1706.05806); 20 as in Cianfarani et al. 2022 (released code).
    """
    u_x, u_y = (directions(features)[:, :SINGULAR_DIRECTIONS] for features in (x, y))
    return canonical(u_x, u_y)[1].mean().item()


def pwcca(x: Float[Tensor, "n ..."], y: Float[Tensor, "m ..."]) -> float:
    """sum_i a_i rho_i / sum_i a_i, a_i = sum_j |<h_i, x_j>|, h_i the canonical variates of the side of smaller rank.

    Where ranks are equal x gives the weights, so that exchanging x and y then changes the value. Weights look at single
    features x_j: a rotation of the features changes them. Arguments and errors as in `cca`.
    Source: Morcos et al. 2018 (arXiv:1806.05759).
    """
    u_x, u_y = directions(x), directions(y)
    if u_y.shape[1] < u_x.shape[1]:
        x, u_x, u_y = y, u_y, u_x
    w, rho = canonical(u_x, u_y)
    a = ((u_x @ w).T @ centred(x)).abs().sum(1)
    return ((a * rho).sum() / a.sum()).item()
