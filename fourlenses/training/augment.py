"""Augmentation of a whole batch at once, on the device where it lies.

To add one, write a function of images, padding, flip and generator, and name it in AUGMENTATIONS.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Generator, Tensor
from torch.nn import functional as F


def crop_and_flip(
    x: Float[Tensor, "n c h w"], padding: int, flip: bool, generator: Generator
) -> Float[Tensor, "n c h w"]:
    """Shift every image by its own random offset, zeros coming in at the border, and mirror every other one.

    out[i, c, r, s] = x[i, c, r + dy_i, s' + dx_i] with dy_i, dx_i uniform on {-padding, ..., padding}, zero outside the
    image, and s' = s, or width - 1 - s for the images that a fair coin mirrors.

    Arguments: `x`, images, any range; `padding`, the largest shift in pixels, from 0; `flip`, whether to mirror;
    `generator`, the random stream, on any device.
    Returns new images of the same shape, type, device and memory format.
    Raises ValueError if `padding` is negative.
    Source: the crop and flip of He et al., CVPR 2016, section 4.2.
    """
    if padding < 0:
        raise ValueError(f"padding is {padding}, but a shift has at least 0 pixels")
    n, c, h, w = x.shape
    if n == 0 or (padding == 0 and not flip):
        return x.clone()
    drawn = generator.device
    shifts = torch.randint(2 * padding + 1, (2, n, 1), generator=generator, device=drawn).to(x.device)
    rows = torch.arange(h, device=x.device) + shifts[0]  # (n, h), in the padded image
    columns = torch.arange(w, device=x.device).expand(n, w)
    if flip:
        mirrored = torch.randint(2, (n, 1), generator=generator, device=drawn).to(x.device) == 1
        columns = torch.where(mirrored, w - 1 - columns, columns)
    columns = columns + shifts[1]
    padded = F.pad(x, (padding, padding, padding, padding))
    images = torch.arange(n, device=x.device)
    # one gather of whole pixels; channels last, so that a pixel's channels lie together
    pixels = padded.permute(0, 2, 3, 1)[images[:, None, None], rows[:, :, None], columns[:, None, :]]
    out = pixels.permute(0, 3, 1, 2)
    if x.is_contiguous():
        return out.contiguous()
    return out


def simclr_view(
    x: Float[Tensor, "n c h w"], flip: bool, jitter: bool, generator: Generator
) -> Float[Tensor, "n c h w"]:
    """A view for contrastive learning: resized crop, mirror, colour jitter, greyscale and blur, drawn for each image.

    Arguments: `x`, images in [0, 1]; `flip`, whether to mirror every other one; `jitter`, whether to change colours
    (brightness and contrast alone for images that are grey); `generator`, the random stream, on any device.
    Returns new images in [0, 1], of the same shape.
    Source: Chen et al., ICML 2020, appendix A, with the strengths of Nanda et al. 2023, code; hue is not shifted.
    """
    x = resized_crop(x, flip, generator)
    if jitter:
        x = colour_jitter(x, generator)
    sigma, coin = _uniform(2, x, generator)
    return torch.where(coin < 0.5, gaussian_blur(x, (0.2 + 1.8 * sigma).flatten()), x).clamp(0, 1)


def resized_crop(x: Float[Tensor, "n c h w"], flip: bool, generator: Generator) -> Float[Tensor, "n c h w"]:
    """A random box of each image, stretched to the whole frame and mirrored by a fair coin, in one bilinear resampling.

    The box has a share s ~ U(0.08, 1) of the area and q times the image's aspect, log q uniform on the part of
    [log 3/4, log 4/3] for which the box fits (s <= q <= 1/s), and lies anywhere inside the image. (The usual
    implementation draws anew what does not fit, which makes large boxes rarer.)

    Arguments: `x`, images, any range; `flip`, whether to mirror; `generator`, the random stream, on any device.
    """
    if len(x) == 0:
        return x.clone()
    u = _uniform(5, x, generator).flatten(1)
    area = 0.08 + 0.92 * u[0]
    aspect = torch.exp((2 * u[1] - 1) * torch.minimum(-area.log(), area.new_tensor(math.log(4 / 3))))
    width, height = (area * aspect).sqrt(), (area / aspect).sqrt()  # of the image's; a grid spans 2
    right, down = (2 * u[2] - 1) * (1 - width), (2 * u[3] - 1) * (1 - height)
    mirror = torch.where(u[4] < 0.5, -1.0, 1.0) if flip else 1.0
    zero = torch.zeros_like(width)
    theta = torch.stack([torch.stack([mirror * width, zero, right], 1), torch.stack([zero, height, down], 1)], 1)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def colour_jitter(x: Float[Tensor, "n c h w"], generator: Generator) -> Float[Tensor, "n c h w"]:
    """Brightness, then contrast, then (three channels) saturation times U(0.2, 1.8), for four images out of five.

    One image of three channels out of five becomes grey besides. Images in [0, 1] stay in it.
    """
    factors = 0.2 + 1.6 * _uniform(3, x, generator)
    jittered, grey = _uniform(2, x, generator)
    bright, contrasted, saturated = torch.where(jittered < 0.8, factors, 1.0)
    x = contrast(brightness(x, bright), contrasted)
    return saturation(x, torch.where(grey < 0.2, 0.0, saturated)) if x.shape[1] == 3 else x


def brightness(x: Float[Tensor, "n c h w"], factor: Float[Tensor, "n 1 1 1"]) -> Float[Tensor, "n c h w"]:
    """factor x, clipped to [0, 1]."""
    return (factor * x).clamp(0, 1)


def contrast(x: Float[Tensor, "n c h w"], factor: Float[Tensor, "n 1 1 1"]) -> Float[Tensor, "n c h w"]:
    """m + factor (x - m), clipped to [0, 1], with m the mean luminance of the image."""
    return luminance(x).mean((2, 3), keepdim=True).lerp(x, factor).clamp(0, 1)


def saturation(x: Float[Tensor, "n 3 h w"], factor: Float[Tensor, "n 1 1 1"]) -> Float[Tensor, "n 3 h w"]:
    """l + factor (x - l), clipped to [0, 1], with l the luminance of each pixel; factor 0 makes an image grey."""
    return luminance(x).lerp(x, factor).clamp(0, 1)


def luminance(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 1 h w"]:
    """0.2989 red + 0.587 green + 0.114 blue (ITU-R BT.601, as torchvision rounds it); the mean of other channels."""
    if x.shape[1] != 3:
        return x.mean(1, keepdim=True)
    return (x * x.new_tensor([0.2989, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)


def gaussian_blur(x: Float[Tensor, "n c h w"], sigma: Float[Tensor, " n"]) -> Float[Tensor, "n c h w"]:
    """Each image blurred by its own Gaussian: out = K_h x K_w^T, K_ij = exp(-(i - j)^2 / 2 sigma^2) / sum over j.

    The weights that would fall outside the image go to the pixels inside, and none are cut off. `sigma` is in pixels,
    above 0.
    """

    def kernel(size: int) -> Float[Tensor, "n 1 size size"]:
        at = torch.arange(size, device=x.device, dtype=x.dtype)
        return torch.softmax(-((at[:, None] - at) ** 2) / (2 * sigma.view(-1, 1, 1, 1) ** 2), dim=-1)

    return kernel(x.shape[2]) @ x @ kernel(x.shape[3]).mT


def _uniform(draws: int, x: Tensor, generator: Generator) -> Float[Tensor, "draws n 1 1 1"]:
    """Numbers in [0, 1), on the device of `x`."""
    return torch.rand(draws, len(x), 1, 1, 1, generator=generator, device=generator.device).to(x.device)


Augmentation = Callable[[Tensor, int, bool, Generator], Tensor]  # (images in [0, 1], padding, flip, generator) -> same

AUGMENTATIONS: dict[str, Augmentation] = {
    "crop": crop_and_flip,
    "none": lambda x, padding, flip, generator: x,
    "simclr": lambda x, padding, flip, generator: simclr_view(x, flip, True, generator),
    "simclr-without-colour": lambda x, padding, flip, generator: simclr_view(x, flip, False, generator),
}
