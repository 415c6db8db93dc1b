"""The training loop: linear, and bit-identical on a CPU when it is stopped and resumed."""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from jaxtyping import Int, UInt8
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.optim.adam import adam
from torch.optim.sgd import sgd  # the function: the first torch.optim.SGD of a process imports the compiler, 1.5 s

from fourlenses import processes
from fourlenses.errors import UserError
from fourlenses.training.augment import AUGMENTATIONS
from fourlenses.training.objectives import Objective
from fourlenses.training.synced import synchronise

State = dict[str, Tensor]


@dataclass(frozen=True)
class Settings:
    """How long and how fast: `lr` is the highest rate of `schedule`, a name in SCHEDULES; `augment`, a name in
    AUGMENTATIONS, with `crop_padding` in pixels; `views`, how many augmented copies of its images a batch holds, one
    after the other; `optimizer`, a name in OPTIMIZERS; `stratified`, whether every batch holds the classes as the set
    does."""

    epochs: int
    batch: int
    lr: float
    weight_decay: float
    crop_padding: int
    flip: bool
    ema_decay: float
    augment: str = "crop"
    views: int = 1
    schedule: str = "one-cycle"
    optimizer: str = "sgd"
    stratified: bool = False


def one_cycle(step: int, total: int, peak: float, warm_up: float = 0.3) -> float:
    """Learning rate at a step: cosine from peak/25 up to the peak, then down to peak/250,000 (Smith 2018)."""
    turn = warm_up * total - 1
    low, high, phase = (
        (peak / 25, peak, step / turn) if step <= turn else (peak, peak / 2.5e5, (step - turn) / (total - 1 - turn))
    )
    return low + (high - low) * (1 - math.cos(math.pi * phase)) / 2


def step_down(step: int, total: int, peak: float) -> float:
    """Learning rate at a step: the peak, a tenth of it from half of the steps on, a hundredth from three quarters on.

    Source: Rice et al. 2020 (arXiv:2002.11569), whose schedule, under which robust overfitting shows, falls at the same
    shares of its 200 epochs.
    """
    return peak / 10 ** ((2 * step >= total) + (4 * step >= 3 * total))


def constant(step: int, total: int, peak: float) -> float:
    """Learning rate at a step: the peak."""
    return peak


SCHEDULES: dict[str, Callable[[int, int, float], float]] = {
    "one-cycle": one_cycle,
    "step": step_down,
    "constant": constant,
}


Memory = dict[str, list[Tensor]]  # what an optimizer keeps of each parameter, by name


def nesterov(
    parameters: list[Tensor], gradients: list[Tensor], memory: Memory, step: int, lr: float, weight_decay: float
) -> None:
    """A step in place of gradient descent with Nesterov momentum 0.9."""
    sgd(
        parameters, gradients, memory["momentum"], fused=parameters[0].is_cuda, lr=lr, momentum=0.9,
        weight_decay=weight_decay, nesterov=True, dampening=0.0, maximize=False,
    )  # fmt: skip


def adaptive(
    parameters: list[Tensor], gradients: list[Tensor], memory: Memory, step: int, lr: float, weight_decay: float
) -> None:
    """A step in place of Adam: decays 0.9 and 0.999, epsilon 1e-8 (Kingma & Ba 2015); step 0 is the first."""
    adam(
        parameters, gradients, memory["mean"], memory["square"], [], [torch.tensor(float(step)) for _ in parameters],
        amsgrad=False, beta1=0.9, beta2=0.999, lr=lr, weight_decay=weight_decay, eps=1e-8, maximize=False,
    )  # fmt: skip


# name: what it keeps of each parameter, and its step
OPTIMIZERS: dict[str, tuple[tuple[str, ...], Callable[..., None]]] = {
    "sgd": (("momentum",), nesterov),
    "adam": (("mean", "square"), adaptive),
}


def stratified_order(y: Int[Tensor, " n"], batch: int, generator: torch.Generator) -> Int[Tensor, " shown"]:
    """A random order of images in which each batch holds every class as often as the set does, to within one image.

    Of the classes up to c, N_c images, batch i is due floor(b N_c / n + (pi_i + u) / m), where pi is a random order of
    the m batches and u is uniform in [0, 1). Its count of a class is the difference of two of these; they add up to b,
    and (by Hermite's identity) to no more than the images of the class over all batches.

    Arguments: `y`, classes from 0; `batch`, b. Returns: indices of m b images, m = floor(n / b), each at most once.
    """
    n, steps = len(y), len(y) // batch
    order = torch.randperm(n, generator=generator, device=y.device)
    offset = n * torch.randperm(steps, generator=generator, device=y.device)
    offset += torch.randint(n, (), generator=generator, device=y.device)
    due = (batch * steps * y.bincount().cumsum(0) + offset[:, None]) // (n * steps)
    counts = due.diff(dim=1, prepend=torch.zeros_like(due[:, :1]))
    turn = torch.full_like(order, steps)  # the batch of each image, none for those left out
    for c in range(counts.shape[1]):
        batches = torch.arange(steps, device=y.device).repeat_interleave(counts[:, c])
        turn[order[y[order] == c][: len(batches)]] = batches
    return order[turn[order].argsort(stable=True)[: steps * batch]]


def train(
    network: nn.Module,
    x: UInt8[Tensor, "n c h w"],
    y: Int[Tensor, " n"],
    objective: Objective,
    settings: Settings,
    generator: torch.Generator,
    *,
    evaluate: Callable[[nn.Module], dict[str, float]],
    state: State | None = None,
    history: Sequence[dict] = (),
) -> Iterator[tuple[State, list[dict]]]:
    """Train in place; after each epoch yield all that going on needs, and the history so far.

    Arguments: `x`, images as bytes on the device where the network is; `y`, labels; `objective`, the recipe's loss on
    a batch; `generator`, on the same device, the only source of randomness; `evaluate`, held-out measures of the
    network to use, for the history; `state` and `history`, what an earlier call yielded last, to go on from there.
    Several processes (fourlenses/processes.py) share each batch, and end with what one alone would have.

    The network to use, `final_weights(state)`, is the moving average of the weights if `ema_decay` > 0. Raises
    FloatingPointError, naming the step, when the loss or a weight is not finite; ValueError for fewer images than one
    batch; UserError for a batch that the processes cannot share alike.
    """
    steps = len(x) // settings.batch  # an epoch leaves out the incomplete last batch
    if steps == 0:
        raise ValueError(f"{len(x)} training images, but a batch of {settings.batch}")
    part = None
    if processes.count() > 1:
        if settings.batch % processes.count():
            given = f"a batch of {settings.batch} images for {processes.count()} processes"
            raise UserError(given, "as many images for each", "change train.batch, or the number of processes")
        synchronise(network)
        part = processes.Part(generator, settings.views)
    network.to(memory_format=torch.channels_last)
    average = copy.deepcopy(network) if settings.ema_decay else network
    augment, schedule = AUGMENTATIONS[settings.augment], SCHEDULES[settings.schedule]
    parameters = list(network.parameters())
    kept, optimize = OPTIMIZERS[settings.optimizer]
    memory = {name: [torch.zeros_like(parameter) for parameter in parameters] for name in kept}
    history = list(history)
    drops = any(isinstance(module, _DropoutNd) and module.p > 0 for module in network.modules())
    if state:
        _restore(state, network, average, memory, generator)

    for epoch in range(len(history), settings.epochs):
        network.train()
        if settings.stratified:
            order = stratified_order(y, settings.batch, generator)
        else:
            order = torch.randperm(len(x), generator=generator, device=x.device)
        losses = torch.zeros(steps, device=x.device)
        hits = torch.zeros((), device=x.device)
        for i in range(steps):
            step = epoch * steps + i
            index = order[i * settings.batch : (i + 1) * settings.batch]
            images = (x[index].float() / 255).repeat(settings.views, 1, 1, 1)
            images = augment(images, settings.crop_padding, settings.flip, generator)
            lr = schedule(step, settings.epochs * steps, settings.lr)
            labels = y[index]
            if part:
                images, labels = part.rows(images), processes.Part(generator).rows(labels)
            with _seeded_dropout(generator, step) if drops else nullcontext():
                loss, logits = objective(network, images, labels, part or generator)
            with torch.no_grad():
                gradients = list(torch.autograd.grad(loss, parameters))
                processes.average(gradients)
                optimize(parameters, gradients, memory, step, lr, settings.weight_decay)
            if settings.ema_decay:
                _follow(average, network, settings.ema_decay)
            losses[i] = loss.detach()
            hits += (logits.argmax(1) == labels.repeat(settings.views)).sum() / settings.views
        processes.average([losses, hits])
        if not torch.isfinite(losses).all():
            first = int((~torch.isfinite(losses)).nonzero()[0])
            raise FloatingPointError(f"the training loss is not finite at step {epoch * steps + first}")
        state = _capture(network, average, memory, generator)
        refuse_not_finite(state, step)  # batch normalisation hides weights and statistics that ran away
        row = {
            "epoch": epoch + 1,
            "lr": lr,
            "loss": float(losses.mean()),
            "accuracy_train": float(hits) * processes.count() / (steps * settings.batch),
        }
        history.append(row | evaluate(average))
        yield state, history


def refuse_not_finite(state: State, step: int) -> None:
    """Raises FloatingPointError, naming it and the step, for a number of a state that is not finite."""
    names = [name for name, value in state.items() if value.is_floating_point()]
    finite = torch.stack([torch.isfinite(state[name]).all() for name in names])
    if not finite.all():
        raise FloatingPointError(f"{names[int((~finite).nonzero()[0])]} is not finite after step {step}")


def final_weights(state: State) -> State:
    """The weights to use, out of a state that `train` yielded: the moving average if there is one, no scaffold."""
    kept = "average/" if any(name.startswith("average/") for name in state) else "network/"
    weights = {name.removeprefix(kept): value for name, value in state.items() if name.startswith(kept)}
    return {name: value for name, value in weights.items() if not name.startswith("scaffold.")}


@contextmanager
def _seeded_dropout(generator: torch.Generator, step: int) -> Iterator[None]:
    """Dropout draws from torch's global stream: give it a seed of this step, so that training is repeated and resumed
    exactly, and put it back."""
    with torch.random.fork_rng([generator.device] if generator.device.type == "cuda" else []):
        torch.manual_seed((generator.initial_seed() + step) % 2**63)
        yield


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    for kept, new in zip(average.parameters(), network.parameters(), strict=True):
        kept.lerp_(new, 1 - decay)
    for kept, new in zip(average.buffers(), network.buffers(), strict=True):
        kept.copy_(new)


def _capture(network: nn.Module, average: nn.Module, memory: Memory, generator: torch.Generator) -> State:
    state = {f"network/{name}": value.clone() for name, value in network.state_dict().items()}
    if average is not network:
        state |= {f"average/{name}": value.clone() for name, value in average.state_dict().items()}
    for kind, buffers in memory.items():
        for (name, _), buffer in zip(network.named_parameters(), buffers, strict=True):
            state[f"{kind}/{name}"] = buffer.clone()
    return state | {"generator": generator.get_state()}


def _restore(state: State, network: nn.Module, average: nn.Module, memory: Memory, generator: torch.Generator) -> None:
    network.load_state_dict({n.removeprefix("network/"): v for n, v in state.items() if n.startswith("network/")})
    if average is not network:
        average.load_state_dict({n.removeprefix("average/"): v for n, v in state.items() if n.startswith("average/")})
    for kind, buffers in memory.items():
        for (name, _), buffer in zip(network.named_parameters(), buffers, strict=True):
            buffer.copy_(state[f"{kind}/{name}"])
    generator.set_state(state["generator"].cpu())
