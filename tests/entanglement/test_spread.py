"""How far apart classes are, and how large their points."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cosine

from fourlenses.entanglement.spread import inter_class_cosine, intra_class_cosine, mean_norm


@settings(deadline=None, max_examples=20)
@given(n=st.integers(4, 25), classes=st.integers(2, 6), scale=st.floats(1e-3, 1e3), seed=st.integers(0, 1000))
def test_means_within_and_between_classes_against_a_loop_over_pairs(n, classes, scale, seed):
    generator = torch.Generator().manual_seed(seed)
    x = scale * torch.randn(n, 2, 3, generator=generator)
    y = torch.randint(classes, (n,), generator=generator)
    y[:3] = torch.tensor([0, 0, 1])
    pairs = [(i, j, cosine(x[i].double().flatten(), x[j].double().flatten())) for i in range(n) for j in range(i)]
    assert intra_class_cosine(x, 5 * y - 3) == pytest.approx(np.mean([d for i, j, d in pairs if y[i] == y[j]]))
    assert inter_class_cosine(x, 5 * y - 3) == pytest.approx(np.mean([d for i, j, d in pairs if y[i] != y[j]]))


def test_classes_that_point_one_way_each_by_hand():
    x, y = torch.tensor([[1.0, 0], [3, 0], [0, 2], [0, 1], [-5, 0], [0, 0]]), torch.tensor([0, 0, 1, 1, 2, 2])
    assert intra_class_cosine(x[:4], y[:4]) == pytest.approx(0, abs=1e-12)
    assert inter_class_cosine(x[:4], y[:4]) == 1
    assert intra_class_cosine(x, y) == pytest.approx((0 + 0 + 1) / 3), "zero is at 1 from all others"
    assert inter_class_cosine(x, y) == pytest.approx((4 * 1 + 2 * 2 + 2 * 1 + 4 * 1) / 12)


@given(scale=st.floats(1e-3, 1e3))
def test_scale_changes_the_norm_alone(scale):
    x, y = torch.tensor([[3.0, 4], [0, 1], [1, 1]], dtype=torch.float64), torch.tensor([0, 0, 1])
    assert mean_norm(scale * x) == pytest.approx(scale * (5 + 1 + 2**0.5) / 3)
    assert mean_norm(scale * x.view(3, 1, 2)) == mean_norm(scale * x)
    assert intra_class_cosine(scale * x, y) == pytest.approx(0.2)


def test_what_has_no_pairs_is_refused():
    with pytest.raises(ValueError, match="no two points share a class"):
        intra_class_cosine(torch.eye(3), torch.arange(3))
    with pytest.raises(ValueError, match="all points are of one class"):
        inter_class_cosine(torch.eye(3), torch.zeros(3, dtype=torch.long))
