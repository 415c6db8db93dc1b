"""Train one network by its recipe, every seed in turn."""

from dataclasses import asdict
from pathlib import Path

import pandas as pd

from fourlenses import runtime
from fourlenses.artifacts import load_tensors, save_tensors, write_csv, write_json
from fourlenses.errors import UserError
from fourlenses.nets import arguments_for
from fourlenses.params import choose, read_params
from fourlenses.training import Settings, Threat
from fourlenses.training.network import named_tensors, recipe_of, train_network

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
    recipe = recipe_of(network, spec)
    norm, steps = recipe.norm or "l2", params.train.attack_steps
    eps = choose("threat model", norm, {"l2": params.train.eps_l2, "linf": params.train.eps_linf})
    threat, test_threat = Threat(norm, eps * spec.strength, steps), Threat(norm, eps, 20)
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
        schedule=spec.schedule,
    )
    floor_clean = params.train.floor_probe if recipe.contrastive else params.train.floor_clean
    floor_robust = 0.0 if recipe.contrastive or recipe.norm is None else params.train.floor_robust
    floors = {"floor_clean": floor_clean if recipe.objective else 0.0, "floor_robust": floor_robust}
    decides = {"network": spec.model_dump(), "settings": asdict(settings), "threat": asdict(threat), **floors}
    decides |= {"seeds": params.train.seeds, "precision": precision}
    inputs = [data / f"{split}.safetensors" for split in ("train", "calibration", "test")]

    with runtime.stage("train", network, decides=decides, inputs=inputs, outputs=[out, history, metrics],
                       together=True) as this:  # fmt: skip
        device = runtime.device()
        (x, y, classes), calibration, test = (_load(path, device) for path in inputs)
        arguments = arguments_for(x, len(classes), spec.architecture, spec.widths)
        weights, rows, results = {}, [], []
        for seed in params.train.seeds:
            trained = train_network(
                network, recipe, arguments, seed, train=(x[: spec.n_train], y[: spec.n_train]),
                calibration=calibration[:2], test=test[:2], settings=settings, threat=threat, test_threat=test_threat,
                beta=spec.beta, precision=precision, streams=runtime.generator, resume=this.resume,
                label=f"{network}, {spec.recipe}, seed {seed}", progress=runtime.progress, checkpoints=spec.checkpoints,
            )  # fmt: skip
            weights |= named_tensors(seed, trained.weights)
            rows += [{"network": network, "seed": seed} | row for row in trained.history]
            results.append({"seed": seed, "clean": asdict(trained.clean), "robust": asdict(trained.robust), **floors})

        if not this.writes:
            return
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
                "n_parameters": trained.n_parameters,
                "seeds": results,
            },
        )


def _load(path: Path, device: object) -> tuple:
    tensors, about = load_tensors(path)
    return tensors["x"].to(device), tensors["y"].to(device), about["classes"]


if __name__ == "__main__":
    runtime.run(main)
