"""What ordinary codecs need for an image: measures of simplicity that learned nothing."""

from io import BytesIO

import numpy as np
import torch
from jaxtyping import Float64, UInt8
from numpy import ndarray
from PIL import Image
from torch import Tensor


def png_bits(x: UInt8[Tensor, "n c h w"]) -> Float64[Tensor, " n"]:
    """Bits per dimension of each image as a PNG file, the whole of it: 8 bytes / (c h w).

    Arguments: `x`, images of one (grey) or three (colour) channels, on any device. Returns the bits on the CPU.
    """
    return _bits(x, "PNG", optimize=True)


def jpeg_bits(x: UInt8[Tensor, "n c h w"], quality: int = 75) -> Float64[Tensor, " n"]:
    """Bits per dimension of each image as a JPEG file of a quality from 1 to 100, the whole of it."""
    return _bits(x, "JPEG", quality=quality)


def jpeg(x: UInt8[Tensor, "n c h w"], quality: int) -> UInt8[Tensor, "n c h w"]:
    """The images after JPEG of a quality from 1 (least) to 100; of one or three channels."""
    decoded = [np.asarray(Image.open(BytesIO(_file(each, "JPEG", quality=quality)))) for each in _pixels(x)]
    n, c, h, w = x.shape
    pixels = np.array(decoded, np.uint8).reshape(n, h, w, c)
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().to(x.device)


def _bits(x: UInt8[Tensor, "n c h w"], codec: str, **options: int) -> Float64[Tensor, " n"]:
    n_bytes = [len(_file(each, codec, **options)) for each in _pixels(x)]
    return 8 * torch.tensor(n_bytes, dtype=torch.float64) / x[0].numel() if n_bytes else torch.empty(0).double()


def _pixels(x: UInt8[Tensor, "n c h w"]) -> ndarray:
    """Rows, columns and, for colour images, channels, as Pillow has them."""
    pixels = x.cpu().permute(0, 2, 3, 1).contiguous().numpy()
    return pixels[..., 0] if x.shape[1] == 1 else pixels


def _file(pixels: ndarray, codec: str, **options: int) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, codec, **options)
    return file.getvalue()
