"""Measure how mixed the classes are in every layer of every network, and what the measure itself does."""

from pathlib import Path

import pandas as pd

from fourlenses import runtime
from fourlenses.artifacts import load_tensors, read_json, write_csv
from fourlenses.entanglement import toy
from fourlenses.entanglement.measures import curve, followed, measured, representations
from fourlenses.entanglement.snnl import chance_level
from fourlenses.nets.zoo import load_network
from fourlenses.params import read_params

TABLES = ("networks", "toy", "toy_points", "temperatures", "curves", "layers")
LR = 0.02  # of the points in the plane, whose standard deviation is 1
FOLLOWED = 200  # images on which the rules for the temperature are followed


def main(data: Path, models: Path, entangled: Path, metrics: Path, out: Path) -> None:
    """Measure how mixed the classes are in every layer of every network, and what the measure itself does.

    Args:
        data: folder of the data set's splits
        models: folder of the zoo's networks (safetensors)
        entangled: folder of the networks trained with the soft nearest neighbour loss (safetensors)
        metrics: the accuracies of the latter (JSON)
        out: folder of the tables (CSV)
    """
    params = read_params()
    specs, seeds, n = params.entangled.networks, params.entangled.seeds, params.measure.n_images
    recipes = {name: spec.recipe for name, spec in params.networks.items()}
    zoo_seeds = params.train.seeds
    plain, control = params.measure.plain, params.measure.control
    roles = {plain: "plain", params.measure.entangled: "entangled", control: "control"}
    toys = params.measure.toy_seeds, params.measure.toy_points, params.measure.toy_steps
    decides = {"networks": {name: spec.model_dump() for name, spec in specs.items()}, "seeds": seeds}
    decides |= {"recipes": recipes, "zoo_seeds": zoo_seeds, "roles": roles, "n_images": n, "toy": toys}
    inputs = [data / "test.safetensors", metrics]
    inputs += [models / f"{name}.safetensors" for name in recipes]
    inputs += [entangled / f"{name}.safetensors" for name in specs]
    outputs = [out / f"{table}.csv" for table in TABLES]

    with runtime.stage("measure", decides=decides, inputs=inputs, outputs=outputs):
        device = runtime.device()
        test, _ = load_tensors(inputs[0])
        x, y = (test[part][:n].to(device) for part in ("x", "y"))
        tables = {table: [] for table in TABLES}
        accuracies = read_json(metrics)
        for name, spec in specs.items():
            network_is = {"network": name, "role": roles.get(name, "")} | spec.model_dump()
            tables["networks"] += [network_is | _accuracy(each) for each in accuracies[name]["seeds"]]
        for seed, rule in runtime.progress([(seed, rule) for seed in toys[0] for rule in toy.RULES], "toy"):
            moved, points = _toy(rule, seed, *toys[1:])
            tables["toy"] += moved
            tables["toy_points"] += points

        pixels: dict[str, float] = {}  # the same for every network
        wanted = [("zoo", name, seed) for name in recipes for seed in zoo_seeds]
        wanted += [("entangled", name, seed) for name in specs for seed in seeds]
        for source, name, seed in runtime.progress(wanted, "layers"):
            folder = models if source == "zoo" else entangled
            network = load_network(folder / f"{name}.safetensors", seed, device, name)
            role = roles.get(name, "")
            network_is = {"source": source, "network": name, "role": role, "recipe": recipes.get(name, "")}
            found = representations(network, x)
            for index, (layer, h) in enumerate(found.items()):
                pixels = pixels or measured(h, y)
                at = {"seed": seed, "layer": layer, "index": index}
                row = measured(h, y) if index else pixels
                tables["layers"].append(network_is | at | {"depth": index / (len(found) - 1)} | row)
                if name == plain and index:
                    rows = followed(h[:FOLLOWED], y[:FOLLOWED])
                    tables["temperatures"] += [{"network": name} | at | each for each in rows]
                if role and seed == seeds[0]:
                    drawn = zip(*(each.tolist() for each in curve(h, y)), strict=True)
                    tables["curves"] += [
                        {"network": name} | at | {"temperature": temperature, "value": value, "chance": chance_level(y)}
                        for temperature, value in drawn
                    ]
        for table in TABLES:
            write_csv(out / f"{table}.csv", pd.DataFrame(tables[table]))


def _accuracy(measured: dict) -> dict:
    """One seed's columns from the metrics of training."""
    clean = measured["clean"]
    columns = {"seed": measured["seed"], "accuracy_calibration": measured["calibration"]["value"]}
    return columns | {"accuracy_test": clean["value"], "n_test": clean["n"]}


def _toy(rule: str, seed: int, n: int, steps: int) -> tuple[list[dict], list[dict]]:
    """The descent of one set of points by one rule, and where they were and are."""
    start, labels = toy.scattered(n, runtime.generator(seed, "toy"))
    end, history = toy.descend(start, labels, rule, steps, LR)
    points = [
        {"rule": rule, "seed": seed, "step": step, "index": index, "label": label, "x": x, "y": y}
        for step, at in ((0, start), (steps, end))
        for index, (label, (x, y)) in enumerate(zip(labels.tolist(), at.tolist(), strict=True))
    ]
    return [{"rule": rule, "seed": seed} | row for row in history], points


if __name__ == "__main__":
    runtime.run(main)
