"""What a network minimises on a batch: cross-entropy on images, on adversarial examples, or on both."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from fourlenses.attacks import Stream, autocast, projected_gradient
from fourlenses.nets.folding import Shadow

# (network, images (n, c, h, w) in [0, 1], labels (n,), generator) -> loss (), logits (n, classes) that it rests on
Objective = Callable[[nn.Module, Tensor, Tensor, Stream], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Threat:
    """What a network is trained against: `norm` ("l2", "linf", "jpeg", "gabor" or "snow"), radius `eps` in pixels of
    [0, 1] ("jpeg": in steps of its quantisation), `steps`."""

    norm: str
    eps: float
    steps: int


def standard(precision: str) -> Objective:
    """Cross-entropy on the images themselves."""

    def objective(
        network: nn.Module, x: Float[Tensor, "n c h w"], y: Int[Tensor, " n"], generator: Stream
    ) -> tuple[Tensor, Tensor]:
        with autocast(x.device, precision):
            logits = network(x.to(memory_format=torch.channels_last))
        return F.cross_entropy(logits.float(), y), logits.float()

    return objective


def adversarial(precision: str, threat: Threat) -> Objective:
    """Cross-entropy on projected-gradient adversarial examples only (Madry et al. 2018).

    The attack starts at the image (L2) or at random (the others); its steps are 2 eps / steps long (the others:
    2.5 eps / steps), so that it can cross the ball.
    """
    return _adversarial(precision, threat, (2.0 if threat.norm == "l2" else 2.5) * threat.eps / threat.steps)


def fast(precision: str, threat: Threat) -> Objective:
    """Cross-entropy on adversarial examples of one step: a random start, then 1.25 eps along the sign, projected.

    The number of steps of `threat` is not used. Source: Wong et al., ICLR 2020, algorithm 3.
    """
    return _adversarial(precision, replace(threat, steps=1), 1.25 * threat.eps)


def half_half(precision: str, threat: Threat) -> Objective:
    """Images and adversarial examples by halves: (CE(f(x), y) + CE(f(x'), y)) / 2, with x' as in `adversarial`.

    The network sees images and adversaries in two passes, each with its own batch statistics. The logits returned are
    those of the adversaries.
    Source: Cianfarani et al., NeurIPS 2022, code, whose attack looks at the network in training mode, ours in
    evaluation mode.
    """
    on_images, on_adversaries = standard(precision), adversarial(precision, threat)

    def objective(
        network: nn.Module, x: Float[Tensor, "n c h w"], y: Int[Tensor, " n"], generator: Stream
    ) -> tuple[Tensor, Tensor]:
        clean, _ = on_images(network, x, y, generator)
        attacked, logits = on_adversaries(network, x, y, generator)
        return (clean + attacked) / 2, logits

    return objective


def _adversarial(precision: str, threat: Threat, step_size: float) -> Objective:
    """Cross-entropy on the last iterate of projected gradient, which only for L2 starts at the image itself."""
    shadow = Shadow(precision)
    learn = standard(precision)

    def objective(
        network: nn.Module, x: Float[Tensor, "n c h w"], y: Int[Tensor, " n"], generator: Stream
    ) -> tuple[Tensor, Tensor]:
        attacked = shadow.of(network)
        x = projected_gradient(
            lambda x: F.cross_entropy(attacked(x).float(), y, reduction="none"),
            x,
            norm=threat.norm,
            eps=threat.eps,
            step_size=step_size,
            steps=threat.steps,
            generator=None if threat.norm == "l2" else generator,
            best=False,
        )
        return learn(network, x, y, generator)

    return objective
