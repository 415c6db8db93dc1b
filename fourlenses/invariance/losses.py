"""What an inversion minimises: the regularizer-free loss, random transforms, and the regularizers.

To add a regularizer, write a function of an image and its context and name it in REGULARIZERS.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Context:
    """What a regularizer may look at: the targets x_t and seeds x_0, (n, c, h, w) in [0, 1], and how far an image is
    from each in a perceptual distance, (n, c, h, w) -> (n,)."""

    targets: Tensor
    seeds: Tensor
    distance_to_target: Callable[[Tensor], Tensor]
    distance_to_seed: Callable[[Tensor], Tensor]


Regularizer = Callable[[Tensor, Context], Tensor]  # (n, c, h, w) in [0, 1] -> (n,), to be made small


def representation_error(g: Float[Tensor, "n m"], target: Float[Tensor, "n m"]) -> Float[Tensor, " n"]:
    """L_free = ||g(n(x)) - g(n(x_t))||_2 / ||g(n(x_t))||_2 per image (Nanda et al. 2023, regularizer-free loss).

    Raises ValueError for a target whose representation is zero: the relative error is then undefined.
    """
    norm = target.norm(dim=1)
    if (norm == 0).any():
        raise ValueError("a target's representation is zero: its relative error is undefined")
    return (g - target).norm(dim=1) / norm


def away(x: Float[Tensor, "n c h w"], context: Context) -> Float[Tensor, " n"]:
    """Adversarial: -d(x, x_t), look unlike the target."""
    return -context.distance_to_target(x)


def toward(x: Float[Tensor, "n c h w"], context: Context) -> Float[Tensor, " n"]:
    """Adversarial: d(x, x_0), go on looking like the seed."""
    return context.distance_to_seed(x)


REGULARIZERS: dict[str, Regularizer] = {"away": away, "toward": toward}


def random_transform(x: Float[Tensor, "n c h w"], generator: torch.Generator) -> Float[Tensor, "n c h w"]:
    """Each image shifted by up to 1/14 of its size, turned by up to 10 degrees, scaled by 0.9 to 1.1; zeros outside.

    One bilinear resampling, a draw of its own for each image, and the size is kept (the original draws once a batch,
    shifts to the right and down only and lets the size change).
    """
    n = len(x)
    u = torch.rand(4, n, generator=generator, device=x.device) * 2 - 1
    angle, scale = u[0] * torch.pi / 18, 1 + 0.1 * u[1]
    shift = u[2:] / 7  # a grid spans 2, so 1/7 is 1/14 of the image
    cosine, sine = torch.cos(angle) / scale, torch.sin(angle) / scale
    height, width = x.shape[2:]  # a grid spans 2 in either direction, so a turn is one in pixels only with their ratio
    rows = [torch.stack([cosine, -sine * (height / width), shift[0]], 1)]
    rows += [torch.stack([sine * (width / height), cosine, shift[1]], 1)]
    theta = torch.stack(rows, 1)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)
