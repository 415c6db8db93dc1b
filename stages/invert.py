"""Make the IRIs of one network: every seed, loss, seed image, set of targets and checkpoint."""

from dataclasses import asdict
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from fourlenses import processes, runtime
from fourlenses.artifacts import load_tensors, save_tensors, write_csv
from fourlenses.errors import UserError
from fourlenses.invariance.invert import Settings, invert, null_errors, pick_targets
from fourlenses.invariance.losses import REGULARIZERS
from fourlenses.invariance.perceptual import TrunkDistance
from fourlenses.invariance.seeds import SEED_IMAGES, noise_targets
from fourlenses.invariance.unit import units
from fourlenses.nets.backward import BACKWARD
from fourlenses.nets.zoo import load_network, load_trunks
from fourlenses.params import choose, read_params


def main(network: str, data: Path, weights: Path, judges: Path, out: Path, table: Path) -> None:
    """Make the IRIs of one network: every seed, loss and seed image; goes on where an interrupted run stopped.

    Args:
        network: its name in params.yaml
        data: folder of the data set's splits
        weights: the trained network (safetensors)
        judges: the trunks, of which the regularizers' are used (safetensors)
        out: the IRIs, and the error that each reached (safetensors)
        table: one row per IRI with its error and whether it is accepted (CSV)
    """
    params = read_params()
    seeds = params.train.seeds
    trained = params.networks[network]
    last_epoch = trained.epochs or params.train.epochs
    every = params.invert.losses
    losses = {name: loss for name, loss in every.items() if loss.networks is None or network in loss.networks}
    for loss in losses.values():
        choose("backward rule", loss.backward, BACKWARD)
        if loss.regularizer:
            choose("regularizer", loss.regularizer, REGULARIZERS)
    seed_images = {name: choose("seed image", name, SEED_IMAGES) for name in params.invert.seed_images}
    settings = Settings(params.invert.steps, params.invert.step_l2, params.invert.precision)
    n_targets, n_noise = params.invert.n_targets, params.invert.noise_targets
    wanted = units(list(losses), list(seed_images), n_noise > 0, trained.checkpoints)
    decides = {"seeds": seeds, "losses": {name: loss.model_dump() for name, loss in losses.items()}}
    decides |= {"seed_images": list(seed_images), "settings": asdict(settings), "n_targets": n_targets}
    decides |= {"noise_targets": n_noise, "checkpoints": trained.checkpoints}
    inputs = [data / "calibration.safetensors", data / "test.safetensors", weights, judges]

    with runtime.stage("invert", network, decides=decides, inputs=inputs, outputs=[out, table],
                       together=True) as this:  # fmt: skip
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
        noise = noise_targets(n_noise, images.shape[1:], runtime.generator("noise targets"))
        targets = {"test": images[chosen], "noise": noise}
        numbers = {"test": chosen.numpy(), "noise": np.arange(n_noise)}
        labels = {"test": test["y"][chosen].numpy(), "noise": np.full(n_noise, -1)}
        found = {"targets": targets["test"], "labels": test["y"][chosen], "indices": chosen}
        found |= {"noise_targets": noise} if n_noise else {}
        found |= {f"seed_images/{name}": image for name, image in starts.items()}
        trunks = load_trunks(judges, device)
        distances = {loss.through: TrunkDistance(trunks[loss.through]) for loss in losses.values()}

        nulls = {}
        for seed in seeds:
            models = {}
            for epoch in [None, *trained.checkpoints]:
                models[epoch] = load_network(weights, seed, device, network, epoch)
                try:
                    errors = null_errors(models[epoch], images.to(device)).cpu()
                except ValueError as zero:
                    given = f"{weights}, seed {seed}: {zero}"
                    raise UserError(given, "a network that tells images apart", "train it longer or wider") from None
                nulls[seed, epoch] = np.quantile(errors, (0.05, 0.5))
            for unit in runtime.progress(processes.share(wanted), f"invert {network} seed {seed}"):
                name, spec = unit.key(seed), losses[unit.loss]
                if this.resume.load(name.replace("/", "-")):
                    continue
                try:
                    x, error = invert(
                        models[unit.epoch],
                        targets[unit.targets].to(device),
                        starts[unit.seed_image].to(device),
                        distances[spec.through],
                        settings,
                        transforms=spec.transforms,
                        fourier=spec.fourier,
                        backward=spec.backward,
                        regularizer=spec.regularizer,
                        weight=spec.weight,
                        generator=runtime.generator("invert", network, name, device=device),
                    )
                except FloatingPointError as nan:
                    given = f"invert {network} seed {seed}, loss {unit.loss}: {nan}"
                    raise UserError(given, "a finite loss", "lower the loss's weight") from None
                this.resume.save(name.replace("/", "-"), {"x": x.cpu(), "error": error.cpu()}, {})
        processes.wait()
        if not this.writes:
            return
        rows = []
        for seed, unit in product(seeds, wanted):
            name, spec = unit.key(seed), losses[unit.loss]
            made, _ = this.resume.load(name.replace("/", "-"))
            found |= {f"{name}/x": made["x"], f"{name}/error": made["error"]}
            null_low, null_median = nulls[seed, unit.epoch]
            rows.append(
                pd.DataFrame(
                    {
                        "network": network,
                        "seed": seed,
                        "epoch": last_epoch if unit.epoch is None else unit.epoch,
                        "loss": unit.loss,
                        "transforms": int(spec.transforms),
                        "fourier": int(spec.fourier),
                        "backward": spec.backward,
                        "regularizer": spec.regularizer or "none",
                        "weight": spec.weight,
                        "through": spec.through if spec.regularizer else "none",
                        "seed_image": unit.seed_image,
                        "targets": unit.targets,
                        "image": numbers[unit.targets],
                        "label": labels[unit.targets],
                        "error": made["error"],
                        "null_low": null_low,
                        "null_median": null_median,
                        "accepted": (made["error"] <= null_low).int(),
                    }
                )
            )
        save_tensors(out, found, {})
        write_csv(table, pd.concat(rows))


if __name__ == "__main__":
    runtime.run(main)
