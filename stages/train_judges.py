"""Train the trunks of the judges and of the adversarial regularizer, on images that no evaluated network sees."""

from dataclasses import asdict
from pathlib import Path

from fourlenses import runtime
from fourlenses.artifacts import load_tensors, save_tensors, write_json
from fourlenses.nets import arguments_for, build
from fourlenses.params import read_params
from fourlenses.training import RECIPES, HeldOut, Settings, Threat, accuracy, fit, robust_accuracy

N_ATTACKED = 250  # test images that the trunks' robust accuracy is measured on


def main(data: Path, out: Path, metrics: Path) -> None:
    """Train the trunks of the judges and of the adversarial regularizer, on the judges' half of the images.

    Args:
        data: folder of the data set's splits
        out: weights of every trunk (safetensors)
        metrics: test accuracy of every trunk (JSON)
    """
    params = read_params()
    trunks = params.judges.trunks
    seed = params.judges.seed
    threat = Threat("l2", params.judges.eps_l2, params.train.attack_steps)
    precision = params.train.precision
    settings = Settings(
        epochs=params.judges.epochs,
        batch=params.train.batch,
        lr=params.train.lr,
        weight_decay=params.train.weight_decay,
        crop_padding=params.train.crop_padding,
        flip=params.train.flip,
        ema_decay=0.0,
    )
    decides = {"trunks": {name: spec.model_dump() for name, spec in trunks.items()}, "settings": asdict(settings)}
    decides |= {"threat": asdict(threat), "seed": seed, "precision": precision}
    inputs = [data / f"{split}.safetensors" for split in ("judges", "calibration", "test")]

    with runtime.stage("train-judges", decides=decides, inputs=inputs, outputs=[out, metrics]) as this:
        device = runtime.device()
        (x, y, classes), calibration, test = (
            (tensors["x"].to(device), tensors["y"].to(device), about["classes"])
            for tensors, about in map(load_tensors, inputs)
        )
        held_out = HeldOut(*calibration[:2], threat, precision)
        weights, networks, accuracies = {}, {}, {}
        for trunk, spec in trunks.items():
            networks[trunk] = arguments_for(x, len(classes), spec.architecture, spec.widths)
            start = runtime.generator(seed, "initial weights", trunk)
            model = build(**networks[trunk], generator=start).to(device)
            make_objective = RECIPES[spec.recipe].objective
            if make_objective is None:
                final = model.state_dict()
            else:
                objective = make_objective(precision, threat, 0.0)
                stream = runtime.generator(seed, "train", trunk, device=device)
                name = f"judges' trunk {trunk}, {spec.recipe}"
                kept, _ = fit(model, x, y, objective, settings, stream, held_out, this.resume, name, runtime.progress)
                final = kept[settings.epochs]
            weights |= {f"{trunk}/{key}": value for key, value in final.items()}
            test_x, test_y = test[0].float() / 255, test[1]
            attack = runtime.generator(seed, "PGD-20", device=device)
            test_threat = Threat("l2", threat.eps, 20)
            few = test_x[:N_ATTACKED], test_y[:N_ATTACKED]
            robust = robust_accuracy(model, *few, test_threat, generator=attack, precision=precision)
            accuracies[trunk] = {"clean": asdict(accuracy(model, test_x, test_y)), "robust": asdict(robust)}

        save_tensors(out, weights, {"networks": networks})
        write_json(metrics, {"trunks": accuracies, "attack": asdict(test_threat)})


if __name__ == "__main__":
    runtime.run(main)
