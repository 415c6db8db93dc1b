"""Train the flows on generic images; the bits of every image are measured by the first."""

from pathlib import Path

import pandas as pd
import torch

from fourlenses import runtime
from fourlenses.artifacts import load_tensors, save_tensors, write_csv
from fourlenses.errors import UserError
from fourlenses.images import fetch_dataset
from fourlenses.images.shifted import noise
from fourlenses.nets.glow import Glow, build_glow
from fourlenses.params import read_params
from fourlenses.simplicity.bits import measured
from fourlenses.simplicity.generic import split_generic, varied
from fourlenses.simplicity.prior import shortcomings, train_prior

COLUMNS = ["prior", "step", "lr", "bpd_train", "bpd_photos", "skipped"]
N_JUDGED = 256  # images of each set that decide whether a prior is used


def main(data: Path, out: Path, photos: Path, table: Path) -> None:
    """Train the flows on generic images; goes on where an interrupted run stopped.

    FOURLENSES_MIRROR names a folder with copies of the data sets, FOURLENSES_CACHE the folder where downloads are kept.

    Args:
        data: folder of the data set's splits
        out: the priors (safetensors)
        photos: generic images that no prior saw, on the study's canvas (safetensors)
        table: bits by step of the training (CSV)
    """
    params = read_params()
    source, held_out, n, seed = params.glow.source, params.glow.held_out, params.glow.n_images, params.glow.seed
    n_scales, batch, lr, specs = params.glow.n_scales, params.glow.batch, params.glow.lr, params.glow.priors
    precision = params.glow.precision
    limits = {"most_black": params.glow.most_black, "least_noise": params.glow.least_noise}
    limits |= {"most_noise": params.glow.most_noise, "ordered": params.glow.ordered}
    decides = {"source": source, "held_out": held_out, "n_images": n, "seed": seed, "n_scales": n_scales}
    decides |= {"batch": batch, "lr": lr, "precision": precision}
    decides |= {"priors": {name: spec.model_dump() for name, spec in specs.items()}}
    inputs = [data / "calibration.safetensors"]

    with runtime.stage("train-glow", decides=decides | limits, inputs=inputs, outputs=[out, photos, table]) as this:
        device = runtime.device()
        own = load_tensors(inputs[0])[0]["x"][:N_JUDGED]
        found = fetch_dataset(source, cache=runtime.downloads(), mirror=runtime.mirror(), progress=False)
        train, unseen, labels = split_generic(found.parts, found.classes, held_out, own, n, seed)
        judged = {"black": torch.zeros_like(own), "own": own, "photos": unseen[:N_JUDGED]}
        judged |= {"noise": noise(own, runtime.generator(seed, "noise that judges a prior"))}

        def bits(glow: Glow, name: str) -> float:
            return float(measured(glow, judged[name], runtime.generator(seed, "bits that judge a prior")).mean())

        rows, tensors, arguments, accepted, refused = [], {}, {}, {}, {}
        for name, spec in specs.items():
            weights = runtime.generator(seed, "weights of a prior", name, device=device)
            glow = build_glow(
                own.shape[1:], n_scales=n_scales, depth=spec.depth, width=spec.width, coupling=spec.coupling,
                generator=weights,
            )  # fmt: skip
            state, history = this.resume.reached(name)
            steps = train_prior(
                glow, train.to(device), spec.steps, batch, lr, runtime.generator(seed, "train a prior", device=device),
                precision=precision, vary=varied, evaluate=lambda glow: {"bpd_photos": bits(glow, "photos")},
                state=state, history=history,
            )  # fmt: skip
            try:
                _, history = this.resume.finish(name, runtime.progress(steps, name))
            except FloatingPointError as error:
                raise UserError(f"{name}: {error}", "finite numbers", "lower glow.lr") from None
            arguments[name], accepted[name] = glow.arguments, {each: bits(glow, each) for each in judged}
            refused[name] = shortcomings(accepted[name], **limits)
            if refused[name] and not rows:
                given = f"the prior {name!r} cannot be used: {'; '.join(refused[name])}"
                remedy = f"train it longer: glow.priors.{name}.steps"
                raise UserError(given, "the limits of glow in params.yaml", remedy)
            rows += [{"prior": name} | row for row in history]
            tensors |= {f"{name}/{key}": value for key, value in glow.state_dict().items()}
        save_tensors(out, tensors, {"priors": arguments, "accepted": accepted, "refused": refused})
        save_tensors(photos, {"x": unseen, "y": labels}, {"classes": list(found.classes)})
        write_csv(table, pd.DataFrame(rows)[COLUMNS])


if __name__ == "__main__":
    runtime.run(main)
