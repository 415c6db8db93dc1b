"""Watching the entanglement of the layers while a network is trained."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor, nn

from fourlenses.attacks import frozen
from fourlenses.entanglement.layers import label
from fourlenses.entanglement.minimum import Entanglement, minimum_entanglement
from fourlenses.errors import UserError
from fourlenses.nets.network import Network
from fourlenses.nets.points import points, watching
from fourlenses.training.objectives import Objective


@dataclass(frozen=True)
class Layer:
    """A watched layer: its index among the network's points, its name in tables, and its kind ("block", "pool" or
    "logits")."""

    point: int
    name: str
    kind: str


def watched_layers(network: Network) -> list[Layer]:
    """The ReLU outputs that enter each residual block, the last ReLU's, the global pool and the logits, by depth.

    Raises UserError for a network without residual blocks.
    """
    found = list(enumerate(points(network)))
    chosen = {i: "block" for i, point in found if point.block}
    if not chosen:
        remedy = "give watched.architecture another name"
        raise UserError(f"architecture {network.architecture}", "a network of residual blocks", remedy)
    chosen |= {i: "pool" for i, point in found[max(chosen) :] if point.kind == "pool"}
    chosen |= {i: "logits" for i, point in found if point.name == "head"}
    return [Layer(i, label(found[i][1].name), kind) for i, kind in sorted(chosen.items())]


def entanglement_by_layer(
    network: Network, layers: list[Layer], x: Float[Tensor, "n c h w"], y: Int[Tensor, " n"]
) -> list[Entanglement]:
    """The least loss over temperatures at every layer, for images in [0, 1] in one pass, in float32."""
    measured: dict[int, Entanglement] = {}
    wanted = {layer.point for layer in layers}

    def measure(point: int, output: Tensor) -> None:
        if point in wanted:
            measured[point] = minimum_entanglement(output.flatten(1), y)

    with torch.no_grad(), frozen(network), watching(network, measure):
        network(x.to(memory_format=torch.channels_last))
    return [measured[layer.point] for layer in layers]


def moments(total: int, every: int) -> list[int]:
    """The steps at which to look: every `every` steps, four times as often in the first tenth, and after the last.

    Step k is the network after k updates, so these go from 0 to `total`.
    """
    early = range(0, total // 10 + 1, max(every // 4, 1))
    return sorted({*early, *range(0, total, every), total})


def watched(
    objective: Objective, steps: Collection[int], visit: Callable[[int, nn.Module], object], first: int = 0
) -> Objective:
    """The same objective, which at each of `steps` first calls visit(step, network), and trains as if it did not.

    The visitor sees the network in evaluation mode and without gradients. `first` is the step of the first call, for
    training that goes on.
    """
    step = first

    def watching_objective(
        network: nn.Module, x: Float[Tensor, "views c h w"], y: Int[Tensor, " n"], generator: Generator
    ) -> tuple[Tensor, Tensor]:
        nonlocal step
        if step in steps:
            with torch.no_grad(), frozen(network):
                visit(step, network)
        step += 1
        return objective(network, x, y, generator)

    return watching_objective


def balanced(y: Int[Tensor, " n"], n: int) -> Int[Tensor, " m"]:
    """Indices, in order, of the first n images if classes take turns: as many of each, as far as there are."""
    turn = torch.zeros_like(y)
    for c in y.unique():
        turn[y == c] = torch.arange(int((y == c).sum()), device=y.device)
    return turn.argsort(stable=True)[:n].sort().values
