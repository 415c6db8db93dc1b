"""The one training loop, and the recipes that differ by their objective."""

from fourlenses.training.augment import AUGMENTATIONS
from fourlenses.training.contrastive import add_projector
from fourlenses.training.evaluate import Accuracy, accuracy, robust_accuracy
from fourlenses.training.fit import HeldOut, fit
from fourlenses.training.loop import SCHEDULES, Settings, final_weights, one_cycle, train
from fourlenses.training.objectives import Objective, Threat
from fourlenses.training.recipes import RECIPES, Recipe

__all__ = [
    "AUGMENTATIONS",
    "RECIPES",
    "SCHEDULES",
    "Accuracy",
    "HeldOut",
    "Objective",
    "Recipe",
    "Settings",
    "Threat",
    "accuracy",
    "add_projector",
    "final_weights",
    "fit",
    "one_cycle",
    "robust_accuracy",
    "train",
]
