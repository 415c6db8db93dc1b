"""The LPIPS form: a distance between the unit-normalised feature maps of a trunk network, differentiable.

Source: Zhang et al. 2018 (arXiv:1801.03924), equation 1.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from fourlenses.errors import UserError
from fourlenses.nets.folding import folded
from fourlenses.nets.network import Network
from fourlenses.nets.taps import activations

TINY = 1e-10


def unit(features: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """Each spatial feature vector divided by its length over channels; a zero vector stays zero, gradient included."""
    features = features.float() if features.dtype in (torch.bfloat16, torch.float16) else features
    length = features.square().sum(1, keepdim=True).clamp_min(TINY**2).sqrt()
    return features / (length + TINY)


def distance_of_units(units_x: Sequence[Tensor], units_y: Sequence[Tensor],
                      weights: Sequence[Tensor] | None) -> Float[Tensor, " n"]:
    total = 0.0
    for i, (a, b) in enumerate(zip(units_x, units_y, strict=True)):
        squared = (a - b).square()
        if weights is not None:
            squared = squared * weights[i].reshape(1, -1, 1, 1)
        total = total + squared.sum(1).mean((1, 2))
    return total


def lpips_distance(features_x: Sequence[Float[Tensor, "n _c _h _w"]], features_y: Sequence[Float[Tensor, "n _c _h _w"]],
                   weights: Sequence[Float[Tensor, " _c"]] | None = None) -> Float[Tensor, " n"]:
    """d(x, y) = sum over layers l of mean over (h, w) of sum over channels c of w_lc (u_lc(x) - u_lc(y))^2.

    Arguments: `features_x` and `features_y`, one map per layer; u is the map divided by its length over channels;
    `weights`, one vector per layer, all ones when None.
    Source: Zhang et al. 2018, equation 1.
    """
    return distance_of_units([unit(f) for f in features_x], [unit(f) for f in features_y], weights)


class TrunkDistance:
    """The LPIPS form on the layers of a frozen copy of a network, differentiable in x.

    Arguments: `network`, the trunk (copied, in evaluation mode, batch normalisation folded); `layers`, names of
    layers that give maps, by default one per stage; `weights`, one vector of channel weights per layer, all ones when
    None.
    Raises: UserError when the trunk has no stages and no layers are given.
    """

    def __init__(self, network: Network, layers: Sequence[str] | None = None,
                 weights: Sequence[Tensor] | None = None) -> None:
        self.network = folded(network)
        self.layers = tuple(network.stages if layers is None else layers)
        self.weights = weights
        if not self.layers:
            raise UserError(f"no layers for a distance on {network.architecture}", "at least one layer",
                            "name layers whose outputs are maps")

    def units(self, x: Float[Tensor, "n c h w"]) -> list[Tensor]:
        maps = activations(self.network, x, self.layers, clone=False)
        return [unit(maps[name]) for name in self.layers]

    @torch.no_grad()
    def reference(self, y: Float[Tensor, "n c h w"]) -> list[Tensor]:
        """The normalised maps of `y`, for `to`: computed once instead of at every step."""
        return self.units(y)

    def to(self, x: Float[Tensor, "n c h w"], reference: Sequence[Tensor]) -> Float[Tensor, " n"]:
        """The distance of `x` to the images of `reference` (one per image, or one for all)."""
        return distance_of_units(self.units(x), reference, self.weights)

    def __call__(self, x: Float[Tensor, "n c h w"], y: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
        return distance_of_units(self.units(x), self.units(y), self.weights)
