"""The fast path: Gram matrices formed while a network runs, kept U-centred and packed, and compared by one GEMM.

A block is the U-centred Gram matrix's strict upper triangle, row by row: n(n-1)/2 numbers for n images. HSIC_1 of two
points is then an inner product of their blocks, so cached blocks give every comparison without a network.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from math import ceil, inf, isqrt

import torch
from jaxtyping import Float, Float64, Int, Shaped
from torch import Tensor

from fourlenses.nets import Network
from fourlenses.nets.points import points, watching

COLUMNS = 2**12  # of blocks in one GEMM: its sums are short enough for float32, and are added up in float64


def centred_gram(x: Float[Tensor, "n ..."]) -> Float[Tensor, "n n"]:
    """K = X_c X_c^T of features less their mean over the n images, flattened over all else, in the features' dtype.

    The mean goes first: with it in, float32 loses most of its digits.
    """
    x = (x - x.mean(0)).movedim(1, -1).flatten(1)  # of a channels-last map, this is no copy
    return x @ x.T


def pack(k: Shaped[Tensor, "*batch n n"]) -> Shaped[Tensor, "*batch p"]:
    """The strict upper triangle of matrices, row by row: p = n(n-1)/2 numbers each."""
    return k.flatten(-2).index_select(-1, triangle(k.shape[-1], k.device))


@lru_cache(maxsize=4)
def triangle(n: int, device: torch.device) -> Int[Tensor, " p"]:
    """Where the strict upper triangle of an n x n matrix is in its flat form."""
    row, column = torch.triu_indices(n, n, 1, device=device)
    return (row * n + column).int()


def unpack(packed: Shaped[Tensor, "*batch p"]) -> Shaped[Tensor, "*batch n n"]:
    """The symmetric matrices of zero diagonal whose strict upper triangles are given: the inverse of `pack`.

    Raises ValueError where p is no n(n-1)/2.
    """
    n = images(packed)
    row, column = torch.triu_indices(n, n, 1, device=packed.device)
    k = packed.new_zeros(*packed.shape[:-1], n, n)
    k[..., row, column] = k[..., column, row] = packed
    return k


def images(packed: Shaped[Tensor, "*batch p"]) -> int:
    """n, of how many images packed matrices are. Raises ValueError where p is no n(n-1)/2."""
    p = packed.shape[-1]
    n = (1 + isqrt(1 + 8 * p)) // 2
    if n * (n - 1) != 2 * p:
        raise ValueError(f"{p} numbers are no strict upper triangle of a matrix")
    return n


def block(k: Float[Tensor, "n n"]) -> Float[Tensor, " p"]:
    """The packed U-centred Gram matrix: A_ij = K_ij - m_i - m_j for i < j, in the dtype of K.

    m_i = s_i / (n - 2) - sum_i s_i / (2 (n - 1) (n - 2)), s_i = sum_{j != i} K_ij.
    Arguments: `k`, the Gram matrix of n >= 4 images, best of centred features: float32 then loses nothing.
    Raises: ValueError for fewer than 4 images. Source: Szekely and Rizzo 2014, definition 2.
    """
    n = len(k)
    if n < 4:
        raise ValueError(f"debiased HSIC needs at least 4 images, not {n}")
    sums = k.sum(1) - k.diagonal()
    means = sums / (n - 2) - sums.sum() / (2 * (n - 1) * (n - 2))
    return pack((k - means).sub_(means[:, None]))


@torch.no_grad()
def measured(
    network: Network,
    x: Float[Tensor, "images c h w"],
    n: int,
    measures: Mapping[str, Callable[[Tensor], Tensor]],
) -> dict[str, Float[Tensor, "batches points ..."]]:
    """Measures of the centred Gram matrix of every point and every batch of n images, from one pass in float32.

    Each Gram matrix is formed when its layer has run and dropped when it is measured, and so are the activations:
    beside the results, memory holds what one forward pass of n images does, a copy of one activation and a few n x n.
    A point's matrices are divided by one number in all batches, its mean squared centred norm in the first: CKA does
    not see it, and float32 neither overflows nor vanishes.
    Arguments: `network`, in evaluation mode; `x`, images in [0, 1], a whole number of batches; `measures`, by name
    functions of a Gram matrix (n, n), such as `block`.
    Raises: ValueError for an incomplete batch, a network in training mode, and a point that is constant or not finite
    over the first batch.
    """
    if len(x) % n:
        raise ValueError(f"{len(x)} images are no whole number of batches of {n}")
    if network.training:
        raise ValueError("a network in training mode would be changed by being looked at")
    tapped = points(network)
    spread = [0.0] * len(tapped)
    results: dict[str, Tensor] = {}

    def visit(batch: int, index: int, output: Tensor) -> None:
        gram = centred_gram(output)
        if batch == 0:
            spread[index] = float(gram.diagonal().mean())
            if not spread[index] < inf or (output == output[:1]).all():
                raise ValueError(f"{tapped[index].name} is constant or not finite over the first {n} images")
        gram /= spread[index]
        for name, measure in measures.items():
            value = measure(gram)
            if name not in results:
                results[name] = value.new_empty(len(x) // n, len(tapped), *value.shape)
            results[name][batch, index] = value

    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        for batch, shown in enumerate(x.split(n)):
            with watching(network, partial(visit, batch)):
                network(shown)
    return results


def blocks(network: Network, x: Float[Tensor, "images c h w"], n: int) -> Float[Tensor, "batches points p"]:
    """The block of every point and every batch of n images; arguments, memory and errors as in `measured`."""
    return measured(network, x, n, {"all": block})["all"]


def hsic(a: Float[Tensor, "batches la p"], b: Float[Tensor, "_ lb _"]) -> Float64[Tensor, "batches la lb"]:
    """HSIC_1 of all pairs of points, batch by batch: 2 <A, B> / (n (n - 3)).

    Products are made in the dtype of the blocks; sums over more than COLUMNS of them are float64.
    Arguments: blocks of the same images in the same order.
    Raises: ValueError for other numbers of batches or images, and for NaN or infinity.
    Source: Szekely and Rizzo 2014, proposition 1; Nguyen et al. 2021 (arXiv:2010.15327), equation 3.
    """
    if (len(a), a.shape[-1]) != (len(b), b.shape[-1]):
        raise ValueError(f"blocks of {len(a)} x {images(a)} and {len(b)} x {images(b)} images have no pairs")
    total = a.new_zeros(len(a), a.shape[1], b.shape[1], dtype=torch.float64)
    for left, right in zip(a.split(COLUMNS, -1), b.split(COLUMNS, -1), strict=True):
        total += left @ right.mT
    return finite(total * factor(a))


def self_hsic(blocks: Float[Tensor, "batches points p"]) -> Float64[Tensor, "batches points"]:
    """HSIC_1 of every point with itself: the diagonal of hsic(blocks, blocks), whose last digits may differ."""
    total = blocks.new_zeros(blocks.shape[:2], dtype=torch.float64)
    for some in blocks.split(COLUMNS, -1):
        total += some.square().sum(-1, dtype=torch.float64)
    return finite(total * factor(blocks))


def factor(blocks: Tensor) -> float:
    """2 / (n (n - 3)), by which inner products of blocks become HSIC_1."""
    n = images(blocks)
    return 2 / (n * (n - 3))


def finite(x: Tensor) -> Tensor:
    """The same tensor; raises ValueError if it holds NaN or infinity."""
    if not x.isfinite().all():
        raise ValueError("blocks hold NaN or infinity")
    return x


def permuted(blocks: Float[Tensor, "*batch p"], order: Int[Tensor, " n"]) -> Float[Tensor, "*batch p"]:
    """The blocks of the same images in another order, image order[i] in place i: a control, without any relation."""
    places = unpack(torch.arange(blocks.shape[-1], device=blocks.device))
    return blocks[..., pack(places[order][:, order])]


def without_first_component(k: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
    """K - l_1 v_1 v_1^T with the largest eigenvalue and its eigenvector: features without their first component.

    Arguments: `k`, the Gram matrix of centred features. Source: Nguyen et al. 2021, section 5.
    """
    values, vectors = torch.linalg.eigh(k.double())
    first = vectors[:, -1]
    return (k - values[-1] * torch.outer(first, first)).to(k.dtype)


def without_largest_norms(k: Float[Tensor, "n n"], share: float = 0.01) -> Float[Tensor, "n n"]:
    """The centred Gram matrix after the images of largest norm have been moved to the mean of the others.

    They keep their places, so that layers with other such images can still be compared.
    Arguments: `k`, the Gram matrix of centred features; `share`, of the images, rounded up. Source: Nguyen et al. 2022
    (arXiv:2202.07184), whose dominant images these are.
    """
    kept = torch.ones(len(k), dtype=k.dtype, device=k.device)
    kept[largest(k, share)] = 0
    weight = kept / kept.sum()
    means = k @ weight
    return (k - means - means[:, None] + weight @ means) * kept * kept[:, None]


def first_component_share(k: Float[Tensor, "n n"]) -> Float[Tensor, ""]:
    """l_1 / tr K: the share of the variance of centred features that their first component has, 0 to 1."""
    return (torch.linalg.eigvalsh(k.double())[-1] / k.trace()).to(k.dtype)


def largest_norm_share(k: Float[Tensor, "n n"], share: float = 0.01) -> Float[Tensor, ""]:
    """The share of the squared centred norms that the images of largest norm have, `share` of them, rounded up."""
    return k.diagonal()[largest(k, share)].sum() / k.trace()


def largest(k: Tensor, share: float) -> Tensor:
    """The indices of the images of largest norm."""
    return k.diagonal().topk(ceil(share * len(k))).indices
