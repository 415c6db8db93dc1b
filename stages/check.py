"""Check a study's parameters before anything runs: DVC deletes a stage's outputs before it starts the stage."""

from fourlenses import runtime
from fourlenses.images import DATASETS
from fourlenses.invariance.losses import REGULARIZERS
from fourlenses.invariance.seeds import SEED_IMAGES
from fourlenses.nets import NETWORKS
from fourlenses.nets.backward import BACKWARD
from fourlenses.params import choose, read_params
from fourlenses.training import AUGMENTATIONS, RECIPES


def main() -> None:
    """Read params.yaml, and look up every name in it that a registry must have."""
    params = read_params()
    kind = params.fetch.dataset.partition(":")[0]
    choose("data set", kind, {**DATASETS, "folder": None})
    for spec in [*params.networks.values(), *params.judges.trunks.values()]:
        if not spec.architecture.startswith("imagenet-"):
            choose("architecture", spec.architecture, NETWORKS)
        choose("recipe", spec.recipe, RECIPES)
    for spec in params.networks.values():
        choose("augmentation", spec.augment, AUGMENTATIONS)
    for loss in params.invert.losses.values():
        choose("backward rule", loss.backward, BACKWARD)
        if loss.regularizer:
            choose("regularizer", loss.regularizer, REGULARIZERS)
    for name in params.invert.seed_images:
        choose("seed image", name, SEED_IMAGES)


if __name__ == "__main__":
    runtime.run(main)
