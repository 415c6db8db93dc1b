"""Orthogonal Procrustes: how well a rotation takes one layer's features into another's."""

import torch
from jaxtyping import Float
from torch import Tensor

from fourlenses.similarity.hsic import centred, same_images


def procrustes(x: Float[Tensor, "n ..."], y: Float[Tensor, "m ..."]) -> float:
    """||X^T Y||_* = 1 - d / 2, d = min_Q ||X - Y Q||_F^2 over rotations Q, of centred features of Frobenius norm 1.

    Arguments: `x` and `y`, features of the same n images, flattened over all else; the narrower counts as padded with
    zeros. Returns a similarity in [0, 1].
    Raises: ValueError for different n, and for features that are NaN, infinite or the same for every image.
    Source: Ding et al. 2021 (arXiv:2108.01661); as in Cianfarani et al. 2022 (released code).
    """
    same_images(x, y)
    x, y = centred(x), centred(y)
    return (torch.linalg.matrix_norm(x.T @ y, "nuc") / (x.norm() * y.norm())).item()
