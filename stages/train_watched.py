"""Watch the entanglement of every block of a residual network while it is trained, by each recipe and seed."""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pandas as pd
import torch

from fourlenses import runtime
from fourlenses.artifacts import load_tensors, save_tensors, write_csv
from fourlenses.entanglement.minimum import Entanglement, minimum_entanglement
from fourlenses.entanglement.watch import balanced, entanglement_by_layer, moments, watched, watched_layers
from fourlenses.errors import UserError
from fourlenses.nets import Network, arguments_for, build
from fourlenses.params import NetworkSpec, choose, read_params
from fourlenses.resume import Resume
from fourlenses.training import Objective, Settings, Threat, train
from fourlenses.training.network import recipe_of

COLUMNS = ["network", "recipe", "seed", "step", "epoch", "layer", "index", "depth", "kind", "entanglement", "se"]
COLUMNS += ["temperature", "chance", "n"]


def main(data: Path, out: Path, table: Path) -> None:
    """Watch the entanglement of every block of a residual network while it is trained; goes on where it stopped.

    Args:
        data: folder of the data set's splits
        out: the loss of every watched image at every layer and moment (safetensors)
        table: entanglement at every layer and moment (CSV)
    """
    params = read_params()
    precision, seeds = params.train.precision, params.train.seeds
    watched = {
        "architecture": params.watched.architecture,
        "widths": params.watched.widths,
        "recipes": params.watched.recipes,
        "epochs": params.watched.epochs,
        "n_train": params.watched.n_train,
        "n_images": params.watched.n_images,
        "every": params.watched.every,
    }
    plans = {}
    for name in params.watched.recipes:
        recipe = recipe_of(name, NetworkSpec(architecture=params.watched.architecture, recipe=name))
        if recipe.objective is None:
            remedy = "remove it from watched.recipes"
            raise UserError(f"recipe {name!r}", "a recipe that trains", remedy)
        settings = Settings(
            epochs=params.watched.epochs,
            batch=params.train.batch,
            lr=params.train.lr,
            weight_decay=params.train.weight_decay,
            crop_padding=params.train.crop_padding,
            flip=params.train.flip,
            ema_decay=0.0,  # what is watched is the network itself
            augment="simclr" if recipe.contrastive else "crop",
            views=2 if recipe.contrastive else 1,
        )
        norm = recipe.norm or "l2"
        eps = choose("threat model", norm, {"l2": params.train.eps_l2, "linf": params.train.eps_linf})
        plans[name] = recipe, settings, Threat(norm, eps, params.train.attack_steps)
    decides = {
        name: {"settings": asdict(settings), "threat": asdict(threat)} for name, (_, settings, threat) in plans.items()
    }
    decides = {"recipes": decides, "watched": watched, "seeds": seeds, "precision": precision}
    inputs = [data / "train.safetensors"]

    with runtime.stage("train-watched", decides=decides, inputs=inputs, outputs=[out, table]) as this:
        device = runtime.device()
        tensors, about = load_tensors(inputs[0])
        x, y = (tensors[part][: params.watched.n_train].to(device) for part in ("x", "y"))
        arguments = arguments_for(x, len(about["classes"]), params.watched.architecture, params.watched.widths)
        shown = balanced(y, params.watched.n_images)
        images, labels = x[shown].float() / 255, y[shown]
        pixels = minimum_entanglement(images, labels)
        rows, anchors, names = [], {}, {}
        for name, (recipe, settings, threat) in plans.items():
            steps = len(x) // settings.batch
            at = moments(settings.epochs * steps, params.watched.every)
            anchors[f"{name}/steps"] = torch.tensor(at)
            for seed in seeds:
                network = build(**arguments, generator=runtime.generator(seed, "initial weights", "watched")).to(device)
                layers = watched_layers(network)
                if recipe.scaffold:
                    recipe.scaffold(network, runtime.generator(seed, "projector", "watched", device=device))
                look = partial(entanglement_by_layer, layers=layers, x=images, y=labels)
                epochs = partial(train, network, x, y, settings=settings, evaluate=lambda network: {})
                epochs = partial(epochs, generator=runtime.generator(seed, "train", "watched", device=device))
                objective, label = recipe.objective(precision, threat, 0.0), f"{name}, seed {seed}"
                seen = _watch(label, network, epochs, objective, look, at, settings.epochs, this.resume)
                places = [
                    {"layer": layer, "index": index, "depth": index / len(layers), "kind": kind}
                    for index, (layer, kind) in enumerate([("input", "input"), *((x.name, x.kind) for x in layers)])
                ]
                for step, (_, measured) in zip(at, seen, strict=True):
                    moment = {"network": name, "recipe": name, "seed": seed, "step": step, "epoch": step / steps}
                    rows += [moment | place | row for place, row in zip(places, [_row(pixels), *measured], strict=True)]
                pixel_terms = pixels.anchors.float().cpu()[None]
                anchors[f"{name}/seed{seed}"] = torch.stack([torch.cat([pixel_terms, terms]) for terms, _ in seen])
                names[name] = [place["layer"] for place in places]
        save_tensors(out, anchors, {"layers": names})
        write_csv(table, pd.DataFrame(rows, columns=COLUMNS).astype({"temperature": float}))


def _watch(
    label: str,
    network: Network,
    epochs: Callable[..., Iterator],
    objective: Objective,
    look: Callable[[Network], list[Entanglement]],
    at: list[int],
    n_epochs: int,
    resume: Resume,
) -> list[tuple[torch.Tensor, list[dict]]]:
    """Train one network; the terms (layers, n') and the rows of every moment of `at`, all of which `resume` keeps."""

    def visit(step: int, network: Network) -> None:
        found = look(network)
        terms = torch.stack([each.anchors.float() for each in found])
        resume.save(f"{label}, step {step}", {"terms": terms}, {"rows": [_row(each) for each in found]})

    state, done = resume.reached(label)
    first = len(done) * at[-1] // n_epochs
    going_on = epochs(objective=watched(objective, at, visit, first), state=state, history=done)
    try:
        resume.finish(label, runtime.progress(going_on, label, n_epochs - len(done)))
    except FloatingPointError as error:
        raise UserError(f"{label}: {error}", "finite numbers", "lower train.lr") from None
    visit(at[-1], network)
    seen = (resume.load(f"{label}, step {step}") for step in at)
    return [(tensors["terms"], kept["rows"]) for tensors, kept in seen]


def _row(found: Entanglement) -> dict[str, object]:
    """One layer at one moment; the temperature as text, for it may be infinite."""
    row = {"entanglement": found.value, "se": found.se, "temperature": str(found.temperature), "chance": found.chance}
    return row | {"n": found.n}


if __name__ == "__main__":
    runtime.run(main)
