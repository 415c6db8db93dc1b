"""Recipes: how a network is trained. To add one, write its objective and name it in RECIPES."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Generator

from fourlenses.nets.network import Network
from fourlenses.training.contrastive import add_projector, contrastive, contrastive_adversarial
from fourlenses.training.objectives import Objective, Threat, adversarial, fast, half_half, standard
from fourlenses.training.trades import mart, trades


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: `objective(precision, threat, beta)` is what it minimises on a batch, None for one that
    stays as drawn.

    `norm` is that of the threat, None where there is no attack; `weighted`, whether beta means anything;
    `contrastive`, whether a batch holds two views of each image; `scaffold`, which gives the network what only its
    training needs, drawn from a generator, and dropped afterwards.
    """

    objective: Callable[[str, Threat, float], Objective] | None
    norm: str | None = None
    weighted: bool = False
    contrastive: bool = False
    scaffold: Callable[[Network, Generator], None] | None = None


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
    "simclr": Recipe(lambda precision, threat, beta: contrastive(precision), contrastive=True, scaffold=add_projector),
    "simclr-adversarial": Recipe(
        lambda precision, threat, beta: contrastive_adversarial(precision, threat),
        "l2",
        contrastive=True,
        scaffold=add_projector,
    ),
    "untrained": Recipe(None),
}
