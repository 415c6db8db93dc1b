"""HSIC against its definitions, written as loops in float64."""

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fourlenses.similarity.hsic import (
    centred,
    double_centred,
    hsic_biased,
    hsic_unbiased,
    linear_gram,
    rbf_gram,
    u_centred,
)


def features(n: int, p: int, seed: int = 0) -> torch.Tensor:
    """Positive, as after ReLU, so that Gram matrices have large means."""
    return torch.randn(n, p, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).add(1).relu() + 0.1


def pair(n: int, p: int = 5, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Gram matrices of dependent features, of which neither is centred."""
    x = features(n, p, seed)
    y = x[:, : p - 1] + 0.5 * features(n, p - 1, seed + 1)
    return x @ x.T, y @ y.T


def loop_biased(k: np.ndarray, m: np.ndarray) -> float:
    """sum_ij K_ij L_ij / n^2 + sum_ij K_ij sum_qr L_qr / n^4 - 2 sum_ijq K_ij L_iq / n^3, times n^2 / (n - 1)^2."""
    n = len(k)
    pairs = list(np.ndindex(n, n))
    first = sum(k[i, j] * m[i, j] for i, j in pairs) / n**2
    second = sum(k[i, j] for i, j in pairs) * sum(m[i, j] for i, j in pairs) / n**4
    third = sum(k[i, j] * m[i, q] for i, j in pairs for q in range(n)) / n**3
    return (first + second - 2 * third) * n**2 / (n - 1) ** 2


def loop_three_terms(k: np.ndarray, m: np.ndarray) -> float:
    """[tr(K~ L~) + 1'K~1 1'L~1 / ((n - 1)(n - 2)) - 2 / (n - 2) 1'K~L~1] / (n (n - 3))."""
    n = len(k)
    trace = total_k = total_m = crossed = 0.0
    for i in range(n):
        row_k = sum(k[i, j] for j in range(n) if j != i)
        row_m = sum(m[i, j] for j in range(n) if j != i)
        trace += sum(k[i, j] * m[i, j] for j in range(n) if j != i)
        total_k, total_m, crossed = total_k + row_k, total_m + row_m, crossed + row_k * row_m
    return (trace + total_k * total_m / ((n - 1) * (n - 2)) - 2 / (n - 2) * crossed) / (n * (n - 3))


@settings(deadline=None, max_examples=25)
@given(n=st.integers(2, 12), p=st.integers(2, 8), seed=st.integers(0, 1000))
def test_biased_against_a_loop(n, p, seed):
    k, m = pair(n, p, seed)
    assert hsic_biased(k, m).item() == pytest.approx(loop_biased(k.numpy(), m.numpy()), rel=1e-10)


@settings(deadline=None, max_examples=25)
@given(n=st.integers(4, 30), p=st.integers(2, 8), seed=st.integers(0, 1000))
def test_unbiased_against_the_three_terms(n, p, seed):
    k, m = pair(n, p, seed)
    size = (hsic_unbiased(k, k) * hsic_unbiased(m, m)).sqrt().item()
    assert hsic_unbiased(k, m).item() == pytest.approx(loop_three_terms(k.numpy(), m.numpy()), abs=1e-10 * size)
    assert hsic_unbiased(k, k).item() == pytest.approx(loop_three_terms(k.numpy(), k.numpy()), rel=1e-10)


@pytest.mark.parametrize("n", [4, 5, 6])
def test_unbiased_is_the_mean_over_four_different_images(n):
    k, m = (a.numpy() for a in pair(n))
    terms = [k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q]) for i, j, q, r in permutations(range(n), 4)]
    assert hsic_unbiased(*pair(n)).item() == pytest.approx(np.mean(terms), rel=1e-10)


def test_unbiased_is_zero_on_average_over_pairings_and_biased_is_not():
    """Independence by hand: every order of the second set's images is as likely as any other."""
    k, m = pair(6)
    orders = [list(order) for order in permutations(range(6))]
    unbiased, biased = (np.mean([f(k, m[o][:, o]).item() for o in orders]) for f in (hsic_unbiased, hsic_biased))
    assert abs(unbiased) < 1e-12 * hsic_unbiased(k, m).abs().item() + 1e-12
    assert biased > 0.1 * hsic_biased(k, m).item()


def test_both_by_hand():
    k = torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]])
    assert hsic_unbiased(k, k).item() == pytest.approx((2 + 4 / 6 - 2) / 4), "trace 2, totals 2, rows 0 0 1 1"
    assert hsic_biased(k, k).item() == pytest.approx((6 + 36 / 16 - 2 * 10 / 4) / 9), "rows 1 1 2 2"


@pytest.mark.parametrize("centring", [u_centred, double_centred])
def test_centred_matrices_have_rows_of_zero_sum_and_stay_as_they_are(centring):
    k, _ = pair(9)
    before = k.clone()
    a = centring(k)
    assert a.sum(0).abs().max() < 1e-12 and a.sum(1).abs().max() < 1e-12
    assert torch.equal(k, before), "the argument is not written to"
    torch.testing.assert_close(centring(a), a)
    added = torch.arange(9.0).double()
    torch.testing.assert_close(centring(k + added + added[:, None]), a, msg="a term for each image does not count")


def test_u_centred_has_a_zero_diagonal_and_does_not_look_at_that_of_its_argument():
    k, _ = pair(7)
    assert (u_centred(k).diagonal() == 0).all()
    torch.testing.assert_close(u_centred(k + 5 * torch.eye(7)), u_centred(k))
    assert (double_centred(k + 5 * torch.eye(7)) - double_centred(k)).abs().max() > 1


def test_double_centred_is_between_two_centring_matrices():
    k, _ = pair(7)
    h = torch.eye(7, dtype=torch.float64) - 1 / 7
    torch.testing.assert_close(double_centred(k), h @ k @ h)


def test_linear_gram_against_a_loop_over_flattened_maps():
    x = features(5, 12).view(5, 3, 2, 2)
    rows = [[float(v) for v in image.flatten()] for image in x]
    means = [sum(column) / 5 for column in zip(*rows, strict=True)]
    for i, j in np.ndindex(5, 5):
        product = sum((a - c) * (b - c) for a, b, c in zip(rows[i], rows[j], means, strict=True))
        assert linear_gram(x)[i, j].item() == pytest.approx(product, rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("bandwidth", [0.4, 1.0])
@pytest.mark.parametrize("n", [4, 6, 7])
def test_rbf_gram_against_a_loop(n, bandwidth):
    x = features(n, 3)
    squared = np.array([[((a - b) ** 2).sum() for b in x.numpy()] for a in x.numpy()])
    pairs = sorted(squared[i, j] for i in range(n) for j in range(i + 1, n))
    median = pairs[(len(pairs) - 1) // 2]
    exact = np.exp(-squared / (2 * bandwidth**2 * median))
    np.testing.assert_allclose(rbf_gram(x, bandwidth).numpy(), exact, rtol=1e-10)


@pytest.mark.parametrize("gram", [linear_gram, rbf_gram])
def test_gram_matrices_are_float64_and_do_not_lose_digits_to_a_large_mean(gram):
    x = features(20, 8).float()
    k = gram(x)
    assert k.dtype == torch.float64 and torch.allclose(k, k.T)
    torch.testing.assert_close(gram(x.double() + 1e6), k, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_fewer_than_four_images_are_refused(n):
    with pytest.raises(ValueError, match=f"at least 4 images, not {n}"):
        u_centred(torch.eye(n))


@pytest.mark.parametrize("hsic", [hsic_biased, hsic_unbiased])
def test_wrong_gram_matrices_are_refused(hsic):
    with pytest.raises(ValueError, match="5 images cannot be compared with those of 6"):
        hsic(torch.eye(5), torch.eye(6))
    for wrong in (torch.nan, torch.inf):
        k = torch.eye(5)
        k[1, 2] = k[2, 1] = wrong
        with pytest.raises(ValueError, match="Gram matrix holds NaN or infinity"):
            hsic(torch.eye(5), k)


@pytest.mark.parametrize("prepare", [centred, linear_gram, rbf_gram])
def test_wrong_features_are_refused(prepare):
    for wrong in (torch.nan, torch.inf, -torch.inf):
        x = features(5, 3)
        x[2, 1] = wrong
        with pytest.raises(ValueError, match="features hold NaN or infinity"):
            prepare(x)
    with pytest.raises(ValueError, match="same for every image"):
        prepare(torch.full((5, 3), 0.1))


@pytest.mark.parametrize(("n", "p"), [(6, 7), (21, 100), (33, 300)])
def test_rbf_gram_of_mostly_equal_images_is_refused(n, p):
    x = features(1, p).expand(n, -1).clone()
    x[: n // 6] = features(n // 6, p, seed=1)
    with pytest.raises(ValueError, match="median distance is zero"):
        rbf_gram(x)
