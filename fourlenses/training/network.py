"""One network and one seed, from the first draw of its weights to its test accuracy."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from fourlenses.errors import UserError
from fourlenses.nets import build
from fourlenses.params import NetworkSpec, choose
from fourlenses.resume import Resume
from fourlenses.training.augment import AUGMENTATIONS
from fourlenses.training.evaluate import Accuracy, accuracy, robust_accuracy
from fourlenses.training.fit import HeldOut, fit
from fourlenses.training.loop import Settings, State
from fourlenses.training.objectives import Threat
from fourlenses.training.recipes import RECIPES, Recipe

Images = tuple[Tensor, Tensor]  # bytes (n, c, h, w) and labels (n,), on the device where the network is to be
Streams = Callable[..., torch.Generator]  # (seed, purpose, network, device=...) -> a random stream of its own


@dataclass(frozen=True)
class Trained:
    """`weights` by epoch, the last the final ones; measures by epoch; `clean` and `robust` accuracy on test images."""

    weights: dict[int, State]
    history: list[dict]
    clean: Accuracy
    robust: Accuracy
    n_parameters: int


def recipe_of(network: str, spec: NetworkSpec) -> Recipe:
    """The recipe of a network; raises UserError if it, the augmentation or beta is not one that there is."""
    recipe = choose("recipe", spec.recipe, RECIPES)
    choose("augmentation", spec.augment, AUGMENTATIONS)
    if recipe.weighted != (spec.beta > 0):
        given = f"network {network!r} has recipe {spec.recipe} and beta {spec.beta:g}"
        raise UserError(given, "a beta above 0 for TRADES and MART, and for no other", "correct it in params.yaml")
    return recipe


def train_network(
    name: str,
    recipe: Recipe,
    arguments: dict,
    seed: int,
    *,
    train: Images,
    calibration: Images,
    test: Images,
    settings: Settings,
    threat: Threat,
    test_threat: Threat,
    beta: float,
    precision: str,
    streams: Streams,
    resume: Resume,
    label: str,
    progress: Callable[..., Iterable],
    checkpoints: Collection[int] = (),
    n_attacked: int | None = None,
) -> Trained:
    """Draw, train and evaluate one network; what an interrupted call saved in `resume` under `label` is gone on from.

    Arguments: `name`, which with `seed` decides the random streams; `arguments`, of `fourlenses.nets.build`;
    `calibration`, the images that the history measures; `threat`, in training, and `test_threat`, in the test, of which
    the first `n_attacked` images are attacked (all if not given); `beta`, the weight of TRADES and MART; `streams`, the
    maker of generators; `progress`, which wraps the epochs; `checkpoints`, earlier epochs whose weights are kept too.
    A network whose recipe has no objective stays as drawn.
    Raises UserError, naming `label`, when the loss or a weight is not finite.
    """
    x, y = train
    model = build(**arguments, generator=streams(seed, "initial weights", name)).to(x.device)
    weights, history = {settings.epochs: model.state_dict()}, []
    if recipe.objective is not None:
        if recipe.scaffold:
            recipe.scaffold(model, streams(seed, "projector", name, device=x.device))
        objective, held_out = recipe.objective(precision, threat, beta), HeldOut(*calibration, threat, precision)
        stream = streams(seed, "train", name, device=x.device)
        weights, history = fit(
            model, x, y, objective, settings, stream, held_out, resume, label, progress, checkpoints
        )  # fmt: skip
    test_x, test_y = test[0].float() / 255, test[1]
    attack = streams(seed, "PGD-20", device=x.device)
    clean = accuracy(model, test_x, test_y)
    attacked = test_x[:n_attacked], test_y[:n_attacked]
    robust = robust_accuracy(model, *attacked, test_threat, generator=attack, precision=precision)
    return Trained(weights, history, clean, robust, sum(parameter.numel() for parameter in model.parameters()))


def named_tensors(seed: int, weights: dict[int, State]) -> State:
    """Weights by their names on disk: `seed<k>/...` at the last epoch, `epoch<e>/seed<k>/...` at earlier ones."""
    last = max(weights)
    return {
        (f"seed{seed}/{key}" if epoch == last else f"epoch{epoch}/seed{seed}/{key}"): value
        for epoch, state in weights.items()
        for key, value in state.items()
    }
