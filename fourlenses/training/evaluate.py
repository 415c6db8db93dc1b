"""Clean and robust accuracy, each with its interval."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from fourlenses.attacks import cross_entropy, frozen, projected_gradient
from fourlenses.training.objectives import Threat


@dataclass(frozen=True)
class Accuracy:
    """A fraction of `n` images, with its 95 % Wilson interval [low, high]."""

    value: float
    low: float
    high: float
    n: int


def accuracy(
    network: nn.Module, x: Float[Tensor, "n c h w"], y: Int[Tensor, " n"], batch: int = 500
) -> Accuracy:
    """Top-1 accuracy on images in [0, 1], in float32 and evaluation mode."""
    with frozen(network), torch.no_grad():
        hits = [
            network(a.to(memory_format=torch.channels_last)).argmax(1) == b
            for a, b in zip(x.split(batch), y.split(batch), strict=True)
        ]
    return _wilson(int(torch.cat(hits).sum()), len(y))


def robust_accuracy(
    network: nn.Module,
    x: Float[Tensor, "n c h w"],
    y: Int[Tensor, " n"],
    threat: Threat,
    *,
    generator: torch.Generator,
    precision: str = "float32",
    batch: int = 250,
) -> Accuracy:
    """Top-1 accuracy under projected gradient from a random start, in steps of 2.5 eps / steps, best iterate.

    The attack runs in `precision`; the images it finds are judged in float32.
    """
    found = []
    with frozen(network):
        for a, b in zip(x.split(batch), y.split(batch), strict=True):
            found.append(
                projected_gradient(
                    cross_entropy(network, b, precision),
                    a,
                    norm=threat.norm,
                    eps=threat.eps,
                    step_size=2.5 * threat.eps / threat.steps,
                    steps=threat.steps,
                    generator=generator,
                )
            )
    return accuracy(network, torch.cat(found), y, batch)


def _wilson(hits: int, n: int, z: float = 1.959963984540054) -> Accuracy:
    """Wilson 1927, the score interval; z is the 97.5 % quantile of the normal distribution."""
    value = hits / n
    centre, reach = value + z * z / (2 * n), z * math.sqrt(value * (1 - value) / n + (z / (2 * n)) ** 2)
    low, high = ((centre + sign * reach) / (1 + z * z / n) for sign in (-1, 1))
    return Accuracy(value, max(low, 0.0), min(high, 1.0), n)
