"""Simplify images by means that know no task, and train classifiers on what comes out."""

import math
from dataclasses import asdict
from functools import partial
from itertools import product
from pathlib import Path

import pandas as pd
from torch import Generator, Tensor, device

from fourlenses import runtime
from fourlenses.artifacts import load_tensors, write_csv
from fourlenses.errors import UserError
from fourlenses.images import Images, load_dataset
from fourlenses.nets.glow import Glow
from fourlenses.params import read_params
from fourlenses.resume import Resume
from fourlenses.simplicity.beds import BedImages, load_bed
from fourlenses.simplicity.bits import measured
from fourlenses.simplicity.codecs import png_bits
from fourlenses.simplicity.heuristics import HEURISTICS
from fourlenses.simplicity.joint import Settings, simplified, train_mse
from fourlenses.simplicity.prior import load_glow
from fourlenses.simplicity.retrain import Streams, retrain
from fourlenses.simplicity.simplifier import Simplifier, build_simplifier
from fourlenses.training.evaluate import accuracy

COLUMNS = ["bed", "method", "knob", "seed", "n_test", "bpd", "png", "accuracy", "accuracy_original"]


def main(data: Path, glow: Path, photos: Path, out: Path) -> None:
    """Simplify images by blur, JPEG and a simplifier that only has to stay close to them, and train classifiers on
    what comes out; goes on where an interrupted run stopped.

    FOURLENSES_MIRROR names a folder with copies of the data sets, FOURLENSES_CACHE the folder where downloads are kept.

    Args:
        data: folder of the data set's splits
        glow: the priors (safetensors)
        photos: photographs that no prior was trained on (safetensors)
        out: bits and accuracy by bed, method, knob and seed (CSV)
    """
    params = read_params()
    known = params.simplify.beds
    beds = {name: known[name] for name in params.baselines.beds}
    knobs = {"blur": params.baselines.blur, "jpeg": params.baselines.jpeg, "mse": params.baselines.mse}
    sizes = {"train": params.simplify.n_train, "test": params.simplify.n_test}
    prior, chosen, base = next(iter(params.glow.priors)), params.fetch.seed, params.simplify.base
    augmented = {"crop_padding": params.train.crop_padding, "flip": params.train.flip}
    augmented |= {"precision": params.train.precision}
    network = augmented | {"architecture": params.simplify.architecture, "widths": params.simplify.widths}
    network |= {"epochs": params.simplify.retrain_epochs}
    settings = Settings(
        steps=params.simplify.steps, batch=params.simplify.batch, lr=params.simplify.lr, tau=1.0, **augmented
    )  # tau: of the gate, which a simplifier without a task has not
    decides = {"beds": {name: bed.model_dump(exclude={"weights"}) for name, bed in beds.items()}, "knobs": knobs}
    decides |= {"sizes": sizes, "prior": prior, "seed": chosen, "network": network}
    decides |= {"simplifier": asdict(settings) | {"base": base}}
    splits = {name: data / f"{name}.safetensors" for name in ("train", "test")}
    load = partial(load_dataset, cache=runtime.downloads(), mirror=runtime.mirror(), progress=False)

    with runtime.stage("baselines", decides=decides, inputs=[*splits.values(), glow, photos], outputs=[out]) as this:
        where = runtime.device()
        density = load_glow(glow, prior, where)
        own, held_out = {name: _images(path) for name, path in splits.items()}, _images(photos)
        images = {name: load_bed(bed, own, held_out, load, sizes, chosen) for name, bed in beds.items()}
        todo = [
            (name, method, knob, seed)
            for name, bed in beds.items() for method, values in knobs.items()
            for knob, seed in product(values, bed.seeds)
        ]  # fmt: skip
        saved = this.resume.load("rows")
        rows = saved[1]["rows"] if saved else []
        for name, method, knob, seed in runtime.progress(todo[len(rows) :], "baselines"):
            label, bed = f"{method} {knob:g} on {name}, seed {seed}", images[name]
            try:
                if method in HEURISTICS:
                    changed = {split: HEURISTICS[method](each.x, knob) for split, each in bed.items()}
                else:
                    streams = partial(runtime.generator, seed, "baselines", name, device=where)
                    x = bed["train"].x.to(where)
                    simplifier = build_simplifier(tuple(x.shape[1:]), base, beds[name].form, streams("weights"))
                    _train(simplifier, density, x, settings, knob, streams("batches"), this.resume, label)
                    changed = {split: simplified(simplifier, each.x.to(where)).cpu() for split, each in bed.items()}
                bits = float(measured(density, changed["test"], runtime.generator(chosen, "bits", name)).mean())
                if not math.isfinite(bits):
                    raise FloatingPointError(f"its images have {bits} bits per dimension")
                streams = partial(runtime.generator, seed, "retrain", name)
                found = _retrained(bed, changed, where, streams, network)
            except FloatingPointError as error:
                raise UserError(f"{label}: {error}", "finite numbers", "lower simplify.lr, or leave it out") from None
            png = float(png_bits(changed["test"]).mean())
            about = {"bed": name, "method": method, "knob": knob, "seed": seed, "n_test": len(bed["test"])}
            rows.append(about | {"bpd": bits, "png": png} | found)
            this.resume.save("rows", {}, {"rows": rows})
        write_csv(out, pd.DataFrame(rows, columns=COLUMNS))


def _images(path: Path) -> Images:
    tensors, _ = load_tensors(path)
    return Images(tensors["x"], tensors["y"])


def _train(
    simplifier: Simplifier,
    density: Glow,
    x: Tensor,
    settings: Settings,
    weight: float,
    stream: Generator,
    resume: Resume,
    label: str,
) -> None:
    """Train a simplifier in place to stay close to its images at few bits, going on where a run stopped."""
    state, history = resume.reached(label)
    resume.finish(label, train_mse(simplifier, density, x, settings, weight, stream, state=state, history=history))


def _retrained(
    images: dict[str, BedImages], changed: dict[str, Tensor], where: device, streams: Streams, network: dict
) -> dict[str, float]:
    """How often a network that was trained on the changed images is right, about changed and about original ones."""
    train, test = images["train"], images["test"]
    found = retrain(changed["train"].to(where), train.y.to(where), test.n_classes, streams=streams, **network)
    shown = {"accuracy": changed["test"], "accuracy_original": test.x}
    y = test.y.to(where)
    return {name: accuracy(found, x.to(where).float() / 255, y).value for name, x in shown.items()}


if __name__ == "__main__":
    runtime.run(main)
