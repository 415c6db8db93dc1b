"""How much of a distractor, and of what carries the label, is left in images made of both."""

import math

import torch
from jaxtyping import Bool, Float64, Num
from torch import Tensor

LEAST = 1e-9  # of what a variance could be: less is the rounding of a flat image, or of two parts that are one


def coefficients(
    x: Num[Tensor, "n c h w"], target: Num[Tensor, "n c h w"], distractor: Num[Tensor, "n c h w"]
) -> Float64[Tensor, "n 2"]:
    """How strongly an image shows each of two parts: (c_t, c_d) of the least-squares fit x ~ c_t t + c_d d + c.

    The fit is over the values of one image. NaN where the parts do not determine it: one is flat, or they are the
    same up to scale.
    Source: section 2.9 of the specification (the paper's own measure is unknown).
    """
    raw = torch.stack([target, distractor], 1).flatten(2).double()
    parts = raw - raw.mean(2, keepdim=True)
    gram = parts @ parts.mT
    power = gram.diagonal(dim1=1, dim2=2)
    determined = (power > LEAST * raw.square().sum(2)).all(1) & (gram.det() > LEAST * power.prod(1))
    gram = torch.where(determined[:, None, None], gram, torch.eye(2, dtype=gram.dtype, device=gram.device))
    found = torch.linalg.solve(gram, parts @ x.flatten(1).double()[:, :, None])[:, :, 0]
    return found.masked_fill(~determined[:, None], math.nan)


def removal_index(
    simplified: Num[Tensor, "n c h w"],
    composite: Num[Tensor, "n c h w"],
    target: Num[Tensor, "n c h w"],
    distractor: Num[Tensor, "n c h w"],
    halves: Bool[Tensor, "n h w"] | None = None,
) -> Float64[Tensor, " n"]:
    """The share of the distractor that is gone from each image: 1 - |c_d / k_d|, from 0 to 1.

    c_d is the distractor's coefficient in the simplified image and k_d the one in the composite; where each part has a
    half of the image, c and k are the variances in the distractor's half. NaN where the composite itself shows no
    distractor (k is 0 or not determined).
    Arguments: images on one scale, bytes or in [0, 1]; `halves`, the pixels where the target stands, or None.
    Source: section 2.9 of the specification.
    """
    return (1 - _kept(simplified, composite, target, distractor, halves)[:, 1].abs()).clamp(0, 1)


def retention(
    simplified: Num[Tensor, "n c h w"],
    composite: Num[Tensor, "n c h w"],
    target: Num[Tensor, "n c h w"],
    distractor: Num[Tensor, "n c h w"],
    halves: Bool[Tensor, "n h w"] | None = None,
) -> Float64[Tensor, " n"]:
    """The share of the target that is left in each image: c_t / k_t, above 1 where it is shown more strongly.

    Arguments, NaN and source as of `removal_index`.
    """
    return _kept(simplified, composite, target, distractor, halves)[:, 0]


def probe_index(before: float, after: float, chance: float) -> float:
    """The share of what a probe reads of the distractor's label that it no longer reads: 1 - (a' - c) / (a - c).

    Arguments: accuracies of a probe trained and tested on the composites, `before`, on the simplified images, `after`,
    and of guessing, `chance`, all from 0 to 1. NaN if the probe reads nothing from the composites themselves.
    Source: section 2.9 of the specification.
    """
    return 1 - (after - chance) / (before - chance) if before > chance else math.nan


def _kept(simplified: Tensor, composite: Tensor, target: Tensor, distractor: Tensor, halves: Tensor | None) -> Tensor:
    """(n, 2): what is left of target and of distractor, relative to the composite."""
    if halves is None:
        left, whole = (coefficients(each, target, distractor) for each in (simplified, composite))
    else:
        left, whole = (_variances(each, halves) for each in (simplified, composite))
    return left / whole.masked_fill(whole == 0, math.nan)


def _variances(x: Tensor, halves: Tensor) -> Tensor:
    """(n, 2): the variance of an image's values in the target's half and in the other."""
    values = x.flatten(2).double()
    masks = torch.stack([halves, ~halves], 1).flatten(2).double()
    weights = masks / (masks.sum(2, keepdim=True) * x.shape[1])
    mean, square = (torch.einsum("ncp,nkp->nk", values**power, weights) for power in (1, 2))
    variances = square - mean**2
    return variances.masked_fill(variances <= LEAST * square, 0)
