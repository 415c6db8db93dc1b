"""What a network minimises on a batch: cross-entropy on images, or on adversarial examples."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from fourlenses.attacks import autocast, projected_gradient
from fourlenses.nets.folding import Shadow

# (network, images (n, c, h, w) in [0, 1], labels (n,), generator) -> loss (), logits (n, classes) that it rests on
Objective = Callable[[nn.Module, Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Threat:
    """What a network is trained against: `norm` ("l2" or "linf"), radius `eps` in pixels of [0, 1], `steps`."""

    norm: str
    eps: float
    steps: int


def standard(precision: str) -> Objective:
    """Cross-entropy on the images themselves."""

    def objective(
        network: nn.Module, x: Float[Tensor, "n c h w"], y: Int[Tensor, " n"], generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        with autocast(x.device, precision):
            logits = network(x.to(memory_format=torch.channels_last))
        return F.cross_entropy(logits.float(), y), logits.float()

    return objective


def adversarial(precision: str, threat: Threat) -> Objective:
    """Cross-entropy on projected-gradient adversarial examples only (Madry et al. 2018).

    The attack starts at the image (L2) or at random in the ball (Linf); its steps are 2 eps / steps long (Linf:
    2.5 eps / steps), so that it can cross the ball.
    """
    random_start = threat.norm == "linf"
    step_size = (2.5 if random_start else 2.0) * threat.eps / threat.steps
    shadow = Shadow(precision)

    def objective(
        network: nn.Module, x: Float[Tensor, "n c h w"], y: Int[Tensor, " n"], generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        attacked = shadow.of(network)
        x = projected_gradient(
            lambda x: F.cross_entropy(attacked(x).float(), y, reduction="none"),
            x,
            norm=threat.norm,
            eps=threat.eps,
            step_size=step_size,
            steps=threat.steps,
            generator=generator if random_start else None,
            best=False,
        )
        return standard(precision)(network, x, y, generator)

    return objective


