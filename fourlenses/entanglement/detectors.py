"""Scores of how much an input is like the training images; whichever, higher is more alike.

To add one, write a function of the inputs as the network sees them and of the training images, and name it in
DETECTORS.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from fourlenses.entanglement.neighbours import nearest, normalised

RANK = 1e-10  # variance beside the largest below which a direction is rounding of float32 features


@dataclass(frozen=True)
class Seen:
    """Inputs as a network sees them: penultimate representations and logits."""

    features: Float[Tensor, "m d"]
    logits: Float[Tensor, "m classes"]


@dataclass(frozen=True)
class Known:
    """Training images as the same network sees them: penultimate representations, and classes, from 0; and the k of
    `knn_distance`, at most as many as there are."""

    features: Float[Tensor, "n d"]
    labels: Int64[Tensor, " n"]
    k: int


def max_softmax(logits: Float[Tensor, "m classes"]) -> Float[Tensor, " m"]:
    """max_j softmax(z)_j, in [1 / classes, 1] (Hendrycks and Gimpel 2017, arXiv:1610.02136)."""
    return logits.softmax(1).amax(1)


def energy(logits: Float[Tensor, "m classes"]) -> Float[Tensor, " m"]:
    """log sum_j exp(z_j), the negative energy at temperature 1 (Liu et al. 2020, arXiv:2010.03759)."""
    return logits.logsumexp(1)


def mahalanobis(
    features: Float[Tensor, "m d"], training: Float[Tensor, "n d"], labels: Int64[Tensor, " n"]
) -> Float[Tensor, " m"]:
    """-min_c (g - mu_c)^T S^+ (g - mu_c) with the classes' means mu_c and their shared covariance S, in float64.

    S = 1 / n sum_i (g_i - mu_{y_i})(g_i - mu_{y_i})^T over the training images; classes without one are left out. S^+
    is the pseudo-inverse: directions in which training images do not vary (dead units) are not looked at.
    Returns scores of at most 0. Source: Lee et al. 2018 (arXiv:1807.03888), equations 1 and 2, on one layer.
    """
    classes, index = labels.unique(return_inverse=True)
    known, counts = training.double(), torch.bincount(index)
    means = known.new_zeros(len(classes), known.shape[1]).index_add_(0, index, known) / counts[:, None]
    within = known - means[index]
    inverse = torch.linalg.pinv(within.T @ within / len(known), rtol=RANK, hermitian=True)
    off = features.double() - means[:, None]  # (classes, m, d)
    return -((off @ inverse) * off).sum(2).clamp_min(0).amin(0)


def knn_distance(features: Float[Tensor, "m d"], training: Float[Tensor, "n d"], k: int) -> Float[Tensor, " m"]:
    """-||g / ||g|| - g_(k) / ||g_(k)|||_2 to the k-th nearest training image, in [-2, 0].

    Source: Sun et al. 2022 (arXiv:2204.06507), equation 4. Errors as in `nearest`.
    """
    units = normalised(training)
    mean = units.mean(0)
    return -nearest(normalised(features, mean), units - mean, k)[1][:, -1].sqrt()


DETECTORS: dict[str, Callable[[Seen, Known], Tensor]] = {
    "softmax": lambda seen, known: max_softmax(seen.logits),
    "energy": lambda seen, known: energy(seen.logits),
    "mahalanobis": lambda seen, known: mahalanobis(seen.features, known.features, known.labels),
    "knn": lambda seen, known: knn_distance(seen.features, known.features, known.k),
}
