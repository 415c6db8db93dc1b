"""A few images that train a network as the whole set does, under a price for their bits."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn
from torch.optim.adam import adam  # the function: see fourlenses/training/loop.py

from fourlenses.errors import UserError
from fourlenses.nets import build
from fourlenses.nets.glow import Glow
from fourlenses.resume import Resume
from fourlenses.simplicity.bits import bits_per_dimension, dequantisation, measured, rounded
from fourlenses.simplicity.matching import Student, class_by_class, class_gradients, match_distance, objective
from fourlenses.simplicity.retrain import Streams, retrain
from fourlenses.simplicity.unrolled import check_independent

SPREAD = 0.2  # deviation of the logits of the first images: grey with a little noise
BETA1, BETA2 = 0.5, 0.99  # of Adam on the logits
N_ROWS = 20  # of the history, at most
GLOW_SPACE = {"mean": 128 / 255, "std": 256 / 255}  # in a network's arguments: it sees 255/256 x - 1/2

State = dict[str, Tensor]


@dataclass(frozen=True)
class Plan:
    """`ipc`, images a class; `weights`, of their bits, one set of images for each; `rounds`, networks one after the
    other, with `inner` steps of the images for each (one if there is one image a class) and `net_steps` steps of the
    network between two of these; `batch`, real images of a class in a gradient; `lr`, the peak of `rate`."""

    ipc: int
    weights: Sequence[float]
    rounds: int
    inner: int
    net_steps: int
    batch: int
    lr: float


def condense(
    x: UInt8[Tensor, "n c h w"],
    y: Int[Tensor, " n"],
    n_classes: int,
    plan: Plan,
    glow: Glow,
    build_net: Callable[[int], nn.Module],
    generator: torch.Generator,
    *,
    state: State | None = None,
    history: Sequence[dict] = (),
) -> Iterator[tuple[State, list[dict]]]:
    """Match the gradients of a few images with those of many, by Adam on the images' logits; yield now and then.

    The sets of all weights start alike, and see the same networks, real images and noise.
    Arguments: `x`, `y`, images as bytes and classes from 0, on the device of all; `build_net`, a fresh network without
    batch statistics, for images in [0, 1], by the number of the round; `generator`, on the same device, the only other
    source of randomness; `state` and `history`, what an earlier call yielded last, to go on from there.

    Yields all that going on needs, and rows: `round`, `weight`, `match` (sum_c D_c, mean over the steps since the last
    row), `bpd` of the images as they would be kept. `condensed` makes the images of a state.
    Raises UserError for a class without images and for a network with batch statistics; FloatingPointError, naming the
    round, when a number is not finite.
    Source: spec 2.7; Zhao et al. 2021 (arXiv:2006.05929), algorithm 1.
    """
    members = [(y == c).nonzero()[:, 0] for c in range(n_classes)]
    if not all(map(len, members)):
        empty = [c for c, found in enumerate(members) if not len(found)]
        raise UserError(f"no training image of class {empty[0]}", "images of every class", "take more training images")
    check_independent(build_net(0))
    inner = plan.inner if plan.ipc > 1 else 1
    history = list(history)
    if state:
        logits, *memory = (state[name].to(x.device, copy=True) for name in ("logits", "mean", "square"))
        generator.set_state(state["generator"].cpu())
    else:
        shape = (n_classes, plan.ipc, *x.shape[1:])
        first = SPREAD * torch.randn(shape, generator=generator, device=x.device)
        logits = first.expand(len(plan.weights), *shape).clone()
        memory = [torch.zeros_like(logits), torch.zeros_like(logits)]
    for stop in stops(plan.rounds)[len(history) // len(plan.weights) :]:
        matches, finite = [], []
        first_round = history[-1]["round"] if history else 0
        for turn in range(first_round, stop):
            network = build_net(turn)
            students = [Student(network) for _ in plan.weights]
            for step in range(inner):
                seen = [x[each[_draw(len(each), plan.batch, generator)]].float() / 255 for each in members]
                noise = dequantisation((n_classes * plan.ipc, *x.shape[1:]), generator)
                gradients, found = torch.zeros_like(logits), logits.new_zeros(len(students))
                for i, (student, weight) in enumerate(zip(students, plan.weights, strict=True)):
                    if i == 0 or step:  # before their first step the networks are one
                        real = class_by_class(network, student.parameters, seen)
                    leaf = logits[i].clone().requires_grad_()
                    images = rounded(leaf.sigmoid())
                    distances = match_distance(real, class_gradients(network, student.parameters, images))
                    bpd = bits_per_dimension(glow, images.flatten(0, 1), noise) if weight else distances[:0]
                    (gradients[i],) = torch.autograd.grad(objective(distances, bpd, weight), leaf)
                    found[i] = distances.detach().sum()
                finite.append(torch.isfinite(gradients).all() & torch.isfinite(found).all())
                taken = turn * inner + step
                lr = rate(taken, plan.rounds * inner, plan.lr)
                adam(
                    [logits], [gradients], memory[:1], memory[1:], [], [torch.tensor(float(taken))], amsgrad=False,
                    beta1=BETA1, beta2=BETA2, lr=lr, weight_decay=0.0, eps=1e-8, maximize=False,
                )  # fmt: skip
                matches.append(found)
                if step < inner - 1:
                    for student, each in zip(students, logits, strict=True):
                        student.learn(rounded(each.sigmoid()), plan.net_steps)
        if not torch.stack(finite).all():  # asked once a row: asking waits for the GPU
            turn = first_round + int((~torch.stack(finite)).nonzero()[0]) // inner
            raise FloatingPointError(f"match or gradient of condensed images is not finite in round {turn}")
        state = {"logits": logits.clone(), "mean": memory[0].clone(), "square": memory[1].clone()}
        bits = [measured(glow, condensed(state, i), generator).mean() for i in range(len(logits))]
        if not all(map(torch.isfinite, bits)):
            raise FloatingPointError(f"the bits of condensed images are not finite after round {stop - 1}")
        means = torch.stack(matches).mean(0)
        history = history + [
            {"round": stop, "weight": weight, "match": float(match), "bpd": float(bpd)}
            for weight, match, bpd in zip(plan.weights, means, bits, strict=True)
        ]
        yield state | {"generator": generator.get_state()}, history


def condensed(state: State, index: int) -> UInt8[Tensor, "images c h w"]:
    """The images of the weight with this index, class after class, on 8-bit levels."""
    return (255 * state["logits"][index].sigmoid()).round().byte().flatten(0, 1)


def rate(step: int, total: int, peak: float) -> float:
    """Learning rate of the logits at a step: the peak, and from half of the steps on straight down to 0 at the end.

    At a constant rate, as in the authors' 1000 rounds, Adam keeps the images noisy, and the noise has most of the bits.
    """
    return peak * min(1.0, 2 * (1 - step / total))


def stops(rounds: int) -> list[int]:
    """After which rounds a row of the history is written: all of them, or N_ROWS evenly spread, and the last."""
    return sorted({-(-rounds * k // N_ROWS) for k in range(1, N_ROWS + 1)})


def condensed_sets(
    x: UInt8[Tensor, "n c h w"],
    y: Int[Tensor, " n"],
    n_classes: int,
    plan: Plan,
    glow: Glow,
    network: Mapping[str, object],
    streams: Streams,
    resume: Resume,
    name: str,
    progress: Callable[..., Iterable] = lambda steps, *_: steps,
) -> tuple[list[UInt8[Tensor, "images c h w"]], list[dict]]:
    """`condense` to its end, saving every row of the history in `resume` under `name`: the images of each weight.

    Arguments: `network`, architecture and widths of those to match; `streams`, the maker of generators on the device of
    the images; `progress`, wraps the rows to come (iterable, name, total); the others as in `condense`.
    Raises UserError, naming `name`, when a number is not finite.
    """
    arguments = {"n_classes": n_classes, "image_shape": list(x.shape[1:])} | GLOW_SPACE | dict(network)

    def build_net(turn: int) -> nn.Module:
        return build(**arguments, generator=streams("network", turn))

    state, history = resume.reached(name)
    left = len(stops(plan.rounds)) - len(history) // len(plan.weights)
    stream = streams("images", plan.ipc)
    rows = condense(x, y, n_classes, plan, glow, build_net, stream, state=state, history=history)
    try:
        state, history = resume.finish(name, progress(rows, name, left))
    except FloatingPointError as error:
        raise UserError(f"{name}: {error}", "finite numbers", "lower condense.lr, or train the prior longer") from None
    return [condensed(state, i).to(x.device) for i in range(len(plan.weights))], history


def evaluate(
    images: UInt8[Tensor, "m c h w"],
    y: Int[Tensor, " m"],
    n_classes: int,
    test: tuple[Float[Tensor, "n c h w"], Int[Tensor, " n"]],
    **training: object,
) -> Bool[Tensor, " n"]:
    """Which of the test images, in [0, 1], a network gets right that was trained on a few others only.

    Arguments: `images`, bytes with labels `y`; `training`, the other arguments of `retrain`, in whose float32 small
    batches are quicker than in bfloat16.
    """
    network = retrain(images, y, n_classes, precision="float32", **training)
    with torch.no_grad():
        return torch.cat([network(part).argmax(1) for part in test[0].split(500)]) == test[1]


def _draw(n: int, batch: int, generator: torch.Generator) -> Int[Tensor, " m"]:
    """Indices of at most `batch` of `n`, without replacement."""
    return torch.randperm(n, generator=generator, device=generator.device)[:batch]
