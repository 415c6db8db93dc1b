"""Crop and flip: against a plain loop, and what must hold for any batch."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fourlenses.training.augment import crop_and_flip


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
