"""Images that a network was not trained on: other data sets at its image size, noise, and its own images changed."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from jaxtyping import UInt8
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn import functional as F

from fourlenses.images.dataset import Images

SIGMA = 2 / 28  # of the blur, in heights of an image: 2 pixels of MNIST


def noise(x: UInt8[Tensor, "n c h w"], generator: torch.Generator) -> UInt8[Tensor, "n c h w"]:
    """As many images of the same shape, every pixel uniform on 0 to 255."""
    return torch.randint(0, 256, x.shape, generator=generator, dtype=torch.uint8, device=generator.device)


def blurred(x: UInt8[Tensor, "n c h w"], generator: torch.Generator) -> UInt8[Tensor, "n c h w"]:
    """The images after a Gaussian of SIGMA heights, the edge pixels repeated outside."""
    sigma = SIGMA * x.shape[2]
    smooth = gaussian_filter(x.cpu().numpy().astype(np.float32), (0, 0, sigma, sigma), mode="nearest")
    return torch.from_numpy(np.rint(smooth).astype(np.uint8)).to(x.device)


def rotated(x: UInt8[Tensor, "n c h w"], generator: torch.Generator) -> UInt8[Tensor, "n c w h"]:
    """The images turned by 90 degrees: the first to the left, the second to the right, and so on."""
    turned = torch.rot90(x, 1, (2, 3)).clone()
    turned[1::2] = torch.rot90(x[1::2], -1, (2, 3))
    return turned


SETS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "noise": noise,
    "blurred": blurred,
    "rotated": rotated,
}


def outside(
    name: str,
    x: UInt8[Tensor, "n c h w"],
    load: Callable[[str], Mapping[str, Images]],
    n: int,
    generator: torch.Generator,
) -> UInt8[Tensor, "m c h w"]:
    """Images of a set that a network for the images `x` was not trained on, of their shape.

    Arguments: `name`, one of SETS, which change the first n of `x`, or that of a data set, of which n images are drawn
    without replacement (from its part "test" if it has one); `load`, the parts of a data set by its name; `n`, at most
    as many images as there are; `generator`, on the CPU, the source of every draw.
    Returns m <= n images on the CPU, as `fitted` brings them to that shape.
    """
    if name in SETS:
        return fitted(SETS[name](x[:n].cpu(), generator), x)
    parts = load(name)
    found = parts["test" if "test" in parts else "all"].x
    return fitted(found[torch.randperm(len(found), generator=generator)[:n]], x)


def fitted(found: UInt8[Tensor, "m _ _ _"], x: UInt8[Tensor, "n c h w"]) -> UInt8[Tensor, "m c h w"]:
    """The images `found` in the shape of the images `x`.

    Other sizes are resampled bilinearly (with an antialiasing filter where they shrink); colours become their mean for
    grey `x`, and grey becomes three equal channels for coloured `x`. Images of that shape come back as they are.
    """
    channels, *size = x.shape[1:]
    if found.shape[1:] == x.shape[1:]:
        return found
    pixels = found.float()
    if found.shape[1] != channels:
        pixels = pixels.mean(1, keepdim=True).expand(-1, channels, -1, -1)
    if list(found.shape[2:]) != size:
        pixels = F.interpolate(pixels, size, mode="bilinear", antialias=True)
    return pixels.round().clamp(0, 255).byte()
