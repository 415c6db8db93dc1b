"""TRADES and MART: adversarial training that keeps the answer to an image and to its adversary together."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from fourlenses.attacks import STEPS, Loss, Stream, autocast, cross_entropy, normal_like, projected_gradient
from fourlenses.nets.folding import Shadow
from fourlenses.training.objectives import Objective, Threat

DEVIATION = 0.001  # of the noise at the start: the divergence has no gradient at the image itself
FLAT = 1e-9  # a slope too small to matter beside any other


def divergence(logits: Float[Tensor, "n classes"], logits_adv: Float[Tensor, "n classes"]) -> Float[Tensor, " n"]:
    """KL(f(x) || f(x')) = sum_k p_k(x) (log p_k(x) - log p_k(x')) per image, in nats, p the softmax of the logits."""
    target = logits.log_softmax(1)
    return F.kl_div(logits_adv.log_softmax(1), target, reduction="none", log_target=True).sum(1)


def trades_loss(
    logits: Float[Tensor, "n classes"], logits_adv: Float[Tensor, "n classes"], y: Int[Tensor, " n"], beta: float
) -> Float[Tensor, ""]:
    """Cross-entropy on the images and closeness to their adversaries: mean[CE(f(x), y) + beta KL(f(x) || f(x'))].

    Arguments: `logits` and `logits_adv`, of the images x and of their adversaries x'; `y`, labels; `beta`, from 0, the
    weight of robustness (1/lambda in the paper). The gradient flows through both.
    Returns the loss in nats.
    Source: Zhang et al., ICML 2019, equation 5.
    """
    return F.cross_entropy(logits, y) + beta * divergence(logits, logits_adv).mean()


def mart_loss(
    logits: Float[Tensor, "n classes"], logits_adv: Float[Tensor, "n classes"], y: Int[Tensor, " n"], beta: float
) -> Float[Tensor, ""]:
    """Boosted cross-entropy on the adversaries, and closeness where the image itself is misclassified.

    mean[-log p_y(x') - log(1 - max_{k != y} p_k(x')) + beta KL(f(x) || f(x')) (1 - p_y(x))].

    Arguments: as of `trades_loss`, with two classes or more. The gradient flows through every term, the weight 1 - p_y
    included. In place of the constants that the authors' code adds inside the logarithm, log(1 - p_k) is the log of
    the sum of the other probabilities.
    Returns the loss in nats.
    Source: Wang et al., ICLR 2020, equations 7 and 11.
    """
    log_p = logits_adv.log_softmax(1)
    classes = torch.arange(log_p.shape[1], device=y.device)
    rival = log_p.masked_fill(classes == y[:, None], -torch.inf).argmax(1)
    boosted = -log_p.masked_fill(classes == rival[:, None], -torch.inf).logsumexp(1)
    wrong = 1 - logits.softmax(1).gather(1, y[:, None])[:, 0]
    return F.cross_entropy(logits_adv, y) + (boosted + beta * divergence(logits, logits_adv) * wrong).mean()


def ascend(
    loss: Loss, x: Float[Tensor, "n c h w"], threat: Threat, step_size: float, deviation: float, generator: Stream
) -> Float[Tensor, "n c h w"]:
    """Images of large `loss` in the ball around `x`, by projected gradient from x + deviation N(0, 1).

    Arguments: `loss`, one differentiable value per image; `x`, in [0, 1]; `threat`, the ball and the number of steps;
    `step_size`, their length, and `deviation`, both in pixels of [0, 1]; `generator`, the source of the noise.
    Returns the last iterate. The ball is that of the start while it climbs, and that of `x` at the end.
    Source: Zhang et al. 2019, the authors' code, which takes a random step too where there is no gradient.
    """
    noise = normal_like(x, generator)

    def sloping(z: Tensor) -> Tensor:
        # bfloat16 can hide the start's noise; where the loss is flat, the noise leads away
        return loss(z) + FLAT * (noise * z).flatten(1).sum(1)

    ball = {"eps": threat.eps, "step_size": step_size}
    start = x + deviation * noise
    found = projected_gradient(sloping, start, norm=threat.norm, steps=threat.steps, best=False, **ball)
    return STEPS[threat.norm](orig_input=x, **ball).project(found)


def trades(precision: str, threat: Threat, beta: float) -> Objective:
    """The loss `trades_loss`, with x' the image in the ball that maximises KL(f(x) || f(x')).

    The attack starts at x + 0.001 N(0, 1), and its steps are 2 eps / steps long; it looks at the network in evaluation
    mode. The network then sees images and adversaries in two passes, each with its own batch statistics. The logits
    returned are those of the images. Source: Zhang et al., ICML 2019, algorithm 1, and the authors' code.
    """
    shadow = Shadow(precision)

    def objective(
        network: nn.Module, x: Float[Tensor, "n c h w"], y: Int[Tensor, " n"], generator: Stream
    ) -> tuple[Tensor, Tensor]:
        copy = shadow.of(network)
        with torch.no_grad():
            clean = copy(x).float()
        step_size = 2 * threat.eps / threat.steps
        x_adv = ascend(lambda z: divergence(clean, copy(z).float()), x, threat, step_size, DEVIATION, generator)
        logits, logits_adv = (_logits(network, images, precision) for images in (x, x_adv))
        return trades_loss(logits, logits_adv, y, beta), logits

    return objective


def mart(precision: str, threat: Threat, beta: float) -> Objective:
    """The loss `mart_loss`, with x' the image in the ball that maximises the cross-entropy.

    The attack and the passes are as in `trades`; the logits returned are those of the adversaries. Source: Wang et al.,
    ICLR 2020, algorithm 1, and the authors' code, whose attack is for the Linf ball only.
    """
    shadow = Shadow(precision)

    def objective(
        network: nn.Module, x: Float[Tensor, "n c h w"], y: Int[Tensor, " n"], generator: Stream
    ) -> tuple[Tensor, Tensor]:
        step_size = 2 * threat.eps / threat.steps
        x_adv = ascend(cross_entropy(shadow.of(network), y), x, threat, step_size, DEVIATION, generator)
        logits, logits_adv = (_logits(network, images, precision) for images in (x, x_adv))
        return mart_loss(logits, logits_adv, y, beta), logits_adv

    return objective


def _logits(network: nn.Module, x: Tensor, precision: str) -> Tensor:
    with autocast(x.device, precision):
        logits = network(x.to(memory_format=torch.channels_last))
    return logits.float()
