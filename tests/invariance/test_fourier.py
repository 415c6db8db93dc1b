"""Images as Fourier coefficients."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fourlenses.attacks import STEPS, projected_gradient
from fourlenses.invariance.fourier import decode, encode, step_length

SHAPES = [(1, 8, 8), (3, 6, 10), (2, 5, 8), (1, 7, 9), (3, 8, 5)]


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def coefficients(c: int, h: int, w: int, n: int = 2, scale: float = 1.0, seed: int = 0) -> torch.Tensor:
    return scale * torch.randn(n, c, h, w // 2 + 1, 2, generator=stream(seed), dtype=torch.float64)


def image_by_hand(z: np.ndarray, width: int) -> np.ndarray:
    """One image (c, h, w) from its coefficients (c, h, k, 2), wave by wave."""
    channels, height, columns, _ = z.shape
    i, j = np.arange(height)[:, None], np.arange(width)
    waves = np.zeros((channels, height, width))
    for c in range(channels):
        for a in range(height):
            for b in range(columns):
                frequency = np.hypot(a / height - (a >= height / 2), b / width)
                scale = 1 / max(frequency, 1 / max(height, width))
                phase = 2 * np.pi * (a * i / height + b * j / width)
                twice = 1 if b == 0 or 2 * b == width else 2  # a wave and its mirror, unless the mirror is a column too
                wave = z[c, a, b, 0] * np.cos(phase) - z[c, a, b, 1] * np.sin(phase)
                waves[c] += twice * scale * wave / np.sqrt(height * width)
    waves = waves / 4
    if channels == 3:
        lucid = np.array([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
        waves = np.einsum("dc,chw->dhw", lucid / np.linalg.norm(lucid, axis=0).max(), waves)
    return 1 / (1 + np.exp(-waves))


@pytest.mark.parametrize("shape", SHAPES)
def test_decoded_image_against_a_sum_of_waves(shape):
    z = coefficients(*shape)
    made = decode(z, shape[2])
    assert made.shape == (2, *shape)
    for i in range(2):
        np.testing.assert_allclose(made[i].numpy(), image_by_hand(z[i].numpy(), shape[2]), atol=1e-12)


def test_width_is_even_unless_it_is_given():
    z = coefficients(1, 6, 8)
    assert torch.equal(decode(z), decode(z, 8)) and decode(z, 9).shape == (2, 1, 6, 9)


def test_mean_coefficient_by_hand_grey_and_colour():
    z = torch.zeros(1, 1, 4, 3, 2)
    z[..., 0, 0, 0] = 3.0
    brightness = 3.0 * 4 / 4 / 4  # s = max(h, w), the root of 16 pixels, lucid's 4
    torch.testing.assert_close(decode(z), torch.full((1, 1, 4, 4), 1 / (1 + np.exp(-brightness))))
    logits = decode(z.expand(1, 3, 4, 3, 2) * torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1, 1)).logit()
    expected = brightness * np.array([0.26, 0.27, 0.27]) / 0.461952
    np.testing.assert_allclose(logits[0, :, 0, 0].numpy(), expected, rtol=1e-5)


@settings(deadline=None, max_examples=40)
@given(
    n=st.integers(1, 3), c=st.integers(1, 4), h=st.integers(2, 17), w=st.integers(2, 17), seed=st.integers(0, 1000),
    margin=st.floats(0.001, 0.4),
)  # fmt: skip
def test_encoding_is_the_inverse_for_clipped_images(n, c, h, w, seed, margin):
    x = torch.randn(n, c, h, w, generator=stream(seed)).clamp(0, 1)
    z = encode(x, margin)
    assert z.shape == (n, c, h, w // 2 + 1, 2) and z.dtype == torch.float32 and torch.isfinite(z).all()
    torch.testing.assert_close(decode(z, w), x.clamp(margin, 1 - margin), atol=2e-5, rtol=0)


@settings(deadline=None, max_examples=20)
@given(shape=st.sampled_from(SHAPES), scale=st.floats(0, 100), seed=st.integers(0, 1000))
def test_any_coefficients_give_an_image(shape, scale, seed):
    x = decode(coefficients(*shape, scale=scale, seed=seed).float(), shape[2])
    assert torch.isfinite(x).all() and x.min() >= 0 and x.max() <= 1


def test_gradient_against_finite_differences():
    z = coefficients(3, 4, 5, n=1, scale=0.3).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda z: decode(z, 5), z)


@settings(deadline=None, max_examples=20)
@given(length=st.floats(0.01, 100), seed=st.integers(0, 1000))
def test_a_step_has_its_length_and_the_coefficients_are_never_clipped(length, seed):
    z = coefficients(1, 6, 8, scale=30, seed=seed)
    gradient = coefficients(1, 6, 8, scale=1e-3, seed=seed + 1)
    stepper = STEPS["spectrum"](orig_input=z, eps=0.0, step_size=length)
    moved = stepper.project(stepper.step(z, gradient)) - z
    np.testing.assert_allclose(moved.flatten(1).norm(dim=1).numpy(), length, rtol=1e-5)
    cosine = torch.nn.functional.cosine_similarity(moved.flatten(1), gradient.flatten(1))
    np.testing.assert_allclose(cosine.numpy(), 1, rtol=1e-6)


def test_descent_reaches_coefficients_that_a_clip_would_forbid():
    aim = coefficients(1, 6, 8, scale=3).float().flatten(3)
    found = projected_gradient(
        lambda z: (z - aim).flatten(1).square().sum(1), torch.zeros_like(aim), norm="spectrum", eps=0.0, step_size=1.0,
        steps=200, targeted=True, decay=True,
    )  # fmt: skip
    assert aim.min() < -3 and aim.max() > 3
    torch.testing.assert_close(found, aim, atol=0.05, rtol=0)


@pytest.mark.parametrize("shape", [(1, 4, 5), (3, 4, 4)])
def test_step_length_against_the_whole_jacobian(shape):
    noise, v = torch.randn(2, 16, *shape, generator=stream()).double()
    directions, moves = [], []
    for x, slope in zip(encode(noise.clamp(0, 1)), v, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda z: decode(z[None], shape[2])[0], x)
        jacobian = jacobian.reshape(slope.numel(), -1)
        directions.append(jacobian.T @ slope.flatten())
        moves.append(jacobian @ directions[-1])
    expected = 2.5 * float(torch.cat(directions).norm() / torch.cat(moves).norm())
    assert step_length(shape, 2.5) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 33, 20)])
@pytest.mark.parametrize("step_l2", [0.1, 2.0])
def test_first_step_moves_pixels_about_that_far(shape, step_l2):
    with torch.no_grad():
        length = step_length(shape, step_l2)
    z = encode(torch.randn(64, *shape, generator=stream(1)).clamp(0, 1)).requires_grad_(True)
    slope = torch.randn(64, *shape, generator=stream(2))
    before = decode(z, shape[2])
    (direction,) = torch.autograd.grad(before, z, slope)
    stepper = STEPS["spectrum"](orig_input=z, eps=0.0, step_size=length)
    moved = (decode(stepper.step(z, direction), shape[2]) - before).flatten(1).norm(dim=1)
    assert float(moved.detach().mean()) == pytest.approx(step_l2, rel=0.25)
