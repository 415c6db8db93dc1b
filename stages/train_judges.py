"""Train the trunks of the judges and of the adversarial regularizer, on images that no evaluated network sees."""

from dataclasses import asdict
from pathlib import Path

from fourlenses import runtime
from fourlenses.artifacts import load_tensors, save_tensors, write_json
from fourlenses.nets import arguments_for
from fourlenses.params import read_params
from fourlenses.training import RECIPES, Settings, Threat
from fourlenses.training.network import train_network

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
    test_threat = Threat("l2", params.judges.eps_l2, 20)
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

    with runtime.stage("train-judges", decides=decides, inputs=inputs, outputs=[out, metrics], together=True) as this:
        device = runtime.device()
        (x, y, classes), calibration, test = (
            (tensors["x"].to(device), tensors["y"].to(device), about["classes"])
            for tensors, about in map(load_tensors, inputs)
        )
        weights, networks, accuracies = {}, {}, {}
        for trunk, spec in trunks.items():
            networks[trunk] = arguments_for(x, len(classes), spec.architecture, spec.widths)
            trained = train_network(
                trunk, RECIPES[spec.recipe], networks[trunk], seed, train=(x, y), calibration=calibration[:2],
                test=test[:2], settings=settings, threat=threat, test_threat=test_threat, beta=0.0,
                precision=precision, streams=runtime.generator, resume=this.resume,
                label=f"judges' trunk {trunk}, {spec.recipe}", progress=runtime.progress, n_attacked=N_ATTACKED,
            )  # fmt: skip
            weights |= {f"{trunk}/{key}": value for key, value in trained.weights[settings.epochs].items()}
            accuracies[trunk] = {"clean": asdict(trained.clean), "robust": asdict(trained.robust)}

        if not this.writes:
            return
        save_tensors(out, weights, {"networks": networks})
        write_json(metrics, {"trunks": accuracies, "attack": asdict(test_threat)})


if __name__ == "__main__":
    runtime.run(main)
