"""What a fixed network uses of an image: which of its weights would have to grow for it to decide as it does."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

Gradients = dict[str, Tensor]  # by parameter tensor, one gradient (n, ...) for each image
TINY = 1e-18  # of a norm: what is shorter counts as zero


def divergence(log_p: Float[Tensor, "*n classes"], log_q: Float[Tensor, "*n classes"]) -> Float[Tensor, "*n"]:
    """KL(p || q) = sum_c p_c (log p_c - log q_c), in nats, >= 0."""
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def gate_gradients(
    network: nn.Module, x: Float[Tensor, "n c h w"], log_p: Float[Tensor, "n classes"], factor: float
) -> tuple[Gradients, Float[Tensor, "n classes"]]:
    """How each weight of the network, shrunk, would by growing change what is lost of the prediction on each image.

    g_i = (s theta) .* d KL(p_i || p(f_s(x_i))) / d(s theta), f_s = f with every parameter theta multiplied by s;
    negative where growth restores the prediction. Differentiable in `x` and `log_p`.
    Arguments: `network`, f, in evaluation mode, so that images do not depend on each other; `x`, in [0, 1]; `log_p`,
    log p of the predictions to be restored, log p(f(x_i)); `factor`, s in (0, 1).
    Returns the gradients by parameter tensor, (n, ...) each, and log p(f_s(x)).
    Source: arXiv:2201.05610, the authors' code (spec 2.8).
    """
    shrunk = {name: factor * parameter.detach() for name, parameter in network.named_parameters()}

    def lost(weights: Gradients, image: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        log_q = functional_call(network, weights, image[None])[0].log_softmax(0)
        return divergence(wanted, log_q), log_q

    found, log_q = vmap(grad(lost, has_aux=True), in_dims=(None, 0, 0))(shrunk, x, log_p)
    return {name: shrunk[name] * each for name, each in found.items()}, log_q


def needs(gates: Gradients) -> Gradients:
    """The weights that an image needs, M .* g / |M .* g| with M = [g < 0], each tensor flattened (n, d); 0 where M is.

    Only weights whose growth helps count. Arguments: `gates`, the gate gradients g.
    """
    return {name: F.normalize(g.clamp(max=0).flatten(1), dim=1, eps=TINY) for name, g in gates.items()}


def agreement(needed: Gradients, gates: Gradients) -> Float[Tensor, " n"]:
    """How far the weights that an image needs serve another one: mean over parameter tensors of cos(M .* g, M .* g~).

    A cosine is 0 where one of its two vectors is. Differentiable in g~.
    Arguments: `needed`, what `needs` makes of g, of originals; `gates`, the gate gradients g~ of their simplifications.
    Source: arXiv:2201.05610, the authors' code (spec 2.8).
    """
    return torch.stack([_Cosine.apply(unit, gates[name].flatten(1)) for name, unit in needed.items()]).mean(0)


class _Cosine(torch.autograd.Function):
    """cos(u, M .* v) of each row, for unit vectors u <= 0 and M = [u < 0]; 0 where M .* v is 0, and without gradient.

    Its own, for it is memory that takes the time, and this passes over it half as often as the operations one by one.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, unit: Tensor, v: Tensor) -> Tensor:
        kept = v * (unit < 0)
        norm = torch.linalg.vecdot(kept, kept).sqrt()
        inverse = torch.where(norm > TINY, 1 / norm, 0)
        cosine = torch.linalg.vecdot(unit, kept) * inverse
        ctx.save_for_backward(unit, kept, inverse, cosine)
        return cosine

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[None, Tensor]:
        unit, kept, inverse, cosine = ctx.saved_tensors
        along = gradient * inverse
        return None, (unit * along[:, None]).addcmul_(kept, -(along * cosine * inverse)[:, None])
