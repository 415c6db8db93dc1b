"""What the IRIs of one network are to another."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fourlenses.invariance.transfer import linear_cka, recognised, seen
from fourlenses.nets import build

SHAPE = (1, 12, 12)


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=stream(seed), dtype=torch.float64)


def network(seed: int = 0):
    return build("resnet", widths=[4, 6], n_classes=10, image_shape=SHAPE, mean=0.3, std=0.3, generator=stream(seed))


def images(n: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, *SHAPE, generator=stream(seed))


def gram_cka(a: np.ndarray, b: np.ndarray) -> float:
    """The textbook form: HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)), HSIC(K, L) = trace(K H L H) / (n - 1)^2."""
    n = len(a)
    centring = np.eye(n) - 1 / n

    def hsic(k: np.ndarray, other: np.ndarray) -> float:
        return np.trace(k @ centring @ other @ centring) / (n - 1) ** 2

    k, other = a @ a.T, b @ b.T
    return hsic(k, other) / np.sqrt(hsic(k, k) * hsic(other, other))


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 30), st.integers(1, 20), st.integers(1, 20), st.floats(-5, 5), st.integers(0, 1000))
def test_linear_cka_is_the_textbook_form_on_gram_matrices(n, d, e, shift, seed):
    a, b = normal(n, d, seed=seed) + shift, normal(n, e, seed=seed + 1)
    b = b + a[:, :1]  # so that they have something in common
    found = linear_cka(a, b)
    assert found == pytest.approx(gram_cka(a.numpy(), b.numpy()), rel=1e-8)
    assert 0 <= found <= 1 + 1e-12 and found == pytest.approx(linear_cka(b, a))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.floats(0.01, 100), st.floats(-50, 50))
def test_linear_cka_is_blind_to_rotation_scale_and_shift_and_to_nothing_else(seed, scale, shift):
    a, b = normal(25, 6, seed=seed), normal(25, 6, seed=seed + 1)
    rotation = torch.linalg.qr(normal(6, 6, seed=seed + 2)).Q
    assert linear_cka(a, scale * a @ rotation + shift) == pytest.approx(1)
    assert linear_cka(a, scale * b @ rotation + shift) == pytest.approx(linear_cka(a, b))
    stretched = a * torch.tensor([30.0, 1, 1, 1, 1, 1], dtype=torch.float64)
    assert linear_cka(a, stretched) < 0.99
    assert linear_cka(a, a[torch.randperm(25, generator=stream(seed))]) < 0.99


def test_linear_cka_by_hand():
    a = torch.tensor([[1.0], [-1.0], [0.0]])
    b = torch.tensor([[1.0], [1.0], [-2.0]])
    assert linear_cka(a, b) == 0
    assert linear_cka(a, torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 3.0]])) == pytest.approx(4 / (2 * 40**0.5))


def test_a_constant_representation_has_no_cka():
    a, constant = torch.randn(7, 3, generator=stream()), torch.full((7, 2), 0.1)
    for pair in ((a, constant), (constant, a)):
        with pytest.raises(ValueError, match="same for all inputs"):
            linear_cka(*pair)


def test_what_is_seen_is_the_same_one_by_one():
    judge, x = network().eval(), images(20)
    g, classes = seen(judge, x, batch=6)
    with torch.no_grad():
        torch.testing.assert_close(g, torch.cat([judge.features(image[None]) for image in x]))
        assert torch.equal(classes, torch.cat([judge(image[None]).argmax(1) for image in x]))
    assert len(classes.unique()) > 1


def test_recognised_is_a_count_of_images():
    classes = torch.arange(20) % 10
    assert recognised(classes, classes) == 100
    assert recognised(classes, (classes + 1) % 10) == 0
    labels = classes.clone()
    labels[:13] = (labels[:13] + 1) % 10
    assert recognised(classes, labels) == pytest.approx(35)


def test_stir_is_one_for_the_targets_themselves_and_falls_with_noise():
    judge, x, targets = network().eval(), images(20), images(20, seed=1)
    at_targets, _ = seen(judge, targets)
    expected = gram_cka(judge.features(x).detach().double().numpy(), at_targets.double().numpy())
    assert linear_cka(seen(judge, x, batch=7)[0], at_targets) == pytest.approx(expected, rel=1e-4)
    assert linear_cka(at_targets, at_targets) == pytest.approx(1) and expected < 0.9
    near, far = (linear_cka(seen(judge, targets + noise * x)[0], at_targets) for noise in (0.01, 1))
    assert near > far


def test_the_network_is_left_as_it_was():
    judge = network()
    judge.train()
    before = {name: value.clone() for name, value in judge.state_dict().items()}
    seen(judge, images(20))
    assert judge.training and all(module.training for module in judge.modules())
    assert all(torch.equal(value, before[name]) for name, value in judge.state_dict().items())
    assert all(parameter.requires_grad for parameter in judge.parameters())
