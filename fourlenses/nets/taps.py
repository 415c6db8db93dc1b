"""Reading the activations of any named layer of any network."""

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fourlenses.errors import UserError
from fourlenses.nets.network import Network


@contextmanager
def tapped(network: nn.Module, layers: Sequence[str], clone: bool) -> Iterator[dict[str, object]]:
    """While inside, each forward pass fills the yielded dict with the outputs of `layers`, as they are made."""
    outputs: dict[str, object] = {}

    def keep(name: str, output: object) -> None:
        outputs[name] = output.clone() if clone and isinstance(output, Tensor) else output

    modules = dict(network.named_modules())
    handles = [modules[name].register_forward_hook(lambda _module, _inputs, output, name=name: keep(name, output))
               for name in layers]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def layer_names(network: Network) -> list[str]:
    """The layers that give one tensor, in the order in which they finish for one blank image (modes are restored)."""
    names = [name for name, _ in network.named_modules() if name]
    training = {module: module.training for module in network.modules()}
    like = next(network.parameters())
    try:
        network.eval()
        with tapped(network, names, clone=False) as outputs, torch.no_grad():
            network(torch.zeros(1, *network.image_shape, device=like.device, dtype=like.dtype))
    finally:
        for module, mode in training.items():
            module.training = mode
    return [name for name, output in outputs.items() if isinstance(output, Tensor)]


def activations(network: nn.Module, x: Float[Tensor, "n c h w"], layers: Sequence[str], *,
                clone: bool = True) -> dict[str, Tensor]:
    """The outputs of `layers` in one forward pass of `x`, in order of execution; gradients follow the caller's mode.

    Arguments: `x`, images in [0, 1]; `layers`, names as in `layer_names`; `clone`, copy each output at once, so that a
    later in-place operation (a ReLU after batch normalisation) cannot change it; without, only for layers that none
    follows. A layer that runs more than once gives its last output.
    Raises: UserError for a name that the network does not have, that did not run, or that gives no single tensor.
    """
    known = [name for name, _ in network.named_modules() if name]
    for name in layers:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.5) or known[:3]
            raise UserError(f"layer {name!r}", "a layer of the network", f"close names: {', '.join(near)}")
    with tapped(network, layers, clone) as outputs:
        network(x)
    for name in layers:
        if not isinstance(outputs.get(name), Tensor):
            raise UserError(f"layer {name!r}, which gave no tensor", "a layer that runs and returns one tensor",
                            "choose one of layer_names(network)")
    return outputs
