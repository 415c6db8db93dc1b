"""Show the IRIs of every network to all the others."""

from pathlib import Path

import pandas as pd
import torch

from fourlenses import runtime
from fourlenses.artifacts import load_tensors, write_csv
from fourlenses.attacks import frozen
from fourlenses.invariance.transfer import recognised, stir
from fourlenses.invariance.unit import Unit
from fourlenses.nets.zoo import load_network
from fourlenses.params import read_params


def main(data: Path, models: Path, iris: Path, recognition: Path, predictions: Path) -> None:
    """Show the IRIs of every network to all the others: do they recognise them, do they represent them alike?

    Args:
        data: folder of the data set's splits
        models: folder of the trained networks (safetensors)
        iris: folder of the IRIs of each network (safetensors)
        recognition: recognised IRIs and STIR by network, seed, loss and observer (CSV)
        predictions: the class that each network gives each test image (CSV)
    """
    params = read_params()
    names, seeds = list(params.networks), params.train.seeds
    losses, start = params.invert.losses, params.invert.seed_images[0]
    applied = {name: [each for each, loss in losses.items() if name in (loss.networks or names)] for name in names}
    decides = {"losses": applied, "seed_image": start, "seeds": seeds}
    inputs = [data / "test.safetensors"]
    inputs += [folder / f"{name}.safetensors" for name in names for folder in (models, iris)]
    with runtime.stage("transfer", decides=decides, inputs=inputs, outputs=[recognition, predictions]):
        device = runtime.device()
        test, _ = load_tensors(inputs[0])
        images, labels = test["x"].to(device).float() / 255, test["y"].to(device)
        made = {name: load_tensors(iris / f"{name}.safetensors")[0] for name in names}
        rows, predicted = [], []
        for seed in runtime.progress(seeds, "transfer"):
            zoo = {name: load_network(models / f"{name}.safetensors", seed, device, name) for name in names}
            given = {name: _classes(network, images) for name, network in zoo.items()}
            predicted.append(pd.DataFrame({"seed": seed, "image": range(len(labels)), "label": labels.cpu()} | given))
            for name in names:
                targets, wanted = made[name]["targets"].to(device), made[name]["labels"].to(device)
                for loss in applied[name]:
                    x = made[name][f"{Unit(loss, start).key(seed)}/x"].to(device)
                    for observer, network in zoo.items():
                        found = {"recognised": recognised(network, x, wanted), "cka": stir(network, x, targets)}
                        rows.append({"network": name, "seed": seed, "loss": loss, "observer": observer} | found)
        write_csv(recognition, pd.DataFrame(rows))
        write_csv(predictions, pd.concat(predicted))


def _classes(network: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    with frozen(network), torch.no_grad():
        return torch.cat([network(part).argmax(1) for part in images.split(500)]).cpu()


if __name__ == "__main__":
    runtime.run(main)
