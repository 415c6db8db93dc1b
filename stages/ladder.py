"""Measure the bits of images from plain to noisy, by flows and by image formats."""

from functools import partial
from pathlib import Path

import pandas as pd
import torch

from fourlenses import runtime
from fourlenses.artifacts import load_tensors, save_tensors, write_csv
from fourlenses.images import load_dataset
from fourlenses.images.shifted import outside
from fourlenses.params import read_params
from fourlenses.simplicity.bits import measured
from fourlenses.simplicity.codecs import jpeg_bits, png_bits
from fourlenses.simplicity.ladder import rungs, stretched, summary
from fourlenses.simplicity.prior import load_glow, refused_priors

COLUMNS = [
    "prior", "refused", "set", "kind", "n", "bpd", "sd", "se", "png", "jpeg", "contrast_bpd", "rho_png", "rho_jpeg",
    "rho_prior",
]  # fmt: skip
N_SHOWN = 16  # images to look at


def main(data: Path, glow: Path, photos: Path, out: Path) -> None:
    """Measure the bits of images from plain to noisy, by flows and by image formats.

    FOURLENSES_MIRROR names a folder with copies of the data sets, FOURLENSES_CACHE the folder where downloads are kept.

    Args:
        data: folder of the data set's splits
        glow: the priors (safetensors)
        photos: photographs that no prior saw (safetensors)
        out: folder of the bits by set (CSV), and of every image's (safetensors)
    """
    params = read_params()
    own, sought, n = params.fetch.dataset, params.ladder.sets, params.ladder.n_images
    decides = {"dataset": own, "sets": sought, "n_images": n, "seed": params.fetch.seed}
    decides |= {"priors": list(params.glow.priors)}
    inputs = [data / "test.safetensors", glow, photos]
    outputs = [out / "ladder.csv", out / "ladder.safetensors"]
    load = partial(load_dataset, cache=runtime.downloads(), mirror=runtime.mirror(), progress=False)

    def stream(*purpose: str) -> torch.Generator:
        return runtime.generator(params.fetch.seed, "ladder", *purpose)

    with runtime.stage("ladder", decides=decides, inputs=inputs, outputs=outputs) as this:
        device = runtime.device()
        test, shown = (load_tensors(path)[0]["x"] for path in (inputs[0], photos))
        others = {name: outside(name, test, load, n, stream(name)) for name in sought if name != own}
        sets = rungs(own, test[:n], others, shown[:n], stream("noise"))
        formats = {name: {"png": png_bits(rung.x), "jpeg": jpeg_bits(rung.x)} for name, rung in sets.items()}
        refused = refused_priors(glow)
        rows, tensors = [], {}
        for name, rung in sets.items():
            tensors |= {f"{name}/{codec}": bits.float() for codec, bits in formats[name].items()}
            tensors[f"{name}/images"] = rung.x[:N_SHOWN]
        first: dict[str, torch.Tensor] = {}  # bits of each set under the first prior
        for prior, name in runtime.progress([(prior, name) for prior in params.glow.priors for name in sets], "ladder"):
            label, rung = f"{prior}, {name.replace('/', '-')}", sets[name]
            saved = this.resume.load(label)
            if saved:
                bits = saved[0]
            else:
                network = load_glow(glow, prior, device, although_refused=True)
                bits = {"bpd": measured(network, rung.x, stream())}
                bits["contrast"] = measured(network, stretched(rung.x), stream())
                this.resume.save(label, bits, {})
            first.setdefault(name, bits["bpd"])
            row = summary(rung.kind, **bits, **formats[name], first=first[name])
            rows.append({"prior": prior, "refused": int(prior in refused), "set": name} | row)
            tensors[f"{name}/{prior}/bpd"] = bits["bpd"].float()
        save_tensors(out / "ladder.safetensors", tensors, {"kinds": {name: rung.kind for name, rung in sets.items()}})
        write_csv(out / "ladder.csv", pd.DataFrame(rows)[COLUMNS])


if __name__ == "__main__":
    runtime.run(main)
