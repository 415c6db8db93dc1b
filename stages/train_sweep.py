"""Train the networks of the similarity lens, which differ in one thing at a time, every seed in turn."""

from dataclasses import asdict
from pathlib import Path

import pandas as pd

from fourlenses import runtime
from fourlenses.artifacts import load_tensors, save_tensors, write_csv, write_json
from fourlenses.nets import arguments_for
from fourlenses.params import read_params
from fourlenses.training import Settings, Threat
from fourlenses.training.network import named_tensors, recipe_of, train_network

COLUMNS = ["network", "seed", "epoch", "lr", "loss", "accuracy_train", "accuracy_clean", "accuracy_robust"]
N_ATTACKED = 250  # test images that robust accuracy is measured on


def main(data: Path, out: Path, history: Path, metrics: Path) -> None:
    """Train the networks of the sweep, every seed in turn; goes on where an interrupted run stopped.

    Args:
        data: folder of the data set's splits
        out: folder of the weights, a file a network (safetensors)
        history: measures by epoch (CSV)
        metrics: test accuracy, clean and under PGD-20 at strength 1, with 95 % intervals (JSON)
    """
    params = read_params()
    seeds, precision = params.train.seeds, params.train.precision
    radii = {
        "l2": params.sweep.eps_l2,
        "linf": params.sweep.eps_linf,
        "jpeg": params.sweep.eps_jpeg,
        "gabor": params.sweep.eps_gabor,
        "snow": params.sweep.eps_snow,
    }
    plans = {}
    for name, spec in params.sweep.networks.items():
        recipe = recipe_of(name, spec)
        settings = Settings(
            epochs=spec.epochs or params.sweep.epochs,
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
        norm = recipe.norm or "linf"
        threat = Threat(norm, radii[norm] * spec.strength, params.sweep.attack_steps)
        plans[name] = spec, recipe, settings, threat, Threat(norm, radii[norm], 20)
    decides = {
        name: {"network": spec.model_dump(), "settings": asdict(settings), "threat": asdict(threat)}
        for name, (spec, _, settings, threat, _) in plans.items()
    }
    floor, most = params.sweep.floor_clean, params.sweep.n_train
    decides = {"networks": decides, "seeds": seeds, "precision": precision, "n_train": most, "floor_clean": floor}
    inputs = [data / f"{split}.safetensors" for split in ("train", "calibration", "test")]
    outputs = [out / f"{name}.safetensors" for name in plans] + [history, metrics]

    with runtime.stage("train-sweep", decides=decides, inputs=inputs, outputs=outputs, together=True) as this:
        device = runtime.device()
        loaded = [load_tensors(path) for path in inputs]
        train, calibration, test = ((each["x"].to(device), each["y"].to(device)) for each, _ in loaded)
        n_classes = len(loaded[0][1]["classes"])
        rows, results = [], {}
        for name, (spec, recipe, settings, threat, test_threat) in plans.items():
            x, y = (each[: spec.n_train or most] for each in train)
            arguments = arguments_for(train[0][:most], n_classes, spec.architecture, spec.widths)
            weights, accuracy = {}, []
            for seed in seeds:
                trained = train_network(
                    name, recipe, arguments, seed, train=(x, y), calibration=calibration, test=test, settings=settings,
                    threat=threat, test_threat=test_threat, beta=spec.beta, precision=precision,
                    streams=runtime.generator, resume=this.resume, label=f"{name}, seed {seed}",
                    progress=runtime.progress, checkpoints=spec.checkpoints, n_attacked=N_ATTACKED,
                )  # fmt: skip
                weights |= named_tensors(seed, trained.weights)
                rows += [{"network": name, "seed": seed} | row for row in trained.history]
                accuracy.append({"seed": seed, "clean": asdict(trained.clean), "robust": asdict(trained.robust)})
            floors = {"floor_clean": floor if recipe.objective else 0.0, "floor_robust": 0.0}
            passed = {
                each["seed"]: {kind: each[kind]["value"] for kind in ("clean", "robust")} | floors for each in accuracy
            }
            about = {"name": name, "network": arguments, "accuracy": passed, "epochs": settings.epochs}
            if this.writes:
                save_tensors(out / f"{name}.safetensors", weights, about)
            results[name] = {
                "spec": spec.model_dump(),
                "norm": recipe.norm,
                "epochs": settings.epochs,
                "n_train": len(x),
                "attack": asdict(test_threat),
                "n_parameters": trained.n_parameters,
                "seeds": accuracy,
            }
        if not this.writes:
            return
        write_csv(history, pd.DataFrame(rows, columns=COLUMNS))
        write_json(metrics, results)


if __name__ == "__main__":
    runtime.run(main)
