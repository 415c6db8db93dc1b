"""Augmentation of a whole batch at once, on the device where it lies."""

import torch
from jaxtyping import Float
from torch import Generator, Tensor


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
    padded = torch.nn.functional.pad(x, (padding, padding, padding, padding))
    images = torch.arange(n, device=x.device)
    # one gather of whole pixels; channels last, so that a pixel's channels lie together
    pixels = padded.permute(0, 2, 3, 1)[images[:, None, None], rows[:, :, None], columns[:, None, :]]
    out = pixels.permute(0, 3, 1, 2)
    if x.is_contiguous():
        return out.contiguous()
    return out
