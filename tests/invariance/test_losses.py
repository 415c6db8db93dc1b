"""What an inversion minimises."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fourlenses.invariance.losses import REGULARIZERS, Context, random_transform, refuse_zero, representation_error


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(deadline=None)
@given(n=st.integers(1, 6), m=st.integers(1, 40), scale=st.floats(1e-3, 1e3), seed=st.integers(0, 1000))
def test_representation_error_against_numpy_in_float64(n, m, scale, seed):
    g, target = torch.randn(2, n, m, generator=stream(seed)).mul(scale).add(scale)
    exact = np.linalg.norm(g.double().numpy() - target.double().numpy(), axis=1)
    exact /= np.linalg.norm(target.double().numpy(), axis=1)
    np.testing.assert_allclose(representation_error(g, target).numpy(), exact, rtol=1e-4, atol=1e-6)


def test_representation_error_of_the_target_is_zero_with_a_finite_gradient():
    target = torch.randn(3, 5, generator=stream())
    g = target.clone().requires_grad_(True)
    error = representation_error(g, target)
    error.sum().backward()
    assert (error == 0).all() and torch.isfinite(g.grad).all()


def test_target_without_representation_is_refused():
    target = torch.ones(3, 5)
    target[1] = 0
    with pytest.raises(ValueError, match="representation is zero"):
        refuse_zero(target)


def test_away_is_small_far_from_the_target_and_toward_near_the_seed():
    targets, seeds = torch.ones(2, 1, 4, 4), torch.zeros(2, 1, 4, 4)
    context = Context(
        targets, seeds, lambda x: (x - targets).flatten(1).norm(dim=1), lambda x: (x - seeds).flatten(1).norm(dim=1)
    )
    places = [torch.full((2, 1, 4, 4), level) for level in (1.0, 0.5, 0.0)]
    for name in ("away", "toward"):
        at_target, between, at_seed = (REGULARIZERS[name].function(x, context) for x in places)
        assert (at_target > between).all() and (between > at_seed).all()
    away, toward = (REGULARIZERS[name].function for name in ("away", "toward"))
    assert (away(targets, context) == 0).all() and (toward(seeds, context) == 0).all()
    assert {name for name, regularizer in REGULARIZERS.items() if regularizer.balanced} == {"away", "toward"}


ANY = Context(torch.zeros(1), torch.zeros(1), torch.clone, torch.clone)  # the others look at the image alone
ABSOLUTE = ["tv", "blur", "l1", "frequency", "tv-l6"]


def priors(x: np.ndarray) -> dict[str, float]:
    """TV, Blur, L1 and the 6-norm of one image (c, h, w), pixel by pixel in float64."""
    channels, height, width = x.shape
    tv = blur = l1 = sixth = 0.0
    for c in range(channels):
        for i in range(height):
            for j in range(width):
                here = float(x[c, i, j])
                tv += (x[c, i + 1, j] - here) ** 2 if i + 1 < height else 0
                tv += (x[c, i, j + 1] - here) ** 2 if j + 1 < width else 0
                total = weights = 0.0
                for k in range(max(i - 1, 0), min(i + 2, height)):
                    for m in range(max(j - 1, 0), min(j + 2, width)):
                        weight = 1.0 if (k, m) == (i, j) else 0.5
                        total, weights = total + weight * x[c, k, m], weights + weight
                blur += 0.5 * (here - total / weights) ** 2
                l1 += abs(here - 0.5)
                sixth += here**6
    return {"tv": tv, "blur": blur, "l1": l1, "l6": sixth ** (1 / 6)}


@settings(deadline=None, max_examples=20)
@given(c=st.sampled_from([1, 3]), h=st.integers(2, 6), w=st.integers(2, 6), seed=st.integers(0, 1000))
def test_absolute_regularizers_are_a_tenth_of_the_papers_against_a_loop(c, h, w, seed):
    x = torch.rand(2, c, h, w, generator=stream(seed), dtype=torch.float64)
    by_hand = [priors(image.numpy()) for image in x]
    ten = {name: 10 * REGULARIZERS[name].function(x, ANY) for name in ABSOLUTE}
    for i, p in enumerate(by_hand):
        assert float(ten["tv"][i]) == pytest.approx(5e-4 * p["tv"])
        assert float(ten["blur"][i]) == pytest.approx(5e-4 * p["blur"])
        assert float(ten["l1"][i]) == pytest.approx(5e-5 * p["l1"])
        assert float(ten["frequency"][i]) == pytest.approx(5e-4 * p["tv"] + 5e-4 * p["blur"] + 5e-5 * p["l1"])
        assert float(ten["tv-l6"][i]) == pytest.approx(5e-4 * p["tv"] + 1.0 * p["l6"])


def test_priors_of_a_white_pixel_by_hand():
    x = torch.zeros(1, 1, 5, 5)
    x[0, 0, 2, 2] = 1
    tv, blur, l1, frequency, tv_l6 = (float(REGULARIZERS[name].function(x, ANY)) for name in ABSOLUTE)
    assert tv == pytest.approx(5e-5 * 4)
    assert blur == pytest.approx(5e-5 * 0.5 * (0.8**2 + 8 * 0.1**2)), "kernel 0.2 in the centre, 0.1 around it"
    assert l1 == pytest.approx(5e-6 * 25 * 0.5) and frequency == pytest.approx(tv + blur + l1)
    assert tv_l6 == pytest.approx(tv + 0.1)


def test_blurred_image_is_a_constant_in_the_gradient():
    x = torch.rand(2, 3, 6, 5, generator=stream(), dtype=torch.float64).requires_grad_(True)
    (slope,) = torch.autograd.grad(REGULARIZERS["blur"].function(x, ANY).sum(), x)
    for image, gradient in zip(x.detach(), slope, strict=True):
        for channel, by_channel in zip(image, gradient, strict=True):
            blurred = torch.empty_like(channel)
            for i, j in np.ndindex(6, 5):
                around = channel[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2]
                blurred[i, j] = (around.sum() + channel[i, j]) / (around.numel() + 1)
            torch.testing.assert_close(by_channel, 5e-5 * (channel - blurred))


@pytest.mark.parametrize("name", [name for name in ABSOLUTE if name != "blur"])
def test_gradients_against_finite_differences(name):
    smooth = {"frequency": ("tv", "l1")}.get(name, (name,))  # the blurred image is held constant, so not differentiated
    x = (torch.rand(1, 1, 4, 3, generator=stream(), dtype=torch.float64) * 0.4 + 0.55).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda x: sum(REGULARIZERS[part].function(x, ANY) for part in smooth), x)


@pytest.mark.parametrize("name", ABSOLUTE)
@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_absolute_regularizers_of_constant_images_have_finite_gradients_also_in_bfloat16(name, level):
    x = torch.full((2, 1, 6, 6), level).requires_grad_(True)
    with torch.autocast("cpu", torch.bfloat16):
        value = REGULARIZERS[name].function(x, ANY)
    assert value.dtype == torch.float32 and torch.equal(value, REGULARIZERS[name].function(x, ANY))
    (slope,) = torch.autograd.grad(value.sum(), x)
    assert torch.isfinite(slope).all()


class Draws:
    """Stands for torch.rand: gives the numbers of a transform, in [-1, 1]."""

    def __init__(self, monkeypatch, angle=0.0, scale=0.0, right=0.0, down=0.0):
        u = torch.tensor([angle, scale, right, down])
        monkeypatch.setattr(torch, "rand", lambda k, n, **_: ((u + 1) / 2).view(4, 1).expand(4, n))


@pytest.mark.parametrize("shape", [(2, 1, 14, 14), (1, 3, 10, 21)])
def test_transform_with_no_move_is_the_identity(monkeypatch, shape):
    x = torch.rand(shape, generator=stream())
    Draws(monkeypatch)
    torch.testing.assert_close(random_transform(x, stream()), x, atol=1e-5, rtol=0)


def test_largest_shift_is_a_fourteenth_of_the_image_both_ways(monkeypatch):
    x = torch.rand(2, 1, 28, 28, generator=stream())
    Draws(monkeypatch, right=1.0, down=-1.0)
    moved = random_transform(x, stream())
    torch.testing.assert_close(moved[:, :, 2:, :-2], x[:, :, :-2, 2:], atol=1e-5, rtol=0)
    assert max(moved[:, :, :2].max(), moved[:, :, :, -2:].max()) < 1e-5, "zeros come in"


def spread(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and covariance of a brightness pattern, in pixels (x, y)."""
    h, w = x.shape[2:]
    rows, columns = torch.meshgrid(torch.arange(h) - (h - 1) / 2, torch.arange(w) - (w - 1) / 2, indexing="ij")
    weight = (x[0, 0] / x[0, 0].sum()).flatten()
    points = torch.stack([columns.flatten(), rows.flatten()])
    mean = points @ weight
    centred = points - mean[:, None]
    return mean, (centred * weight) @ centred.T


def bar(height: int, width: int) -> torch.Tensor:
    x = torch.zeros(1, 1, height, width)
    middle = height // 2, width // 2
    x[0, 0, middle[0] - 2 : middle[0] + 2, middle[1] - 10 : middle[1] + 10] = 1
    return x


@pytest.mark.parametrize("shape", [(40, 40), (30, 60)])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_largest_turn_is_ten_degrees_also_for_oblong_images(monkeypatch, shape, sign):
    _, before = spread(bar(*shape))
    Draws(monkeypatch, angle=sign)
    mean, after = spread(random_transform(bar(*shape), stream()))
    turned = 0.5 * torch.atan2(2 * after[0, 1], after[0, 0] - after[1, 1])
    assert mean.abs().max() < 0.05
    assert float(turned.abs()) == pytest.approx(np.pi / 18, rel=0.02)
    assert float(after.trace()) == pytest.approx(float(before.trace()), rel=0.03)


@pytest.mark.parametrize(("draw", "factor"), [(1.0, 1.1), (-1.0, 0.9)])
def test_scale_goes_from_nine_to_eleven_tenths(monkeypatch, draw, factor):
    _, before = spread(bar(40, 40))
    Draws(monkeypatch, scale=draw)
    _, after = spread(random_transform(bar(40, 40), stream()))
    assert float((after[0, 0] / before[0, 0]).sqrt()) == pytest.approx(factor, rel=0.02)


def test_transform_keeps_size_and_range_and_draws_for_each_image():
    x = torch.rand(1, 3, 16, 20, generator=stream()).expand(50, -1, -1, -1)
    out = random_transform(x, stream(1))
    assert out.shape == x.shape and out.min() >= 0 and out.max() <= 1
    assert all(not torch.equal(out[0], other) for other in out[1:])
    assert torch.equal(out, random_transform(x, stream(1))) and not torch.equal(out, random_transform(x, stream(2)))


def test_transform_lets_the_gradient_through():
    x = torch.rand(2, 1, 14, 14, generator=stream()).requires_grad_(True)
    random_transform(x, stream()).sum().backward()
    assert (x.grad[:, :, 4:-4, 4:-4] > 0.5).all()
