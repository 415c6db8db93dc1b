"""What an inversion minimises: the regularizer-free loss, random transforms, and the regularizers.

To add a regularizer, write a function of images and their context and name it in REGULARIZERS.
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


@dataclass(frozen=True)
class Regularizer:
    """What is made small beside L_free: `function`, images (n, c, h, w) in [0, 1] and their context -> (n,).

    `balanced`: a weight of 1 makes it as large as L_free (see `invert`); otherwise the function has coefficients of
    its own, beside which L_free has 1, and the weight multiplies them.
    """

    function: Callable[[Tensor, Context], Tensor]
    balanced: bool


def representation_error(g: Float[Tensor, "n m"], target: Float[Tensor, "n m"]) -> Float[Tensor, " n"]:
    """L_free = ||g(n(x)) - g(n(x_t))||_2 / ||g(n(x_t))||_2 per image (Nanda et al. 2023, regularizer-free loss).

    It is undefined for a target whose representation is zero (`refuse_zero`).
    """
    return (g - target).norm(dim=1) / target.norm(dim=1)


def refuse_zero(target: Float[Tensor, "n m"]) -> None:
    """Raises ValueError for a target whose representation is zero: the relative error to it is undefined."""
    if (target.norm(dim=1) == 0).any():
        raise ValueError("a target's representation is zero: its relative error is undefined")


def away(x: Float[Tensor, "n c h w"], context: Context) -> Float[Tensor, " n"]:
    """Adversarial: -d(x, x_t), look unlike the target."""
    return -context.distance_to_target(x)


def toward(x: Float[Tensor, "n c h w"], context: Context) -> Float[Tensor, " n"]:
    """Adversarial: d(x, x_0), go on looking like the seed."""
    return context.distance_to_seed(x)


def tv(x: Float[Tensor, "n c h w"], context: Context) -> Float[Tensor, " n"]:
    """Human-leaning: 5e-5 TV, TV = sum of the squared differences of vertical and of horizontal neighbours.

    Source: spec 2.6 (b) after Nanda et al. 2023 (released code), divided by 10, as are the four below: the code's
    losses have 10 L_free.
    """
    vertical, horizontal = x.diff(dim=2), x.diff(dim=3)
    return 5e-5 * (vertical.square().sum((1, 2, 3)) + horizontal.square().sum((1, 2, 3)))


def blurred(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """Each pixel's mean with the pixels around it that the image has, 1 for itself and 0.5 for each of the others."""
    box = {"kernel_size": 3, "stride": 1, "padding": 1, "divisor_override": 1}  # sums; no convolution, so no bfloat16
    return (F.avg_pool2d(x, **box) + x) / (F.avg_pool2d(torch.ones_like(x), **box) + 1)


def blur(x: Float[Tensor, "n c h w"], context: Context) -> Float[Tensor, " n"]:
    """Human-leaning: 5e-5 Blur, Blur = 1/2 ||x - blurred(x)||_2^2 with blurred(x) a constant in the gradient."""
    return 5e-5 * 0.5 * (x - blurred(x).detach()).square().sum((1, 2, 3))


def l1(x: Float[Tensor, "n c h w"], context: Context) -> Float[Tensor, " n"]:
    """Human-leaning: 5e-6 ||x - 0.5||_1."""
    return 5e-6 * (x - 0.5).abs().sum((1, 2, 3))


def frequency(x: Float[Tensor, "n c h w"], context: Context) -> Float[Tensor, " n"]:
    """Human-leaning: 5e-5 TV + 5e-5 Blur + 5e-6 ||x - 0.5||_1."""
    return tv(x, context) + blur(x, context) + l1(x, context)


def tv_l6(x: Float[Tensor, "n c h w"], context: Context) -> Float[Tensor, " n"]:
    """Human-leaning: 5e-5 TV + 0.1 ||x||_6, after Mahendran and Vedaldi 2014 (arXiv:1412.0035)."""
    return tv(x, context) + 0.1 * x.flatten(1).norm(p=6, dim=1)


REGULARIZERS: dict[str, Regularizer] = {
    "away": Regularizer(away, balanced=True),
    "toward": Regularizer(toward, balanced=True),
    "tv": Regularizer(tv, balanced=False),
    "blur": Regularizer(blur, balanced=False),
    "l1": Regularizer(l1, balanced=False),
    "frequency": Regularizer(frequency, balanced=False),
    "tv-l6": Regularizer(tv_l6, balanced=False),
}


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
