"""CKA against its feature form, a loop over batches, independent features, and its limits."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fourlenses.similarity.cka import cka, minibatch_cka
from fourlenses.similarity.hsic import rbf_gram


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def alike(n: int, p: int = 6, q: int = 4, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Features that depend on each other, with large means."""
    x = draw(n, p, seed=seed)
    return x + 3, x @ draw(p, q, seed=seed + 1) + draw(n, q, seed=seed + 2) - 2


def loop_gram(x: np.ndarray) -> np.ndarray:
    return np.array([[sum(a * b for a, b in zip(u, v, strict=True)) for v in x] for u in x])


def loop_hsic(k: np.ndarray, m: np.ndarray) -> float:
    """The three-term HSIC_1, row by row."""
    n = len(k)
    k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
    trace = sum(k[i, j] * m[i, j] for i, j in np.ndindex(n, n))
    crossed = sum(k[i].sum() * m[i].sum() for i in range(n))
    return (trace + k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * crossed) / (n * (n - 3))


@settings(deadline=None, max_examples=20)
@given(n=st.integers(3, 30), p=st.integers(1, 40), q=st.integers(1, 8), seed=st.integers(0, 1000))
def test_biased_linear_is_the_ratio_of_covariances(n, p, q, seed):
    """||Y_c^T X_c||_F^2 / (||X_c^T X_c||_F ||Y_c^T Y_c||_F), in feature space."""
    x, y = alike(n, p, q, seed)
    a, b = (z.numpy() - z.numpy().mean(0) for z in (x, y))
    exact = np.linalg.norm(b.T @ a) ** 2 / (np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b))
    assert cka(x, y, debiased=False) == pytest.approx(exact, rel=1e-10)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_debiased_against_a_loop(kernel):
    x, y = alike(12)
    grams = [loop_gram(z.numpy()) if kernel == "linear" else rbf_gram(z).numpy() for z in (x, y)]
    k, m = grams
    exact = loop_hsic(k, m) / math.sqrt(loop_hsic(k, k) * loop_hsic(m, m))
    assert cka(x, y, kernel=kernel) == pytest.approx(exact, rel=1e-10)


def test_batches_are_summed_with_their_number_of_images_and_divided_once():
    batches = [alike(n, seed=10 * n) for n in (16, 16, 9)]
    sums = np.zeros(3)
    for x, y in batches:
        k, m = loop_gram(x.numpy()), loop_gram(y.numpy())
        sums += len(x) * np.array([loop_hsic(k, m), loop_hsic(k, k), loop_hsic(m, m)])
    exact = sums[0] / math.sqrt(sums[1] * sums[2])
    value = minibatch_cka(iter(batches))
    assert value == pytest.approx(exact, rel=1e-10)
    assert abs(value - np.mean([cka(x, y) for x, y in batches])) > 1e-4, "not a mean of ratios"


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize("debiased", [True, False])
def test_one_batch_is_all_and_a_batch_twice_is_a_batch_once(kernel, debiased):
    x, y = alike(15)
    whole = cka(x, y, kernel=kernel, debiased=debiased)
    assert minibatch_cka([(x, y)], kernel, debiased) == whole
    assert minibatch_cka([(x, y)] * 3, kernel, debiased) == pytest.approx(whole, rel=1e-12)


def test_batches_estimate_the_value_of_all_images_when_debiased_and_not_when_biased():
    x, y = draw(1600, 100), draw(1600, 100, seed=1)
    y = y + x
    parts = [(x[i : i + 32], y[i : i + 32]) for i in range(0, 1600, 32)]
    assert abs(minibatch_cka(parts) - cka(x, y)) < 0.02
    assert minibatch_cka(parts, debiased=False) - cka(x, y, debiased=False) > 0.2


def test_statement_of_independence():
    """256 images, 16,384 independent features: biased CKA says the layers are the same, debiased that they are not."""
    x, y = draw(256, 16384), draw(256, 16384, seed=1)
    assert cka(x, y, debiased=False) == pytest.approx(0.985, abs=0.002)
    assert abs(cka(x, y)) < 0.02


@pytest.mark.parametrize(("p", "q"), [(64, 64), (1024, 1024), (64, 1024)])
def test_bias_of_independent_features_is_as_derived(p, q):
    """E CKA ~ sqrt(p q / ((p + n)(q + n))) for HSIC_0."""
    n = 256
    values = [cka(draw(n, p, seed=2 * s), draw(n, q, seed=2 * s + 1), debiased=False) for s in range(3)]
    assert np.mean(values) == pytest.approx(math.sqrt(p * q / ((p + n) * (q + n))), abs=0.01)


@settings(deadline=None, max_examples=25)
@given(
    n=st.integers(4, 40),
    p=st.integers(2, 30),
    scale=st.floats(1e-15, 1e15),
    kernel=st.sampled_from(["linear", "rbf"]),
    debiased=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_values_are_finite_symmetric_and_one_with_itself(n, p, scale, kernel, debiased, seed):
    x, y = alike(n, p, 3, seed)
    x = (x * scale).float()
    value = cka(x, y, kernel=kernel, debiased=debiased)
    assert math.isfinite(value) and value <= 1 + 1e-12 and (debiased or value >= 0)
    assert cka(y, x, kernel=kernel, debiased=debiased) == pytest.approx(value, abs=1e-12)
    assert cka(x, x, kernel=kernel, debiased=debiased) == 1


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_order_of_images_counts_only_where_the_two_differ(kernel):
    x, y = alike(400)
    order = torch.randperm(400, generator=torch.Generator().manual_seed(0))
    assert cka(x[order], y[order], kernel=kernel) == pytest.approx(cka(x, y, kernel=kernel), abs=1e-12)
    assert cka(x, y, kernel=kernel) > 0.3 and abs(cka(x, y[order], kernel=kernel)) < 0.03


def test_shift_of_float32_features_by_a_thousand_changes_nothing():
    x, y = (z.float() for z in alike(64))
    assert cka(x + 1e3, y) == pytest.approx(cka(x, y), abs=1e-5)


def test_maps_are_flattened():
    x, y = alike(20, 12)
    assert cka(x.view(20, 3, 2, 2), y.view(20, 1, 4)) == cka(x, y)


def test_debiased_values_are_not_clipped():
    values = [cka(draw(8, 50, seed=2 * s), draw(8, 50, seed=2 * s + 1)) for s in range(20)]
    assert min(values) < 0 < max(values)


def test_wrong_features_are_refused():
    x, y = alike(8)
    with pytest.raises(ValueError, match="8 images cannot be compared with those of 7"):
        cka(x, y[:7])
    with pytest.raises(ValueError, match="at least 4 images, not 3"):
        cka(x[:3], y[:3])
    assert 0 < cka(x[:3], y[:3], debiased=False) <= 1
    with pytest.raises(ValueError, match="NaN or infinity"):
        cka(x, torch.where(y > 0, torch.nan, y))
    with pytest.raises(ValueError, match="same for every image"):
        cka(x, y[:1].expand(8, -1))
    with pytest.raises(ValueError, match="undefined"):
        minibatch_cka([])


@pytest.mark.parametrize("p", [1, 8])
def test_features_that_tell_no_two_pairs_of_images_apart_are_refused(p):
    """Alive on one image alone, or on each image a feature of its own: off its diagonal the Gram matrix is constant."""
    x, y = torch.eye(8)[:, :p], alike(8)[1]
    for layers in ((x, y), (y, x)):
        with pytest.raises(ValueError, match="HSIC of features with themselves is 0"):
            cka(*layers)
        assert 0 < cka(*layers, debiased=False) < 1
