"""Backward rules: the same function with another gradient. To add one, write a function and name it in BACKWARD.

A rule takes a private copy of a network (such as a folded one), changes it in place and returns it. Its values stay
what they were; only the gradient that passes through them differs.
"""

from collections.abc import Callable

from robustness.tools.custom_modules import FakeReLUM
from torch import nn

from fourlenses.errors import UserError
from fourlenses.nets.network import Network


def exact(network: Network) -> Network:
    """The gradient as it is."""
    return network


def straight_through(network: Network) -> Network:
    """The last ReLU before the pooling is transparent to the gradient: forward max(0, u), backward the identity.

    The small networks have the module swapped, those of `robustness` take their own `fake_relu`.
    Raises UserError for an architecture whose last ReLU is neither. Source: Nanda et al. 2023 (released code), which
    does so for residual and dense networks only; Engstrom et al. 2019.
    """
    if network.straight_through:
        network.body.register_forward_pre_hook(
            lambda body, images, options: (images, options | {"fake_relu": True}), with_kwargs=True
        )
        return network
    relus = [name for name, module in network.body.named_modules() if isinstance(module, nn.ReLU)]
    if network.head_name or not relus:
        raise UserError(
            f"backward rule 'straight-through' for architecture {network.architecture}",
            "a small network, or one of robustness that has fake_relu",
            "use the rule 'exact' for this network",
        )
    network.body.set_submodule(relus[-1], FakeReLUM())
    return network


def cut_skip(network: Network) -> Network:
    """No gradient passes through the shortcut of any block: y = h(x) + s(x) has the gradient of h alone.

    An ablation of the skip inside one network, with its weights and values as they are.
    Raises UserError for an architecture whose blocks have no module named `shortcut`.
    """
    shortcuts = [module for name, module in network.body.named_modules() if name.split(".")[-1] == "shortcut"]
    if not shortcuts:
        raise UserError(
            f"backward rule 'cut-skip' for architecture {network.architecture}",
            "a residual network with shortcuts (resnet, robustness-resnet18, robustness-resnet50)",
            "use the rule 'exact' for this network",
        )
    for shortcut in shortcuts:
        shortcut.register_forward_hook(lambda module, images, output: output.detach())
    return network


BACKWARD: dict[str, Callable[[Network], Network]] = {
    "exact": exact,
    "straight-through": straight_through,
    "cut-skip": cut_skip,
}
