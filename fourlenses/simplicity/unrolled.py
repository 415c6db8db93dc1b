"""The objective of a simplifier: bits, and what one step of training on the simplified images does to a classifier."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from fourlenses.attacks import autocast
from fourlenses.errors import UserError
from fourlenses.nets.glow import Glow
from fourlenses.simplicity.bits import bits_per_dimension

Tensors = dict[str, Tensor]
Vector = Float[Tensor, " parameters"]  # a number for each weight of a network, in the order of its parameters
View = Callable[[Tensor], Tensor]  # images (n, c, h, w) -> the same, each shifted and mirrored in its own way


@dataclass(frozen=True)
class AdamW:
    """A rate and what else AdamW is given: decay rates of its two moments, epsilon, weight decay."""

    lr: float
    betas: tuple[float, float] = (0.9, 0.995)
    eps: float = 1e-8
    decay: float = 1e-5


@dataclass(frozen=True)
class Moments:
    """What AdamW keeps of each weight, `mean` m and `square` v, and of how many `steps`."""

    mean: Vector
    square: Vector
    steps: int

    @staticmethod
    def of(theta: Vector) -> "Moments":
        """Those before the first step."""
        return Moments(torch.zeros_like(theta), torch.zeros_like(theta), 0)


def adamw_step(
    theta: Vector, gradient: Vector, moments: Moments, decays: Vector, settings: AdamW
) -> tuple[Vector, Moments]:
    """One step of AdamW as a differentiable function of the gradient g; nothing is changed in place.

    m' = b1 m + (1 - b1) g,  v' = b2 v + (1 - b2) g^2,
    theta' = (1 - lr decay) theta - lr m' / (1 - b1^t) / (sqrt(v' / (1 - b2^t)) + eps), with t the steps, this one too.

    Where v' = 0 the derivative of its root, which g = 0 multiplies, is taken as 0, so that no gradient is NaN.
    Arguments: `decays`, 1 for weights that decay, 0 for others. Returns theta' and the new moments.
    Source: Loshchilov & Hutter 2019 (arXiv:1711.05101), algorithm 2.
    """
    (b1, b2), t = settings.betas, moments.steps + 1
    m = moments.mean.lerp(gradient, 1 - b1)
    v = b2 * moments.square + (1 - b2) * gradient * gradient
    moved = v > 0
    root = torch.where(moved, torch.where(moved, v, 1).sqrt(), 0) / (1 - b2**t) ** 0.5
    new = (1 - settings.lr * settings.decay * decays) * theta - settings.lr / (1 - b1**t) * m / (root + settings.eps)
    return new, Moments(m, v, t)


def flattened(tensors: Iterable[Tensor]) -> Vector:
    """All their numbers in a row."""
    return torch.cat([each.reshape(-1) for each in tensors])


def shaped(vector: Vector, like: Mapping[str, Tensor]) -> Tensors:
    """The numbers in a row as tensors of these names and shapes."""
    parts = vector.split([each.numel() for each in like.values()])
    return {name: part.view(each.shape) for (name, each), part in zip(like.items(), parts, strict=True)}


def decaying(theta: Mapping[str, Tensor]) -> Vector:
    """1 for every number of the parameters that AdamW lets decay: all but biases."""
    return flattened(torch.full_like(each, not name.endswith("bias")) for name, each in theta.items())


def check_independent(network: nn.Module) -> None:
    """Raise UserError, naming the layer, where what a network says of an image depends on others or on chance."""
    for name, layer in network.named_modules():
        if isinstance(layer, _BatchNorm | _DropoutNd):
            raise UserError(
                f"a classifier with the layer {name} ({type(layer).__name__})",
                "one whose answer for an image depends neither on the other images of a batch nor on chance",
                "choose the architecture groupnorm or convnet",
            )


class Player:
    """A classifier that AdamW trains in place, whose moments go on from step to step.

    Raises UserError for one with batch statistics.
    """

    def __init__(self, classifier: nn.Module, lr: float, precision: str) -> None:
        check_independent(classifier)
        self.classifier, self.precision, self.optimizer = classifier, precision, AdamW(lr)
        self.parameters = dict(classifier.named_parameters())
        self.moments = Moments.of(self._theta())

    def step(self, x: Float[Tensor, "n c h w"], y: Int[Tensor, " n"]) -> Float[Tensor, ""]:
        """One step on the cross-entropy of images; returns it, as it was before."""
        with autocast(x.device, self.precision):
            logits = self.classifier(x)
        loss = F.cross_entropy(logits.to(x.dtype), y)
        with torch.no_grad():
            gradient = flattened(torch.autograd.grad(loss, list(self.parameters.values())))
            theta, decays = self._theta(), decaying(self.parameters)
            theta, self.moments = adamw_step(theta, gradient, self.moments, decays, self.optimizer)
        self._set(theta)
        return loss.detach()

    def state(self) -> Tensors:
        steps = torch.tensor(self.moments.steps)
        return {"theta": self._theta(), "mean": self.moments.mean, "square": self.moments.square, "steps": steps}

    def restore(self, state: Tensors) -> None:
        self._set(state["theta"])
        mean, square = (state[kind].to(self.moments.mean.device) for kind in ("mean", "square"))
        self.moments = Moments(mean, square, int(state["steps"]))

    def _theta(self) -> Vector:
        return flattened(self.parameters.values()).detach()

    def _set(self, theta: Vector) -> None:
        with torch.no_grad():
            for name, value in shaped(theta, self.parameters).items():
                self.parameters[name].copy_(value)


def gate(losses: Float[Tensor, " n"], tau: float) -> Float[Tensor, " n"]:
    """w_i = clip(tau - l_i, 0, 1) / tau, without gradient: how far an image whose original has loss l_i is simplified.

    Source: Schirrmeister et al. 2022 (arXiv:2201.05610), code, where tau = 0.1.
    """
    return (tau - losses.detach()).clamp(0, 1) / tau


def random_view(shape: Sequence[int], padding: int, flip: bool, generator: Generator) -> View:
    """The augmentation of `fourlenses.training.augment.crop_and_flip` as a function, which may be used more than once.

    a(x_i) = R_i x_i C_i^T, whose rows are those of unit matrices, or zero where a pixel comes from outside the image:
    matrix products have gradients of every order, at little cost. Arguments: `shape`, (n, c, h, w) of the images.
    """
    if padding == 0 and not flip:
        return lambda x: x
    n, _, h, w = shape
    device = generator.device
    shifts = torch.randint(2 * padding + 1, (2, n, 1), generator=generator, device=device) - padding
    rows, columns = torch.arange(h, device=device) + shifts[0], torch.arange(w, device=device).expand(n, w)
    if flip:
        mirrored = torch.randint(2, (n, 1), generator=generator, device=device) == 1
        columns = torch.where(mirrored, w - 1 - columns, columns)
    columns = columns + shifts[1]

    def unit(chosen: Int[Tensor, "n s"]) -> Float[Tensor, "n 1 s s"]:
        at = torch.arange(chosen.shape[1], device=device)
        return (chosen[:, :, None] == at).float()[:, None]

    left, right = unit(rows), unit(columns).mT

    def view(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        with torch.autocast(x.device.type, enabled=False):  # pixels stay exactly what they are
            return left.to(x) @ x @ right.to(x)

    return view


def one_step_objective(
    classifier: nn.Module,
    theta: Mapping[str, Tensor],
    moments: Moments,
    x: Float[Tensor, "n c h w"],
    simplified: Float[Tensor, "n c h w"],
    y: Int[Tensor, " n"],
    noise: Float[Tensor, "n c h w"],
    *,
    glow: Glow,
    weight: float,
    tau: float,
    optimizer: AdamW,
    view: View,
) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
    """What a simplifier minimises on a batch, differentiable in x~ directly and through a step of the classifier.

    theta' = AdamW(theta, d L_before / d theta), L_before = mean_i CE(f_theta(a(x~_i)), y_i),
    L_after = mean_i CE(f_theta'(a(x~_i)), y_i),  l_i = CE(f_theta'(a(x_i)), y_i),  L_original = mean_i l_i,
    L = (L_before + L_after + 10 L_original + weight mean_i w_i bpd(x~_i)) / (12 + weight),  w_i = `gate`(l_i).

    The bits of images with w_i = 0 are not computed, the mean is over the whole batch all the same.
    Arguments: `theta`, parameters of `classifier` by name, that require gradients; `moments`, of its optimizer; `x`,
    originals, and `simplified`, x~, in [0, 1]; `noise`, in [0, 1), that dequantises x~ for the flow `glow`; `view`,
    a, the same for x and x~; `optimizer`, of theta.
    Returns the loss, and for the log L_before, L_after, L_original and the mean of w, without gradient.
    Source: Schirrmeister et al. 2022 (arXiv:2201.05610), code.
    """
    n = len(x)
    seen = view(simplified)
    before = F.cross_entropy(_logits(classifier, theta, seen), y)
    gradient = flattened(torch.autograd.grad(before, list(theta.values()), create_graph=True))
    start = flattened(theta.values()).detach()
    stepped, _ = adamw_step(start, gradient, moments, decaying(theta), optimizer)
    logits = _logits(classifier, shaped(stepped, theta), torch.cat([seen, view(x)]))
    losses = F.cross_entropy(logits, y.repeat(2), reduction="none")
    after, original = losses[:n].mean(), losses[n:].mean()
    w = gate(losses[n:], tau)
    loss = before + after + 10 * original
    opened = w > 0
    if weight and opened.any():
        bits = bits_per_dimension(glow, simplified[opened], noise[opened])
        loss = loss + weight * (w[opened] * bits).sum() / n
    logs = {"before": before, "after": after, "original": original, "gate": w.mean()}
    return loss / (12 + weight), {name: value.detach() for name, value in logs.items()}


def _logits(classifier: nn.Module, theta: Mapping[str, Tensor], x: Tensor) -> Tensor:
    return functional_call(classifier, dict(theta), (x,)).to(x.dtype)
