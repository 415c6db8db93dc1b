"""The points at which layers are compared: every call of every layer of a network, in order of execution."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from itertools import count

import torch
from torch import Tensor, nn

from fourlenses.nets.network import Network
from fourlenses.nets.wide import Sum

KINDS: dict[type[nn.Module], str] = {
    nn.Conv2d: "conv",
    nn.BatchNorm2d: "bn",
    nn.ReLU: "relu",
    nn.AvgPool2d: "pool",
    nn.AdaptiveAvgPool2d: "pool",
    nn.AdaptiveMaxPool2d: "pool",
    nn.Linear: "linear",
    Sum: "sum",
}


@dataclass(frozen=True)
class Point:
    """One call of a layer.

    `name`, the layer's, with `#2` appended at its second call in a pass; `kind`, a value of KINDS; `stage`, 0 before
    the first of the network's stages, then 1, 2, ..., and -1 after the last; `block`, whether it is the ReLU output
    that enters a residual block, or the last ReLU; `aliased_by`, the index of the in-place ReLU that overwrites this
    output later in the pass, its own index if none does.
    """

    name: str
    kind: str
    stage: int
    block: bool
    aliased_by: int


@contextmanager
def watching(network: nn.Module, visit: Callable[[int, Tensor], object]) -> Iterator[None]:
    """While inside, each forward pass calls visit(index, output) at every point, in the order of `points`.

    The output is no copy: it holds what the layer gave only until visit returns, for an in-place layer may follow.
    """
    calls = count()

    def restart(_module: nn.Module, _inputs: object) -> None:
        nonlocal calls
        calls = count()

    def pass_on(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        visit(next(calls), output)

    handles = [network.register_forward_pre_hook(restart)]
    handles += [module.register_forward_hook(pass_on) for module in network.modules() if type(module) in KINDS]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def points(network: Network) -> list[Point]:
    """Every convolution, batch normalisation, ReLU, average or global pool, linear layer and residual sum of a network,
    once a call, in order of execution; the network is left as it was.

    A residual block is a module with two convolutions of its own; where what enters it is no ReLU output (as in
    pre-activation networks), its first ReLU counts. A stage that is a point itself (in networks without blocks) begins
    where the last ended. A ReLU, sum or pool that is a function and no module, as in `robustness`, has no point.
    Source: Cianfarani et al. 2022, released code (its hooks, and every second call that they lose).
    """
    network = deepcopy(network).eval()
    names = {module: name for name, module in network.named_modules()}
    stages = [network.get_submodule(name) for name in network.stages if not name.endswith(".stem")]
    ends_a_stage = any(type(module) in KINDS for module in stages)
    found: list[dict] = []
    outputs: list[Tensor] = []  # all are kept, so that equal addresses mean one tensor
    calls: Counter[nn.Module] = Counter()
    begun = finished = 0
    entering = False  # a block whose ReLU is still to come

    def before(module: nn.Module, _inputs: object) -> None:
        nonlocal begun, entering
        begun += module in stages
        if is_block(module):
            if found and found[-1]["kind"] == "relu":
                found[-1]["block"] = True
            else:
                entering = True

    def after(module: nn.Module, _inputs: object, output: object) -> None:
        nonlocal finished, entering
        kind = KINDS.get(type(module))
        if kind:
            calls[module] += 1
            name = names[module] + (f"#{calls[module]}" if calls[module] > 1 else "")
            stage = -1 if finished == len(stages) else finished + 1 if ends_a_stage else begun
            found.append({"name": name, "kind": kind, "stage": stage, "block": entering and kind == "relu"})
            outputs.append(output)
            entering = entering and kind != "relu"
        finished += module in stages

    for module in network.modules():
        module._forward_hooks.clear()  # the copies of those that watch the network
        module._forward_pre_hooks.clear()
        module.register_forward_pre_hook(before)
        module.register_forward_hook(after)
    like = next(network.parameters())
    with torch.no_grad():
        network(torch.zeros(1, *network.image_shape, device=like.device, dtype=like.dtype))

    rectified = {output.data_ptr(): i for i, output in enumerate(outputs) if found[i]["kind"] == "relu"}
    if any(point["block"] for point in found):
        found[max(rectified.values())]["block"] = True
    return [Point(**found[i], aliased_by=rectified.get(output.data_ptr(), i)) for i, output in enumerate(outputs)]


def is_block(module: nn.Module) -> bool:
    """Whether a module is a residual block (or what is left of one without its sum)."""
    convolutions = sum(isinstance(child, nn.Conv2d) for child in module.children())
    return convolutions >= 2 and not isinstance(module, nn.Sequential)
