"""What the IRIs of one network are to another: recognised or not, and represented like their targets or not."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fourlenses.attacks import frozen
from fourlenses.nets.network import Network


def recognised(network: Network, iris: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"], batch: int = 500) -> float:
    """Share of IRIs to which another network gives the class of their target, in percent.

    100/n sum_i [argmax f_b(x*_i) = y_i], the IRIs being those of a network a.
    Arguments: `network`, b, in any mode; `iris`, in [0, 1]; `labels`, the classes of their targets.
    Source: Feather et al. 2023 (Nature Neuroscience 26), recognition of metamers by other models; spec 8 (1).
    """
    with frozen(network), torch.no_grad():
        found = torch.cat([network(part).argmax(1) for part in iris.split(batch)])
    return 100 * (found == labels).double().mean().item()


def linear_cka(a: Float[Tensor, "n d"], b: Float[Tensor, "n e"]) -> float:
    """Linear centred kernel alignment of two representations of the same n inputs, in float64.

    CKA(A, B) = ||B^T A||_F^2 / (||A^T A||_F ||B^T B||_F), columns centred: 1 for equal up to rotation, shift and scale.
    Returns a number in [0, 1]. Raises ValueError for a representation that is constant over the inputs.
    Source: Kornblith et al. 2019 (arXiv:1905.00414), equation 3 in its feature form.
    """
    a, b = (each.double() - each.double().mean(dim=0) for each in (a, b))
    if not (a.any() and b.any()):
        raise ValueError("a representation is the same for all inputs: its CKA is undefined")
    return ((b.T @ a).square().sum() / ((a.T @ a).norm() * (b.T @ b).norm())).item()


def stir(
    network: Network, iris: Float[Tensor, "n c h w"], targets: Float[Tensor, "n c h w"], batch: int = 500
) -> float:
    """How far a network b shares the invariances of a network a: STIR(b | a) = CKA(g_b(X*), g_b(X)).

    X* are IRIs of a, for a represented like the targets X; b shares a's invariance if they are so for b as well.
    Arguments: `network`, b, in any mode; `iris`, X*, and `targets`, X, in [0, 1].
    Returns a number in [0, 1]. Source: Nanda et al. 2022 (arXiv:2206.11939), STIR with linear CKA.
    """
    with frozen(network), torch.no_grad():
        g = [torch.cat([network.features(part) for part in images.split(batch)]) for images in (iris, targets)]
    return linear_cka(*g)
