"""The ladder of complexity: sets of images from plain to noisy, and how bits tell them apart."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float64, UInt8
from scipy.stats import spearmanr
from torch import Tensor

from fourlenses.images.shifted import blurred, noise

GREY = 128  # the level in the middle


class Rung(NamedTuple):
    """Images of one kind: constant, own, other, photo, blurred or noise."""

    kind: str
    x: Tensor


def rungs(
    name: str,
    own: UInt8[Tensor, "n c h w"],
    others: Mapping[str, UInt8[Tensor, "_ c h w"]],
    photos: UInt8[Tensor, "m c h w"],
    generator: torch.Generator,
) -> dict[str, Rung]:
    """The sets of the ladder by name, as many images in each constant one and in the noise as there are own ones.

    Arguments: `name`, of the study's own data set; `own`, `others` (by data set) and `photos`, images on one canvas;
    `generator`, of the noise. A blurred set holds the same images in the same order as the one that it was.
    """
    return {
        "black": Rung("constant", torch.zeros_like(own)),
        "grey": Rung("constant", torch.full_like(own, GREY)),
        "own-blurred": Rung("blurred", blurred(own, generator)),
        name: Rung("own", own),
        **{other: Rung("other", x) for other, x in others.items()},
        "photos-blurred": Rung("blurred", blurred(photos, generator)),
        "photos": Rung("photo", photos),
        "noise": Rung("noise", noise(own, generator)),
    }


def stretched(x: UInt8[Tensor, "n c h w"]) -> UInt8[Tensor, "n c h w"]:
    """Each image at full contrast, its darkest value 0 and its lightest 255; constant images as they are.

    255 (x - min x) / (max x - min x), rounded.
    """
    low, high = x.float().amin((1, 2, 3), keepdim=True), x.float().amax((1, 2, 3), keepdim=True)
    full = 255 * (x - low) / (high - low).clamp(min=1)
    return torch.where(high > low, full.round().byte(), x)


def rank_correlation(a: Float64[Tensor, " n"], b: Float64[Tensor, " n"]) -> float:
    """Spearman's rho of two measures of the same images; NaN where one of them is the same for all."""
    if a.unique().numel() == 1 or b.unique().numel() == 1:
        return float("nan")
    return float(spearmanr(a.cpu().numpy(), b.cpu().numpy()).statistic)


def summary(
    kind: str,
    bpd: Float64[Tensor, " n"],
    contrast: Float64[Tensor, " n"],
    png: Float64[Tensor, " n"],
    jpeg: Float64[Tensor, " n"],
    first: Float64[Tensor, " n"],
) -> dict[str, object]:
    """A row of the ladder's table: bits of one set under one prior.

    Arguments: `kind`, of a Rung; for each image bits per dimension under the prior (`bpd`), the same at full contrast
    (`contrast`), in the two formats, and under the `first` prior.
    Returns `kind`, `n`, mean `bpd` with its deviation `sd` and standard error `se` (NaN for a single image), mean
    `png`, `jpeg` and `contrast_bpd`, and rank correlations within the set of this prior's bits with the others, which
    are NaN for constant images, whose bits differ by the dequantisation only.
    """
    sd = float(np.std(bpd.numpy(), ddof=1)) if len(bpd) > 1 else float("nan")
    others = {"png": png, "jpeg": jpeg, "prior": first}
    constant = kind == "constant"
    return {
        "kind": kind,
        "n": len(bpd),
        "bpd": float(bpd.mean()),
        "sd": sd,
        "se": sd / len(bpd) ** 0.5,
        "png": float(png.mean()),
        "jpeg": float(jpeg.mean()),
        "contrast_bpd": float(contrast.mean()),
    } | {f"rho_{of}": float("nan") if constant else rank_correlation(bpd, bits) for of, bits in others.items()}
