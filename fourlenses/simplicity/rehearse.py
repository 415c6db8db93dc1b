"""Learn one data set after the other, with a few images of the earlier ones as all that is left of them."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from fourlenses.attacks import frozen
from fourlenses.errors import UserError
from fourlenses.images import Images, split
from fourlenses.images.shifted import fitted
from fourlenses.resume import Resume
from fourlenses.simplicity.retrain import Streams
from fourlenses.training.loop import Settings, train
from fourlenses.training.objectives import Objective

BATCH = 64  # images of the task, and as many of its memory
TEMPERATURE = 2.0  # of the distillation


@dataclass(frozen=True)
class Labelled:
    """Images `x` as bytes, their class `y` among those of all tasks, and the number of their `task`."""

    x: UInt8[Tensor, "n c h w"]
    y: Int[Tensor, " n"]
    task: Int[Tensor, " n"]


@dataclass(frozen=True)
class Task:
    """What is to be learned, and what shows whether it is known; as many `classes`."""

    train: Labelled
    test: Labelled
    classes: int


def load_task(
    name: str,
    own: Mapping[str, Images],
    load: Callable[[str], Mapping[str, Images]],
    n_train: int,
    generator: torch.Generator,
) -> dict[str, Images]:
    """The images "train" and "test" of a task: the first of `own` if it is called so, otherwise drawn from a data set.

    Arguments: `own`, the study's splits; `load`, the parts of a data set by its name; `n_train`, images to learn from;
    `generator`, on the CPU, of the draw. There are as many test images as in `own`, or as there are.
    Returns images of the size and channels of `own`. Raises UserError where there are too few images.
    """
    if name == "own":
        return {"train": Images(own["train"].x[:n_train], own["train"].y[:n_train]), "test": own["test"]}
    parts = load(name)
    left = len(parts["test"]) if "test" in parts else sum(map(len, parts.values())) - n_train
    if left < 1:
        raise UserError(f"{left + n_train} images of {name}", f"more than {n_train}", "make rehearse.n_train smaller")
    drawn = split(parts, {"train": n_train, "test": min(left, len(own["test"]))}, generator)
    return {part: Images(fitted(images.x, own["test"].x), images.y) for part, images in drawn.items()}


def tasks_of(found: Sequence[Mapping[str, Images]], device: torch.device) -> list[Task]:
    """Tasks in their order, on a device; the classes of each count on from those of the one before."""
    tasks, first = [], 0
    for number, images in enumerate(found):
        classes = 1 + max(int(part.y.max()) for part in images.values())
        train, test = (labelled(images[part], number, first, device) for part in ("train", "test"))
        tasks.append(Task(train, test, classes))
        first += classes
    return tasks


def labelled(images: Images, task: int, first: int, device: torch.device) -> Labelled:
    """The images of a task whose classes begin at `first`, on a device."""
    y = images.y.to(device)
    return Labelled(images.x.to(device), y + first, torch.full_like(y, task))


def heads(classes: Sequence[int], device: torch.device) -> Bool[Tensor, "tasks all"]:
    """Which outputs of a network belong to each task: as many as it has classes, one task after the other."""
    owners = torch.arange(len(classes), device=device).repeat_interleave(torch.tensor(classes, device=device))
    return owners == torch.arange(len(classes), device=device)[:, None]


def within(
    logits: Float[Tensor, "n all"], task: Int[Tensor, " n"], heads: Bool[Tensor, "tasks all"]
) -> Float[Tensor, "n all"]:
    """The logits, minus infinity where they do not belong to the task of their image."""
    return logits.masked_fill(~heads[task], -torch.inf)


def distillation(
    logits: Float[Tensor, "n all"], taught: Float[Tensor, "n all"], heads: Bool[Tensor, "tasks all"]
) -> Float[Tensor, ""]:
    """T^2 KL(p || q), the mean over images and tasks, where p and q are softmax(taught / T) and softmax(logits / T)
    over the outputs of each task, T = 2.

    Source: Li and Hoiem 2016 (arXiv:1606.09282), section 3; Hinton et al. 2015 (arXiv:1503.02531), section 2.
    """
    each = [
        F.kl_div(
            F.log_softmax(logits[:, own] / TEMPERATURE, 1), F.log_softmax(taught[:, own] / TEMPERATURE, 1),
            reduction="batchmean", log_target=True,
        )
        for own in heads
    ]  # fmt: skip
    return TEMPERATURE**2 * torch.stack(each).mean()


def objective(
    task: int, heads: Bool[Tensor, "tasks all"], memory: Labelled | None, teacher: nn.Module | None
) -> Objective:
    """CE on the task's images, plus CE on as many of its memory, plus distillation from a teacher on both.

    Every image is classified among the classes of its own task. Arguments: `task`, the number of the one to learn;
    `memory`, images of earlier tasks, of which a batch is drawn with replacement, or None; `teacher`, the network that
    learned the earlier tasks, whose outputs for them are to stay, or None.
    Source: spec 2.7.
    """

    def loss(
        network: nn.Module, x: Float[Tensor, "n c h w"], y: Int[Tensor, " n"], generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        n, tasks = len(x), torch.full_like(y, task)
        if memory:
            drawn = torch.randint(len(memory.y), (n,), generator=generator, device=x.device)
            x = torch.cat([x, memory.x[drawn].float() / 255])
            y, tasks = torch.cat([y, memory.y[drawn]]), torch.cat([tasks, memory.task[drawn]])
        logits = network(x)
        own = within(logits, tasks, heads)
        total = F.cross_entropy(own[:n], y[:n])
        if memory:
            total = total + F.cross_entropy(own[n:], y[n:])
        if teacher:
            with torch.no_grad():
                taught = teacher(x)
            total = total + distillation(logits, taught, heads[:task])
        return total, own[:n]

    return loss


def learn(
    network: nn.Module,
    x: UInt8[Tensor, "n c h w"],
    y: Int[Tensor, " n"],
    objective: Objective,
    epochs: int,
    lr: float,
    generator: torch.Generator,
) -> None:
    """Train in place on one more task: Adam, one cycle to the peak `lr`; images are not augmented.

    Raises FloatingPointError, naming the step, when the loss or a weight is not finite.
    """
    settings = Settings(
        epochs=epochs, batch=min(BATCH, len(x)), lr=lr, weight_decay=0.0, crop_padding=0, flip=False, ema_decay=0.0,
        augment="none", optimizer="adam",
    )  # fmt: skip
    for _ in train(network, x, y, objective, settings, generator, evaluate=lambda network: {}):
        pass


def right(network: nn.Module, images: Labelled, heads: Bool[Tensor, "tasks all"]) -> Bool[Tensor, " n"]:
    """Which images the network gets right among the classes of their task."""
    with frozen(network), torch.no_grad():
        logits = torch.cat([network(part.float() / 255) for part in images.x.split(500)])
    return within(logits, images.task, heads).argmax(1) == images.y


def lessons(
    network: nn.Module,
    tasks: Sequence[Task],
    memory: Sequence[Labelled],
    distilled: bool,
    epochs: int,
    lr: float,
    streams: Streams,
    resume: Resume,
    names: Sequence[str],
) -> Iterator[list[float]]:
    """Learn task after task; after each, yield the accuracy on every task so far.

    Arguments: `memory`, images of each task that may be rehearsed when it is over, or nothing; `distilled`, whether the
    network teaches itself what it knew before each task; `streams`, the maker of generators on the network's device;
    `resume`, which keeps the network after each task under its name in `names`.
    Raises UserError when the loss or a weight is not finite.
    """
    owners = heads([task.classes for task in tasks], tasks[0].train.y.device)
    for number, (task, name) in enumerate(zip(tasks, names, strict=True)):
        saved = resume.load(name)
        if saved:
            network.load_state_dict(saved[0])
        else:
            kept = joined(memory[:number])
            teacher = copy.deepcopy(network).requires_grad_(False) if distilled and number else None
            loss = objective(number, owners, kept, teacher)
            try:
                learn(network, task.train.x, task.train.y, loss, epochs, lr, streams("learn", number))
            except FloatingPointError as error:
                raise UserError(f"{name}: {error}", "finite numbers", "lower rehearse.lr") from None
            resume.save(name, network.state_dict(), {})
        network.to(memory_format=torch.channels_last)
        yield [float(right(network, each.test, owners).double().mean()) for each in tasks[: number + 1]]


def joined(parts: Sequence[Labelled]) -> Labelled | None:
    """All images of several sets; None of none."""
    if not parts:
        return None
    return Labelled(*(torch.cat([getattr(part, name) for part in parts]) for name in ("x", "y", "task")))
