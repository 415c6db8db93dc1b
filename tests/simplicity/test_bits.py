"""Bits per dimension."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fourlenses.nets.glow import COUPLINGS, Glow, build_glow
from fourlenses.simplicity.bits import bits_per_dimension, dequantisation, from_flow, measured, rounded, to_flow


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def used(shape=(1, 4, 4), coupling="affine", seed=0, spread=0.2) -> Glow:
    """A Glow every weight of which has moved away from where it starts."""
    glow = build_glow(shape, n_scales=2, depth=2, width=5, coupling=coupling, generator=stream(seed))
    with torch.no_grad():
        for parameter in glow.parameters():
            parameter += spread * torch.randn(parameter.shape, generator=stream(seed))
    return glow


def test_levels_become_the_lower_ends_of_cells_of_one_256th():
    levels = torch.arange(256, dtype=torch.float64)
    torch.testing.assert_close(to_flow(levels / 255), levels / 256 - 0.5, rtol=0, atol=1e-15)
    torch.testing.assert_close(from_flow(to_flow(levels / 255)), levels / 255, rtol=0, atol=1e-15)


@given(values=st.lists(st.floats(0, 1, width=32), min_size=1, max_size=20))
def test_rounding_gives_the_nearest_level_with_gradient_one(values):
    x = torch.tensor(values, requires_grad=True)
    found = rounded(x)
    levels = torch.arange(256) / 255
    assert all(value in levels for value in found)  # exactly: what is scored is what a file holds
    assert ((found - x).abs() <= (levels - x[:, None]).abs().min(1).values + 1e-7).all()
    (3 * found).sum().backward()
    assert (x.grad == 3).all()


def test_a_uniform_density_gives_eight_bits(monkeypatch):
    glow, x = used((3, 4, 4)), torch.rand(5, 3, 4, 4, generator=stream())
    monkeypatch.setattr(glow, "log_density", lambda z: z.new_zeros(len(z)))
    torch.testing.assert_close(bits_per_dimension(glow, x, torch.zeros_like(x)), torch.full((5,), 8.0))


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 4, 8)])
def test_bits_against_the_formula_written_out(shape):
    glow, size = used(shape).double(), math.prod(shape)
    x, u = torch.rand(2, 3, *shape, generator=stream(), dtype=torch.float64)
    for i in range(3):
        log_p = float(glow.log_density((x[i] * 255 / 256 - 0.5 + u[i] / 256)[None]).detach())
        exact = -(log_p - size * math.log(256)) / (size * math.log(2))
        assert float(bits_per_dimension(glow, x, u)[i].detach()) == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("coupling", COUPLINGS)
@pytest.mark.parametrize("channels", [1, 3])
def test_gradient_against_finite_differences(channels, coupling):
    glow = used((channels, 4, 4), coupling).double().requires_grad_(False)
    x, u = torch.rand(2, 2, channels, 4, 4, generator=stream(1), dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: bits_per_dimension(glow, x, u), x.requires_grad_(True))


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 99), coupling=st.sampled_from(COUPLINGS))
def test_no_density_codes_uniform_noise_in_fewer_than_eight_bits(seed, coupling):
    glow = used(coupling=coupling, seed=seed, spread=0.1)
    noise = torch.randint(256, (400, 1, 4, 4), generator=stream(seed + 1), dtype=torch.uint8)
    bits = measured(glow, noise, stream(seed))
    assert bits.mean() > 8 - 3 * bits.std() / 20


@settings(deadline=None, max_examples=20)
@given(level=st.integers(0, 255), other=st.integers(0, 255), seed=st.integers(0, 99))
def test_bits_of_any_image_are_finite(level, other, seed):
    images = torch.full((2, 1, 4, 4), level, dtype=torch.uint8)
    images[1, :, ::2] = other
    assert torch.isfinite(measured(used(seed=seed, spread=0.5), images, stream())).all()


def test_measured_against_the_same_noise_by_hand():
    glow = used()
    images = torch.randint(256, (7, 1, 4, 4), generator=stream(1), dtype=torch.uint8)
    found = measured(glow, images, stream(2), batch=3)
    exact = bits_per_dimension(glow.double(), images.double() / 255, dequantisation((7, 1, 4, 4), stream(2)).double())
    assert found.dtype == torch.float64 and not found.requires_grad
    torch.testing.assert_close(found, exact.detach(), rtol=1e-5, atol=1e-5)
    assert measured(glow.float(), images[:0], stream()).shape == (0,)


def test_noise_fills_the_cell_of_a_level():
    noise = dequantisation((100, 1, 8, 8), stream(3))
    assert noise.min() >= 0 and noise.max() < 1
    assert float(noise.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(noise.std()) == pytest.approx(12**-0.5, abs=0.02)
    assert torch.equal(noise, dequantisation((100, 1, 8, 8), stream(3)))
