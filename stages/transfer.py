"""Show the IRIs of every network to all the others."""

from pathlib import Path

import pandas as pd

from fourlenses import runtime
from fourlenses.artifacts import load_tensors, write_csv
from fourlenses.invariance.transfer import linear_cka, recognised, seen
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
        images, labels = test["x"].to(device).float() / 255, test["y"]
        made = {name: load_tensors(iris / f"{name}.safetensors")[0] for name in names}
        rows, predicted = [], []
        targets, wanted = (made[names[0]][part] for part in ("targets", "labels"))  # the same for all networks
        for seed in runtime.progress(seeds, "transfer"):
            key = {loss: f"{Unit(loss, start).key(seed)}/x" for loss in losses}
            given = {}
            for observer in names:
                network = load_network(models / f"{observer}.safetensors", seed, device, observer)
                given[observer] = seen(network, images)[1].cpu()
                at_targets, _ = seen(network, targets.to(device))
                for name in names:
                    for loss in applied[name]:
                        g, classes = seen(network, made[name][key[loss]].to(device))
                        found = {"recognised": recognised(classes.cpu(), wanted), "cka": linear_cka(g, at_targets)}
                        rows.append({"network": name, "seed": seed, "loss": loss, "observer": observer} | found)
            predicted.append(pd.DataFrame({"seed": seed, "image": range(len(labels)), "label": labels} | given))
        write_csv(recognition, pd.DataFrame(rows))
        write_csv(predictions, pd.concat(predicted))


if __name__ == "__main__":
    runtime.run(main)
