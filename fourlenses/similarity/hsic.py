"""The Hilbert-Schmidt independence criterion of two Gram matrices, biased and unbiased, in float64.

To add a kernel, write a function of features and name it in KERNELS.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


def centred(x: Float[Tensor, "n ..."]) -> Float[Tensor, "n p"]:
    """x_ij - mean_i x_ij: each image's features in a row, less their mean over images, in float64.

    Raises ValueError for NaN or infinite features, and for those equal in all images: no similarity is defined then.
    """
    x = x.flatten(1).double()
    if not x.isfinite().all():
        raise ValueError("features hold NaN or infinity")
    if (x == x[:1]).all():
        raise ValueError("features are the same for every image: their similarity to others is undefined")
    return x - x.mean(0)


def linear_gram(x: Float[Tensor, "n ..."]) -> Float[Tensor, "n n"]:
    """K = X_c X_c^T of centred features: HSIC is that of X X^T, without its loss of digits where means are large.

    Arguments: `x`, features of n images, flattened over all else. Raises ValueError as `centred` does.
    Source: Kornblith et al. 2019 (arXiv:1905.00414), section 3.
    """
    x = centred(x)
    return x @ x.T


def rbf_gram(x: Float[Tensor, "n ..."], bandwidth: float = 1.0) -> Float[Tensor, "n n"]:
    """K_ij = exp(-||x_i - x_j||^2 / (2 sigma^2)), sigma = bandwidth * median_{i<j} ||x_i - x_j||.

    Arguments: `x`, features of n images, flattened over all else; `bandwidth` > 0, a fraction of the median distance
    (the lower of two), so that K does not change with the scale of x.
    Raises: ValueError as `centred` does, and where half of the pairs of images are equal.
    Source: Kornblith et al. 2019 (arXiv:1905.00414), section 3.
    """
    k = linear_gram(x)
    norms = k.diagonal()
    squared = (norms[:, None] + norms - 2 * k).clamp_min(0)
    first, second = torch.triu_indices(*k.shape, 1, device=k.device)
    median = squared[first, second].median()
    if median <= 1e-12 * norms.mean():
        raise ValueError("half of the pairs of images have equal features: the median distance is zero")
    return torch.exp(-squared / (2 * bandwidth**2 * median))


KERNELS: dict[str, Callable[[Tensor], Tensor]] = {"linear": linear_gram, "rbf": rbf_gram}


def double_centred(k: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
    """H K H, H = I - 11^T / n, in float64. Raises ValueError for NaN or infinite entries."""
    k = k.double()
    if not k.isfinite().all():
        raise ValueError("a Gram matrix holds NaN or infinity")
    means = k.mean(0) - k.mean() / 2
    return k - means[:, None] - means


def u_centred(k: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
    """A_ij = K~_ij - m_i - m_j off the diagonal and 0 on it, in float64: every row sums to 0.

    K~ is K with a zero diagonal, m_i = sum_j K~_ij / (n - 2) - sum_ij K~_ij / (2 (n - 1) (n - 2)).
    Arguments: `k`, a symmetric Gram matrix of n >= 4 images.
    Raises: ValueError for fewer than 4 images, and for NaN or infinite entries.
    Source: Szekely and Rizzo 2014, "Partial distance correlation with methods for dissimilarities", definition 2.
    """
    n = len(k)
    if n < 4:
        raise ValueError(f"debiased HSIC needs at least 4 images, not {n}")
    k = k.double().clone().fill_diagonal_(0)
    if not k.isfinite().all():
        raise ValueError("a Gram matrix holds NaN or infinity")
    means = k.sum(0) / (n - 2) - k.sum() / (2 * (n - 1) * (n - 2))
    return (k - means[:, None] - means).fill_diagonal_(0)


def hsic_biased(k_x: Float[Tensor, "n n"], k_y: Float[Tensor, "m m"]) -> Float[Tensor, ""]:
    """HSIC_0 = tr(K H L H) / (n - 1)^2, which is above 0 also for independent features.

    Arguments: `k_x` and `k_y`, symmetric Gram matrices of the same n >= 2 images.
    Raises: ValueError for different n, and as `double_centred` does.
    Source: Gretton et al. 2005, "Measuring statistical dependence with Hilbert-Schmidt norms", definition 2.
    """
    n = same_images(k_x, k_y)
    return (double_centred(k_x) * double_centred(k_y)).sum() / (n - 1) ** 2


def hsic_unbiased(k_x: Float[Tensor, "n n"], k_y: Float[Tensor, "m m"]) -> Float[Tensor, ""]:
    """HSIC_1 = sum_{i != j} A_ij B_ij / (n (n - 3)) with A and B the U-centred K and L; 0 on average if independent.

    It equals the three-term form (Nguyen et al. 2021, arXiv:2010.15327, equation 3) and does not cancel as that does.
    Arguments: `k_x` and `k_y`, symmetric Gram matrices of the same n >= 4 images.
    Raises: ValueError for different n, and as `u_centred` does.
    Source: Song et al. 2012, "Feature selection via dependence maximization"; in this form Szekely and Rizzo 2014.
    """
    n = same_images(k_x, k_y)
    return (u_centred(k_x) * u_centred(k_y)).sum() / (n * (n - 3))


def same_images(x: Tensor, y: Tensor) -> int:
    """How many images x and y have; ValueError where they differ in it."""
    if len(x) != len(y):
        raise ValueError(f"features of {len(x)} images cannot be compared with those of {len(y)}")
    return len(x)
