"""Tables of a study whose answers are set by hand; as they are, every claim about entanglement is reproduced."""

from itertools import product

import numpy as np
import pandas as pd
from numpy import ndarray

FOLDER = "results/entanglement"
ROLES = {"cnn": "plain", "mixed": "entangled", "small": "control"}
STARTS = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)
# in the order of networks.csv: alpha, layers, scale, shuffled, accuracy on calibration and test images in percent
NETWORKS = {
    "cnn": (0.0, "penultimate", 0.0, False, 96.0, 96.0),
    "mixed": (-1.0, "penultimate", 0.0, False, 95.0, 95.0),
    "small": (0.0, "penultimate", 0.003, False, 99.0, 99.0),
    "mild": (-0.03, "penultimate", 0.0, False, 96.5, 96.3),
    "shuffled": (-0.03, "penultimate", 0.0, True, 99.0, 99.0),
    "apart": (0.1, "penultimate", 0.0, False, 99.0, 99.0),
    "first": (-0.03, "first-half", 0.0, False, 96.1, 96.2),
    "stages": (-0.03, "hidden", 0.0, False, 96.1, 96.1),
    "last": (-0.03, "logits", 0.0, False, 94.0, 94.0),
}
CREDIBLE = {  # the largest credibility by set; all below it are as probable
    "test": {"cnn": 1.0, "mixed": 1.0, "small": 1.0},
    "letters": {"cnn": 0.7, "mixed": 0.3, "small": 0.5},
    "noise": {"cnn": 0.5, "mixed": 0.1, "small": 0.3},
    "fgsm": {"cnn": 0.8, "mixed": 0.4, "small": 0.6},
    "bim": {"cnn": 0.8, "mixed": 0.4, "small": 0.6},
    "pgd": {"cnn": 0.2, "mixed": 0.9, "small": 0.2},  # which no claim counts
}
CARRIED = {  # error of the target by source and target
    ("cnn", "cnn"): 0.8, ("cnn", "mixed"): 0.4, ("mixed", "cnn"): 0.3, ("cnn", "small"): 0.7, ("small", "cnn"): 0.6,
}  # fmt: skip
GANS = {  # entanglement at the first and the last evaluation, modes
    "conv": (0.05, 0.5, 9),
    "mlp": (0.1, 0.3, 4),
    "conv-guided": (0.5, 0.1, 10),
}
GRADIENTS = {"cnn": 0.4, "mixed": 0.8, "small": 0.6}
LAYERS = {"input": 2.0, "stage1": 0.5, "stage2": 0.5, "penultimate": 0.3, "logits": 0.2}  # of the plain network


def networks(seeds: int = 3, accuracy: dict[str, float] = {}, noise: float = 0.02, without: tuple = ()) -> dict:  # noqa: B006
    """`accuracy` on test images in percent, where it differs; seeds differ by 1 point, networks within one by noise."""
    rng = np.random.default_rng(1)
    rows = []
    for seed, (name, (alpha, layers, scale, shuffled, calibration, test)) in product(range(seeds), NETWORKS.items()):
        found = accuracy.get(name, test) + seed + noise * rng.standard_normal()
        rows.append({
            "network": name, "role": ROLES.get(name, np.nan), "alpha": alpha, "rule": "tracked", "layers": layers,
            "scale": scale, "shuffled": shuffled, "seed": seed, "accuracy_calibration": calibration / 100,
            "accuracy_test": found / 100,
        })  # fmt: skip
    table = pd.DataFrame(rows)
    return {f"{FOLDER}/networks.csv": table[~table["network"].isin(without)]}


def toy(
    seeds: int = 3, before: tuple = (1.39, 0.26), after: tuple = (0.001, 1.0), rules: tuple = ("minimum", "T=1")
) -> dict:
    """`before` and `after`, entanglement and accuracy of the nearest neighbours."""
    rows = [
        {"rule": rule, "seed": seed, "step": step, "entanglement": values[0], "accuracy_1nn": values[1] - 0.001 * seed}
        for rule, seed, (step, values) in product(rules, range(seeds), ((600, after), (0, before), (300, (0.7, 0.7))))
    ]
    return {f"{FOLDER}/toy.csv": pd.DataFrame(rows)}


def temperatures(seeds: int = 3, tracked: float = 0.0, fixed: float = 0.9, released: float = 0.0) -> dict:
    """Spread over the starts, 1 - min / max, of the values of two layers by each rule."""
    rows = [
        {"network": "cnn", "seed": seed, "layer": layer, "rule": rule, "start": start,
         "value": (1 + seed) * (1 - spread * factor * (start == 1.0))}
        for seed, (layer, factor), (rule, spread), start in product(
            range(seeds), (("a", 1.0), ("b", 0.8)),
            {"tracked": tracked, "fixed": fixed, "released": released, "search": 0.0}.items(), STARTS,
        )
    ]  # fmt: skip
    return {f"{FOLDER}/temperatures.csv": pd.DataFrame(rows)}


def watched(
    seeds: int = 3, recipe: str = "standard", final: tuple = (2.2, 2.1, 2.0, 0.6), lost: float = 0.3, at: int = 2,
    noise: float = 0.2, blocks: int = 4, anchors: int = 60,
) -> dict:  # fmt: skip
    """Blocks that lose `lost` up to the measurement `at` and gain it back, but for the last; 21 measurements."""
    rng, steps = np.random.default_rng(2), np.arange(0, 105, 5)
    kinds = ["input", *["block"] * blocks, "pool", "logits"]
    rows, arrays = [], {f"{recipe}/steps": steps}
    for seed in range(seeds):
        curves = np.zeros((len(steps), len(kinds)))
        for place, end in enumerate(final[:blocks], 1):
            curves[:, place] = np.interp(steps, [0, steps[at], 100], [2.2, end - lost, end])
        curves[:, blocks] = np.linspace(2.2, final[blocks - 1], len(steps))
        # each anchor differs for good, and from one measurement to the next
        own = rng.standard_normal(anchors) + 0.1 * rng.standard_normal((*curves.shape, anchors))
        arrays[f"{recipe}/seed{seed}"] = (curves[..., None] + noise * own).astype(np.float32)
        rows += [{"recipe": recipe, "seed": seed, "step": step, "index": index, "kind": kind}
                 for step in steps for index, kind in enumerate(kinds)]  # fmt: skip
    return {f"{FOLDER}/dynamics.csv": pd.DataFrame(rows), "results/watched.safetensors": arrays}


def gans(seeds: int = 3, only: tuple = tuple(GANS), modes: dict[str, int] = {}, fall: bool = False) -> dict:  # noqa: B006
    """Entanglement that grows from the first to the last evaluation, or falls; other `modes` where given."""
    rows, iterations = [], (0, 50, 100, 200, 400)
    for (gan, (first, last, found)), seed in product(GANS.items(), range(seeds)):
        values = np.linspace(first, last, len(iterations))[:: -1 if fall else 1]
        for iteration, value in zip(iterations, values, strict=True):
            rows.append({
                "gan": gan, "guided": int("guided" in gan), "seed": seed, "iteration": iteration,
                "real_fake_minimum": value + 0.01 * seed, "real_real_minimum": 0.61, "real_fake_fixed": value,
                "real_real_fixed": 0.69, "modes": modes.get(gan, found),
            })  # fmt: skip
    table = pd.DataFrame(rows)
    return {f"{FOLDER}/gans.csv": table[table["gan"].isin(only)]}


def layers(seeds: int = 3, hidden: float = 2.0, logits: float = 1.0, apart: float = 0.1) -> dict:
    """Entanglement of the entangled network over that of the plain one, and how much farther its classes spread."""
    rows = []
    for name, seed, (layer, value) in product(ROLES, range(seeds), LAYERS.items()):
        own = name == "mixed"
        factor = (logits if layer == "logits" else hidden) if own else 1.0
        rows.append({"source": "entangled", "network": name, "seed": seed, "layer": layer,
                     "entanglement": value * factor * (1 + 0.1 * seed), "intra_cosine": 0.3 + apart * own})  # fmt: skip
    rows += [{"source": "zoo", "network": "mixed", "seed": 0, "layer": layer, "entanglement": 9.0, "intra_cosine": 0.0}
             for layer in LAYERS]  # fmt: skip
    return {f"{FOLDER}/layers.csv": pd.DataFrame(rows)}


def detection(
    seeds: int = 3, n: int = 200, credible: dict[str, dict[str, float]] = {}, support: float = 0.4,  # noqa: B006
    without: tuple = (),
) -> dict:  # fmt: skip
    """Scores of every image; `credible` replaces CREDIBLE by set, `support` is the share of neighbours outside."""
    rng, tops = np.random.default_rng(3), CREDIBLE | credible
    sets = [("test", "test", np.nan, np.nan), ("letters", "ood", np.nan, np.nan), ("noise", "ood", np.nan, np.nan)]
    attacks = product(("fgsm", "bim", "pgd"), (0.1, 0.2))
    sets += [(f"{attack}-{eps:g}", "adversarial", attack, eps) for attack, eps in attacks]
    rows, around, arrays = [], [], {}
    for seed in range(seeds):
        orders = {name: rng.permutation(np.linspace(0, 1, n)) for name, *_ in sets}
        for network, (order, (name, kind, attack, eps)) in product(ROLES, enumerate(sets)):
            at, scores = f"{network}/seed{seed}/{name}", orders[name] * tops[name.split("-")[0]][network]
            arrays |= {f"{at}/{measure}": scores.astype(np.float32) for measure in ("credibility", "softmax")}
            share = np.array([0.9, 0.8, 0.7, 0.1]) if kind == "test" else np.array([0.5, support, 0.5, 0.9])
            arrays[f"{at}/support"] = (share[:, None] + 0.05 * rng.standard_normal((4, n))).astype(np.float32)
            if kind != "ood":
                arrays[f"{at}/right_dknn"] = np.full(n, kind == "test", np.uint8)
            rows += [{"network": network, "seed": seed, "set": name, "kind": kind, "order": order, "attack": attack,
                      "eps": eps, "measure": measure, "n": n} for measure in ("credibility", "softmax")]  # fmt: skip
            around += [{"network": network, "seed": seed, "set": name, "layer": layer, "index": index}
                       for index, layer in enumerate(list(LAYERS)[1:], 1)]  # fmt: skip
    table = pd.DataFrame(rows)
    return {
        f"{FOLDER}/detection.csv": table[~table["kind"].isin(without)], f"{FOLDER}/support.csv": pd.DataFrame(around),
        f"{FOLDER}/detection.safetensors": arrays,
    }  # fmt: skip


def perturbed(seeds: int = 3, n: int = 200, carried: dict[tuple[str, str], float] = {}) -> dict:  # noqa: B006
    """Predictions of every network on what every other was shown; `carried` replaces CARRIED."""
    rng, rates = np.random.default_rng(4), CARRIED | carried
    labels = np.arange(n) % 10
    arrays: dict[str, ndarray] = {"labels": labels}
    states, rows = list(product(ROLES, range(seeds))), []
    for name, seed in states:
        arrays[f"clean/{name}/seed{seed}"] = np.where(rng.random(n) < 0.1, 10, labels)
    for attack, eps, (source, seed), (target, other) in product(("fgsm", "pgd"), (0.1, 0.2), states, states):
        rate = rates.get((source, target), 0.5) if attack == "fgsm" and seed != other else 0.99
        wrong = rng.permutation(n) < rate * n
        arrays[f"{attack}/{eps:g}/{source}/seed{seed}/on/{target}/seed{other}"] = np.where(wrong, 10, labels)
        rows.append({"attack": attack, "eps": eps, "source": source, "source_seed": seed, "target": target,
                     "target_seed": other})  # fmt: skip
    return {f"{FOLDER}/transfer.csv": pd.DataFrame(rows), f"{FOLDER}/perturbed.safetensors": arrays}


def gradients(seeds: int = 3, mixed: float = GRADIENTS["mixed"], kinds: tuple = ("untargeted", "targeted")) -> dict:
    """Entanglement of the signs of gradients by true class; by target class the other way round."""
    rows = [
        {"network": name, "seed": seed, "gradient": kind, "grouping": grouping,
         "entanglement": (value if grouping == "true" else 1 - value) * (1 + 0.1 * seed)}
        for (name, value), seed, kind, grouping in product(
            (GRADIENTS | {"mixed": mixed}).items(), range(seeds), kinds, ("true", "target")
        )
    ]  # fmt: skip
    return {f"{FOLDER}/gradients.csv": pd.DataFrame(rows)}


BUILDERS = (networks, toy, temperatures, watched, gans, layers, detection, perturbed, gradients)


def study(seeds: int = 3, **changes: dict) -> dict:
    """All tables of a study; a keyword argument holds those of the builder of that name."""
    tables: dict = {}
    for build in BUILDERS:
        tables |= build(**{"seeds": seeds} | changes.get(build.__name__, {}))
    return tables
