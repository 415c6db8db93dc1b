"""What an inversion minimises."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fourlenses.invariance.losses import REGULARIZERS, Context, random_transform, representation_error


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
        representation_error(torch.ones(3, 5), target)


def test_away_is_small_far_from_the_target_and_toward_near_the_seed():
    targets, seeds = torch.ones(2, 1, 4, 4), torch.zeros(2, 1, 4, 4)
    context = Context(
        targets, seeds, lambda x: (x - targets).flatten(1).norm(dim=1), lambda x: (x - seeds).flatten(1).norm(dim=1)
    )
    places = [torch.full((2, 1, 4, 4), level) for level in (1.0, 0.5, 0.0)]
    for name in ("away", "toward"):
        at_target, between, at_seed = (REGULARIZERS[name](x, context) for x in places)
        assert (at_target > between).all() and (between > at_seed).all()
    assert (REGULARIZERS["away"](targets, context) == 0).all() and (REGULARIZERS["toward"](seeds, context) == 0).all()


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
