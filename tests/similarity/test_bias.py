"""The estimators of CKA by batch size: against features themselves, and what each finds where there is nothing."""

import pytest
import torch

from fourlenses.similarity.bias import ESTIMATORS, minibatch_cka_of_grams
from fourlenses.similarity.cka import minibatch_cka
from fourlenses.similarity.hsic import linear_gram

X, Y = (torch.randn(96, 200, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
MIXED = X + 0.5 * Y


@pytest.mark.parametrize("batch", [16, 32, 40, 96])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_parts_of_gram_matrices_are_the_gram_matrices_of_parts(estimator: str, batch: int) -> None:
    parts = [(X[i : i + batch], MIXED[i : i + batch]) for i in range(0, 96 - batch + 1, batch)]
    expected = minibatch_cka(parts, kernel="linear", debiased=estimator == "debiased")
    found = minibatch_cka_of_grams(linear_gram(X), linear_gram(MIXED), batch, estimator)
    assert found == pytest.approx(expected, abs=1e-10)


def test_only_the_biased_one_finds_similarity_where_there_is_none() -> None:
    grams = linear_gram(X), linear_gram(Y)
    small, large = (minibatch_cka_of_grams(*grams, batch, "biased") for batch in (16, 96))
    assert small > 0.9 > large > 0.6, "sqrt(p q / ((p + n) (q + n))) at p = q = 200 is 0.93 and 0.68"
    assert all(abs(minibatch_cka_of_grams(*grams, batch, "debiased")) < 0.05 for batch in (16, 96))


@pytest.mark.parametrize("batch", [3, 97])
def test_a_batch_that_cannot_be_is_refused(batch: int) -> None:
    with pytest.raises(ValueError, match="images"):
        minibatch_cka_of_grams(linear_gram(X), linear_gram(Y), batch, "biased")
