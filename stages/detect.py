"""Ask the neighbours in every layer, and other detectors, which images a network should not be trusted on."""

from functools import partial
from pathlib import Path

import pandas as pd
import torch
from numpy import ndarray
from torch import Tensor

from fourlenses import runtime
from fourlenses.artifacts import load_tensors, save_tensors, write_csv
from fourlenses.entanglement import dknn
from fourlenses.entanglement.calibration import auroc, ece, reliability
from fourlenses.entanglement.detectors import DETECTORS, Known, Seen
from fourlenses.entanglement.layers import label, layers
from fourlenses.entanglement.neighbours import nearest, normalised
from fourlenses.images import load_dataset
from fourlenses.images.shifted import outside
from fourlenses.nets import Network
from fourlenses.nets.taps import activations
from fourlenses.nets.zoo import load_network
from fourlenses.params import read_params

BATCH = 500  # images in a forward pass
WHO = ["network", "role", "seed", "set"]
COLUMNS = {
    "detection": [*WHO, "kind", "order", "attack", "eps", "measure", "n", "mean", "auroc"],
    "support": [*WHO, "kind", "layer", "index", "support"],
    "reliability": [*WHO, "score", "bin", "n", "mean_score", "accuracy"],
    "calibration": [*WHO, "score", "ece", "accuracy", "mean_score", "n"],
}
PROBABILITIES = {"credibility": "dknn", "softmax": "softmax"}  # scores that say how probably whose prediction is right


def main(data: Path, models: Path, perturbed: Path, out: Path) -> None:
    """Ask the neighbours in every layer, and other detectors, which images a network should not be trusted on.

    FOURLENSES_MIRROR names a folder with copies of the data sets, FOURLENSES_CACHE the folder where downloads are kept.

    Args:
        data: folder of the data set's splits
        models: folder of the networks (safetensors)
        perturbed: the attacked images of every network (safetensors)
        out: folder of what was found (CSV, and safetensors for every image's scores)
    """
    params = read_params()
    seeds, attacks, eps = params.perturb.seeds, params.perturb.attacks, params.perturb.eps
    names, sought, n = params.detect.networks, params.detect.sets, params.detect.n_images
    k, n_references = params.detect.k, params.detect.n_references
    roles = {
        params.measure.plain: "plain", params.measure.entangled: "entangled", params.measure.control: "control"
    }  # fmt: skip
    n_attacked = min(n, params.perturb.n_images)
    decides = {"networks": names, "sets": sought, "n_images": n, "k": k, "n_references": n_references}
    decides |= {"seeds": seeds, "roles": roles, "attacks": attacks, "eps": eps}
    decides |= {"n_attacked": n_attacked, "seed": params.fetch.seed}
    paths = {name: models / f"{name}.safetensors" for name in names}
    splits = [data / f"{split}.safetensors" for split in ("train", "calibration", "test")]
    inputs = [*splits, perturbed, *paths.values()]
    outputs = [out / "detection.safetensors"] + [out / f"{name}.csv" for name in COLUMNS]
    load = partial(load_dataset, cache=runtime.downloads(), mirror=runtime.mirror(), progress=False)

    with runtime.stage("detect", decides=decides, inputs=inputs, outputs=outputs):
        device = runtime.device()
        (train, about), (calibration, _), (test, _) = map(load_tensors, splits)
        n_classes, y = len(about["classes"]), test["y"].to(device)
        x, labels = train["x"][:n_references], train["y"][:n_references].to(device)
        own = calibration["y"].to(device)
        shown = {"test": test["x"][:n]} | {
            name: outside(name, test["x"], load, n, runtime.generator(params.fetch.seed, "detect", name))
            for name in sought
        }
        sets = [{"set": name, "kind": "ood" if name in sought else "test"} for name in shown]
        sets += [
            {"set": f"{attack}-{size:g}", "kind": "adversarial", "attack": attack, "eps": size}
            for attack in attacks for size in eps
        ]  # fmt: skip
        kept: dict[str, Tensor] = {}
        tables: dict[str, list[dict]] = {name: [] for name in COLUMNS}
        for name, seed in runtime.progress([(name, seed) for name in paths for seed in seeds], "detect"):
            network = load_network(paths[name], seed, device, name)
            images = shown | {
                each["set"]: _attacked(perturbed, name, seed, each["attack"], each["eps"])[:n_attacked]
                for each in sets if each["kind"] == "adversarial"
            }  # fmt: skip
            looked = images | {"calibration": calibration["x"]}
            known, seen, counts = _looked_at(network, x, labels, k, n_classes, looked)
            held_out = dknn.nonconformity(counts["calibration"]).gather(1, own[:, None])[:, 0]
            found = {each["set"]: _scores(known, seen[each["set"]], counts[each["set"]], held_out,
                                          None if each["kind"] == "ood" else y) for each in sets}  # fmt: skip
            kept |= {f"{name}/seed{seed}/{of}/{part}": v for of, parts in found.items() for part, v in parts.items()}
            arrays = {of: {part: v.cpu().numpy() for part, v in parts.items()} for of, parts in found.items()}
            about = {"network": name, "role": roles.get(name, ""), "seed": seed}
            for table, rows in _rows(arrays, sets, [label(layer) for layer in layers(network)]).items():
                tables[table] += [about | row for row in rows]
        save_tensors(out / "detection.safetensors", kept, {"sets": [each["set"] for each in sets]})
        for name, columns in COLUMNS.items():
            write_csv(out / f"{name}.csv", pd.DataFrame(tables[name], columns=columns))


def _attacked(perturbed: Path, name: str, seed: int, attack: str, eps: float) -> Tensor:
    """The images by which this network itself was attacked."""
    tensors, _ = load_tensors(perturbed, f"{attack}/{eps:g}/{name}/seed{seed}/")
    return tensors["images"]


@torch.no_grad()
def _looked_at(
    network: Network, x: Tensor, labels: Tensor, k: int, n_classes: int, images: dict[str, Tensor]
) -> tuple[Known, dict[str, Seen], dict[str, Tensor]]:
    """What the detectors see of the reference images `x` and of the images, and how the neighbours in each layer vote.

    One layer at a time, so that only one holds memory.
    """
    counts: dict[str, list[Tensor]] = {name: [] for name in images}
    raw: dict[str, dict[str, Tensor]] = {"body": {}, "head": {}}
    for layer in layers(network):
        own = _represented(network, layer, x)
        units = normalised(own)
        mean = units.mean(0)
        units -= mean
        if layer == "body":
            known = Known(own, labels, k)
        for name, each in images.items():
            found = _represented(network, layer, each)
            indices, _ = nearest(normalised(found, mean), units, k)
            counts[name].append(dknn.votes(indices, labels, n_classes))
            if layer in raw:
                raw[layer][name] = found
    seen = {name: Seen(raw["body"][name], raw["head"][name]) for name in images}
    return known, seen, {name: torch.stack(each) for name, each in counts.items()}


def _represented(network: Network, layer: str, x: Tensor) -> Tensor:
    """A layer's activations of images as bytes, flattened, a batch at a time."""
    device = next(network.parameters()).device
    pixels = (each.to(device, memory_format=torch.channels_last).float() / 255 for each in x.split(BATCH))
    return torch.cat([activations(network, each, [layer])[layer].flatten(1) for each in pixels])


def _scores(known: Known, seen: Seen, counts: Tensor, held_out: Tensor, y: Tensor | None) -> dict[str, Tensor]:
    """Every score of the images of a set; where they have classes `y`, whether neighbours and network are right."""
    found = dknn.assess(dknn.nonconformity(counts), held_out)
    scores = {"credibility": found.credibility, "confidence": found.confidence}
    scores |= {measure: score(seen, known) for measure, score in DETECTORS.items()}
    scores["support"] = dknn.support(counts, found.prediction)
    kept = {part: value.float() for part, value in scores.items()}
    if y is not None:
        predictions = {"dknn": found.prediction, "softmax": seen.logits.argmax(1)}
        kept |= {f"right_{whose}": (of == y[: len(of)]).byte() for whose, of in predictions.items()}
    return kept


def _rows(arrays: dict[str, dict[str, ndarray]], sets: list[dict], names: list[str]) -> dict[str, list[dict]]:
    """The rows of every table that say what one network makes of the sets, from the scores of their images."""
    rows: dict[str, list[dict]] = {name: [] for name in COLUMNS}
    for order, about in enumerate(sets):
        scores = arrays[about["set"]]
        for measure in ("credibility", "confidence", *DETECTORS):
            score = scores[measure]
            row = about | {"order": order, "measure": measure, "n": len(score), "mean": score.mean(dtype=float)}
            apart = {} if about["kind"] == "test" else {"auroc": auroc(arrays["test"][measure], score)}
            rows["detection"].append(row | apart)
        for index, (layer, share) in enumerate(zip(names, scores["support"].mean(1, dtype=float), strict=True), 1):
            rows["support"].append(about | {"layer": layer, "index": index, "support": share})
        for measure, whose in PROBABILITIES.items() if about["kind"] != "ood" else ():
            score, right = scores[measure], scores[f"right_{whose}"] > 0
            row = about | {"score": measure}
            found = reliability(score, right)
            for index, (n, mean, accuracy) in enumerate(zip(found.n, found.mean_score, found.accuracy, strict=True)):
                rows["reliability"].append(row | {"bin": index, "n": n, "mean_score": mean, "accuracy": accuracy})
            means = {"accuracy": right.mean(), "mean_score": score.mean(dtype=float)}
            rows["calibration"].append(row | {"ece": ece(score, right), "n": len(score)} | means)
    return rows


if __name__ == "__main__":
    runtime.run(main)
