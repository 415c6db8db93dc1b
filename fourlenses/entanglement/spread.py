"""How far apart the points of one class and of different classes are, and how large they are."""

from jaxtyping import Float, Float64, Integer
from torch import Tensor

from fourlenses.entanglement.snnl import directions


def intra_class_cosine(x: Float[Tensor, "n ..."], y: Integer[Tensor, " n"]) -> float:
    """The mean of 1 - cos(x_i, x_j) over all pairs of points of the same class.

    Arguments: `x`, the points, flattened, where one that is zero is at 1 from all others; `y`, their classes.
    Returns: from 0 for classes that point one way each; at most 2; every pair counts alike.
    Raises: ValueError if no two points share a class.
    Source: Frosst et al. 2019 (arXiv:1902.01889) for same-class data that are more spread out; the measure is ours.
    """
    pairs, cosines = class_pairs(x, y)
    if pairs.trace() == 0:
        raise ValueError("no two points share a class: their mean distance is undefined")
    return 1 - float(cosines.trace() / pairs.trace())


def inter_class_cosine(x: Float[Tensor, "n ..."], y: Integer[Tensor, " n"]) -> float:
    """The mean of 1 - cos(x_i, x_j) over all pairs of points of different classes.

    Arguments, returns and source: as `intra_class_cosine`. Raises: ValueError if all points are of one class.
    """
    pairs, cosines = class_pairs(x, y)
    if len(pairs) < 2:
        raise ValueError("all points are of one class: the mean distance between classes is undefined")
    return 1 - float((cosines.sum() - cosines.trace()) / (pairs.sum() - pairs.trace()))


def class_pairs(
    x: Float[Tensor, "n ..."], y: Integer[Tensor, " n"]
) -> tuple[Float64[Tensor, "c c"], Float64[Tensor, "c c"]]:
    """By two classes: the number of ordered pairs of different points, and the sum of their cosines, from class sums.

    sum_{i in a, j in b} u_i u_j = (sum_{i in a} u_i) (sum_{j in b} u_j), less the points with themselves if a = b.
    """
    halves, _ = directions(x.double())
    classes, of = y.unique(return_inverse=True)
    counts = of.bincount().double()
    sums = halves.new_zeros(len(classes), halves.shape[1]).index_add_(0, of, halves)
    own = halves.new_zeros(len(classes)).index_add_(0, of, halves.square().sum(1))
    return counts.outer(counts) - counts.diag(), 2 * (sums @ sums.T - own.diag())


def mean_norm(x: Float[Tensor, "n ..."]) -> float:
    """mean_i ||x_i||_2, the scale of points, flattened over all but the first dimension."""
    return float(x.flatten(1).double().norm(dim=1).mean())
