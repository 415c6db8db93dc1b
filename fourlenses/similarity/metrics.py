"""Similarity metrics by name. To add one, write a function of two layers' features and name it in METRICS."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from fourlenses.similarity.cca import cca, pwcca, svcca
from fourlenses.similarity.cka import cka
from fourlenses.similarity.procrustes import procrustes


@dataclass(frozen=True)
class Metric:
    """A similarity of features: `function`, two layers' features (n, ...) of the same n images -> about 0 to 1.

    `invariances`: which changes of either layer's features leave it as it is, out of "orthogonal" (rotation and
    reflection of the features), "scale" (one factor for all), "translation" and "linear" (any invertible map).
    """

    function: Callable[[Tensor, Tensor], float]
    invariances: frozenset[str]


SHIFTED = frozenset({"scale", "translation"})
ROTATED = SHIFTED | {"orthogonal"}

METRICS: dict[str, Metric] = {
    "linear CKA": Metric(cka, ROTATED),
    "linear CKA (biased)": Metric(partial(cka, debiased=False), ROTATED),
    "RBF CKA": Metric(partial(cka, kernel="rbf"), ROTATED),
    "CCA": Metric(cca, ROTATED | {"linear"}),
    "SVCCA": Metric(svcca, ROTATED),
    "PWCCA": Metric(pwcca, SHIFTED),
    "Procrustes": Metric(procrustes, ROTATED),
}
