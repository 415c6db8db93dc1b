"""Packed blocks and their GEMM against the three-term HSIC in float64 and features by hand; what a pass may hold."""

import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fourlenses.nets import build
from fourlenses.nets.points import points, watching
from fourlenses.similarity.grams import (
    block,
    blocks,
    centred_gram,
    first_component_share,
    hsic,
    largest_norm_share,
    measured,
    pack,
    permuted,
    self_hsic,
    unpack,
    without_first_component,
    without_largest_norms,
)
from fourlenses.similarity.hsic import u_centred


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def features(n, p, seed=0, dtype=torch.float64):
    return torch.randn(n, p, generator=stream(seed), dtype=dtype) + 3


def three_terms(x, y):
    """HSIC_1 of Song et al. 2012 in float64; of centred features, which it does not see, but its large terms cancel."""
    k, m = (f @ f.T for f in (x.double() - x.double().mean(0), y.double() - y.double().mean(0)))
    k.fill_diagonal_(0)
    m.fill_diagonal_(0)
    n = len(k)
    product = k @ m
    middle = k.sum() * m.sum() / ((n - 1) * (n - 2))
    return (product.trace() + middle - 2 * product.sum() / (n - 2)) / (n * (n - 3))


def stacked(*xs):
    """Blocks (1, points, p) of features."""
    return torch.stack([block(centred_gram(x)) for x in xs])[None]


@settings(deadline=None, max_examples=15)
@given(n=st.integers(4, 150), p=st.integers(1, 30), q=st.integers(1, 30), seed=st.integers(0, 1000))
def test_hsic_of_blocks_against_three_terms(n, p, q, seed):
    x, y = features(n, p, seed), features(n, q, seed + 1)
    y[:, 0] += x[:, 0]
    exact = torch.tensor([[three_terms(x, x), three_terms(x, y)], [three_terms(y, x), three_terms(y, y)]])
    scale = exact.diagonal().abs().max()
    found = hsic(stacked(x, y), stacked(x, y))[0]
    torch.testing.assert_close(found, exact, rtol=1e-10, atol=1e-10 * float(scale))
    torch.testing.assert_close(self_hsic(stacked(x, y))[0], exact.diagonal(), rtol=1e-10, atol=1e-10 * float(scale))
    single = hsic(stacked(x.float(), y.float()), stacked(x.float(), y.float()))[0]
    torch.testing.assert_close(single, exact, rtol=0, atol=2e-5 * float(scale))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_block_is_the_triangle_of_the_u_centred_gram(dtype):
    for n in (4, 5, 33):
        k = centred_gram(features(n, 7, dtype=dtype))
        torch.testing.assert_close(unpack(block(k)).double(), u_centred(k), rtol=1e-4, atol=1e-4 if n > 5 else 1e-3)
        assert block(k).dtype == dtype
    with pytest.raises(ValueError, match="at least 4"):
        block(torch.eye(3))


def test_pack_goes_row_by_row_and_back():
    k = torch.arange(16.0).view(4, 4)
    assert pack(k).tolist() == [1, 2, 3, 6, 7, 11]
    symmetric = torch.randn(2, 3, 6, 6, generator=stream())
    symmetric = (symmetric + symmetric.mT) * (1 - torch.eye(6))
    assert torch.equal(unpack(pack(symmetric)), symmetric)
    with pytest.raises(ValueError, match="7 numbers"):
        unpack(torch.zeros(7))


@pytest.mark.parametrize("shift", [0.0, 1e3])
def test_large_means_do_not_cost_digits(shift):
    x, y = features(64, 20), features(64, 20, 1)
    y[:, :10] += x[:, :10]
    cka = []
    for dtype, moved in ((torch.float64, 0.0), (torch.float32, shift)):
        both = stacked((x + moved).to(dtype), (y + moved).to(dtype))
        h = hsic(both, both)[0]
        cka.append(h / h.diagonal().outer(h.diagonal()).sqrt())
    torch.testing.assert_close(cka[0], cka[1], rtol=0, atol=1e-5)


def test_long_float32_sums_stay_within_2e_7_of_float64():
    a = torch.randn(2, 5, 512 * 511 // 2, generator=stream()) + 0.5
    h, exact = hsic(a, a[:, :3]), hsic(a.double(), a[:, :3].double())
    assert h.shape == (2, 5, 3) and h.dtype == torch.float64
    norms = self_hsic(a.double()).sqrt()
    assert ((h - exact).abs() <= 2e-7 * norms[:, :, None] * norms[:, None, :3]).all()
    assert ((self_hsic(a) - norms**2).abs() <= 2e-7 * norms**2).all()


def test_hsic_refuses_what_has_no_pairs_and_nan():
    a = stacked(features(6, 3))
    with pytest.raises(ValueError, match="no pairs"):
        hsic(a, stacked(features(7, 3)))
    with pytest.raises(ValueError, match="no pairs"):
        hsic(a, a.repeat(2, 1, 1))
    for refused in (lambda: hsic(a, a * torch.nan), lambda: self_hsic(a * torch.inf)):
        with pytest.raises(ValueError, match="NaN or infinity"):
            refused()


def test_permuted_blocks_are_those_of_permuted_images():
    x, order = features(40, 9), torch.randperm(40, generator=stream(5))
    expected = stacked(x[order], x[order][:, :4])
    torch.testing.assert_close(permuted(stacked(x, x[:, :4]), order), expected)
    inverse = order.argsort()
    assert torch.equal(permuted(permuted(expected, order), inverse), expected)


def test_independent_and_shuffled_features_have_cka_near_zero():
    n = 256
    x, y = (torch.randn(n, 4096, generator=stream(seed)) for seed in (1, 2))
    both = stacked(x, y)
    shuffled = permuted(both, torch.randperm(n, generator=stream(3)))
    norms = self_hsic(both)[0].sqrt()
    assert abs(hsic(both, both)[0, 0, 1] / norms.prod()) < 0.02
    assert (hsic(both, shuffled)[0] / torch.outer(norms, norms)).abs().max() < 0.02


def test_without_first_component_is_the_gram_of_features_without_it():
    x = features(30, 8)
    x[:, 0] *= 10
    x -= x.mean(0)
    u, s, v = torch.linalg.svd(x, full_matrices=False)
    rest = x - s[0] * torch.outer(u[:, 0], v[0])
    torch.testing.assert_close(without_first_component(x @ x.T), rest @ rest.T)
    assert float(first_component_share(x @ x.T)) == pytest.approx(float(s[0] ** 2 / s.square().sum()))


@pytest.mark.parametrize(("n", "share", "k"), [(100, 0.01, 1), (256, 0.01, 3), (30, 0.1, 3)])
def test_largest_norms_go_to_the_mean_of_the_others(n, share, k):
    x = features(n, 5)
    x[torch.randperm(n, generator=stream(2))[:k]] *= 20
    x -= x.mean(0)
    norms = x.square().sum(1)
    top = norms.argsort(descending=True)[:k]
    assert float(largest_norm_share(x @ x.T, share)) == pytest.approx(float(norms[top].sum() / norms.sum()))
    found = without_largest_norms(x @ x.T, share)
    others = torch.ones(n, dtype=torch.bool)
    others[top] = False
    x[top] = x[others].mean(0)
    torch.testing.assert_close(found, centred_gram(x))
    assert (found[top] == 0).all() and found[others][:, others].diagonal().min() > 0


def network(architecture="resnet", widths=(4, 6), side=12):
    return build(architecture, widths=list(widths), n_classes=3, image_shape=(1, side, side), generator=stream()).eval()


def test_blocks_of_a_network_against_its_copied_activations():
    net, x, n = network("wrn-10", (4, 4, 6, 8)), torch.rand(24, 1, 12, 12, generator=stream(1)), 8
    for memory_format in (torch.contiguous_format, torch.channels_last):
        net = net.to(memory_format=memory_format)
        found = blocks(net, x, n)
        assert found.shape == (3, len(points(net)), 28) and found.dtype == torch.float32
        copies = []
        with torch.no_grad(), watching(net, lambda _, output, copies=copies: copies.append(output.clone())):
            for batch in x.split(n):
                net(batch)
        grams = [centred_gram(each.double()) for each in copies]
        scales = [gram.diagonal().mean() for gram in grams[: found.shape[1]]]  # of the first batch, for all
        for i, gram in enumerate(grams):
            b, point = divmod(i, found.shape[1])
            exact = pack(u_centred(gram / scales[point]))
            torch.testing.assert_close(found[b, point].double(), exact, rtol=1e-4, atol=1e-4)


def test_measures_come_from_one_pass():
    net, x = network(), torch.rand(16, 1, 12, 12, generator=stream(1))
    passes = []
    net.register_forward_pre_hook(lambda module, _: passes.append(module))
    more = {"all": block, "rest": lambda k: block(without_first_component(k)), "share": first_component_share}
    found = measured(net, x, 8, more)
    assert len(passes) == 2, "two batches"
    assert torch.equal(found["all"], blocks(net, x, 8))
    assert found["rest"].shape == found["all"].shape and found["share"].shape == found["all"].shape[:2]
    assert ((found["share"] > 0) & (found["share"] <= 1)).all()


def test_measured_refuses_half_batches_training_and_constant_points():
    net, x = network(), torch.rand(10, 1, 12, 12, generator=stream(1))
    with pytest.raises(ValueError, match="whole number of batches of 4"):
        blocks(net, x, 4)
    with pytest.raises(ValueError, match="body.stem.0 is constant"):
        blocks(net, x[:1].expand(10, -1, -1, -1), 5)
    with pytest.raises(ValueError, match="training mode"):
        blocks(net.train(), x, 5)


@pytest.mark.parametrize("keeping", [False, True])
def test_activations_are_dropped_at_once(keeping):
    net, x = network("wrn-28", (4, 4, 4, 4)), torch.rand(8, 1, 12, 12, generator=stream(1))
    made, alive, kept = [], [], []

    def count(index, output):
        assert output.grad_fn is None, "a graph would hold it"
        made.append(weakref.ref(output))
        alive.append(sum(each() is not None for each in made))
        kept.append(output if keeping else None)

    with watching(net, count):
        blocks(net, x, 8)
    assert len(alive) == len(points(net)) == 91
    assert (max(alive) <= 10) != keeping, "what a residual block holds itself, not what was compared"
