"""The one training loop, and the recipes that differ by their objective."""

from fourlenses.training.evaluate import Accuracy, accuracy, robust_accuracy
from fourlenses.training.fit import HeldOut, fit
from fourlenses.training.loop import Settings, final_weights, one_cycle, train
from fourlenses.training.recipes import RECIPES, Objective, Threat

__all__ = [
    "RECIPES",
    "Accuracy",
    "HeldOut",
    "Objective",
    "Settings",
    "Threat",
    "accuracy",
    "final_weights",
    "fit",
    "one_cycle",
    "robust_accuracy",
    "train",
]
