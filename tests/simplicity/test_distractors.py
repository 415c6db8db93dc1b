"""Distractor metrics: against least squares of another library, on images made for a known answer, and undefined."""

import math

import numpy as np
import pytest
import torch

from fourlenses.images.composites import KINDS, compose
from fourlenses.simplicity.distractors import coefficients, probe_index, removal_index, retention


def pixels(n: int, c: int = 3, side: int = 8, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (n, c, side, side), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def composite(kind: str, n: int = 30, **options):
    partners = (pixels(9, seed=2, **options), torch.arange(9)) if KINDS[kind][1] else (None, None)
    return compose(kind, pixels(n, **options), torch.arange(n) % 3, *partners, 0)


def test_coefficients_are_those_of_least_squares():
    x, target, distractor = (pixels(20, seed=seed) for seed in (1, 2, 3))
    found = coefficients(x, target, distractor).numpy()
    for i in range(20):
        columns = [part[i].double().flatten().numpy() for part in (target, distractor)]
        design = np.stack([*columns, np.ones(columns[0].size)], 1)
        expected = np.linalg.lstsq(design, x[i].double().flatten().numpy(), rcond=None)[0]
        np.testing.assert_allclose(found[i], expected[:2], atol=1e-10)


@pytest.mark.parametrize("unit", [1, 1 / 255])
def test_coefficients_of_a_mixture_are_its_weights(unit):
    target, distractor = pixels(5, seed=2).double() * unit, pixels(5, seed=3).double() * unit
    found = coefficients(0.3 * target - 0.7 * distractor + 0.1, target, distractor)
    torch.testing.assert_close(found, torch.tensor([[0.3, -0.7]], dtype=torch.float64).expand(5, 2))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("beside", "stacked")])
@pytest.mark.parametrize(("left", "kept"), [(1.0, 1.0), (0.0, 1.0), (0.25, 0.5), (0.0, 0.0), (-0.25, 2.0)])
def test_what_is_left_of_a_mixture_is_found(kind, left, kept):
    made = composite(kind)
    share = {"noise": (0.5, 0.5), "stripes": (0.85, 0.15), "photo": (0.5, 0.5)}[kind]
    simplified = kept * share[0] * made.target.double() + left * share[1] * made.distractor.double()
    given = (simplified, made.x, made.target, made.distractor)
    torch.testing.assert_close(
        removal_index(*given), torch.full((30,), 1 - abs(left), dtype=torch.float64), atol=0.02, rtol=0
    )
    torch.testing.assert_close(retention(*given), torch.full((30,), kept, dtype=torch.float64), atol=0.02, rtol=0.02)


@pytest.mark.parametrize("kind", ["beside", "stacked"])
@pytest.mark.parametrize(("left", "kept"), [(1.0, 1.0), (0.0, 1.0), (0.5, 0.1), (2.0, 0.0)])
def test_halves_are_compared_by_their_variances(kind, left, kept):
    made = composite(kind)
    simplified = 20 + kept * made.target.double() + left * made.distractor.double()
    given = (simplified, made.x, made.target, made.distractor, made.halves)
    expected = torch.full((30,), 1.0, dtype=torch.float64)
    torch.testing.assert_close(removal_index(*given), (1 - left**2 * expected).clamp(min=0))
    torch.testing.assert_close(retention(*given), kept**2 * expected)
    one = made.x[4][:, made.halves[4]].double().var(correction=0) * kept**2
    assert simplified[4][:, made.halves[4]].var(correction=0).item() == pytest.approx(one.item())


@pytest.mark.parametrize("kind", list(KINDS))
def test_composites_themselves_keep_everything_and_flat_images_nothing(kind):
    made = composite(kind)
    rest = (made.x, made.target, made.distractor, made.halves)
    assert (removal_index(made.x, *rest) < 1e-9).all() and ((retention(made.x, *rest) - 1).abs() < 1e-9).all()
    flat = torch.full_like(made.x, 77)
    assert (removal_index(flat, *rest) > 1 - 1e-9).all() and (retention(flat, *rest).abs() < 1e-9).all()


def test_images_without_a_part_have_no_index():
    target, distractor = pixels(3), pixels(3, seed=5)
    target[0], distractor[1] = 77, 0
    distractor[2] = target[2] // 2 * 2
    target[2] = target[2] // 2
    both = (target // 2) + (distractor // 2)
    for index in (removal_index, retention):
        assert index(both, both, target, distractor).isnan().tolist() == [True] * 3
    made = composite("beside")
    distractor, blank = made.distractor.clone(), made.x.clone()
    blank[0] = torch.where(made.halves[0], blank[0], 77)
    found = removal_index(made.x, blank, made.target, distractor, made.halves)
    assert found.isnan().tolist() == [True] + [False] * 29
    assert not retention(made.x, blank, made.target, distractor, made.halves).isnan().any()


def test_probe_index_is_the_share_of_what_was_above_chance():
    assert probe_index(0.9, 0.9, 0.1) == 0
    assert probe_index(0.9, 0.1, 0.1) == 1
    assert probe_index(0.9, 0.5, 0.1) == pytest.approx(0.5)
    assert probe_index(1.0, 0.4, 0.5) == pytest.approx(1.2)
    assert math.isnan(probe_index(0.5, 0.4, 0.5)) and math.isnan(probe_index(1.0, 1.0, 1.0))
