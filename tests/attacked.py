"""A small network with batch normalisation, and attacks on it."""

import torch
from torch import nn
from torch.nn import functional as F

from fourlenses.attacks import cross_entropy, frozen, projected_gradient
from fourlenses.nets import build

SHAPE = (3, 12, 12)


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def trained_a_little(seed: int = 0) -> nn.Module:
    """A network whose batch normalisation has statistics of its own."""
    network = build("resnet", widths=[4, 8], n_classes=5, image_shape=SHAPE, generator=stream(seed), mean=0.4, std=0.3)
    for _ in range(5):
        network(torch.rand(32, *SHAPE, generator=stream(1)))
    return network


X = torch.rand(8, *SHAPE, generator=stream(2))
Y = torch.randint(5, (8,), generator=stream(3))
L2 = {"norm": "l2", "eps": 0.5, "step_size": 0.2, "steps": 5}
LINF = {"norm": "linf", "eps": 0.05, "step_size": 0.02, "steps": 5}


def attack(network: nn.Module, x: torch.Tensor = X, y: torch.Tensor = Y, **options) -> torch.Tensor:
    with frozen(network):
        return projected_gradient(cross_entropy(network, y), x, **options)


def loss_of(network: nn.Module, x: torch.Tensor, y: torch.Tensor = Y) -> torch.Tensor:
    with frozen(network), torch.no_grad():
        return F.cross_entropy(network(x), y, reduction="none")
