"""Condense the training images into a few, under a price for their bits, and train networks on them."""

from dataclasses import asdict
from functools import partial
from itertools import product
from pathlib import Path

import pandas as pd
import torch

from fourlenses import runtime
from fourlenses.artifacts import load_tensors, save_tensors, write_csv
from fourlenses.errors import UserError
from fourlenses.params import read_params
from fourlenses.simplicity.bits import measured
from fourlenses.simplicity.codecs import png_bits
from fourlenses.simplicity.condense import Plan, condensed_sets, evaluate
from fourlenses.simplicity.prior import load_glow

COLUMNS = ["ipc", "weight", "seed", "evaluated_on", "network", "n_test", "bpd", "png", "accuracy"]


def main(data: Path, glow: Path, out: Path) -> None:
    """Condense the training images into a few, under a price for their bits, and train networks on them.

    Goes on where an interrupted run stopped.

    Args:
        data: folder of the data set's splits
        glow: the priors, of which the first measures bits (safetensors)
        out: folder of accuracy and bits by set of images and network and of the way there (CSV), and of the images
            and every network's answers (safetensors)
    """
    params = read_params()
    weights = params.condense.weights
    augmented = {"crop_padding": params.train.crop_padding, "flip": params.train.flip}
    evaluators = {name: each.model_dump() for name, each in params.condense.evaluate.items()}
    prior = next(iter(params.glow.priors))
    plans = [
        Plan(
            ipc, weights, params.condense.rounds, params.condense.inner, params.condense.net_steps,
            params.condense.batch, params.condense.lr,
        )
        for ipc in params.condense.ipc
    ]  # fmt: skip
    network = {"architecture": params.condense.architecture, "widths": params.condense.widths}
    decides = {"plans": [asdict(plan) for plan in plans], "network": network, "evaluate": evaluators, "prior": prior}
    decides |= {"seeds": params.condense.seeds, "n_networks": params.condense.n_networks}
    decides |= augmented | {"epochs": params.condense.epochs}
    inputs = [data / "train.safetensors", data / "test.safetensors", glow]
    outputs = [out / f"condense{kind}" for kind in (".csv", "_history.csv", ".safetensors")]

    with runtime.stage("condense", decides=decides, inputs=inputs, outputs=outputs) as this:
        device = runtime.device()
        density = load_glow(glow, prior, device)
        (train, manifest), (test, _) = map(load_tensors, inputs[:2])
        x, y = train["x"].to(device), train["y"].to(device)
        shown = test["x"].to(device).float() / 255, test["y"].to(device)
        n_classes = len(manifest["classes"])
        rows, history, tensors = [], [], {}
        for plan, seed in product(plans, params.condense.seeds):
            ipc, name = plan.ipc, f"{plan.ipc} images a class, seed {seed}"
            streams = partial(runtime.generator, seed, "condense", device=device)
            sets, log = condensed_sets(
                x, y, n_classes, plan, density, network, streams, this.resume, name, runtime.progress
            )
            history += [{"ipc": ipc, "seed": seed} | row for row in log]
            few = {f"{weight:g}": images for weight, images in zip(weights, sets, strict=True)}
            labels = torch.arange(n_classes, device=device).repeat_interleave(ipc)
            bits = {
                weight: {"bpd": float(measured(density, images, streams("bits", ipc)).mean()),
                         "png": float(png_bits(images).mean())}
                for weight, images in few.items()
            }  # fmt: skip
            for weight, images in few.items():
                key = f"{ipc}/{weight}/seed{seed}"
                tensors |= {f"{key}/images": images, f"{key}/labels": labels.clone()}
            tried = list(product(few, params.condense.evaluate, range(params.condense.n_networks)))
            for weight, evaluator, index in runtime.progress(tried, f"{name}, networks"):
                label = f"{name}, weight {weight}, {evaluator} {index}"
                saved = this.resume.load(label)
                if saved is None:
                    stream = partial(runtime.generator, seed, "condensed", evaluator, index)
                    learning = evaluators[evaluator] | augmented | {"epochs": params.condense.epochs, "streams": stream}
                    try:
                        right = evaluate(few[weight], labels, n_classes, shown, **learning)
                    except FloatingPointError as error:
                        raise UserError(f"{label}: {error}", "finite numbers", "leave that network out") from None
                    saved = {"right": right.byte()}, {}
                    this.resume.save(label, *saved)
                right = saved[0]["right"]
                tensors[f"{ipc}/{weight}/seed{seed}/{evaluator}/{index}"] = right
                about = {"ipc": ipc, "weight": float(weight), "seed": seed, "evaluated_on": evaluator, "network": index}
                rows.append(about | bits[weight] | {"n_test": len(right), "accuracy": float(right.double().mean())})
        save_tensors(outputs[2], tensors, {"classes": manifest["classes"]})
        write_csv(outputs[1], pd.DataFrame(history)[["ipc", "weight", "seed", "round", "match", "bpd"]])
        write_csv(outputs[0], pd.DataFrame(rows)[COLUMNS])


if __name__ == "__main__":
    runtime.run(main)
