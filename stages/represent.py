"""Keep what every point of every network makes of the test images, as packed Gram matrices."""

from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from fourlenses import processes, runtime
from fourlenses.artifacts import load_tensors, read_json, save_tensors
from fourlenses.attacks import cross_entropy, projected_gradient
from fourlenses.nets import Network
from fourlenses.nets.points import points, watching
from fourlenses.nets.zoo import load_network
from fourlenses.params import read_params
from fourlenses.similarity import grams

MEASURES = {
    "block": grams.block,
    "first-component": grams.first_component_share,
    "largest-norms": grams.largest_norm_share,
}
CONTROLS = {
    "no-first-component": lambda k: grams.block(grams.without_first_component(k)),
    "no-largest-norms": lambda k: grams.block(grams.without_largest_norms(k)),
}
POOLED = ("relu", "pool", "linear")  # kinds of points whose channel means every metric compares


def main(data: Path, models: Path, sweep: Path, accuracy: Path, out: Path) -> None:
    """Keep what every point of every network makes of the test images, as packed Gram matrices.

    Args:
        data: folder of the data set's splits
        models: folder of the zoo's networks (safetensors)
        sweep: folder of the sweep's networks (safetensors)
        accuracy: the sweep's metrics, which say how each network is attacked (JSON)
        out: folder of the Gram matrices, a file a network (safetensors)
    """
    params = read_params()
    seeds, precision, steps = params.train.seeds, params.train.precision, params.represent.attack_steps
    n_images, n, attacked = params.represent.n_images, params.represent.batch, params.represent.attacked
    base = params.compare.standard, params.compare.robust
    swept = params.sweep.networks
    ends = {name: spec.epochs or params.train.epochs for name, spec in params.networks.items()}
    ends |= {name: spec.epochs or params.sweep.epochs for name, spec in swept.items()}
    epochs = {name: [*(sorted(swept[name].checkpoints) if name in swept else []), end] for name, end in ends.items()}
    paths = {name: (sweep if name in swept else models) / f"{name}.safetensors" for name in ends}
    strengths = {name: swept[name].strength for name in attacked}
    decides = {"epochs": epochs, "seeds": seeds, "n_images": n_images, "batch": n, "base": base}
    decides |= {"attacked": strengths, "attack_steps": steps, "precision": precision}
    inputs = [data / "test.safetensors", accuracy, *paths.values()]
    outputs = [out / f"{name}.safetensors" for name in ends]

    with runtime.stage("represent", decides=decides, inputs=inputs, outputs=outputs, together=True):
        device = runtime.device()
        test, _ = load_tensors(inputs[0])
        images, labels = (test[part][:n_images].to(device) for part in ("x", "y"))
        images = images.float() / 255
        threats = {name: about["attack"] for name, about in read_json(accuracy).items()}
        adversarial: dict[tuple[str, int], Tensor] = {}
        for name in attacked:
            eps = threats[name]["eps"] * strengths[name]
            for seed in seeds:
                network = load_network(paths[name], seed, device, name).requires_grad_(False)
                adversarial[name, seed] = projected_gradient(
                    cross_entropy(network, labels, precision), images, norm=threats[name]["norm"], eps=eps,
                    step_size=2.5 * eps / steps, steps=steps,
                    generator=runtime.generator(seed, "represent", name, device=device),
                )  # fmt: skip
        for name in runtime.progress(processes.share(ends), "represent"):
            kept: dict[str, Tensor] = {}
            for seed in seeds:
                for epoch in epochs[name]:
                    at = f"seed{seed}/epoch{epoch}"
                    last = epoch == ends[name]
                    network = load_network(paths[name], seed, device, name, None if last else epoch)
                    kept |= _measured(network, images, n, f"{at}/benign", MEASURES)
                if name in base:
                    for control, measure in CONTROLS.items():
                        kept |= _measured(network, images, n, f"{at}/{control}", {"block": measure})
                    kept |= _features(network, images, at)
                for other in attacked if name in attacked else []:
                    shown = "adversarial" if other == name else f"adversarial of {other}"
                    x = adversarial[other, seed]
                    kept |= _measured(network, x, n, f"{at}/{shown}", {"block": grams.block})
            about = {"name": name, "points": [asdict(point) for point in points(network)], "epochs": epochs[name]}
            about |= {"batch": n, "accuracy": load_tensors(paths[name], "no tensor")[1]["accuracy"]}
            save_tensors(out / f"{name}.safetensors", kept, about)


def _measured(network: Network, x: Tensor, n: int, at: str, measures: dict) -> dict[str, Tensor]:
    return {f"{at}/{name}": value for name, value in grams.measured(network, x, n, measures).items()}


@torch.no_grad()
def _features(network: Network, x: Tensor, at: str) -> dict[str, Tensor]:
    """Channel means of the points POOLED, and whole Gram matrices of the first, middle and last block point."""
    tapped = points(network)
    blocks = [index for index, point in enumerate(tapped) if point.block]
    whole = {blocks[0], blocks[len(blocks) // 2], blocks[-1]}
    kept = {}

    def keep(index: int, output: Tensor) -> None:
        if tapped[index].kind in POOLED:
            kept[f"{at}/pooled/{index}"] = output.flatten(2).mean(2) if output.ndim > 2 else output.clone()
        if index in whole:
            kept[f"{at}/gram/{index}"] = grams.centred_gram(output)

    with watching(network, keep):
        network(x)
    return kept


if __name__ == "__main__":
    runtime.run(main)
