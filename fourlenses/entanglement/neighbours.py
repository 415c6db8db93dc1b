"""The nearest neighbours of points among reference points, found exactly."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F


def normalised(x: Float[Tensor, "n d"], mean: Float[Tensor, " d"] | None = None) -> Float[Tensor, "n d"]:
    """Each row at length 1, and less `mean` where one is given: x / ||x||_2 - mean.

    Squared Euclidean distances of such rows are twice the cosine distances; to take the references' mean from them and
    from the queries changes none, but leaves smaller numbers to round. A row of zeros counts as the zero vector.
    Arguments: `x`, n points; `mean`, that of the references after they were brought to length 1.
    Source: released code of deep k-nearest neighbours (Papernot and McDaniel 2018); spec 2.7.
    """
    units = F.normalize(x, dim=1)
    return units if mean is None else units - mean


def nearest(
    queries: Float[Tensor, "m d"], references: Float[Tensor, "n d"], k: int, block: int = 1024
) -> tuple[Int64[Tensor, "m k"], Float[Tensor, "m k"]]:
    """The k references nearest to each query, nearest first, by squared Euclidean distance.

    d_ij = ||q_i||^2 + ||r_j||^2 - 2 q_i . r_j, all of them, `block` queries at a time: memory is block x n, and no
    neighbour is missed, up to the rounding of d_ij in the type of x. Which of several references at one distance comes
    first is not defined; a caller that lets them vote sees it only where they tie for the k-th place.
    Arguments: `k`, from 1 to n; `block`, at least 1.
    Returns indices into the references, and squared distances, at least 0.
    Raises ValueError for fewer than k references. Source: Papernot and McDaniel 2018, section 3 (there by hashing).
    """
    if not 1 <= k <= len(references):
        raise ValueError(f"{k} neighbours among {len(references)} references")
    squares = references.square().sum(1)
    indices, distances = [], []
    for each in queries.split(block):
        product = torch.addmm(squares, each, references.T, alpha=-2)  # ||q||^2 moves no neighbour: added to the k only
        found = product.topk(k, dim=1, largest=False)
        indices.append(found.indices)
        distances.append((found.values + each.square().sum(1, keepdim=True)).clamp_min(0))
    return torch.cat(indices), torch.cat(distances)
