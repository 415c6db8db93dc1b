"""Procrustes against scipy's and against trying rotations."""

import numpy as np
import pytest
import scipy.spatial
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fourlenses.similarity.procrustes import procrustes


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def alike(n: int, p: int, q: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    x = draw(n, p, seed=seed)
    return x + 3, x @ draw(p, q, seed=seed + 1) + draw(n, q, seed=seed + 2) - 2


@settings(deadline=None, max_examples=25)
@given(n=st.integers(3, 60), p=st.integers(1, 10), q=st.integers(1, 10), seed=st.integers(0, 1000))
def test_against_scipy_with_the_narrower_padded(n, p, q, seed):
    x, y = alike(n, p, q, seed)
    padded = [np.pad(z.numpy(), ((0, 0), (0, max(p, q) - z.shape[1]))) for z in (x, y)]
    disparity = scipy.spatial.procrustes(*padded)[2]  # 1 - s^2 of centred features of norm 1
    assert procrustes(x, y) == pytest.approx(np.sqrt(1 - disparity), rel=1e-8)


def test_is_the_distance_to_the_best_rotation_of_the_plane():
    x, y = (z - z.mean(0) for z in alike(20, 2, 2))
    x, y = x / x.norm(), y / y.norm()
    distances = []
    for angle in np.linspace(0, 2 * np.pi, 3601):
        c, s = np.cos(angle), np.sin(angle)
        for turn in ([[c, -s], [s, c]], [[c, s], [s, -c]]):  # rotations and reflections
            distances.append((x - y @ torch.tensor(turn)).square().sum().item())
    assert procrustes(x, y) == pytest.approx(1 - min(distances) / 2, abs=1e-6)


@settings(deadline=None, max_examples=15)
@given(p=st.integers(1, 30), q=st.integers(1, 30), scale=st.floats(1e-10, 1e10), seed=st.integers(0, 1000))
def test_values_are_symmetric_between_zero_and_one_and_one_with_itself(p, q, scale, seed):
    x, y = alike(20, p, q, seed)
    x = (x * scale).float()
    assert 0 <= procrustes(x, y) <= 1 + 1e-12
    assert procrustes(y, x) == pytest.approx(procrustes(x, y), abs=1e-12)
    assert procrustes(x, x) == pytest.approx(1, abs=1e-12)


def test_maps_are_flattened_and_only_paired_images_are_alike():
    x, y = alike(2000, 8, 6)
    order = torch.randperm(2000, generator=torch.Generator().manual_seed(0))
    assert procrustes(x.view(2000, 2, 2, 2), y) == procrustes(x, y) > 0.5
    assert procrustes(x, y[order]) < 0.1


def test_wrong_features_are_refused():
    x, y = alike(8, 3, 4)
    with pytest.raises(ValueError, match="8 images cannot be compared with those of 7"):
        procrustes(x, y[:7])
    with pytest.raises(ValueError, match="NaN or infinity"):
        procrustes(torch.where(x > 3, torch.inf, x), y)
    with pytest.raises(ValueError, match="same for every image"):
        procrustes(x, torch.ones(8, 4))
