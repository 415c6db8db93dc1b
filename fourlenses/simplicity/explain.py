"""Post-hoc simplification: the image of fewest bits that a fixed network uses as it uses the original."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.optim.adam import adam  # the function: see fourlenses/training/loop.py

from fourlenses.attacks import frozen
from fourlenses.nets.glow import Glow
from fourlenses.simplicity.bits import bits_per_dimension, dequantisation, from_flow, rounded
from fourlenses.simplicity.gates import agreement, divergence, gate_gradients, needs

LOWEST, HIGHEST, PARTS = 0.8, 0.95, 8
FACTORS = [LOWEST + (HIGHEST - LOWEST) * (part + 0.5) / PARTS for part in range(PARTS)]  # s: the middles of equal parts
START = 0.1  # deviation of the latents at the start; the prior's is 1
FARTHEST, BACK = 1.5, 0.9  # of a pixel from 0.5; what latents are multiplied by when one is farther
EVERY = 10  # steps between two rows of the history
TERMS = ("loss", "match", "bpd", "kl")  # of the objective

State = dict[str, Tensor]
Terms = dict[str, Float[Tensor, " n"]]


@dataclass(frozen=True)
class Settings:
    """`steps` of Adam at the learning rate `lr`; `weight` of the bits against what the network uses, >= 0."""

    steps: int
    lr: float
    weight: float


class Originals:
    """What a fixed network makes of images in bytes, whole and at every factor s: the same for all steps and seeds."""

    @torch.no_grad()
    def __init__(self, network: nn.Module, x: UInt8[Tensor, "n c h w"]) -> None:
        self.network, pixels = network, x.float() / 255
        with frozen(network):
            self.log_p = network(pixels).log_softmax(1)
            shrunk = [gate_gradients(network, pixels, self.log_p, factor) for factor in FACTORS]
        self.needed, self.log_q = [needs(gates) for gates, _ in shrunk], [log_q for _, log_q in shrunk]


def pixels(glow: Glow, z: Float[Tensor, "n d"]) -> Float[Tensor, "n c h w"]:
    """What has these latents, all in a row, in units of pixels; some may lie outside [0, 1]."""
    shapes = [each.shape[1:] for each in glow.zeros(1)]
    parts = z.split([shape.numel() for shape in shapes], dim=1)
    return from_flow(glow.inverse([part.unflatten(1, shape) for part, shape in zip(parts, shapes, strict=True)]))


def seen(raw: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """Images in [0, 1] on levels k/255: those pixels, clipped and rounded.

    Both have gradient 1, but for gradients whose descent leads a pixel that is outside farther out.
    """
    return rounded(_Clipped.apply(raw))


class _Clipped(torch.autograd.Function):
    """A clip to [0, 1] that what lies outside can come back through."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(0, 1)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        outward = ((x < 0) & (gradient > 0)) | ((x > 1) & (gradient < 0))
        return gradient * ~outward


def simplified(glow: Glow, z: Float[Tensor, "n d"]) -> UInt8[Tensor, "n c h w"]:
    """The images in bytes that have these latents."""
    with torch.no_grad():
        return (255 * seen(pixels(glow, z))).round().byte()


def pieces(steps: int) -> list[int]:
    """After which steps a row is written: each EVERY, and the last."""
    return sorted({*range(EVERY, steps, EVERY), steps})


def objective(
    originals: Originals,
    glow: Glow,
    x: Float[Tensor, "n c h w"],
    part: int,
    noise: Float[Tensor, "n c h w"],
    weight: float,
) -> Terms:
    """What is made small, and its terms, for each image.

    L_i = (10 (1 - mean over tensors of cos(M .* g, M .* g~)) + lambda bpd(x~) + KL(p(f_s(x)) || p(f_s(x~)))
    + KL(p(f(x)) || p(f(x~)))) / (12 + lambda), with g and g~ the gate gradients of an original x and of x~.
    Arguments: `x`, simplified images x~ in [0, 1]; `part`, s = FACTORS[part]; `noise`, in [0, 1), of the bits;
    `weight`, lambda.
    Returns `loss`, `match` (the mean cosine), `bpd`, and `kl` (of f).
    Source: arXiv:2201.05610, the authors' code (spec 2.8); there s is uniform from LOWEST to HIGHEST.
    """
    log_p = originals.network(x).log_softmax(1)
    gates, log_q = gate_gradients(originals.network, x, log_p, FACTORS[part])
    match = agreement(originals.needed[part], gates)
    bpd = bits_per_dimension(glow, x, noise)
    kl, shrunk = divergence(originals.log_p, log_p), divergence(originals.log_q[part], log_q)
    loss = (10 * (1 - match) + weight * bpd + shrunk + kl) / (12 + weight)
    return {"loss": loss, "match": match, "bpd": bpd, "kl": kl}


def explain(
    originals: Originals,
    glow: Glow,
    settings: Settings,
    generator: torch.Generator,
    *,
    state: State | None = None,
    history: Sequence[dict] = (),
) -> Iterator[tuple[State, list[dict]]]:
    """Descend on the latents of simplified images, from about the most probable ones; yield after every EVERY steps.

    Each step is one of Adam on the mean of `objective` over the images, with a new s and new noise, at a rate that
    falls to 0 along a line. Where latents leave what a prior knows, its inverse explodes: an image whose gradient is
    not finite, or that has a pixel outside [-1, 2], is lost; its latents shrink by a tenth instead, and Adam forgets
    where it went.
    Arguments: `glow`, the prior, fixed; `generator`, on its device, of start, s and noise; `state` and `history`, what
    an earlier call yielded last, to go on from there.

    Yields all that going on needs, of it `found`, the latents of each image when it last was not lost; and a row every
    EVERY steps: `step`, and the TERMS of `objective`, each a list of one number an image, its mean since the last row
    (a lost image counts as what it was before).
    Raises FloatingPointError when an image is lost at the start, or in more than half of the steps.
    Source: arXiv:2201.05610, the authors' code (spec 2.8); there the start is zeros, the rate is constant, and an image
    without a finite gradient just waits.
    """
    n, where = len(originals.log_p), originals.log_p.device
    history = list(history)
    if state:
        generator.set_state(state["generator"].cpu())
        now = {name: each.to(where).clone() for name, each in state.items() if name != "generator"}
    else:
        z = START * torch.randn(n, sum(each.numel() for each in glow.zeros(1)), generator=generator, device=where)
        now = {"z": z, "found": z.clone(), "mean": torch.zeros_like(z), "square": torch.zeros_like(z)}
        now |= {name: torch.zeros(n, device=where) for name in ("lost", *TERMS)}
    start = history[-1]["step"] if history else 0
    for stop in [each for each in pieces(settings.steps) if each > start]:
        log = []
        for step in range(start, stop):
            part = int(torch.randint(PARTS, (), generator=generator, device=where))
            noise = dequantisation((n, *glow.image_shape), generator)
            z = now["z"].clone().requires_grad_(True)
            with frozen(originals.network):
                raw = pixels(glow, z)
                terms = objective(originals, glow, seen(raw), part, noise, settings.weight)
                (gradient,) = torch.autograd.grad(terms["loss"].mean(), z)
            lost = ~(gradient.isfinite().all(1) & ((raw.detach() - 0.5).abs() <= FARTHEST).flatten(1).all(1))
            now["lost"] += lost
            if not step and lost.any():
                raise FloatingPointError("by step 1 an image was lost where the prior knows nothing")
            for name, each in (terms | {"found": z}).items():
                now[name] = torch.where(lost.view(-1, *[1] * (each.ndim - 1)), now[name], each.detach())
            log.append({name: now[name] for name in TERMS})
            gradient.masked_fill_(lost[:, None], 0)
            now["mean"].masked_fill_(lost[:, None], 0)
            now["z"] *= torch.where(lost, BACK, 1.0)[:, None]
            adam(
                [now["z"]], [gradient], [now["mean"]], [now["square"]], [], [torch.tensor(float(step))], amsgrad=False,
                beta1=0.9, beta2=0.999, lr=settings.lr * (1 - step / settings.steps), weight_decay=0.0, eps=1e-8,
                maximize=False,
            )  # fmt: skip
        if now["lost"].max() > settings.steps / 2:  # asked once a row: asking waits for the GPU
            raise FloatingPointError(f"by step {stop} an image was lost where the prior knows nothing")
        means = {name: torch.stack([terms[name] for terms in log]).mean(0).tolist() for name in TERMS}
        history.append({"step": stop} | means)
        start = stop
        yield {name: each.clone() for name, each in now.items()} | {"generator": generator.get_state()}, history
