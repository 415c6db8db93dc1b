"""What the IRIs of one network are to another: recognised or not, and represented like their targets or not."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fourlenses.attacks import frozen
from fourlenses.nets.network import Network


def seen(network: Network, images: Float[Tensor, "n c h w"], batch: int = 500) -> tuple[Tensor, Tensor]:
    """What a network makes of images in [0, 1]: representations (n, m) and the classes that it gives (n,)."""
    with frozen(network), torch.no_grad():
        g = torch.cat([network.features(part) for part in images.split(batch)])
        return g, network.head(g).argmax(1)


def recognised(given: Int[Tensor, " n"], labels: Int[Tensor, " n"]) -> float:
    """Share of the IRIs of a network a to which another network b gives the class of their target, in percent.

    100/n sum_i [argmax f_b(x*_i) = y_i]. Arguments: `given`, the classes that b gives; `labels`, those of the targets.
    Source: Feather et al. 2023 (Nature Neuroscience 26), recognition of metamers by other models; spec 8 (1).
    """
    return 100 * (given == labels).double().mean().item()


def linear_cka(a: Float[Tensor, "n d"], b: Float[Tensor, "n e"]) -> float:
    """Linear centred kernel alignment of two representations of the same n inputs, in float64.

    CKA(A, B) = ||B^T A||_F^2 / (||A^T A||_F ||B^T B||_F), columns centred: 1 for equal up to rotation, shift and scale.
    With A and B what a network b makes of targets and of IRIs of a network a, it is STIR(b | a): how far b shares the
    invariances of a. Returns a number in [0, 1]. Raises ValueError for a representation constant over the inputs.
    Source: Kornblith et al. 2019 (arXiv:1905.00414), equation 3 in its feature form; Nanda et al. 2022
    (arXiv:2206.11939), STIR.
    """
    a, b = (each.double() - each.double().mean(dim=0) for each in (a, b))
    if not (a.any() and b.any()):
        raise ValueError("a representation is the same for all inputs: its CKA is undefined")
    return ((b.T @ a).square().sum() / ((a.T @ a).norm() * (b.T @ b).norm())).item()
