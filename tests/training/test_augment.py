"""Augmentation: against plain loops and torchvision, and what must hold for any batch."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest
from torchvision.transforms import functional as TF

from fourlenses.training import augment
from fourlenses.training.augment import (
    AUGMENTATIONS,
    brightness,
    colour_jitter,
    contrast,
    crop_and_flip,
    gaussian_blur,
    resized_crop,
    saturation,
    simclr_view,
)


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def loop(x, padding, flip, seed):
    """The same drawing of shifts and flips, then one image at a time."""
    generator = torch.Generator().manual_seed(seed)
    n, c, h, w = x.shape
    shifts = torch.randint(2 * padding + 1, (2, n, 1), generator=generator)
    mirrored = torch.randint(2, (n, 1), generator=generator) if flip else torch.zeros(n, 1)
    out = torch.zeros_like(x)
    for i in range(n):
        for r in range(h):
            for s in range(w):
                row = r + int(shifts[0, i]) - padding
                column = (w - 1 - s if mirrored[i] else s) + int(shifts[1, i]) - padding
                if 0 <= row < h and 0 <= column < w:
                    out[i, :, r, s] = x[i, :, row, column]
    return out


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 5), st.sampled_from([1, 3]), st.integers(1, 7), st.integers(1, 7), st.integers(0, 4), st.booleans(),
    st.integers(0, 2**31), st.booleans(),
)  # fmt: skip
def test_equals_plain_loop(n, c, h, w, padding, flip, seed, channels_last):
    x = torch.rand(n, c, h, w, generator=torch.Generator().manual_seed(seed))
    expected = loop(x, padding, flip, seed)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    before = x.clone()
    out = crop_and_flip(x, padding, flip, torch.Generator().manual_seed(seed))
    assert torch.equal(out, expected)
    assert torch.equal(x, before)
    assert out.data_ptr() != x.data_ptr() or n == 0


def test_shifts_are_uniform_and_half_are_mirrored():
    n, padding = 20_000, 2
    x = torch.zeros(n, 1, 9, 9)
    x[:, 0, 4, 3] = 1  # off the centre, so that a mirror shows
    x[:, 0, 4, 4] = 0.5
    out = crop_and_flip(x, padding, True, torch.Generator().manual_seed(0))
    at = (out == 0.5).nonzero()
    bright = (out == 1).nonzero()
    assert len(at) == len(bright) == n
    assert abs((bright[:, 3] > at[:, 3]).float().mean() - 0.5) < 0.02
    for axis in (2, 3):
        share = torch.bincount(at[:, axis] - 2, minlength=5) / n
        assert share.shape == (5,)
        assert (share - 0.2).abs().max() < 0.02


def test_keeps_memory_format_and_type():
    x = torch.rand(4, 3, 8, 8).to(torch.bfloat16).contiguous(memory_format=torch.channels_last)
    out = crop_and_flip(x, 1, True, torch.Generator())
    assert out.dtype == torch.bfloat16
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert crop_and_flip(torch.rand(4, 3, 8, 8), 1, True, torch.Generator()).is_contiguous()


def test_nothing_to_do_is_the_identity_and_a_negative_padding_is_refused():
    x = torch.rand(3, 1, 4, 4)
    assert torch.equal(crop_and_flip(x, 0, False, torch.Generator()), x)
    with pytest.raises(ValueError, match="padding is -1"):
        crop_and_flip(x, -1, False, torch.Generator())


def boxes(n: int, h: int, w: int, flip: bool, seed: int) -> torch.Tensor:
    """(n, 4): left, right, top, bottom of each crop, in shares of the image; left > right where it is mirrored.

    Read off images whose brightness is the column or the row: bilinear resampling keeps a slope as it is.
    """
    ramps = torch.stack([(torch.arange(w) + 0.5).expand(h, w) / w, (torch.arange(h) + 0.5)[:, None].expand(h, w) / h])
    out = resized_crop(ramps.expand(n, -1, -1, -1), flip, stream(seed))
    ends = []
    for along, size in ((out[:, 0, h // 2], w), (out[:, 1, :, w // 2], h)):
        first, second = along[:, size // 2 - 1], along[:, size // 2]  # in the middle, where no border is near
        slope = size * (second - first)
        start = second - slope * (size // 2 + 0.5) / size
        ends += [start, start + slope]
    return torch.stack(ends, 1).double()


@pytest.mark.parametrize("shape", [(28, 28), (20, 40)])
def test_crop_boxes_lie_inside_and_have_the_area_and_aspect_of_simclr(shape):
    left, right, top, bottom = boxes(4000, *shape, True, 0).T
    assert min(left.min(), right.min(), top.min()) > -1e-5 and max(left.max(), right.max(), bottom.max()) < 1 + 1e-5
    width, height = (right - left).abs(), bottom - top
    assert (height > 0).all() and abs(((right < left).double().mean()) - 0.5) < 0.03
    area, aspect = width * height, width / height
    assert 0.08 - 1e-5 < area.min() < 0.085 and kstest(area, "uniform", args=(0.08, 0.92)).pvalue > 1e-3
    assert aspect.min() > 3 / 4 - 1e-4 and aspect.max() < 4 / 3 + 1e-4
    free = area < 3 / 4  # every aspect fits
    assert kstest(aspect[free].log(), "uniform", args=(math.log(3 / 4), 2 * math.log(4 / 3))).pvalue > 1e-3
    assert kstest((torch.minimum(left, right) / (1 - width)), "uniform").pvalue > 1e-3
    assert kstest((top / (1 - height)), "uniform").pvalue > 1e-3


@settings(max_examples=10, deadline=None)
@given(h=st.integers(6, 9), w=st.integers(6, 9), flip=st.booleans(), seed=st.integers(0, 1000))
def test_crop_is_bilinear_against_a_float64_loop(h, w, flip, seed):
    x = torch.rand(2, 1, h, w, generator=stream(seed))
    out = resized_crop(x, flip, stream(seed))
    for i, (left, right, top, bottom) in enumerate(boxes(2, h, w, flip, seed).tolist()):
        for r in range(h):
            for s in range(w):
                row = min(max((top + (bottom - top) * (r + 0.5) / h) * h - 0.5, 0), h - 1)
                column = min(max((left + (right - left) * (s + 0.5) / w) * w - 0.5, 0), w - 1)
                up, west = min(int(row), h - 2), min(int(column), w - 2)
                a, b = row - up, column - west
                (nw, ne), (sw, se) = x[i, 0, up : up + 2, west : west + 2].tolist()
                value = (1 - a) * ((1 - b) * nw + b * ne) + a * ((1 - b) * sw + b * se)
                assert float(out[i, 0, r, s]) == pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_colours_against_torchvision(channels):
    x = torch.rand(6, channels, 9, 7, generator=stream())
    factors = torch.tensor([0.0, 0.2, 0.7, 1.0, 1.3, 1.8])
    pairs = [(brightness, TF.adjust_brightness), (contrast, TF.adjust_contrast)]
    if channels == 3:
        pairs.append((saturation, TF.adjust_saturation))
    for ours, theirs in pairs:
        expected = torch.stack([theirs(image, float(factor)) for image, factor in zip(x, factors, strict=True)])
        torch.testing.assert_close(ours(x, factors.view(-1, 1, 1, 1)), expected, atol=2e-6, rtol=0)


def test_saturation_zero_is_greyscale():
    x = torch.rand(4, 3, 5, 5, generator=stream())
    grey = TF.rgb_to_grayscale(x, num_output_channels=3)
    torch.testing.assert_close(saturation(x, torch.zeros(4, 1, 1, 1)), grey, atol=1e-6, rtol=0)


def test_jitter_changes_four_of_five_and_makes_a_fifth_of_coloured_images_grey():
    grey = torch.rand(4000, 1, 3, 3, generator=stream())
    same = (colour_jitter(grey, stream(1)) == grey).flatten(1).all(1).float().mean()
    assert abs(same - 0.2) < 0.02
    coloured = torch.rand(4000, 3, 3, 3, generator=stream())
    out = colour_jitter(coloured, stream(1))
    assert abs((out == coloured).flatten(1).all(1).float().mean() - 0.2 * 0.8) < 0.02
    assert abs(((out.amax(1) - out.amin(1)).flatten(1).amax(1) < 1e-6).float().mean() - 0.2) < 0.02


def test_jitter_has_the_strength_of_simclr():
    flat = torch.full((4000, 1, 2, 2), 0.5)  # contrast leaves it
    factor = colour_jitter(flat, stream())[:, 0, 0, 0] / 0.5
    changed = factor[factor != 1]
    assert kstest(changed, "uniform", args=(0.2, 1.6)).pvalue > 1e-3


@settings(max_examples=10, deadline=None)
@given(h=st.integers(1, 8), w=st.integers(1, 8), c=st.sampled_from([1, 3]), seed=st.integers(0, 1000))
def test_blur_against_a_float64_loop(h, w, c, seed):
    x = torch.rand(2, c, h, w, generator=stream(seed))
    sigma = 0.2 + 1.8 * torch.rand(2, generator=stream(seed))
    out = gaussian_blur(x, sigma)
    for i in range(2):
        for r in range(h):
            for s in range(w):
                total, weights = torch.zeros(c, dtype=torch.float64), 0.0
                for k in range(h):
                    for m in range(w):
                        weight = math.exp(-((r - k) ** 2 + (s - m) ** 2) / (2 * float(sigma[i]) ** 2))
                        total += weight * x[i, :, k, m].double()
                        weights += weight
                torch.testing.assert_close(out[i, :, r, s], (total / weights).float(), atol=1e-5, rtol=0)


def test_blur_is_that_of_torchvision_away_from_the_border():
    x = torch.rand(3, 3, 40, 36, generator=stream())
    sigma = torch.tensor([0.2, 1.0, 2.0])
    expected = torch.stack([TF.gaussian_blur(image, 23, float(s)) for image, s in zip(x, sigma, strict=True)])
    inside = (slice(None), slice(None), slice(12, -12), slice(12, -12))
    torch.testing.assert_close(gaussian_blur(x, sigma)[inside], expected[inside], atol=1e-5, rtol=0)


def test_half_of_the_views_are_blurred_by_up_to_two_pixels(monkeypatch):
    asked = []
    monkeypatch.setattr(augment, "gaussian_blur", lambda x, sigma: asked.append(sigma) or torch.zeros_like(x))
    out = simclr_view(torch.ones(4000, 1, 2, 2), True, False, stream())
    assert abs((out == 0).flatten(1).all(1).float().mean() - 0.5) < 0.03
    assert kstest(asked[0], "uniform", args=(0.2, 1.8)).pvalue > 1e-3


@settings(max_examples=30, deadline=None)
@given(n=st.integers(0, 5), c=st.sampled_from([1, 3]), h=st.integers(2, 12), w=st.integers(2, 12),
       flip=st.booleans(), jitter=st.booleans(), seed=st.integers(0, 1000))  # fmt: skip
def test_views_are_images_and_come_from_the_generator_alone(n, c, h, w, flip, jitter, seed):
    x = torch.rand(n, c, h, w, generator=stream(seed)).round(decimals=1)
    before, kept = torch.get_rng_state(), x.clone()
    out = simclr_view(x, flip, jitter, stream(seed))
    assert torch.equal(torch.get_rng_state(), before) and torch.equal(x, kept)
    assert out.shape == x.shape and out.dtype == x.dtype and ((out >= 0) & (out <= 1)).all()
    assert torch.equal(out, simclr_view(x, flip, jitter, stream(seed)))


def test_each_image_has_a_view_of_its_own():
    x = torch.rand(1, 3, 12, 12, generator=stream()).expand(20, -1, -1, -1)
    out = simclr_view(x, True, True, stream())
    assert all(not torch.equal(out[i], out[j]) for i in range(20) for j in range(i))
    assert not torch.equal(out, simclr_view(x, True, True, stream(1)))


def test_without_colour_a_plain_image_stays_as_it_is():
    x = torch.rand(200, 3, 1, 1, generator=stream()).expand(-1, -1, 12, 12)
    plain = AUGMENTATIONS["simclr-without-colour"](x, 0, True, stream())
    torch.testing.assert_close(plain, x, atol=1e-5, rtol=0)
    coloured = AUGMENTATIONS["simclr"](x, 0, True, stream())
    assert ((coloured - x).abs().flatten(1).amax(1) > 0.01).float().mean() > 0.7


def test_registry_names_the_crop_and_the_identity():
    x = torch.rand(20, 1, 6, 6, generator=stream())
    assert torch.equal(AUGMENTATIONS["none"](x, 2, True, stream()), x)
    assert torch.equal(AUGMENTATIONS["crop"](x, 2, True, stream()), crop_and_flip(x, 2, True, stream()))
    for name, jitter in (("simclr", True), ("simclr-without-colour", False)):
        for flip in (False, True):
            expected = simclr_view(x, flip, jitter, stream())
            assert torch.equal(AUGMENTATIONS[name](x, 2, flip, stream()), expected)
