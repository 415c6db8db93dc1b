"""Linear CKA against ckatorch's own functions."""

import pytest
import torch
from ckatorch.core import cka_base, cka_batch
from hypothesis import given, settings
from hypothesis import strategies as st

from fourlenses.similarity.cka import cka, minibatch_cka


def features(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).add(1).relu()


@settings(deadline=None, max_examples=20)
@given(
    n=st.integers(8, 60), p=st.integers(4, 50), q=st.integers(4, 50), debiased=st.booleans(), seed=st.integers(0, 1000)
)
def test_all_images_at_once(n, p, q, debiased, seed):
    x, y = features(n, p, seed=seed), features(n, q, seed=seed + 1)
    assert cka(x, y, debiased=debiased) == pytest.approx(cka_base(x, y, unbiased=debiased).item(), abs=1e-6)


@pytest.mark.parametrize("batches", [1, 5])
def test_equal_batches(batches):
    x, y = features(batches, 32, 20, seed=0), features(batches, 32, 30, seed=1)
    y[..., :20] += x
    ours, theirs = minibatch_cka(zip(x, y, strict=True)), cka_batch(x, y).item()
    assert theirs > 0.1 and ours == pytest.approx(theirs, abs=1e-6)
