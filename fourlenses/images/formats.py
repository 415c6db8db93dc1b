"""The file formats of the data sets, decoded into uint8 images and int64 labels."""

import io
import math
import struct
import warnings
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from fourlenses.errors import UserError
from fourlenses.images.dataset import Bar, Images

REMEDY = "get the file from its original source"
PILLOW_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM")


def decode_idx(images: bytes, labels: bytes) -> Images:
    """Images and labels in the idx format of MNIST: a big-endian header, then unsigned bytes.

    Raises UserError if a header or a length is another. Source: Y. LeCun, the MNIST page, "file formats".
    """
    x, y = _idx(images, 3), _idx(labels, 1)
    return Images(torch.from_numpy(x)[:, None], torch.from_numpy(y).long())


def _idx(data: bytes, dimensions: int) -> np.ndarray:
    start = 4 + 4 * dimensions
    magic = bytes([0, 0, 8, dimensions])
    if len(data) < start or data[:4] != magic:
        raise UserError(f"an idx file that starts with {data[:4].hex()}", f"{magic.hex()}", REMEDY)
    shape = struct.unpack(f">{dimensions}I", data[4:start])
    if len(data) - start != math.prod(shape):
        raise UserError(f"an idx file of {len(data) - start} values", f"{math.prod(shape)}, as its header says", REMEDY)
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape).copy()


def decode_cifar(batches: Sequence[bytes], n_labels: int) -> Images:
    """The binary CIFAR format: records of `n_labels` label bytes, the last one the finest, and 3 x 32 x 32 pixels.

    Raises UserError if a file is no whole number of records. Source: A. Krizhevsky, the CIFAR page, "binary version".
    """
    record = n_labels + 3 * 32 * 32
    for batch in batches:
        if len(batch) % record:
            raise UserError(f"a CIFAR batch of {len(batch)} bytes", f"records of {record} bytes", REMEDY)
    rows = np.frombuffer(b"".join(batches), np.uint8).reshape(-1, record)
    x = torch.from_numpy(rows[:, n_labels:].reshape(-1, 3, 32, 32).copy())
    return Images(x, torch.from_numpy(rows[:, n_labels - 1].astype(np.int64)))


def decode_svhn(data: bytes) -> Images:
    """A MATLAB 5 file of SVHN: X (32, 32, 3, n) uint8 and y (n, 1), where the digit 0 has the label 10.

    Raises UserError if it is no MATLAB 5 file or holds other arrays. Source: Netzer et al., 2011, the SVHN page.
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        arrays = loadmat(io.BytesIO(data), variable_names=["X", "y"])
        x, y = arrays["X"], arrays["y"]
    except (MatReadError, NotImplementedError, KeyError, ValueError, TypeError, OSError, EOFError) as error:
        raise UserError(f"a file that cannot be read ({error})", "a MATLAB 5 file with X and y", REMEDY) from None
    if x.dtype != np.uint8 or x.ndim != 4 or not np.issubdtype(y.dtype, np.number) or y.size != x.shape[-1]:
        given = f"X of {x.dtype} {x.shape} and y of {y.dtype} {y.shape}"
        raise UserError(given, "X of uint8 (height, width, 3, n) and y (n, 1)", REMEDY)
    labels = torch.from_numpy(y.reshape(-1).astype(np.int64))
    return Images(torch.from_numpy(np.ascontiguousarray(x.transpose(3, 2, 0, 1))), labels % 10)


def decode_pictures(
    pictures: Sequence[tuple[str, bytes]],
    labels: Sequence[int],
    image_shape: tuple[int, int, int],
    bar: Bar,
    *,
    convert: bool = False,
    crop: bool = False,
) -> Images:
    """Encoded pictures (JPEG, PNG, ...) of one size and mode.

    Arguments: `pictures`, name and content of each; `labels`, the class of each; `image_shape`, (channels, height,
    width) of every image, where 1 channel is grey and 3 are RGB; `bar`, shows progress; `convert`, whether a picture
    of another mode is converted; `crop`, whether one of another size is scaled until its shorter side fits, and cut to
    its centre.
    Raises UserError that names the picture which cannot be decoded or, unless allowed, has another size or mode.
    """
    c, h, w = image_shape
    x = np.empty((len(pictures), *image_shape), np.uint8)
    for i, (name, data) in enumerate(bar(pictures, "decode")):
        x[i] = _open(name, data, image_shape, convert, crop).reshape(h, w, c).transpose(2, 0, 1)
    return Images(torch.from_numpy(x), torch.tensor(labels, dtype=torch.int64))


def picture_shape(name: str, data: bytes) -> tuple[int, int, int]:
    """(channels, height, width) of one encoded picture; raises UserError unless it is grey or RGB."""
    array = _open(name, data, None, False, False)
    return (1 if array.ndim == 2 else 3, *array.shape[:2])


def _open(name: str, data: bytes, image_shape: tuple[int, int, int] | None, convert: bool, crop: bool) -> np.ndarray:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(data), formats=PILLOW_FORMATS)
            picture.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        reason = str(error).replace(repr(data), "").split(" <")[0]
        raise UserError(f"{name} cannot be decoded ({reason})", "a whole picture", "replace or remove it") from None
    modes = ("L", "RGB") if image_shape is None else ("L",) if image_shape[0] == 1 else ("RGB",)
    if picture.mode not in modes:
        if not convert:
            expected = " or ".join(modes) + (", as the other images" if image_shape else "")
            raise UserError(f"{name} has the mode {picture.mode}", expected, "convert or remove it")
        picture = picture.convert(modes[0])
    if image_shape is not None and picture.size != (size := (image_shape[2], image_shape[1])):
        if not crop:
            given = f"{name} has {picture.width} x {picture.height} pixels"
            raise UserError(given, f"{size[0]} x {size[1]}, as the other images", "resize or remove it")
        picture = _centre(picture, size)
    return np.asarray(picture)


def _centre(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    scale = max(size[0] / picture.width, size[1] / picture.height)
    if scale != 1:
        width, height = (max(s, round(p * scale)) for s, p in zip(size, picture.size, strict=True))
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (picture.width - size[0]) // 2, (picture.height - size[1]) // 2
    return picture.crop((left, top, left + size[0], top + size[1]))
