"""Accuracies and their intervals."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fourlenses.nets import build
from fourlenses.training.evaluate import accuracy, robust_accuracy
from fourlenses.training.objectives import Threat

SHAPE = (1, 8, 8)


class Brightness(nn.Module):
    """Class 1 where the mean pixel is above one half; linear, so that the best attack is known."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logit = (x.flatten(1).mean(1) - 0.5) * 50
        return torch.stack([-logit, logit], 1)


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(deadline=None)
@given(n=st.integers(1, 300), share=st.floats(0, 1))
def test_accuracy_and_wilson_interval_against_the_formula(n, share):
    hits = round(n * share)
    x = torch.full((n, *SHAPE), 0.7)
    y = (torch.arange(n) < hits).long()
    found = accuracy(Brightness(), x, y, batch=64)
    z = 1.959963984540054
    p = hits / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert (found.value, found.n) == (pytest.approx(p), n)
    assert (found.low, found.high) == (pytest.approx(middle - half, abs=1e-9), pytest.approx(middle + half, abs=1e-9))


@pytest.mark.parametrize(("norm", "reach"), [("linf", 1.0), ("l2", 1 / 8)])  # on the mean of 64 pixels
def test_robust_accuracy_is_that_of_the_best_attack_on_a_linear_network(norm, reach):
    levels = torch.linspace(0.3, 0.7, 50)
    x = levels.view(-1, 1, 1, 1).expand(50, *SHAPE).contiguous()
    y = (levels > 0.5).long()
    eps = 0.1 / reach
    found = robust_accuracy(Brightness(), x, y, Threat(norm, eps, 20), generator=stream(), batch=16)
    assert accuracy(Brightness(), x, y).value == 1.0
    assert found.value == pytest.approx(float(((levels - 0.5).abs() > 0.1).float().mean()))


def test_measuring_uses_evaluation_mode_and_leaves_no_trace():
    network = build("resnet", widths=[4, 8], n_classes=3, image_shape=SHAPE, generator=stream()).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    x, y = torch.rand(20, *SHAPE, generator=stream(1)), torch.arange(20) % 3
    threat = Threat("linf", 0.1, 3)
    first = robust_accuracy(network, x, y, threat, generator=stream(2), precision="bfloat16", batch=7)
    assert first == robust_accuracy(network, x, y, threat, generator=stream(2), precision="bfloat16", batch=7)
    assert accuracy(network, x, y, batch=3) == accuracy(network, x, y, batch=20), "batches do not matter"
    assert network.training and all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert first.value <= accuracy(network, x, y).value
