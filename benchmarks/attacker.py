"""What `robustness` (MadryLab) needs to run as a peer: our network in its AttackerModel, and no GPU."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from unittest.mock import patch

import torch
from torch import Tensor, nn

from fourlenses.nets import Network
from fourlenses.nets.bridge import import_torchvision


class Keywords(nn.Module):
    """A network after its normalisation, which AttackerModel does itself, taking the keywords that it passes."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, with_latent: bool = False, fake_relu: bool = False, no_relu: bool = False) -> Tensor:
        return self.network.head(self.network.body(x))


def attacker_model(network: Network) -> nn.Module:
    """The network, not a copy, in robustness's AttackerModel.

    The normalisation is ours: robustness's clamps to [0, 1] first, and since torch 2.14 a clamp passes no gradient at
    its bounds, so that its attacks would never move a black or white pixel.
    """
    import_torchvision()
    from robustness.attacker import AttackerModel

    any_numbers = SimpleNamespace(mean=torch.zeros(1), std=torch.ones(1))
    model = AttackerModel(Keywords(network), any_numbers)
    model.normalizer = model.attacker.normalize = network.normalize
    return model


@contextmanager
def no_gpu_needed(device: torch.device) -> Iterator[None]:
    """Inside the block on a CPU, `.cuda()` does nothing and DataParallel is its module: robustness has no CPU mode."""
    with ExitStack() as stack:
        if device.type == "cpu":
            for owner in (Tensor, nn.Module):
                stack.enter_context(patch.object(owner, "cuda", lambda self, *_, **__: self))
            stack.enter_context(patch.object(nn, "DataParallel", lambda module, device_ids=None: module))
        yield
