"""Recipes: how a network is trained. To add one, write its objective and name it in RECIPES."""

from collections.abc import Callable
from dataclasses import dataclass

from fourlenses.training.contrastive import contrastive, contrastive_adversarial
from fourlenses.training.objectives import Objective, Threat, adversarial, fast, half_half, standard
from fourlenses.training.trades import mart, trades


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: `objective(precision, threat, beta)` is what it minimises on a batch, None for one that
    stays as drawn.

    `norm` is that of the threat, None where there is no attack; `weighted`, whether beta means anything;
    `contrastive`, whether a batch holds two views of each image, compared through a projector that is dropped
    afterwards.
    """

    objective: Callable[[str, Threat, float], Objective] | None
    norm: str | None = None
    weighted: bool = False
    contrastive: bool = False


RECIPES: dict[str, Recipe] = {
    "standard": Recipe(lambda precision, threat, beta: standard(precision)),
    "adversarial-l2": Recipe(lambda precision, threat, beta: adversarial(precision, threat), "l2"),
    "adversarial-linf": Recipe(lambda precision, threat, beta: adversarial(precision, threat), "linf"),
    "adversarial-jpeg": Recipe(lambda precision, threat, beta: adversarial(precision, threat), "jpeg"),
    "adversarial-gabor": Recipe(lambda precision, threat, beta: adversarial(precision, threat), "gabor"),
    "adversarial-snow": Recipe(lambda precision, threat, beta: adversarial(precision, threat), "snow"),
    "half-half-linf": Recipe(lambda precision, threat, beta: half_half(precision, threat), "linf"),
    "fast-linf": Recipe(lambda precision, threat, beta: fast(precision, threat), "linf"),
    "trades-l2": Recipe(trades, "l2", weighted=True),
    "trades-linf": Recipe(trades, "linf", weighted=True),
    "mart-l2": Recipe(mart, "l2", weighted=True),
    "simclr": Recipe(lambda precision, threat, beta: contrastive(precision), contrastive=True),
    "simclr-adversarial": Recipe(
        lambda precision, threat, beta: contrastive_adversarial(precision, threat), "l2", contrastive=True
    ),
    "untrained": Recipe(None),
}
