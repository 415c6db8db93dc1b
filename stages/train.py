"""Train one network by its recipe, every seed in turn."""

from dataclasses import asdict
from pathlib import Path

import pandas as pd

from fourlenses import runtime
from fourlenses.artifacts import load_tensors, save_tensors, write_csv, write_json
from fourlenses.errors import UserError
from fourlenses.nets import arguments_for, build
from fourlenses.params import choose, read_params
from fourlenses.training import (
    AUGMENTATIONS,
    RECIPES,
    HeldOut,
    Settings,
    Threat,
    accuracy,
    add_projector,
    fit,
    robust_accuracy,
)

COLUMNS = ["network", "seed", "epoch", "lr", "loss", "accuracy_train", "accuracy_clean", "accuracy_robust"]


def main(network: str, data: Path, out: Path, history: Path, metrics: Path) -> None:
    """Train one network by its recipe, every seed in turn; goes on where an interrupted run stopped.

    Args:
        network: its name in params.yaml
        data: folder of the data set's splits
        out: weights of every seed (safetensors)
        history: measures by epoch (CSV)
        metrics: test accuracy, clean and under PGD-20, with 95 % intervals (JSON)
    """
    params = read_params()
    try:
        spec = params.networks[network]
    except KeyError:
        given = f"network {network!r} is unknown"
        raise UserError(given, "a name under networks in params.yaml", "correct --network") from None
    recipe = choose("recipe", spec.recipe, RECIPES)
    choose("augmentation", spec.augment, AUGMENTATIONS)
    if recipe.weighted != (spec.beta > 0):
        given = f"network {network!r} has recipe {spec.recipe} and beta {spec.beta:g}"
        raise UserError(given, "a beta above 0 for TRADES and MART, and for no other", "correct it in params.yaml")
    norm = recipe.norm or "l2"
    eps = params.train.eps_linf if norm == "linf" else params.train.eps_l2
    threat = Threat(norm, eps, params.train.attack_steps)
    test_threat = Threat(norm, eps, 20)
    precision = params.train.precision
    settings = Settings(
        epochs=spec.epochs or params.train.epochs,
        batch=params.train.batch,
        lr=params.train.lr,
        weight_decay=params.train.weight_decay,
        crop_padding=params.train.crop_padding,
        flip=params.train.flip,
        ema_decay=params.train.ema_decay,
        augment=spec.augment,
        views=2 if recipe.contrastive else 1,
    )
    trained = recipe.objective is not None
    floor_clean = params.train.floor_probe if recipe.contrastive else params.train.floor_clean
    floor_robust = 0.0 if recipe.contrastive or recipe.norm is None else params.train.floor_robust
    floors = {"floor_clean": floor_clean if trained else 0.0, "floor_robust": floor_robust}
    decides = {"network": spec.model_dump(), "settings": asdict(settings), "threat": asdict(threat), **floors}
    decides |= {"seeds": params.train.seeds, "precision": precision}
    inputs = [data / f"{split}.safetensors" for split in ("train", "calibration", "test")]

    with runtime.stage("train", network, decides=decides, inputs=inputs, outputs=[out, history, metrics]) as this:
        device = runtime.device()
        (x, y, classes), calibration, test = (_load(path, device) for path in inputs)
        held_out = HeldOut(*calibration[:2], threat, precision)
        test_x, test_y = test[0].float() / 255, test[1]
        arguments = arguments_for(x, len(classes), spec.architecture, spec.widths)
        weights, rows, results = {}, [], []
        for seed in params.train.seeds:
            model = build(**arguments, generator=runtime.generator(seed, "initial weights", network)).to(device)
            if trained:
                if recipe.contrastive:
                    add_projector(model, runtime.generator(seed, "projector", network, device=device))
                objective = recipe.objective(precision, threat, spec.beta)
                stream = runtime.generator(seed, "train", network, device=device)
                name = f"{network}, {spec.recipe}, seed {seed}"
                kept, log = fit(
                    model, x, y, objective, settings, stream, held_out, this.resume, name, runtime.progress,
                    spec.checkpoints,
                )  # fmt: skip
            else:
                kept, log = {settings.epochs: model.state_dict()}, []
            final = kept.pop(settings.epochs)
            weights |= {f"seed{seed}/{key}": value for key, value in final.items()}
            for epoch, state in kept.items():
                weights |= {f"epoch{epoch}/seed{seed}/{key}": value for key, value in state.items()}
            rows += [{"network": network, "seed": seed} | row for row in log]
            attack = runtime.generator(seed, "PGD-20", device=device)
            clean = accuracy(model, test_x, test_y)
            robust = robust_accuracy(model, test_x, test_y, test_threat, generator=attack, precision=precision)
            results.append({"seed": seed, "clean": asdict(clean), "robust": asdict(robust), **floors})

        passed = {
            result["seed"]: {"clean": result["clean"]["value"], "robust": result["robust"]["value"], **floors}
            for result in results
        }
        about = {"name": network, "network": arguments, "accuracy": passed, "epochs": settings.epochs}
        save_tensors(out, weights, about)
        write_csv(history, pd.DataFrame(rows, columns=COLUMNS))
        write_json(
            metrics,
            {
                "network": network,
                "architecture": spec.architecture,
                "recipe": spec.recipe,
                "beta": spec.beta,
                "augment": spec.augment,
                "epochs": settings.epochs,
                "attack": asdict(test_threat),
                "n_parameters": sum(parameter.numel() for parameter in model.parameters()),
                "seeds": results,
            },
        )


def _load(path: Path, device: object) -> tuple:
    tensors, about = load_tensors(path)
    return tensors["x"].to(device), tensors["y"].to(device), about["classes"]


if __name__ == "__main__":
    runtime.run(main)
