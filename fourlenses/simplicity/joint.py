"""Training of a simplifier: together with a classifier, or to stay close to its images."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int, UInt8
from torch import Generator, Tensor, nn
from torch.nn import functional as F
from torch.optim.adam import adam  # the function: see fourlenses/training/loop.py

from fourlenses.attacks import autocast
from fourlenses.nets.glow import Glow
from fourlenses.simplicity.bits import bits_per_dimension, dequantisation, rounded
from fourlenses.simplicity.simplifier import Simplifier
from fourlenses.simplicity.unrolled import Player, View, one_step_objective, random_view
from fourlenses.training.loop import refuse_not_finite

BETA1, BETA2, DECAY = 0.5, 0.99, 5e-5  # of the simplifier's Adam, with its L2 penalty (Schirrmeister et al. 2022, code)
EVERY = 50  # steps between two rows of the history

State = dict[str, Tensor]


@dataclass(frozen=True)
class Settings:
    """How long and how fast: `lr`, of simplifier and classifier, constant; `tau`, of the gate; `crop_padding`, the
    largest shift in pixels; `precision`, of the arithmetic in networks, "bfloat16" or "float32"."""

    steps: int
    batch: int
    lr: float
    tau: float
    crop_padding: int
    flip: bool
    precision: str


def pieces(steps: int) -> list[int]:
    """After which steps a row is written: each EVERY, and the last."""
    return sorted({*range(EVERY, steps, EVERY), steps})


def warm_up(
    classifier: nn.Module,
    x: UInt8[Tensor, "n c h w"],
    y: Int[Tensor, " n"],
    settings: Settings,
    steps: int,
    generator: Generator,
) -> State:
    """Train a classifier in place on original images, before there is a simplifier; what it does then goes on from.

    Arguments: as in `train_joint`; `steps`, how many. Returns the weights, moments and steps of its optimizer.
    Raises FloatingPointError, naming the step, when a loss is not finite.
    """
    player = Player(classifier, settings.lr, settings.precision)
    classifier.to(memory_format=torch.channels_last)
    losses = []
    for _ in range(steps):
        images, labels = _drawn(x, y, settings.batch, generator)
        view = random_view(images.shape, settings.crop_padding, settings.flip, generator)
        losses.append(player.step(view(images), labels))
    finite = torch.stack(losses).isfinite() if losses else torch.ones(0)
    if not finite.all():
        step = int((~finite).nonzero()[0])
        raise FloatingPointError(f"the loss of the classifier is not finite at step {step} of its warm-up")
    return player.state()


def train_joint(
    simplifier: Simplifier,
    classifier: nn.Module,
    glow: Glow,
    x: UInt8[Tensor, "n c h w"],
    y: Int[Tensor, " n"],
    settings: Settings,
    weight: float,
    generator: Generator,
    *,
    warm: State,
    state: State | None = None,
    history: Sequence[dict] = (),
) -> Iterator[tuple[State, list[dict]]]:
    """Train a simplifier and a classifier in place; every EVERY steps yield all that going on needs, and the history.

    Each step draws a batch, with replacement, and a view of it, the same for originals and simplified images; moves the
    simplifier by Adam along the gradient of `one_step_objective`; simplifies the batch again; and moves the classifier
    by AdamW on the cross-entropy of what comes out. Simplified images are rounded to 8 bits, with gradient 1.

    Arguments: `glow`, the density whose bits count, without gradients of its weights; `x`, originals as bytes on the
    device where the networks are; `weight`, of the bits; `generator`, on the same device, the only source of
    randomness; `warm`, what `warm_up` returned; `state` and `history`, what an earlier call yielded last.

    A row of the history has `step`, means since the last row of `loss`, `before`, `after`, `original` and `gate`, as
    `one_step_objective` has them, and `bpd`, of the simplified images of the row's last batch.
    Raises FloatingPointError, naming the step, when a loss or a gradient is not finite; UserError for a classifier with
    batch statistics.
    Source: Schirrmeister et al. 2022 (arXiv:2201.05610), code; 8-bit rounding with noise in front of the flow only.
    """
    player = Player(classifier, settings.lr, settings.precision)
    player.restore(warm)
    classifier.to(memory_format=torch.channels_last)

    def objective(images: Tensor, simplified: Tensor, labels: Tensor, noise: Tensor, view: View) -> tuple[Tensor, dict]:
        return one_step_objective(
            classifier, player.parameters, player.moments, images, simplified, labels, noise,
            glow=glow, weight=weight, tau=settings.tau, optimizer=player.optimizer, view=view,
        )  # fmt: skip

    def follow(simplified: Tensor, labels: Tensor, view: View) -> None:
        player.step(view(simplified), labels)

    yield from _train(simplifier, glow, x, y, settings, generator, objective, follow, player, state, history)


def train_mse(
    simplifier: Simplifier,
    glow: Glow,
    x: UInt8[Tensor, "n c h w"],
    settings: Settings,
    weight: float,
    generator: Generator,
    *,
    state: State | None = None,
    history: Sequence[dict] = (),
) -> Iterator[tuple[State, list[dict]]]:
    """Train a simplifier that knows no task: (10 mean (x~ - x)^2 + weight mean bpd(x~)) / (10 + weight).

    Arguments, yields, raises: as in `train_joint`; a row of the history has `step`, `loss`, `mse` and `bpd`.
    Source: Schirrmeister et al. 2022 (arXiv:2201.05610), code.
    """

    def objective(images: Tensor, simplified: Tensor, labels: Tensor, noise: Tensor, view: View) -> tuple[Tensor, dict]:
        mse = F.mse_loss(simplified, images)
        bits = bits_per_dimension(glow, simplified, noise).mean() if weight else 0.0
        return (10 * mse + weight * bits) / (10 + weight), {"mse": mse.detach()}

    y = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    yield from _train(simplifier, glow, x, y, settings, generator, objective, None, None, state, history)


@torch.no_grad()
def simplified(simplifier: Simplifier, x: UInt8[Tensor, "n c h w"], batch: int = 500) -> UInt8[Tensor, "n c h w"]:
    """What a simplifier makes of images, as bytes, in float32 whatever it was trained in."""
    parts = [simplifier(images.float() / 255) for images in x.split(batch)]
    return (255 * torch.cat(parts)).round().byte() if parts else x.clone()


Objective = Callable[[Tensor, Tensor, Tensor, Tensor, View], tuple[Tensor, dict[str, Tensor]]]


def _train(
    simplifier: Simplifier,
    glow: Glow,
    x: Tensor,
    y: Tensor,
    settings: Settings,
    generator: Generator,
    objective: Objective,
    follow: Callable[[Tensor, Tensor, View], object] | None,
    player: Player | None,
    state: State | None,
    history: Sequence[dict],
) -> Iterator[tuple[State, list[dict]]]:
    """Adam on `objective`(originals, simplified, labels, noise, view) -> loss, values for the log; after each step
    `follow`(newly simplified, labels, view), if there is anything that follows, whose state `player` keeps."""
    simplifier.to(memory_format=torch.channels_last)
    parameters = list(simplifier.parameters())
    memory = {kind: [torch.zeros_like(p) for p in parameters] for kind in ("mean", "square")}
    history = list(history)
    if state:
        _restore(state, simplifier, memory, player, generator)
    start = history[-1]["step"] if history else 0
    for stop in [piece for piece in pieces(settings.steps) if piece > start]:
        losses, norms, logs = [], [], []
        for step in range(start, stop):
            images, labels = _drawn(x, y, settings.batch, generator)
            view = random_view(images.shape, settings.crop_padding, settings.flip, generator)
            noise = dequantisation(tuple(images.shape), generator)
            with autocast(x.device, settings.precision):
                loss, log = objective(images, rounded(simplifier(images)), labels, noise, view)
            gradients = list(torch.autograd.grad(loss, parameters))
            norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
            with torch.no_grad():
                adam(
                    parameters, gradients, memory["mean"], memory["square"], [],
                    [torch.tensor(float(step)) for _ in parameters], amsgrad=False, beta1=BETA1, beta2=BETA2,
                    lr=settings.lr, weight_decay=DECAY, eps=1e-8, maximize=False,
                )  # fmt: skip
                if follow is not None or step == stop - 1:
                    with autocast(x.device, settings.precision):
                        made = rounded(simplifier(images))
            if follow is not None:
                follow(made, labels, view)
            losses.append(loss.detach())
            norms.append(norm)
            logs.append(torch.stack(list(log.values())))
        finite = torch.isfinite(torch.stack(losses) + torch.stack(norms))
        if not finite.all():  # asked once a piece: asking waits for the GPU
            step = start + int((~finite).nonzero()[0])
            raise FloatingPointError(f"the loss of the simplifier or its gradient is not finite at step {step}")
        means = torch.stack(logs).mean(0).tolist()
        with torch.no_grad():
            bits = bits_per_dimension(glow, made, noise).mean()
        row = {"step": stop, "loss": float(torch.stack(losses).mean())} | dict(zip(log, means, strict=True))
        history.append(row | {"bpd": float(bits)})
        state, start = _capture(simplifier, memory, player, generator), stop
        refuse_not_finite(state, stop - 1)
        yield state, history


def _drawn(x: Tensor, y: Tensor, batch: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Images of a batch in [0, 1], with replacement, and their labels."""
    chosen = torch.randint(len(x), (batch,), generator=generator, device=x.device)
    return x[chosen].float() / 255, y[chosen]


def _capture(simplifier: nn.Module, memory: dict[str, list[Tensor]], player: Player | None, stream: Generator) -> State:
    state = {f"simplifier/{name}": value.clone() for name, value in simplifier.state_dict().items()}
    for kind, values in memory.items():
        state |= {f"{kind}/{i}": value.clone() for i, value in enumerate(values)}
    if player is not None:
        state |= {f"player/{name}": value for name, value in player.state().items()}
    return state | {"stream": stream.get_state()}


def _restore(
    state: State, simplifier: nn.Module, memory: dict[str, list[Tensor]], player: Player | None, stream: Generator
) -> None:
    simplifier.load_state_dict(_part(state, "simplifier/"))
    for kind, values in memory.items():
        for i, value in enumerate(values):
            value.copy_(state[f"{kind}/{i}"])
    if player is not None:
        player.restore(_part(state, "player/"))
    stream.set_state(state["stream"].cpu())


def _part(state: State, prefix: str) -> State:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
