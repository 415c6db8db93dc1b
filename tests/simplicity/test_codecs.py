"""Bits of image formats."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.io import ImageReadMode, decode_image, decode_jpeg, encode_jpeg

from fourlenses.simplicity.codecs import jpeg, jpeg_bits, png_bits

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding")


def pixels(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def smooth(n: int, c: int, side: int) -> torch.Tensor:
    coarse = pixels(n, c, 4, 4).float()
    return torch.nn.functional.interpolate(coarse, [side, side], mode="bicubic").clamp(0, 255).byte()


@settings(deadline=None, max_examples=20)
@given(n=st.integers(0, 4), c=st.sampled_from([1, 3]), h=st.integers(1, 20), w=st.integers(1, 20))
def test_bits_are_the_length_of_a_file_that_holds_the_image(n, c, h, w):
    x = pixels(n, c, h, w)
    bits = png_bits(x)
    assert bits.shape == (n,) and bits.dtype == torch.float64
    for image, found in zip(x, bits, strict=True):
        file = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy().squeeze(2 if c == 1 else ())).save(file, "png", optimize=True)
        content = torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8)
        read = decode_image(content, ImageReadMode.GRAY if c == 1 else ImageReadMode.RGB)
        assert torch.equal(read, image), "another library reads the same image"
        assert float(found) * c * h * w == pytest.approx(8 * len(content))


@pytest.mark.parametrize("bits", [png_bits, jpeg_bits])
def test_flat_images_need_fewer_bits_than_smooth_ones_and_these_fewer_than_noise(bits):
    flat, noisy = torch.full((4, 3, 32, 32), 90, dtype=torch.uint8), pixels(4, 3, 32, 32)
    needed = [bits(x) for x in (flat, smooth(4, 3, 32), noisy)]
    assert needed[0].max() < needed[1].min() and needed[1].max() < needed[2].min()
    assert (png_bits(noisy) > 8).all(), "noise does not compress"


@pytest.mark.parametrize("c", [1, 3])
@pytest.mark.parametrize("quality", [5, 50, 95])
def test_jpeg_against_another_library(c, quality):
    x = smooth(3, c, 24)
    found = jpeg(x, quality)
    assert found.shape == x.shape and found.dtype == torch.uint8
    mode = ImageReadMode.GRAY if c == 1 else ImageReadMode.RGB
    for image, mine, bits in zip(x, found, jpeg_bits(x, quality), strict=True):
        file = encode_jpeg(image, quality)
        np.testing.assert_allclose(mine.int(), decode_jpeg(file, mode).int(), atol=2)
        assert float(bits) * image.numel() / 8 == pytest.approx(len(file), rel=0.02)


def test_less_quality_is_fewer_bits_and_a_worse_image():
    x = smooth(8, 1, 28)
    x[..., ::2, :] //= 2
    qualities = [1, 10, 40, 75, 100]
    bits = [float(jpeg_bits(x, quality).mean()) for quality in qualities]
    errors = [float((jpeg(x, quality).float() - x.float()).square().mean()) for quality in qualities]
    assert bits == sorted(bits) and errors == sorted(errors, reverse=True) and errors[-1] < 1
    assert torch.equal(jpeg_bits(x), jpeg_bits(x, 75))
