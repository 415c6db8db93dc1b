"""The prior: a Glow trained on generic images, whose bits measure how simple an image is, and when to trust it."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim.adamax import adamax  # the function: see fourlenses/training/loop.py

from fourlenses.artifacts import load_tensors
from fourlenses.attacks import autocast
from fourlenses.errors import UserError
from fourlenses.nets.glow import Glow, build_glow
from fourlenses.nets.zoo import load_state
from fourlenses.simplicity.bits import bits_per_dimension, dequantisation, to_flow

FIRST = 512  # images that the normalisations start from
WARM_UP = 200  # steps, or a tenth of all if that is less
BETA1, BETA2 = 0.9, 0.98  # of Adamax; with the usual 0.999 the first, large gradients slow a short training down
CLIP = 50.0  # largest norm of a gradient, in bits per dimension
WEIGHT_DECAY = 5e-5
SKIPPED = 0.01  # largest share of the steps

State = dict[str, Tensor]


def schedule(step: int, steps: int, peak: float) -> float:
    """Learning rate at a step: straight up to the peak over the warm-up, then a cosine down to 0 at the end."""
    warm_up = min(WARM_UP, steps / 10)
    if step < warm_up:
        return peak * (step + 1) / (warm_up + 1)
    return peak * (1 + math.cos(math.pi * (step - warm_up) / (steps - warm_up))) / 2


def pieces(steps: int) -> list[int]:
    """After which steps a row is written: each 50th, fewer in a long training, and the last."""
    every = min(max(50, steps // 100), 500)
    return sorted({*range(every, steps, every), steps})


def train_prior(
    glow: Glow,
    x: UInt8[Tensor, "n c h w"],
    steps: int,
    batch: int,
    lr: float,
    generator: torch.Generator,
    *,
    precision: str,
    vary: Callable[[Tensor, torch.Generator], Tensor],
    evaluate: Callable[[Glow], dict],
    state: State | None = None,
    history: Sequence[dict] = (),
) -> Iterator[tuple[State, list[dict]]]:
    """Train in place to code the images in few bits; yield all that going on needs after every piece.

    Each step is one of Adamax on the mean bits per dimension of a batch drawn with replacement; gradients
    of a norm above 50 are scaled to it, and a step with one that is not finite is skipped.

    Arguments: `x`, generic images on the device where the model is; `lr`, the peak of `schedule`; `generator`, on the
    same device, the only source of randomness; `precision`, of the coupling nets, "bfloat16" or "float32"; `vary`,
    images -> what the model learns from (`generic.varied`); `evaluate`, held-out measures of the model, for the
    history; `state` and `history`, what an earlier call yielded last, to go on from there.

    Yields the state and a row a piece: `step`, `lr`, `bpd_train` (mean since the last row, skipped steps apart),
    `skipped` (steps so far), and the measures.
    Raises FloatingPointError when more than 1 % of the steps were skipped.
    Source: spec 2.2 and 5.2.
    """
    parameters = list(glow.parameters())
    moments = {kind: [torch.zeros_like(p) for p in parameters] for kind in ("mean", "largest")}
    history, images = list(history), list(glow.image_shape)
    if state:
        _restore(state, glow, moments, generator)
    else:
        first = vary(x[torch.randint(len(x), (FIRST,), generator=generator, device=x.device)], generator)
        glow.initialise(to_flow(first.float() / 255) + dequantisation(tuple(first.shape), generator) / 256)
    start, skipped = (history[-1]["step"], history[-1]["skipped"]) if history else (0, 0)
    for stop in [piece for piece in pieces(steps) if piece > start]:
        glow.train()
        bits = []
        for step in range(start, stop):
            chosen = x[torch.randint(len(x), (batch,), generator=generator, device=x.device)]
            noise = dequantisation((batch, *images), generator)
            varied = vary(chosen, generator).float() / 255
            with autocast(x.device, precision):
                loss = bits_per_dimension(glow, varied, noise).mean()
            gradients = list(torch.autograd.grad(loss, parameters))
            norm = float(get_total_norm(gradients))
            if not math.isfinite(norm):
                skipped += 1
                continue
            bits.append(loss.detach())
            with torch.no_grad():
                for gradient in gradients:
                    gradient.mul_(min(1.0, CLIP / (norm + 1e-6)))
                adamax(
                    parameters, gradients, moments["mean"], moments["largest"],
                    [torch.tensor(float(step)) for _ in parameters], eps=1e-8, beta1=BETA1, beta2=BETA2,
                    lr=schedule(step, steps, lr), weight_decay=WEIGHT_DECAY,
                )  # fmt: skip
        if skipped > SKIPPED * steps:
            raise FloatingPointError(f"{skipped} of the first {stop} steps had a gradient that is not finite")
        bpd = sum(torch.stack(bits).tolist()) / len(bits)
        row = {"step": stop, "lr": schedule(step, steps, lr), "bpd_train": bpd, "skipped": skipped}
        history.append(row | evaluate(glow))
        start = stop
        yield _capture(glow, moments, generator), list(history)


def shortcomings(
    bits: Mapping[str, float], *, most_black: float, least_noise: float, most_noise: float, ordered: bool
) -> list[str]:
    """What keeps a prior from being used, in words; nothing if it is good enough.

    Arguments: `bits`, mean bits per dimension of the sets "black", "own" (the study's images), "photos" (held out) and
    "noise" (uniform); `most_black`, `least_noise` and `most_noise`, what they may be; `ordered`, whether the four must
    rise in this order.
    """

    def said(name: str) -> str:
        return f"{name} has {bits[name]:.3g} bits per dimension"

    found = [said(name) for name, value in bits.items() if not math.isfinite(value)]
    if bits["black"] > most_black:
        found.append(f"{said('black')}, more than {most_black:g}")
    if bits["noise"] < least_noise:
        found.append(f"{said('noise')}, less than {least_noise:g}")
    if bits["noise"] > most_noise:
        found.append(f"{said('noise')}, more than {most_noise:g}")
    rising = ["black", "own", "photos", "noise"] if ordered else []
    for lower, upper in zip(rising, rising[1:], strict=False):
        if bits[lower] >= bits[upper]:
            found.append(f"{said(lower)} and {said(upper)}, but {upper} should have more")
    return found


def load_glow(path: Path, name: str, device: torch.device, *, although_refused: bool = False) -> Glow:
    """A trained prior by its name, in evaluation mode, without gradients of its weights.

    Raises UserError if the file is torn, has no such prior, holds another architecture's tensors, or calls the prior
    refused and not `although_refused`: bits of one that did not learn are no measure, but can be shown.
    """
    tensors, manifest = load_tensors(path, f"{name}/")
    if name not in manifest["priors"]:
        given = f"{path} has no prior {name!r}"
        raise UserError(given, f"one of {', '.join(manifest['priors'])}", "add it to params.yaml and run `dvc repro`")
    if manifest["refused"].get(name) and not although_refused:
        given = f"{path}: the prior {name!r} was refused ({'; '.join(manifest['refused'][name])})"
        raise UserError(given, "a prior within the limits of params.yaml", "train it longer, or move the limits")
    glow = build_glow(**manifest["priors"][name], generator=torch.Generator())
    load_state(glow, tensors, f"{path} ({name})")
    return glow.to(device).eval().requires_grad_(False)


def refused_priors(path: Path) -> set[str]:
    """Names of the priors in a file that did not keep within the limits."""
    _, manifest = load_tensors(path, "/")
    return {name for name, why in manifest["refused"].items() if why}


def _capture(glow: Glow, moments: dict[str, list[Tensor]], generator: torch.Generator) -> State:
    state = {f"glow/{name}": value.clone() for name, value in glow.state_dict().items()}
    for kind, values in moments.items():
        for (name, _), value in zip(glow.named_parameters(), values, strict=True):
            state[f"{kind}/{name}"] = value.clone()
    return state | {"generator": generator.get_state()}


def _restore(state: State, glow: Glow, moments: dict[str, list[Tensor]], generator: torch.Generator) -> None:
    glow.load_state_dict({n.removeprefix("glow/"): v for n, v in state.items() if n.startswith("glow/")})
    for kind, values in moments.items():
        for (name, _), value in zip(glow.named_parameters(), values, strict=True):
            value.copy_(state[f"{kind}/{name}"])
    generator.set_state(state["generator"].cpu())
