"""Compare every point with every point, within and between networks, from their Gram matrices alone."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from fourlenses import runtime
from fourlenses.artifacts import load_tensors, save_tensors, write_csv
from fourlenses.params import NetworkSpec, read_params
from fourlenses.similarity import grams
from fourlenses.similarity.bias import ESTIMATORS, minibatch_cka_of_grams
from fourlenses.similarity.comparisons import cka_maps
from fourlenses.similarity.metrics import METRICS
from fourlenses.similarity.pairs import Pair, Shown, State, pairs
from fourlenses.similarity.structure import LAYERS, kept, scores
from fourlenses.statistics import Estimate, resampling_counts
from fourlenses.training import RECIPES

WIDTH = 64  # channels of the last stage of WRN-d-1
METRIC_IMAGES = 512  # that the metrics see: those by kernels take seconds a pair for thousands
SMALLEST = 16  # images in a batch, where the estimators are compared
TABLES = ("networks", "points", "pairs", "scores", "components", "metrics", "bias")
Grams = dict[str, dict[str, Tensor]]  # by network; then by seed, epoch and images


def main(folder: Path, out: Path) -> None:
    """Compare every point with every point, within and between networks, from their Gram matrices alone.

    Args:
        folder: the Gram matrices, a file a network (safetensors)
        out: folder of what was found (CSV, and safetensors for the similarities themselves)
    """
    params = read_params()
    zoo, swept, seeds = params.networks, params.sweep.networks, params.train.seeds
    roles = {params.compare.standard: "standard", params.compare.robust: "robust"}
    attacked, n_resamples = params.represent.attacked, params.compare.n_bootstrap
    sizes = {name: params.sweep.n_train if name in swept else params.fetch.n_train for name in [*zoo, *swept]}
    specs = {**zoo, **swept}
    decides = {"networks": {name: spec.model_dump() for name, spec in specs.items()}, "seeds": seeds}
    decides |= {"roles": roles, "attacked": attacked, "n_bootstrap": n_resamples}
    inputs = [folder / f"{name}.safetensors" for name in specs]
    outputs = [out / "hsic.safetensors"] + [out / f"{name}.csv" for name in TABLES]

    with runtime.stage("compare", decides=decides, inputs=inputs, outputs=outputs):
        runtime.device()
        loaded = {name: load_tensors(path) for name, path in zip(specs, inputs, strict=True)}
        tensors: Grams = {name: each for name, (each, _) in loaded.items()}
        about = {name: each for name, (_, each) in loaded.items()}
        resolved = {
            name: spec.model_copy(
                update={"n_train": spec.n_train or sizes[name], "epochs": about[name]["epochs"][-1], "checkpoints": []}
            )
            for name, spec in specs.items()
        }
        networks = [
            {"network": name, "source": "sweep" if name in swept else "zoo", "role": roles.get(name, "")}
            | _described(resolved[name])
            | {"twin_of": _twin(name, {each: resolved[each] for each in (swept if name in swept else zoo)})}
            | {f"accuracy_{kind}": np.mean([each[kind] for each in about[name]["accuracy"].values()])
               for kind in ("clean", "robust")}
            for name in specs
        ]  # fmt: skip
        points = pd.concat([_points(name, each["points"]) for name, each in about.items()], ignore_index=True)
        shown = {
            row["network"]: Shown(
                tuple(point["name"] for point in about[row["network"]]["points"]), about[row["network"]]["epochs"],
                row["twin_of"], row["network"] in attacked, bool(row["role"]),
            )
            for row in networks
        }  # fmt: skip
        compared = pairs(shown, seeds)
        hsic, rows, scored = {}, [], []
        for number, pair in enumerate(runtime.progress(compared, "compare")):
            a, b = _blocks(tensors, pair.a), _blocks(tensors, pair.b)
            between = {"ab": grams.hsic(a, b), "aa": grams.self_hsic(a), "bb": grams.self_hsic(b)}
            hsic |= {f"{number}/{side}": value.float() for side, value in between.items()}
            rows.append(_row(number, pair, grams.images(a), len(a)))
            if pair.kind == "self":
                own = points[points["network"] == pair.a.network].reset_index(drop=True)
                scored += _scores(pair.a, own, between, n_resamples)
        tables = {
            "networks": networks,
            "points": points,
            "pairs": rows,
            "scores": scored,
            "components": [row for name in specs for row in _components(name, tensors[name], shown[name], seeds)],
            "metrics": [row for name in roles for row in _metrics(name, tensors[name], shown[name], seeds)],
            "bias": [row for name in roles for row in _bias(name, tensors[name], shown[name], seeds)],
        }
        save_tensors(out / "hsic.safetensors", hsic, {})
        for name in TABLES:
            write_csv(out / f"{name}.csv", pd.DataFrame(tables[name]))


def _described(spec: NetworkSpec) -> dict:
    wide = spec.architecture.startswith("wrn-") and spec.widths is not None
    return {
        "architecture": spec.architecture,
        "recipe": spec.recipe,
        "augment": spec.augment,
        "beta": spec.beta,
        "norm": RECIPES[spec.recipe].norm or "",
        "strength": spec.strength,
        "width": spec.widths[-1] / WIDTH if wide else np.nan,
        "depth": int(spec.architecture.split("-")[1]) if wide else np.nan,
        "n_train": spec.n_train,
        "schedule": spec.schedule,
        "epochs": spec.epochs,
    }


def _twin(name: str, specs: dict[str, NetworkSpec]) -> str:
    """The first network of equal specification; "" if that is this one."""
    first = next(each for each in specs if specs[each] == specs[name])
    return "" if first == name else first


def _points(network: str, found: list[dict]) -> pd.DataFrame:
    table = pd.DataFrame(found).rename(columns={"name": "point"})
    table = table.assign(network=network, index=range(len(table)), block=table["block"].astype(int))
    table["depth"] = table["index"] / (len(table) - 1)
    return table[["network", "index", "point", "kind", "stage", "depth", "block", "aliased_by"]]


def _blocks(tensors: Grams, state: State) -> Tensor:
    """The blocks of a state; those of shuffled images are made from the benign ones."""
    at = f"seed{state.seed}/epoch{state.epoch}"
    if state.images != "shuffled":
        return tensors[state.network][f"{at}/{state.images}/block"]
    benign = tensors[state.network][f"{at}/benign/block"]
    order = torch.randperm(grams.images(benign), generator=runtime.generator(state.seed, "shuffled", state.network))
    return grams.permuted(benign, order)


def _row(number: int, pair: Pair, n: int, batches: int) -> dict:
    sides = {f"{part}_{side}": getattr(state, part) for side, state in (("a", pair.a), ("b", pair.b))
             for part in ("network", "seed", "epoch", "images")}  # fmt: skip
    return {"pair": number, "kind": pair.kind} | sides | {"n": n, "batches": batches}


def _scores(state: State, points: pd.DataFrame, between: dict[str, Tensor], n_resamples: int) -> list[dict]:
    """Every score of a network's map, with intervals over batches of images."""
    parts = [between[side].numpy() for side in ("ab", "aa", "bb")]
    _, weights = resampling_counts(1, len(parts[0]), n_resamples, np.random.default_rng(0))
    maps = cka_maps(*parts, weights)
    rows = []
    for layers in LAYERS:
        keep = kept(points, layers)
        if len(keep) < 2:
            continue
        found = scores(maps[:, keep][:, :, keep], points.iloc[keep])
        for name, values in found.items():
            estimate = Estimate(values, len(weights[0]))
            low, high = estimate.interval
            where = {"network": state.network, "seed": state.seed, "epoch": state.epoch, "layers": layers}
            rows.append(where | {"score": name, "value": estimate.effect, "low": low, "high": high})
    return rows


def _components(name: str, tensors: dict[str, Tensor], shown: Shown, seeds: list[int]) -> list[dict]:
    """How much of each point's variance its first component has, and how much its images of largest norm."""
    rows = []
    for seed in seeds:
        for epoch in shown.epochs:
            first, largest = (
                tensors[f"seed{seed}/epoch{epoch}/benign/{measure}"].double().mean(0).tolist()
                for measure in ("first-component", "largest-norms")
            )
            rows += [
                {"network": name, "seed": seed, "epoch": epoch, "index": index, "first_component": first[index],
                 "largest_norms": largest[index]}
                for index in range(len(first))
            ]  # fmt: skip
    return rows


def _metrics(name: str, tensors: dict[str, Tensor], shown: Shown, seeds: list[int]) -> list[dict]:
    """Every metric on the channel means of all pairs of points that have them."""
    rows = []
    for seed in seeds:
        pooled = _numbered(tensors, f"seed{seed}/epoch{shown.epochs[-1]}/pooled/")
        for (i, x), (j, y) in combinations(pooled.items(), 2):
            rows += [
                {"network": name, "seed": seed, "metric": title, "i": i, "j": j,
                 "value": metric.function(x[:METRIC_IMAGES], y[:METRIC_IMAGES])}
                for title, metric in METRICS.items()
            ]  # fmt: skip
    return rows


def _bias(name: str, tensors: dict[str, Tensor], shown: Shown, seeds: list[int]) -> list[dict]:
    """Both estimators by the size of a batch, for points that see the same images, and for shuffled ones."""
    rows = []
    for seed in seeds:
        whole = _numbered(tensors, f"seed{seed}/epoch{shown.epochs[-1]}/gram/")
        n = len(next(iter(whole.values())))
        order = torch.randperm(n, generator=runtime.generator(seed, "shuffled", name))
        sizes = [size for size in (2**k for k in range(4, 13)) if SMALLEST <= size < n] + [n]
        for (i, x), (j, y) in combinations(whole.items(), 2):
            for images, other in (("paired", y), ("shuffled", y[order][:, order])):
                rows += [
                    {"network": name, "seed": seed, "i": i, "j": j, "images": images, "estimator": estimator, "n": size,
                     "value": minibatch_cka_of_grams(x, other, size, estimator)}
                    for estimator in ESTIMATORS
                    for size in sizes
                ]  # fmt: skip
    return rows


def _numbered(tensors: dict[str, Tensor], prefix: str) -> dict[int, Tensor]:
    found = {int(key.removeprefix(prefix)): value for key, value in tensors.items() if key.startswith(prefix)}
    return dict(sorted(found.items()))


if __name__ == "__main__":
    runtime.run(main)
