"""Simplify single images after training: the fewest bits that a network uses as it uses the original."""

from dataclasses import asdict
from itertools import combinations
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from fourlenses import runtime
from fourlenses.artifacts import load_tensors, save_tensors, write_csv
from fourlenses.errors import UserError
from fourlenses.nets import Network, build
from fourlenses.nets.glow import Glow
from fourlenses.nets.zoo import load_network
from fourlenses.params import read_params
from fourlenses.simplicity.bits import measured
from fourlenses.simplicity.codecs import png_bits
from fourlenses.simplicity.controls import answers, chosen, matched_blur, similarity
from fourlenses.simplicity.explain import TERMS, Originals, Settings, explain, pieces, simplified
from fourlenses.simplicity.gates import divergence
from fourlenses.simplicity.prior import load_glow

RANDOMISED = "randomised"
COLUMNS = {
    "explain": [
        "network", "group", "image", "label", "predicted", "confidence", "seed", "bpd_before", "bpd_after",
        "png_before", "png_after", "kl", "kept", "bpd_blur", "sigma", "kl_blur", "kept_blur", "recognised_right",
    ],
    "explain_history": ["network", "group", "seed", "step", "loss", "match", "bpd", "kl"],
    "explain_distances": ["image", "group", "pair", "ssim"],
}  # fmt: skip


def main(data: Path, models: Path, glow: Path, out: Path) -> None:
    """Simplify images that a network gets wrong and right: for it, for a robust one, and for one of random weights.

    Goes on where an interrupted run stopped.

    Args:
        data: folder of the data set's splits
        models: folder of the zoo (safetensors)
        glow: the priors, of which the first is used (safetensors)
        out: folder of the images (safetensors) and of what was measured: of each, on the way, and how they differ (CSV)
    """
    params = read_params()
    standard, robust, seeds = params.explain.standard, params.explain.robust, params.explain.seeds
    settings = Settings(params.explain.steps, params.explain.lr, params.explain.weight)
    n, prior, trained = params.explain.n_images, next(iter(params.glow.priors)), params.train.seeds[0]
    decides = {"standard": standard, "robust": robust, "seeds": seeds, "n_images": n, "settings": asdict(settings)}
    decides |= {"prior": prior, "train_seed": trained}
    paths = {name: models / f"{name}.safetensors" for name in (standard, robust)}
    inputs = [data / "test.safetensors", *paths.values(), glow]
    outputs = [out / "explain.safetensors"] + [out / f"{table}.csv" for table in COLUMNS]

    with runtime.stage("explain", decides=decides, inputs=inputs, outputs=outputs) as this:
        device = runtime.device()
        test, _ = load_tensors(inputs[0])
        density = load_glow(glow, prior, device)
        networks = {name: load_network(path, trained, device, name) for name, path in paths.items()}
        networks[RANDOMISED] = _randomised(paths[standard], trained, device)
        groups = chosen(answers(networks[standard], test["x"]), test["y"], n)
        about = pd.DataFrame({"group": list(groups), "image": [each.tolist() for each in groups.values()]})
        about = about.explode("image").dropna().reset_index(drop=True).astype({"image": int})
        x, labels = (test[part][about["image"].tolist()] for part in ("x", "y"))
        about["label"] = labels
        members = {group: torch.tensor(rows.index.to_numpy()) for group, rows in about.groupby("group", sort=False)}
        kept = {f"{group}/original": x[places] for group, places in members.items()}
        measures, history, distances, made = [], [], [], {}
        for name, network in networks.items():
            originals, log_p = Originals(network, x.to(device)), answers(network, x)
            for seed in seeds:
                unit, of = f"{name}, seed {seed}", about.assign(network=name, seed=seed)
                state, log = this.resume.reached(unit)
                stream, left = runtime.generator(seed, "explain", device=device), len(pieces(settings.steps)) - len(log)
                steps = explain(originals, density, settings, stream, state=state, history=log)
                try:
                    state, log = this.resume.finish(unit, runtime.progress(steps, unit, left))
                except FloatingPointError as error:
                    raise UserError(f"{unit}: {error}", "finite numbers", "lower explain.lr") from None
                after = simplified(density, state["found"].to(device)).cpu()
                blur, found = _measured(network, density, seed, x, labels, log_p, after)
                measures.append(of.assign(**found))
                means = [of.assign(**row).groupby("group", sort=False)[["step", *TERMS]].mean() for row in log]
                history.append(pd.concat(means).reset_index().assign(network=name, seed=seed))
                made[name, seed] = after
                for group, places in members.items():
                    at = f"{name}/{group}/seed{seed}"
                    kept |= {f"{at}/simplified": after[places], f"{at}/blurred": blur[places]}
        pairs = [("seeds", (standard, a), (standard, b)) for a, b in combinations(seeds, 2)]
        pairs += [("robust", (standard, seed), (robust, seed)) for seed in seeds]
        pairs += [("randomised", (standard, seed), (RANDOMISED, seed)) for seed in seeds]
        for pair, one, other in pairs:
            distances.append(about.assign(pair=pair, ssim=similarity(made[one], made[other])))
        save_tensors(outputs[0], kept, {"networks": list(networks), "seeds": seeds})
        tables = zip(outputs[1:], COLUMNS.values(), (measures, history, distances), strict=True)
        for path, columns, parts in tables:
            write_csv(path, pd.concat(parts)[columns])


def _measured(
    network: Network, density: Glow, seed: int, x: Tensor, labels: Tensor, log_p: Tensor, after: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Images blurred to as few bits as the simplified ones take, and the measures of all three."""

    def bits(images: Tensor) -> Tensor:
        return measured(density, images, runtime.generator(seed, "bits of explained images"))

    bpd_after = bits(after)
    blur, sigma = matched_blur(x, bpd_after, bits)
    of_after, of_blur = answers(network, after), answers(network, blur)
    confidence, predicted = log_p.exp().max(1)
    return blur, {
        "predicted": predicted, "confidence": confidence, "bpd_before": bits(x), "bpd_after": bpd_after,
        "png_before": png_bits(x), "png_after": png_bits(after), "kl": divergence(log_p, of_after),
        "kept": (of_after.argmax(1) == predicted).int(), "bpd_blur": bits(blur), "sigma": sigma,
        "kl_blur": divergence(log_p, of_blur), "kept_blur": (of_blur.argmax(1) == predicted).int(),
        "recognised_right": (of_after.argmax(1) == labels).int(),
    }  # fmt: skip


def _randomised(path: Path, seed: int, device: torch.device) -> Network:
    """The network of a file, with weights drawn anew."""
    _, about = load_tensors(path, f"seed{seed}/")
    network = build(**about["network"], generator=runtime.generator(seed, RANDOMISED))
    return network.to(device).to(memory_format=torch.channels_last).eval()


if __name__ == "__main__":
    runtime.run(main)
