"""Gradients of a network's loss on few and on many images, and how far they are apart."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call, vmap  # not grad, whose first call imports the compiler, 1.5 s
from torch.nn import functional as F

LR, MOMENTUM = 0.01, 0.5  # of a student

Gradients = dict[str, Tensor]  # by the name of a parameter


def gradient(
    network: nn.Module, parameters: Mapping[str, Tensor], x: Float[Tensor, "n c h w"], y: Int[Tensor, " n"]
) -> Gradients:
    """dCE/dtheta of a batch, the mean over its images."""
    theta = {name: value.detach().requires_grad_() for name, value in parameters.items()}
    loss = F.cross_entropy(functional_call(network, theta, (x,)), y)
    return dict(zip(theta, torch.autograd.grad(loss, list(theta.values())), strict=True))


def class_gradients(
    network: nn.Module, parameters: Mapping[str, Tensor], x: Float[Tensor, "classes m c h w"]
) -> Gradients:
    """`gradient` of every class's images, stacked along a first dimension, in one call; differentiable in `x`."""
    n, m = x.shape[:2]
    theta = {
        name: value.detach().expand(n, *value.shape).clone().requires_grad_() for name, value in parameters.items()
    }
    logits = vmap(lambda of_class, images: functional_call(network, of_class, (images,)))(theta, x)
    y = torch.arange(n, device=x.device).repeat_interleave(m)
    loss = F.cross_entropy(logits.flatten(0, 1), y, reduction="sum") / m
    return dict(zip(theta, torch.autograd.grad(loss, list(theta.values()), create_graph=True), strict=True))


def class_by_class(network: nn.Module, parameters: Mapping[str, Tensor], seen: Sequence[Tensor]) -> Gradients:
    """As `class_gradients`, but for many images, not as many of each class, and not differentiable.

    One class after the other is then quicker.
    """
    each = [
        gradient(network, parameters, images, torch.full((len(images),), c, device=images.device))
        for c, images in enumerate(seen)
    ]
    return {name: torch.stack([found[name] for found in each]) for name in parameters}


def match_distance(real: Mapping[str, Tensor], synthetic: Mapping[str, Tensor]) -> Float[Tensor, " classes"]:
    """D_c = sum over weights (not biases or norms), sum over their output rows r of 1 - <G_r, G~_r> / (|G_r| |G~_r| +
    1e-6).

    Arguments: gradients by parameter, of shape (classes, *parameter); parameters of one dimension do not count.
    Source: Zhao et al. 2021 (arXiv:2006.05929), section 3.3; arXiv:2201.05610, the authors' code.
    """
    distances = []
    for name in real:
        if real[name].ndim > 2:
            a, b = real[name].flatten(2), synthetic[name].flatten(2)
            cosine = (a * b).sum(2) / (a.norm(dim=2) * b.norm(dim=2) + 1e-6)
            distances.append((1 - cosine).sum(1))
    return torch.stack(distances).sum(0)


def objective(distances: Float[Tensor, " classes"], bpd: Float[Tensor, " images"], weight: float) -> Float[Tensor, ""]:
    """L = (10 C sum_c D_c + 2 weight mean_i bpd_i) / (1 + weight); without the bits where the weight is 0.

    One mean over all images: the authors' code has one for every 50, which doubles the weight for 100 images.
    Source: arXiv:2201.05610, the authors' code.
    """
    match = 10 * len(distances) * distances.sum()
    return (match + 2 * weight * bpd.mean()) / (1 + weight) if weight else match


class Student:
    """A network that learns from the condensed images: gradient descent with momentum on all of them."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.parameters = {name: value.detach() for name, value in network.named_parameters()}
        self.velocity = {name: torch.zeros_like(value) for name, value in self.parameters.items()}

    def learn(self, images: Float[Tensor, "classes ipc c h w"], steps: int) -> None:
        """v <- 0.5 v + g, theta <- theta - 0.01 v."""
        y = torch.arange(len(images), device=images.device).repeat_interleave(images.shape[1])
        for _ in range(steps):
            gradients = gradient(self.network, self.parameters, images.flatten(0, 1), y)
            self.velocity = {name: MOMENTUM * v + gradients[name] for name, v in self.velocity.items()}
            self.parameters = {name: p - LR * self.velocity[name] for name, p in self.parameters.items()}
