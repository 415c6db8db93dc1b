"""Train the networks of the entanglement lens, which differ in one term of their loss, every seed in turn."""

from dataclasses import asdict
from pathlib import Path

import pandas as pd
import torch

from fourlenses import runtime
from fourlenses.artifacts import load_tensors, save_tensors, write_csv, write_json
from fourlenses.entanglement.objective import Plan, entangled_recipe
from fourlenses.nets import arguments_for, build
from fourlenses.params import read_params
from fourlenses.training import Settings, Threat, accuracy
from fourlenses.training.network import named_tensors, train_network

COLUMNS = ["network", "seed", "epoch", "lr", "loss", "accuracy_train", "accuracy_clean", "accuracy_robust"]
N_ATTACKED = 250  # test images that robust accuracy is measured on
FLOORS = {"floor_clean": 0.0, "floor_robust": 0.0}  # a setting that cannot be trained is a finding, and kept


def main(data: Path, out: Path, history: Path, metrics: Path) -> None:
    """Train the entangled networks and their controls, every seed in turn; goes on where an interrupted run stopped.

    Args:
        data: folder of the data set's splits
        out: folder of the weights, a file a network (safetensors)
        history: measures by epoch (CSV)
        metrics: accuracy on calibration images, and on test images clean and under PGD-20, with 95 % intervals (JSON)
    """
    params = read_params()
    precision = params.train.precision
    settings = Settings(
        epochs=params.entangled.epochs,
        batch=params.train.batch,
        lr=params.entangled.lr,
        weight_decay=0.0,
        crop_padding=0,
        flip=False,
        ema_decay=0.0,
        augment="none",
        schedule="constant",
        optimizer="adam",
        stratified=True,
    )
    threat = Threat("linf", params.train.eps_linf, params.train.attack_steps)
    test_threat = Threat("linf", params.train.eps_linf, 20)
    start = params.entangled.temperature
    specs = {name: spec.model_dump() for name, spec in params.entangled.networks.items()}
    plans = {name: Plan(**spec, temperature=start) for name, spec in specs.items()}
    decides = {name: asdict(plan) for name, plan in plans.items()}
    decides = {"networks": decides, "settings": asdict(settings), "threat": asdict(threat), "precision": precision}
    decides |= {"architecture": params.entangled.architecture, "widths": params.entangled.widths}
    decides |= {"seeds": params.entangled.seeds, "n_train": params.entangled.n_train}
    inputs = [data / f"{split}.safetensors" for split in ("train", "calibration", "test")]
    outputs = [out / f"{name}.safetensors" for name in plans] + [history, metrics]

    with runtime.stage("train-entangled", decides=decides, inputs=inputs, outputs=outputs) as this:
        device = runtime.device()
        loaded = [load_tensors(path) for path in inputs]
        train, calibration, test = ((each["x"].to(device), each["y"].to(device)) for each, _ in loaded)
        train = train[0][: params.entangled.n_train], train[1][: params.entangled.n_train]
        n_classes = len(loaded[0][1]["classes"])
        arguments = arguments_for(train[0], n_classes, params.entangled.architecture, params.entangled.widths)
        network = build(**arguments, generator=torch.Generator()).to(device)
        rows, results = [], {}
        for name, plan in plans.items():
            weights, measured = {}, []
            for seed in params.entangled.seeds:
                trained = train_network(  # the same streams for all, whose differences are then paired
                    "entangled", entangled_recipe(plan), arguments, seed, train=train, calibration=calibration,
                    test=test, settings=settings, threat=threat, test_threat=test_threat, beta=0.0,
                    precision=precision, streams=runtime.generator, resume=this.resume, label=f"{name}, seed {seed}",
                    progress=runtime.progress, n_attacked=N_ATTACKED,
                )  # fmt: skip
                weights |= named_tensors(seed, trained.weights)
                rows += [{"network": name, "seed": seed} | row for row in trained.history]
                network.load_state_dict(trained.weights[settings.epochs])
                held_out = accuracy(network, calibration[0].float() / 255, calibration[1])
                found = {"clean": trained.clean, "robust": trained.robust, "calibration": held_out}
                measured.append({"seed": seed} | {kind: asdict(value) for kind, value in found.items()})
            passed = {
                each["seed"]: {kind: each[kind]["value"] for kind in ("clean", "robust")} | FLOORS for each in measured
            }
            about = {"name": name, "network": arguments, "accuracy": passed, "epochs": settings.epochs}
            save_tensors(out / f"{name}.safetensors", weights, about)
            results[name] = {
                "spec": specs[name],
                "n_train": len(train[0]),
                "epochs": settings.epochs,
                "attack": asdict(test_threat),
                "n_parameters": trained.n_parameters,
                "seeds": measured,
            }
        write_csv(history, pd.DataFrame(rows, columns=COLUMNS))
        write_json(metrics, results)


if __name__ == "__main__":
    runtime.run(main)
