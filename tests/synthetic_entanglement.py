"""Results of made-up numbers for the figures of the entanglement lens, of the forms that its stages write."""

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import save_file

from fourlenses.artifacts import write_csv

LAYERS, CHANCE = ["input", "stage1", "stage2", "penultimate", "logits"], 2.32
PLAIN = {"role": "", "alpha": 0.0, "rule": "tracked", "layers": "penultimate", "scale": 0.0, "shuffled": False}
NETWORKS = {
    "cnn-entangled": {"role": "entangled", "alpha": -1.0, "rule": "released"},
    "cnn-plain": {"role": "plain"},
    "cnn-scale": {"role": "control", "scale": 0.003},
}
OTHERS = {
    "cnn-entangled-10": {"alpha": -10.0, "rule": "released"}, "cnn-fixed-10": {"alpha": -10.0, "rule": "fixed"},
    "cnn-tracked-0.01": {"alpha": -0.01}, "cnn-tracked-0.03": {"alpha": -0.03}, "cnn-tracked-0.1": {"alpha": -0.1},
    "cnn-first-half": {"alpha": -0.03, "layers": "first-half"}, "cnn-hidden": {"alpha": -0.03, "layers": "hidden"},
    "cnn-logits": {"alpha": -0.03, "layers": "logits"}, "cnn-disentangled": {"alpha": 0.1},
    "cnn-shuffled": {"alpha": -0.03, "shuffled": True}, "cnn-scale-0.01": {"scale": 0.01},
}  # fmt: skip
ATTACKS, EPS = ["fgsm", "bim", "fgsm-targeted"], [0.1, 0.2, 0.3]
SETS = ["mnist5k", "letters", "notmnist", "noise", "blurred", "rotated"]
MEASURES = ["credibility", "confidence", "softmax", "energy", "mahalanobis", "knn"]
TOY_RULES = ["T=0.01", "T=1", "T=100", "minimum"]
SQUARES = {"input": 100.0, "stage1": 900.0, "stage2": 300.0, "penultimate": 60.0, "logits": 120.0}


def about(name: str) -> dict:
    return PLAIN | (NETWORKS | OTHERS)[name]


def strength(name: str) -> float:
    """How far a made-up network entangles its hidden layers, from -1 to 1."""
    weight = {"tracked": 12, "released": 1, "fixed": 0.2}[about(name)["rule"]]
    return float(0.7 * np.tanh(-weight * about(name)["alpha"]))


def shrunk(name: str) -> float:
    """How far a made-up network's activations are smaller than the plain one's."""
    released = about(name)["rule"] != "tracked"
    return 12.0 if released else 1 + 4e3 * about(name)["scale"] ** 1.1


def networks(names: list[str], seeds: list[int]) -> pd.DataFrame:
    rng, rows = np.random.default_rng(0), []
    for name, seed in product(names, seeds):
        lost = 0.012 * max(strength(name), 0) + 0.6 * (name == "cnn-entangled-10") - 0.003 * (strength(name) < 0)
        found = 0.97 - lost + 0.004 * rng.normal(size=2) + 0.002 * seed
        rows.append({"network": name, **about(name), "seed": seed, "accuracy_calibration": found[0],
                     "accuracy_test": found[1], "n_test": 1000})  # fmt: skip
    return pd.DataFrame(rows)


def toy(seeds: list[int]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Points of four labels, drawn from one Gaussian, that part from each other."""
    history, points = [], []
    for rule, seed in product(TOY_RULES, seeds):
        rng, hold = np.random.default_rng(seed), 1 + TOY_RULES.index(rule)
        label, place = np.arange(120) % 4, rng.normal(size=(120, 2))
        corner = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])[label]
        for step in (0, 10, 30, 100, 300, 600):
            done = 1 - np.exp(-step / 60)
            intra, inter = 4.0 - 0.5 * hold * done, 4 + (hold**3) * done
            history.append((rule, seed, step, 1.0, 1.39 * (1 - done), 1.39 * (1 - done) + 0.01 * hold * done,
                            0.25 + 0.75 * done, intra, inter))  # fmt: skip
            if step in (0, 600):
                x = place * (1 - 0.8 * done) + hold * done * corner
                points += [(rule, seed, step, i, label[i], *x[i]) for i in range(120)]
    columns = "rule seed step temperature loss entanglement accuracy_1nn intra inter".split()
    points = pd.DataFrame(points, columns="rule seed step index label x y".split())
    return pd.DataFrame(history, columns=columns), points


def level(name: str, index: int, seed: int = 0) -> float:
    """Entanglement of a layer of a made-up network."""
    if index and about(name)["alpha"] <= -10 and about(name)["rule"] == "released":
        return CHANCE * (1 - 0.02 * index)
    plain = [0.45, 0.47, 0.4, 0.2, 0.17][index]
    hidden = 0 < index < 4
    return plain * (1 + hidden * (1.3 * strength(name) / max(index, 1) + 0.4 * (about(name)["scale"] > 0)))


def loss(best: float, square: float, temperature: np.ndarray | float) -> np.ndarray:
    """A loss that is large at small temperatures, lowest at a sixth of the mean distance, and chance at large ones."""
    t = np.log10(np.asarray(temperature) * 6 / square)
    mixed = 1 - np.exp(-np.square(np.maximum(t, 0)))
    return best + np.where(t < 0, 3 * t**2, (CHANCE - best) * mixed)


def layers(names: list[str], seeds: list[int], zoo: pd.DataFrame, zoo_seeds: list[int]) -> pd.DataFrame:
    rows = []

    def add(source: str, name: str, role: str, recipe: str, seed: int, found: list[float], labels: list[str],
            smaller: float) -> None:  # fmt: skip
        for i, (layer, value) in enumerate(zip(labels, found, strict=True)):
            square = SQUARES.get(layer, 100.0) / (smaller**2 if i else 1)
            rows.append({
                "source": source, "network": name, "role": role, "recipe": recipe, "seed": seed, "layer": layer,
                "index": i, "depth": i / (len(labels) - 1), "n": 1000, "entanglement": value, "se": 0.01,
                "temperature": square / 6, "chance": CHANCE, "at_100": float(loss(value, square, 100.0)),
                "released_at_100": 2.0, "distance": square, "norm": (square / 2) ** 0.5,
                "intra_cosine": 0.5 - 0.08 * i + 0.1 * value, "inter_cosine": 0.6 + 0.1 * i, "dropped": 0,
            })  # fmt: skip

    for name, seed in product(names, seeds):
        found = [level(name, i) + 0.01 * seed for i in range(len(LAYERS))]
        add("entangled", name, about(name)["role"], "", seed, found, LAYERS, shrunk(name))
    stages = ["input", *(f"stage{i}" for i in range(1, 5)), "penultimate", "logits"]
    for (name, row), seed in product(zoo.iterrows(), zoo_seeds):
        end = {"standard": 0.1, "untrained": 1.2, "simclr": 0.5}.get(row["recipe"], 0.3) + 0.05 * (
            row["augment"] != "crop"
        )
        labels = stages if row["architecture"] != "vgg" else [each for each in stages if each != "stage4"]
        shift = 0.05 * len(row["architecture"]) / 10 + 0.01 * seed
        found = [float(0.5 + shift - (0.5 - end) * t**2 - shift * t) for t in np.linspace(0, 1, len(labels))]
        add("zoo", name, "", row["recipe"], seed, found, labels, 1.0)
    return pd.DataFrame(rows)


def temperatures(seeds: list[int]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """curves.csv of the networks that claims compare, and temperatures.csv of the plain one."""
    curves, found = [], []
    for name, (i, layer) in product(NETWORKS, enumerate(LAYERS)):
        square = SQUARES[layer] / (shrunk(name) ** 2 if i else 1)
        for temperature in square * np.logspace(-4, 2, 60):
            curves.append((name, seeds[0], layer, i, temperature, loss(level(name, i), square, temperature), CHANCE))
    for seed, (i, layer), start in product(seeds, enumerate(LAYERS), (0.01, 0.1, 1, 10, 100, 1000)):
        best, square = level("cnn-plain", i), SQUARES[layer]
        fixed = float(loss(best, square, start)) + 0.01 * seed
        rules = {"fixed": fixed, "released": 0.7 * fixed + 0.3 * best, "tracked": best + 0.02 * (fixed - best),
                 "search": best}  # fmt: skip
        found += [("cnn-plain", seed, layer, i, rule, start, value, square / 6, best) for rule, value in rules.items()]
    columns = "network seed layer index rule start value temperature minimum".split()
    curves = pd.DataFrame(curves, columns="network seed layer index temperature value chance".split())
    return curves, pd.DataFrame(found, columns=columns)


def dynamics(recipes: list[str], seeds: list[int]) -> pd.DataFrame:
    """Blocks fall fast and then rise, the last layers keep falling."""
    steps = [0, 5, 10, 15, 20, *range(30, 211, 20)]
    kinds, rows = ["input", *["block"] * 7, "pool", "logits"], []
    for recipe, seed, (i, kind), step in product(recipes, seeds, enumerate(kinds), steps):
        depth, done = i / (len(kinds) - 1), step / steps[-1]
        fall = (0.1 + 1.2 * depth**2) * (1 - np.exp(-12 * done)) - (depth < 0.7) * 0.25 * done**0.7
        fall += (depth >= 0.7) * 0.6 * done
        value = 2.14 - (fall * (0.7 if recipe != "standard" else 1) if i else 0) + 0.01 * seed
        layer = {"block": f"stage{1 + i // 3}.{i % 3}.relu1"}.get(kind, kind)
        rows.append((recipe, recipe, seed, step, step / 18, layer, i, depth, kind, value, 0.02, 50.0, CHANCE, 500))
    columns = "network recipe seed step epoch layer index depth kind entanglement se temperature chance n".split()
    return pd.DataFrame(rows, columns=columns)


def transfer(seeds: list[int]) -> pd.DataFrame:
    rows = []
    for attack, eps, a, i, b, j in product(ATTACKS, EPS, NETWORKS, seeds, NETWORKS, seeds):
        own = a == b and i == j
        easy = 1.0 if own else 0.8 if a == b else 0.6 if i == j else 0.45
        easy *= {"cnn-plain": 1, "cnn-entangled": 0.6, "cnn-scale": 0.75}[a] ** (not own)
        easy *= {"cnn-plain": 1, "cnn-entangled": 0.8, "cnn-scale": 1.1}[b]
        easy *= 0.5 if attack.endswith("targeted") else 1.1 if attack == "bim" and own else 1
        error = min(1.0, easy * (1 - np.exp(-eps / 0.1)) + 0.02 * i)
        rows.append((attack, eps, a, i, b, j, 900, error, 0.03 + 0.97 * error))
    columns = "attack eps source source_seed target target_seed n error error_all".split()
    return pd.DataFrame(rows, columns=columns)


def gradients(seeds: list[int]) -> tuple[pd.DataFrame, pd.DataFrame]:
    rng, measured, points = np.random.default_rng(5), [], []
    for name, (kind, grouping) in product(
        NETWORKS, [("untargeted", "true"), ("targeted", "true"), ("targeted", "target")]
    ):
        apart = {"cnn-plain": 1.0, "cnn-entangled": 0.4, "cnn-scale": 0.6}[name]
        for seed in seeds:
            value, purity = 2 - 1.5 * apart + 0.01 * seed, 0.3 + 0.5 * apart
            measured.append((name, seed, kind, grouping, 300, value, 0.02, 10.0, CHANCE, purity, 0.1))
    for name, kind in product(NETWORKS, ["untargeted", "targeted"]):
        apart = {"cnn-plain": 14, "cnn-entangled": 2, "cnn-scale": 6}[name]
        for i in range(300):
            group, target = (i % 10, (i + 1 + i // 10 % 9) % 10)
            angle = 2 * np.pi * (target if kind == "targeted" else group) / 10
            x, y = apart * np.array([np.cos(angle), np.sin(angle)]) + 3 * rng.normal(size=2)
            points.append((name, seeds[0], kind, i, group, target, x, y))
    columns = "network seed gradient grouping n entanglement se temperature chance purity chance_purity".split()
    measured = pd.DataFrame(measured, columns=columns)
    return measured, pd.DataFrame(points, columns="network seed gradient index label target x y".split())


def scores(names: list[str], seeds: list[int], n: int = 200) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """detection.csv and detection.safetensors, without the support."""
    rng, rows, arrays = np.random.default_rng(6), [], {}
    kinds = {"test": ("test", "", np.nan)} | {name: ("ood", "", np.nan) for name in SETS}
    kinds |= {f"{attack}-{eps:g}": ("adversarial", attack, eps) for attack, eps in product(ATTACKS, EPS)}
    for name, seed in product(names, seeds):
        inside = {}
        for order, (images, (kind, attack, eps)) in enumerate(kinds.items()):
            for measure in MEASURES:
                gap = {"test": 0, "ood": 0.45 + 0.04 * order, "adversarial": 0.2 + 0.6 * np.nan_to_num(eps)}[kind]
                gap *= 1 + 0.2 * strength(name) - 0.1 * MEASURES.index(measure)
                values = (1 - np.abs(rng.normal(size=n)) * 0.15 - gap * rng.random(n) * 1.6).clip(0, 1)
                arrays[f"{name}/seed{seed}/{images}/{measure}"] = values.astype(np.float32)
                inside.setdefault(measure, values)
                auroc = np.nan if kind == "test" else float((inside[measure][:, None] > values).mean())
                known = (name, about(name)["role"], seed, images, kind, order, attack, eps)
                rows.append((*known, measure, n, values.mean(), auroc))
    columns = "network role seed set kind order attack eps measure n mean auroc".split()
    return pd.DataFrame(rows, columns=columns), arrays


def reliability(detection: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """reliability.csv, calibration.csv and support.csv beside a detection.csv."""
    bins, calibration, support = [], [], []
    for row in detection.drop_duplicates(["network", "seed", "set"]).itertuples():
        key, over = (row.network, row.role, row.seed, row.set), 0.25 * (row.kind == "adversarial")
        lost = {"test": 0.0, "ood": 0.35, "adversarial": 0.2}[row.kind] * (1 + 0.3 * strength(row.network))
        support += [
            (*key, row.kind, layer, i, 0.95 - lost * (1.6 - 0.2 * i) - 0.01 * row.seed)
            for i, layer in enumerate(LAYERS)
        ][1:]
        for score in ("credibility", "softmax") if row.kind != "ood" else ():
            for b in range(10):
                said = (b + 0.5) / 10
                n = int(400 * said**3) if row.kind == "test" else 40 + 5 * b
                bins.append((*key, score, b, n, said if n else np.nan, max(said - over, 0) if n else np.nan))
            calibration.append((*key, score, 0.02 + over, 0.9, 0.9, 1000))
    head = ["network", "role", "seed", "set"]
    return {
        "reliability": pd.DataFrame(bins, columns=[*head, "score", "bin", "n", "mean_score", "accuracy"]),
        "calibration": pd.DataFrame(calibration, columns=[*head, "score", "ece", "accuracy", "mean_score", "n"]),
        "support": pd.DataFrame(support, columns=[*head, "kind", "layer", "index", "support"]),
    }


def gans(kinds: list[str], seeds: list[int]) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    rows, images, rng = [], {}, np.random.default_rng(7)
    iterations = [0, 50, 100, 200, 400, 600, 800, 1000, 1200]
    for kind, seed, t in product(kinds, seeds, iterations):
        good, done = {"conv": 0.9, "mlp": 0.3, "conv-guided": 0.75, "mlp-guided": 0.45}[kind], 1 - np.exp(-t / 300)
        known, mixed = (kind, int(kind.endswith("guided")), seed, t), 0.5 * good * done + 0.01 * seed
        rows.append((*known, mixed, 0.61, 0.27 + (0.1 + 0.3 * good) * done, 0.692, 40.0, 100.0, 0.693, 0.9, 1.2,
                     round(1 + 9 * good * done), 2.0 * good, 500))  # fmt: skip
        if t in (0, 200, 1200):
            x = rng.integers(0, 256, (64, 1, 28, 28)) * (1 - 0.9 * good * done)
            x[:, :, 6:22, 12:16] += 200 * good * done
            images[f"{kind}/seed{seed}/{t}"] = x.clip(0, 255).astype(np.uint8)
    columns = "gan guided seed iteration real_fake_minimum real_real_minimum real_fake_fixed real_real_fixed"
    columns += " temperature_minimum temperature_fixed chance loss_d loss_g modes entropy n"
    return pd.DataFrame(rows, columns=columns.split()), images


def write(folder: Path, zoo: pd.DataFrame, seeds: list[int], full: bool) -> None:
    """Every file of the lens that figures read, in the study's results/; `full`, more than what claims compare."""
    names = [*NETWORKS, *(OTHERS if full else [])]
    own = list(range(3)) if full else seeds
    tested = [*NETWORKS, *(["cnn-tracked-0.1"] if full else [])]
    tables: dict[str, pd.DataFrame] = {"networks": networks(names, own), "layers": layers(names, own, zoo, seeds)}
    tables["toy"], tables["toy_points"] = toy(own)
    tables["curves"], tables["temperatures"] = temperatures(own)
    tables["dynamics"] = dynamics(["standard", "adversarial-l2", "simclr"] if full else ["standard"], seeds)
    tables["transfer"] = transfer(seeds)
    tables["gradients"], tables["embedding"] = gradients(seeds)
    tables["detection"], arrays = scores(tested, seeds)
    tables |= reliability(tables["detection"])
    kinds = ["conv", "mlp", "conv-guided", "mlp-guided"] if full else ["conv", "mlp"]
    tables["gans"], images = gans(kinds, seeds)
    for name, table in tables.items():
        write_csv(folder / f"results/entanglement/{name}.csv", table)
    save_file(arrays, folder / "results/entanglement/detection.safetensors")
    save_file(images, folder / "results/gans.safetensors")
