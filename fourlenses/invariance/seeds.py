"""Where an inversion starts, and targets of noise. To add a seed image, write a function and name it in SEED_IMAGES."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

# (other images (n, c, h, w) in [0, 1], none of them a target; generator) -> seed image (c, h, w) in [0, 1]
SeedImage = Callable[[Tensor, torch.Generator], Tensor]


def super_noise(others: Float[Tensor, "n c h w"], generator: torch.Generator) -> Float[Tensor, "c h w"]:
    """clip(N(0, 1), 0, 1): half of the values are 0, 16 % are 1."""
    return torch.randn(others.shape[1:], generator=generator).clamp(0, 1)


def light_noise(others: Float[Tensor, "n c h w"], generator: torch.Generator) -> Float[Tensor, "c h w"]:
    """clip(0.01 N(0, 1), 0, 1): nearly black."""
    return (0.01 * torch.randn(others.shape[1:], generator=generator)).clamp(0, 1)


def black(others: Float[Tensor, "n c h w"], generator: torch.Generator) -> Float[Tensor, "c h w"]:
    """Constant 0."""
    return torch.zeros(others.shape[1:])


def white(others: Float[Tensor, "n c h w"], generator: torch.Generator) -> Float[Tensor, "c h w"]:
    """Constant 1."""
    return torch.ones(others.shape[1:])


def other_image(others: Float[Tensor, "n c h w"], generator: torch.Generator) -> Float[Tensor, "c h w"]:
    """A natural image of the same data set, drawn at random."""
    return others[int(torch.randint(len(others), (), generator=generator))].clone()


SEED_IMAGES: dict[str, SeedImage] = {
    "super-noise": super_noise,
    "light-noise": light_noise,
    "black": black,
    "white": white,
    "other-image": other_image,
}


def noise_targets(n: int, shape: tuple[int, int, int], generator: torch.Generator) -> Float[Tensor, "n c h w"]:
    """Targets out of the distribution: n draws of clip(N(0.5, 0.5), 0, 1), each pixel on its own, deviation 0.5.

    16 % of the pixels are 0 and 16 % are 1. The original's N(0, 1) and N(0.5, 2) are not clipped and so no images;
    clipped, N(0.5, 2) would be black or white in 80 % of the pixels.
    Arguments: `n`, images; `shape`, (c, h, w). Source: spec 2.5 after Nanda et al. 2023 (launch scripts).
    """
    noise = torch.randn(n, *shape, generator=generator, device=generator.device)
    return (0.5 + 0.5 * noise).clamp(0, 1)
