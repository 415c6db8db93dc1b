"""Batch normalisation folded into the convolutions before it: the same function in evaluation mode, faster."""

import copy

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_conv_bn_weights

from fourlenses.nets.network import Network


@torch.no_grad()
def folded(network: Network) -> Network:
    """A frozen copy in which w <- w gamma / sqrt(var + eps) absorbs the batch normalisation after a convolution.

    A convolution and a batch normalisation are taken as a pair where they stand side by side in one module; the copy is
    checked on random images, and where the pairs were none the plain frozen copy is returned.
    """
    plain = copy.deepcopy(network).eval().requires_grad_(False)
    fast = copy.deepcopy(plain)
    for conv, norm in _pairs(plain):
        fast.set_submodule(conv, fuse_conv_bn_eval(fast.get_submodule(conv), fast.get_submodule(norm)))
        fast.set_submodule(norm, nn.Identity())
    like = next(network.parameters())
    probe = torch.rand(8, *network.image_shape, generator=torch.Generator().manual_seed(0)).to(like)
    same = torch.allclose(plain.features(probe), fast.features(probe), rtol=1e-3, atol=1e-4)
    return (fast if same else plain).requires_grad_(False).to(memory_format=torch.channels_last)


class Shadow:
    """A folded copy that follows a network while it is trained: what an attack differentiates in the network's place.

    Its parameters are in `precision` ("bfloat16" or "float32"), so that nothing is cast at every step of an attack.
    """

    def __init__(self, precision: str) -> None:
        self.dtype = getattr(torch, precision)
        self.followed: Network | None = None

    @torch.no_grad()
    def of(self, network: Network) -> Network:
        """The frozen copy in evaluation mode, with the weights and statistics that `network` has now.

        It takes float32 images (n, c, h, w) in [0, 1]; its logits and representations are in `precision`.
        """
        if self.followed is not network:
            self._follow(network)
        for conv, norm, absorbing in self.absorbed:
            statistics = norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
            weight, bias = fuse_conv_bn_weights(conv.weight, conv.bias, *statistics)
            absorbing.weight.copy_(weight)
            absorbing.bias.copy_(bias)
        for value, kept in self.others:
            kept.copy_(value)
        return self.copy

    def _follow(self, network: Network) -> None:
        self.followed, self.copy = network, folded(network)
        pairs = [pair for pair in _pairs(network) if isinstance(self.copy.get_submodule(pair[1]), nn.Identity)]
        self.absorbed = [
            (network.get_submodule(conv), network.get_submodule(norm), self.copy.get_submodule(conv))
            for conv, norm in pairs
        ]
        for name, module in self.copy.named_children():
            if name != "normalize":
                module.to(self.dtype)
        absorbing = tuple(f"{conv}." for conv, _ in pairs)
        values = network.state_dict(keep_vars=True)
        self.others = [
            (values[name], kept)
            for name, kept in self.copy.state_dict(keep_vars=True).items()
            if not name.startswith((*absorbing, "normalize."))
        ]
        self.copy.normalize = nn.Sequential(self.copy.normalize, _Cast(self.dtype))


class _Cast(nn.Module):
    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        return x.to(self.dtype, memory_format=torch.channels_last)


def _pairs(network: nn.Module) -> list[tuple[str, str]]:
    """Names of each convolution with a batch normalisation beside it, and of that."""
    found = []
    for place, module in network.named_modules():
        children = list(module.named_children())
        for (first, conv), (second, norm) in zip(children, children[1:], strict=False):
            pair = isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
            if pair and conv.out_channels == norm.num_features:
                found.append((f"{place}.{first}".lstrip("."), f"{place}.{second}".lstrip(".")))
    return found
