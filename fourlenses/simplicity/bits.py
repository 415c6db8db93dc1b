"""Bits per dimension: how complex an image looks to a density of images."""

import math

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from fourlenses.nets.glow import Glow

LEVELS = 256  # of a pixel


def to_flow(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Pixels in [0, 1] into glow space, 255/256 x - 1/2: the level k/255 becomes the lower end of its cell of 1/256."""
    return (LEVELS - 1) / LEVELS * x - 0.5


def from_flow(z: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Glow space back into pixels, (z + 1/2) 256/255: the inverse of `to_flow`."""
    return (z + 0.5) * (LEVELS / (LEVELS - 1))


def rounded(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The nearest of the levels k/255, with gradient 1 with respect to `x`."""
    return (x * (LEVELS - 1)).round().detach() / (LEVELS - 1) + (x - x.detach())


def bits_per_dimension(glow: Glow, x: Float[Tensor, "n c h w"], noise: Float[Tensor, "n c h w"]) -> Float[Tensor, "n"]:
    """The code length of images under a density, in bits a pixel and channel; differentiable.

    bpd = -(log p(g(x) + u/256) - D ln 256) / (D ln 2), g = `to_flow`, D values an image. A uniform density gives 8.
    Arguments: `glow`, whose density of glow space is p; `x`, in [0, 1], on levels k/255; `noise`, u in [0, 1).
    Source: arXiv:2201.05610, the authors' code.
    """
    size = math.prod(x.shape[1:])
    return math.log2(LEVELS) - glow.log_density(to_flow(x) + noise / LEVELS) / (size * math.log(2))


def dequantisation(shape: tuple[int, ...], generator: torch.Generator) -> Float[Tensor, "..."]:
    """Uniform noise in [0, 1), on the generator's device, that fills the cell of a level."""
    return torch.rand(shape, generator=generator, device=generator.device)


@torch.no_grad()
def measured(
    glow: Glow, images: UInt8[Tensor, "n c h w"], generator: torch.Generator, batch: int = 256
) -> Float[Tensor, "n"]:
    """Bits per dimension of stored images, in float64, on the CPU.

    Arguments: `generator`, of the noise; `batch`, images at a time, which does not change what they are given.
    """
    where = next(glow.parameters()).device
    noise = dequantisation(tuple(images.shape), generator)
    parts = [
        bits_per_dimension(glow, x.to(where).float() / (LEVELS - 1), u.to(where)).double().cpu()
        for x, u in zip(images.split(batch), noise.split(batch), strict=True)
    ]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.float64)
