"""CCA, SVCCA and PWCCA against angles between subspaces, principal components and the eigenvalue problem."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import subspace_angles
from sklearn.decomposition import PCA

from fourlenses.similarity.cca import cca, pwcca, svcca


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def alike(n: int, p: int, q: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    x = draw(n, p, seed=seed)
    return x + 3, x @ draw(p, q, seed=seed + 1) + draw(n, q, seed=seed + 2) - 2


def correlations(x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
    return np.cos(subspace_angles((x - x.mean(0)).numpy(), (y - y.mean(0)).numpy()))


def loop_pwcca(x: np.ndarray, y: np.ndarray) -> float:
    """Weights from x; directions are eigenvectors of S_xx^-1 S_xy S_yy^-1 S_yx, whose eigenvalues are rho^2."""
    x, y = x - x.mean(0), y - y.mean(0)
    crossed = np.linalg.solve(x.T @ x, x.T @ y) @ np.linalg.solve(y.T @ y, y.T @ x)
    squared, vectors = np.linalg.eig(crossed)
    total = weights = 0.0
    for i in range(x.shape[1]):
        h = x @ vectors[:, i].real
        h = h / np.sqrt(sum(value**2 for value in h))
        a = sum(abs(sum(u * v for u, v in zip(h, x[:, j], strict=True))) for j in range(x.shape[1]))
        total, weights = total + a * np.sqrt(squared[i].real), weights + a
    return total / weights


SIZES = {"n": st.integers(40, 80), "p": st.integers(1, 8), "q": st.integers(1, 8), "seed": st.integers(0, 1000)}


@settings(deadline=None, max_examples=25)
@given(**SIZES)
def test_cca_is_the_mean_cosine_of_the_angles_between_the_spans(n, p, q, seed):
    x, y = alike(n, p, q, seed)
    assert cca(x, y) == pytest.approx(correlations(x, y).mean(), rel=1e-8)


@settings(deadline=None, max_examples=25)
@given(**SIZES)
def test_pwcca_against_the_eigenvalue_problem(n, p, q, seed):
    x, y = alike(n, p, q, seed)
    small, large = (x, y) if p <= q else (y, x)
    assert pwcca(x, y) == pytest.approx(loop_pwcca(small.numpy(), large.numpy()), rel=1e-6)


@pytest.mark.parametrize(("p", "q"), [(30, 40), (25, 5), (6, 9)])
def test_svcca_is_the_cca_of_twenty_principal_components(p, q):
    x, y = alike(120, p, q)
    parts = [torch.from_numpy(PCA(min(20, z.shape[1]), svd_solver="full").fit_transform(z.numpy())) for z in (x, y)]
    assert svcca(x, y) == pytest.approx(correlations(*parts).mean(), rel=1e-8)
    assert (svcca(x, y) == pytest.approx(cca(x, y))) == (max(p, q) <= 20)


def test_correlations_by_hand():
    """Two of x's three directions are y's, at angles of 0 and 60 degrees; PWCCA weighs them by the size of x's."""
    basis = torch.linalg.qr(draw(50, 4) - draw(50, 4).mean(0)).Q
    x = basis[:, :3] * torch.tensor([4.0, 2.0, 1.0])
    y = torch.stack([basis[:, 0], 0.5 * basis[:, 1] + 0.75**0.5 * basis[:, 3]], dim=1) * torch.tensor([1.0, 3.0])
    assert cca(x, y) == pytest.approx((1 + 0.5) / 2)
    assert pwcca(x, y) == pytest.approx((1 * 1 + 3 * 0.5) / 4), "y is the smaller side"
    assert pwcca(y, x) == pytest.approx(pwcca(x, y))
    assert pwcca(x[:, :2], y) == pytest.approx((4 * 1 + 2 * 0.5) / 6), "x at equal ranks"


@pytest.mark.parametrize("metric", [cca, svcca, pwcca])
@settings(deadline=None, max_examples=15)
@given(p=st.integers(1, 30), q=st.integers(1, 30), scale=st.floats(1e-10, 1e10), seed=st.integers(0, 1000))
def test_values_are_between_zero_and_one_and_one_with_itself(metric, p, q, scale, seed):
    x, y = alike(64, p, q, seed)
    x = (x * scale).float()
    assert 0 <= metric(x, y) <= 1 + 1e-12
    assert metric(x, x) == pytest.approx(1, abs=1e-10)
    if metric is not pwcca or p != q:
        assert metric(y, x) == pytest.approx(metric(x, y), abs=1e-10)


@pytest.mark.parametrize("metric", [cca, svcca, pwcca])
def test_dead_and_repeated_features_do_not_count(metric):
    x, y = alike(60, 5, 7)
    wider = torch.cat([x, torch.zeros(60, 3), torch.full((60, 1), 0.3), x], dim=1)
    assert metric(wider, y) == pytest.approx(metric(x, y), abs=1e-10)


def test_directions_without_variance_do_not_count():
    x, y = alike(60, 5, 7)
    for size, counts in ((1e-6, False), (1e-2, True)):
        noisy = torch.cat([x, size * draw(60, 1, seed=9)], dim=1)
        assert (abs(cca(noisy, y) - cca(x, y)) > 1e-3) == counts


@pytest.mark.parametrize("metric", [cca, svcca, pwcca])
def test_only_paired_images_are_alike(metric):
    x, y = alike(2000, 5, 5)
    order = torch.randperm(2000, generator=torch.Generator().manual_seed(0))
    assert metric(x, y) > 0.5 and metric(x, y[order]) < 0.1


@pytest.mark.parametrize("metric", [cca, svcca, pwcca])
def test_wrong_features_are_refused(metric):
    x, y = alike(40, 5, 4)
    with pytest.raises(ValueError, match="cannot be compared"):
        metric(x, y[:39])
    with pytest.raises(ValueError, match="NaN or infinity"):
        metric(x, torch.where(y > 0, torch.nan, y))
    with pytest.raises(ValueError, match="same for every image"):
        metric(torch.ones(40, 5), y)
    with pytest.raises(ValueError, match="show more images"):
        metric(x[:6], y[:6])
    assert metric(x[:7], y[:7]) < 1 - 1e-6
