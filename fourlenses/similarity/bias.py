"""How far an estimator of CKA is off, by the number of images in a batch."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from fourlenses.similarity.hsic import hsic_biased, hsic_unbiased

ESTIMATORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"biased": hsic_biased, "debiased": hsic_unbiased}


def minibatch_cka_of_grams(
    k_x: Float[Tensor, "n n"], k_y: Float[Tensor, "n n"], batch: int, estimator: str
) -> float:
    """CKA summed over batches of `batch` images, from the Gram matrices of all n: a batch's matrix is a part of them.

    CKA = sum_b HSIC(K_b, L_b) / sqrt(sum_b HSIC(K_b, K_b) sum_b HSIC(L_b, L_b)); images beyond the last whole batch are
    left out.
    Arguments: `k_x` and `k_y`, of the same images; `batch`, 4 to n; `estimator`, a name in ESTIMATORS.
    Raises: ValueError for other batches, and as the estimators do.
    Source: Nguyen et al. 2021 (arXiv:2010.15327), equation 2; the biased one as in Kornblith et al. 2019.
    """
    n = len(k_x)
    if not 4 <= batch <= n:
        raise ValueError(f"batches of {batch} out of {n} images; they hold from 4 to all of them")
    hsic = ESTIMATORS[estimator]
    starts = range(0, n - batch + 1, batch)
    parts = [(k_x[i : i + batch, i : i + batch], k_y[i : i + batch, i : i + batch]) for i in starts]
    between, within_x, within_y = (
        torch.stack([hsic(*pair) for pair in pairs]).sum()
        for pairs in (parts, [(x, x) for x, _ in parts], [(y, y) for _, y in parts])
    )
    return float(between / (within_x * within_y).sqrt())
