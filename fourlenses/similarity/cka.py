"""Centred kernel alignment (CKA) of the features of the same images, on all of them or batch by batch."""

from collections.abc import Iterable
from math import sqrt

from jaxtyping import Float
from torch import Tensor

from fourlenses.similarity.hsic import KERNELS, hsic_biased, hsic_unbiased, same_images

ROUNDING = 1e-24  # of the mean squared entry of a Gram matrix: its HSIC with itself is no more than float64's noise


def cka(
    x: Float[Tensor, "n ..."], y: Float[Tensor, "m ..."], *, kernel: str = "linear", debiased: bool = True
) -> float:
    """CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)), with HSIC_1 if debiased and HSIC_0 otherwise.

    Arguments: `x` and `y`, features of the same n images, flattened over all else; `kernel`, a name in KERNELS.
    Returns: at most 1, and 1 for a layer with itself; at least 0 if biased. Debiased it is about 0 for independent
    features, and may lie a little below; biased it goes to 1 with the number of features.
    Raises: ValueError for different numbers of images, fewer than 4 if debiased, features that are NaN, infinite or
    the same for every image, and features whose HSIC with themselves is 0.
    Source: Kornblith et al. 2019 (arXiv:1905.00414), section 3; debiased as in Nguyen et al. 2021 (arXiv:2010.15327).
    """
    return minibatch_cka([(x, y)], kernel, debiased)


def minibatch_cka(batches: Iterable[tuple[Tensor, Tensor]], kernel: str = "linear", debiased: bool = True) -> float:
    """sum_b n_b HSIC(K_b, L_b) / sqrt(sum_b n_b HSIC(K_b, K_b) * sum_b n_b HSIC(L_b, L_b)), n_b images in batch b.

    The sums are divided once, at the end; weighting by n_b counts every image alike where the last batch is smaller,
    and for equal batches is the form of the paper.
    Arguments: `batches`, pairs of features of the same n_b images each; the rest, what is returned and raised as in
    `cka`.
    Source: Nguyen et al. 2021 (arXiv:2010.15327), equation 2.
    """
    gram, hsic = KERNELS[kernel], hsic_unbiased if debiased else hsic_biased
    xy = xx = yy = noise_x = noise_y = 0.0
    for x, y in batches:
        n = same_images(x, y)
        k_x, k_y = gram(x), gram(y)
        xy += n * hsic(k_x, k_y).item()
        xx += n * hsic(k_x, k_x).item()
        yy += n * hsic(k_y, k_y).item()
        noise_x += n * ROUNDING * k_x.square().mean().item()
        noise_y += n * ROUNDING * k_y.square().mean().item()
    if xx <= noise_x or yy <= noise_y:
        raise ValueError("HSIC of features with themselves is 0: CKA is undefined")
    return xy / sqrt(xx * yy)
