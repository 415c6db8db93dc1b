"""Which representations are compared with which: every comparison of the lens, by what the two sides share."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations


@dataclass(frozen=True)
class State:
    """A network of one training seed after so many epochs, and the images that it sees.

    `images`: "benign"; "adversarial", made on itself; "adversarial of <network>", made on that one; or what a control
    does to the benign ones: "shuffled", "no-first-component", "no-largest-norms".
    """

    network: str
    seed: int
    epoch: int
    images: str = "benign"


@dataclass(frozen=True)
class Pair:
    """Two states whose points are compared, all with all; `kind` says what the comparison is for."""

    kind: str
    a: State
    b: State


@dataclass(frozen=True)
class Shown:
    """What the pairs of a network follow from: its `points` by name, the `epochs` kept (the last is its end), the first
    network that has the same specification (`twin_of`, "" if none), whether it is `attacked`, and whether it is one of
    the `base` pair, whose controls are compared too."""

    points: tuple[str, ...]
    epochs: Sequence[int]
    twin_of: str = ""
    attacked: bool = False
    base: bool = False


CONTROLS = ("no-first-component", "no-largest-norms")


def pairs(networks: Mapping[str, Shown], seeds: Sequence[int]) -> list[Pair]:
    """Every comparison, in a fixed order.

    self: each network at each kept epoch, with itself. adversarial: its benign images against its own adversarial ones.
    epochs: two epochs of one training. shuffled and the CONTROLS: of the base pair, with itself. twin: equal
    specification, another seed or name. cross: two networks whose points have the same names, at their ends; with
    cross-adversarial, each on its own adversarial images, and reused-adversarial, the second on those of the first.
    Source: Cianfarani et al. 2022, comparisons (a) to (e) of the specification, section 2.
    """
    return [pair for seed in seeds for name in networks for pair in _own(name, networks[name], seed)] + [
        pair for a, b in combinations(networks, 2) for pair in _between(a, b, networks, seeds)
    ] + [
        Pair("twin", State(name, first, shown.epochs[-1]), State(name, second, shown.epochs[-1]))
        for name, shown in networks.items()
        for first, second in combinations(seeds, 2)
    ]  # fmt: skip


def _own(name: str, shown: Shown, seed: int) -> Iterator[Pair]:
    for epoch in shown.epochs:
        yield Pair("self", State(name, seed, epoch), State(name, seed, epoch))
    for first, second in combinations(shown.epochs, 2):
        yield Pair("epochs", State(name, seed, first), State(name, seed, second))
    last = State(name, seed, shown.epochs[-1])
    if shown.attacked:
        yield Pair("adversarial", last, State(name, seed, last.epoch, "adversarial"))
    if shown.base:
        yield Pair("shuffled", last, State(name, seed, last.epoch, "shuffled"))
        for control in CONTROLS:
            changed = State(name, seed, last.epoch, control)
            yield Pair(control, changed, changed)


def _between(a: str, b: str, networks: Mapping[str, Shown], seeds: Sequence[int]) -> Iterator[Pair]:
    first, second = networks[a], networks[b]
    if first.points != second.points:
        return
    origin = {name: networks[name].twin_of or name for name in (a, b)}
    kind = "twin" if origin[a] == origin[b] else "cross"
    for seed in seeds:
        left, right = State(a, seed, first.epochs[-1]), State(b, seed, second.epochs[-1])
        yield Pair(kind, left, right)
        if first.attacked and second.attacked:
            attacked = State(a, seed, left.epoch, "adversarial"), State(b, seed, right.epoch, "adversarial")
            yield Pair("cross-adversarial", *attacked)
            for victim, watcher in (attacked, attacked[::-1]):
                seen = State(watcher.network, seed, watcher.epoch, f"adversarial of {victim.network}")
                yield Pair("reused-adversarial", victim, seen)
