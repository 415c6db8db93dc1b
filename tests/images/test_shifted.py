"""Images that a network was not trained on."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fourlenses.images import Images
from fourlenses.images.shifted import SETS, fitted, outside


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pixels(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, shape, generator=stream(seed), dtype=torch.uint8)


def never(name: str):
    raise AssertionError(f"{name} was loaded")


def part(x: torch.Tensor, name: str = "all"):
    return lambda _: {name: Images(x, torch.zeros(len(x), dtype=torch.int64)), "train": None}


@settings(deadline=None, max_examples=40)
@given(name=st.sampled_from([*SETS, "another"]), c=st.sampled_from([1, 3]), c_other=st.sampled_from([1, 3]),
       h=st.integers(4, 12), w=st.integers(4, 12), n=st.integers(1, 9), seed=st.integers(0, 99))  # fmt: skip
def test_every_set_has_the_shape_of_the_images(name, c, c_other, h, w, n, seed):
    x, other = pixels(9, c, h, w), pixels(12, c_other, 10, 7, seed=1)
    found = outside(name, x, part(other), n, stream(seed))
    assert found.shape == (n, c, h, w) and found.dtype == torch.uint8
    assert torch.equal(found, outside(name, x, part(other), n, stream(seed)))
    assert torch.equal(x, pixels(9, c, h, w)), "the images themselves stay as they were"


def test_noise_is_uniform():
    found = outside("noise", pixels(100, 1, 28, 28), never, 100, stream())
    counts = torch.bincount(found.flatten().long(), minlength=256) / found.numel() * 256
    assert (counts - 1).abs().max() < 0.3
    assert not torch.equal(found, outside("noise", pixels(100, 1, 28, 28), never, 100, stream(1)))


def test_blur_of_a_point_is_a_gaussian_of_two_pixels_in_28():
    x = torch.zeros(2, 1, 28, 28, dtype=torch.uint8)
    x[0, 0, 12:16, 12:16] = 255
    found = outside("blurred", x, never, 2, stream())
    assert found[1].max() == 0
    weight = [[math.exp(-(i**2 + j**2) / 8) for j in range(-9, 10)] for i in range(-9, 10)]
    total = sum(map(sum, weight))
    for i, j in [(14, 14), (10, 13), (13, 19), (7, 8)]:
        near = sum(weight[i - k + 9][j - m + 9] for k in range(12, 16) for m in range(12, 16)
                   if abs(i - k) < 10 and abs(j - m) < 10)  # fmt: skip
        assert int(found[0, 0, i, j]) == pytest.approx(255 * near / total, abs=1)


def test_blur_is_as_wide_for_the_size_and_keeps_flat_images():
    flat = torch.full((1, 3, 14, 14), 77, dtype=torch.uint8)
    assert torch.equal(outside("blurred", flat, never, 1, stream()), flat)
    small, large = (torch.zeros(1, 1, side, side, dtype=torch.uint8) for side in (28, 56))
    small[..., 14:] = large[..., 28:] = 240
    coarse = torch.nn.functional.avg_pool2d(outside("blurred", large, never, 1, stream()).float(), 2)
    assert (coarse - outside("blurred", small, never, 1, stream()).float()).abs().max() < 6


def test_images_are_turned_to_the_left_and_to_the_right_in_turn():
    x = pixels(5, 3, 6, 6)
    found = outside("rotated", x, never, 4, stream())
    assert len(found) == 4
    for i, image in enumerate(found):
        for channel, before in zip(image.numpy(), x[i].numpy(), strict=True):
            np.testing.assert_array_equal(channel, np.rot90(before, 1 if i % 2 == 0 else -1))


def test_of_a_data_set_images_are_drawn_from_its_test_part():
    other = torch.arange(40, dtype=torch.uint8).view(40, 1, 1, 1).expand(-1, 1, 8, 8).contiguous()
    x = pixels(3, 1, 8, 8)
    for name in ("test", "all"):
        found = outside("another", x, part(other, name), 30, stream(3))[:, 0, 0, 0].tolist()
        assert len(set(found)) == 30 and found != sorted(found), "without replacement, in any order"
    assert len(outside("another", x, part(other), 50, stream())) == 40, "no more than there are"


def test_colours_become_their_mean_and_grey_three_equal_channels():
    colours = torch.tensor([0, 90, 150], dtype=torch.uint8).view(1, 3, 1, 1).expand(4, 3, 8, 8)
    assert (outside("another", pixels(2, 1, 8, 8), part(colours), 4, stream()) == 80).all()
    grey = pixels(4, 1, 8, 8, seed=2)
    found = outside("another", pixels(2, 3, 8, 8), part(grey), 4, stream())
    assert all(torch.equal(found[:, channel], found[:, 0]) for channel in range(3))
    assert {each.tobytes() for each in found[:, :1].numpy()} == {each.tobytes() for each in grey.numpy()}


@pytest.mark.parametrize(("size", "side"), [(40, 28), (12, 28), (64, 16)])
def test_another_size_is_resampled_as_pillow_does(size, side):
    smooth = torch.nn.functional.avg_pool2d(pixels(1, 1, size + 4, size + 4).float(), 5, 1).byte()
    found = outside("another", pixels(2, 1, side, side), part(smooth), 1, stream())[0, 0]
    expected = Image.fromarray(smooth[0, 0].numpy()).resize((side, side), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(found.int().numpy(), np.asarray(expected).astype(int), atol=1)


@settings(deadline=None, max_examples=30)
@given(c=st.sampled_from([1, 3]), c_other=st.sampled_from([1, 3]), side=st.integers(2, 12), level=st.integers(0, 255))
def test_flat_images_stay_flat_at_any_size_and_images_that_fit_stay_themselves(c, c_other, side, level):
    x, flat = pixels(2, c, side, 6), torch.full((3, c_other, 9, 5), level, dtype=torch.uint8)
    assert torch.equal(fitted(flat, x), torch.full((3, c, side, 6), level, dtype=torch.uint8))
    assert fitted(x, pixels(1, c, side, 6)) is x
