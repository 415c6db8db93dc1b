"""Make the IRIs of one network: every seed, loss and seed image."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from fourlenses import runtime
from fourlenses.artifacts import load_tensors, save_tensors, write_csv
from fourlenses.errors import UserError
from fourlenses.invariance.invert import Settings, invert, null_errors, pick_targets
from fourlenses.invariance.losses import REGULARIZERS
from fourlenses.invariance.perceptual import TrunkDistance
from fourlenses.invariance.seeds import SEED_IMAGES
from fourlenses.nets.zoo import load_network, load_trunks
from fourlenses.params import choose, read_params


def main(network: str, data: Path, weights: Path, judges: Path, out: Path, table: Path) -> None:
    """Make the IRIs of one network: every seed, loss and seed image; goes on where an interrupted run stopped.

    Args:
        network: its name in params.yaml
        data: folder of the data set's splits
        weights: the trained network (safetensors)
        judges: the trunks, of which the regularizer's is used (safetensors)
        out: the IRIs, and the error that each reached (safetensors)
        table: one row per IRI with its error and whether it is accepted (CSV)
    """
    params = read_params()
    seeds = params.train.seeds
    losses = params.invert.losses
    for loss in losses.values():
        if loss.regularizer:
            choose("regularizer", loss.regularizer, REGULARIZERS)
    seed_images = {name: choose("seed image", name, SEED_IMAGES) for name in params.invert.seed_images}
    settings = Settings(params.invert.steps, params.invert.step_l2, params.invert.precision)
    n_targets = params.invert.n_targets
    decides = {"seeds": seeds, "losses": {name: loss.model_dump() for name, loss in losses.items()}}
    decides |= {"seed_images": list(seed_images), "settings": asdict(settings), "n_targets": n_targets}
    inputs = [data / "calibration.safetensors", data / "test.safetensors", weights, judges]

    with runtime.stage("invert", network, decides=decides, inputs=inputs, outputs=[out, table]) as this:
        device = runtime.device()
        (others, _), (test, about) = map(load_tensors, inputs[:2])
        try:
            chosen = pick_targets(test["y"], n_targets, len(about["classes"]), runtime.generator("targets"))
        except ValueError as error:
            raise UserError(str(error), "enough test images", "lower invert.n_targets or raise fetch.n_test") from None
        images = test["x"].float() / 255
        starts = {
            name: make(others["x"].float() / 255, runtime.generator("seed image", name))
            for name, make in seed_images.items()
        }
        targets = images[chosen]
        found = {"targets": targets, "labels": test["y"][chosen], "indices": chosen}
        found |= {f"seed_images/{name}": image for name, image in starts.items()}
        distance = TrunkDistance(load_trunks(judges, device)["regularizer"])

        rows = []
        units = [(loss, start) for loss in losses for start in starts]
        for seed in seeds:
            model = load_network(weights, seed, device, network)
            try:
                null_low, null_median = np.quantile(null_errors(model, images.to(device)).cpu(), (0.05, 0.5))
            except ValueError as zero:
                given = f"{weights}, seed {seed}: {zero}"
                raise UserError(given, "a network that tells images apart", "train it longer or wider") from None
            for loss, start in runtime.progress(units, f"invert {network} seed {seed}"):
                name = f"seed{seed}/{loss}/{start}"
                saved = this.resume.load(name.replace("/", "-"))
                if saved is None:
                    spec = losses[loss]
                    try:
                        x, error = invert(
                            model,
                            targets.to(device),
                            starts[start].to(device),
                            distance,
                            settings,
                            transforms=spec.transforms,
                            regularizer=spec.regularizer,
                            weight=spec.weight,
                            generator=runtime.generator(seed, "invert", network, loss, start, device=device),
                        )
                    except FloatingPointError as nan:
                        given = f"invert {network} seed {seed}, loss {loss}: {nan}"
                        raise UserError(given, "a finite loss", "lower the loss's weight") from None
                    saved = {"x": x.cpu(), "error": error.cpu()}, {}
                    this.resume.save(name.replace("/", "-"), *saved)
                x, error = saved[0]["x"], saved[0]["error"]
                found |= {f"{name}/x": x, f"{name}/error": error}
                rows.append(
                    pd.DataFrame(
                        {
                            "network": network,
                            "seed": seed,
                            "loss": loss,
                            "regularizer": losses[loss].regularizer or "none",
                            "weight": losses[loss].weight,
                            "seed_image": start,
                            "image": chosen,
                            "label": test["y"][chosen],
                            "error": error,
                            "null_low": null_low,
                            "null_median": null_median,
                            "accepted": (error <= null_low).int(),
                        }
                    )
                )
        save_tensors(out, found, {})
        write_csv(table, pd.concat(rows))


if __name__ == "__main__":
    runtime.run(main)
