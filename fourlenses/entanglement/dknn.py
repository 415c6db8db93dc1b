"""Deep k-nearest neighbours: what the training points around an input, at every layer, say of a prediction.

Nothing is cut from the calibration points (the released code drops those of nonconformity 0).
Source of all: Papernot and McDaniel 2018 (arXiv:1803.04765), section 3; spec 2.7.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from torch import Tensor


@dataclass(frozen=True)
class Assessment:
    """What the neighbours say of m inputs: the class, how far it is supported, and how far no other class is."""

    prediction: Int64[Tensor, " m"]
    credibility: Float64[Tensor, " m"]
    confidence: Float64[Tensor, " m"]


def votes(indices: Int64[Tensor, "m k"], labels: Int64[Tensor, " n"], n_classes: int) -> Int64[Tensor, "m {n_classes}"]:
    """How many of the k neighbours of each input are of each class; `labels` are the n references' classes, from 0."""
    counts = torch.zeros(len(indices), n_classes, dtype=torch.int64, device=indices.device)
    return counts.scatter_add_(1, labels[indices], torch.ones_like(indices))


def nonconformity(counts: Int64[Tensor, "layers m classes"]) -> Int64[Tensor, "m classes"]:
    """alpha(x, j) = sum_l #{i in Omega_l(x): y_i != j}, from 0 to layers x k, with the `votes` of each layer."""
    return (counts.sum(2, keepdim=True) - counts).sum(0)


def p_values(alpha: Int64[Tensor, "m classes"], calibration: Int64[Tensor, " c"]) -> Float64[Tensor, "m classes"]:
    """p_j(x) = #{a in A: a >= alpha(x, j)} / |A|, in [0, 1].

    Arguments: `alpha`, nonconformity of the inputs with each class; `calibration`, A, that of each held-out point with
    its own class.
    Raises ValueError without a calibration point.
    """
    if not len(calibration):
        raise ValueError("no calibration point: a p-value is a share of them")
    below = torch.searchsorted(calibration.sort().values, alpha.contiguous())
    return (len(calibration) - below).double() / len(calibration)


def assess(alpha: Int64[Tensor, "m classes"], calibration: Int64[Tensor, " c"]) -> Assessment:
    """Prediction argmax_j p_j, credibility max_j p_j, confidence 1 - the second largest p_j.

    Where several classes share the largest p-value, also when all are 0, the one with the most neighbours is predicted
    (no p-value grows with alpha, so that argmin_j alpha(x, j) always is among them), and of those with as many the
    first. Arguments and errors as in `p_values`; at least two classes.
    """
    largest = p_values(alpha, calibration).topk(2, dim=1).values
    return Assessment(alpha.argmin(1), largest[:, 0], 1 - largest[:, 1])


def support(counts: Int64[Tensor, "layers m classes"], prediction: Int64[Tensor, " m"]) -> Float64[Tensor, "layers m"]:
    """s_l(x) = #{i in Omega_l(x): y_i = predicted class} / k, in [0, 1], per layer and input."""
    chosen = counts.gather(2, prediction.expand(len(counts), -1)[:, :, None])[:, :, 0]
    return chosen.double() / counts.sum(2)
