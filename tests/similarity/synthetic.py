"""Small studies of the similarity lens with maps made by hand, and the two maps that the authors published."""

from itertools import combinations

import numpy as np
import pandas as pd
from numpy import ndarray

# CKA between the 13 block points of WRN-28-4 on CIFAR-10 as digitised from the authors' plot (spec 4.2): the standard
# network below the diagonal, the robust one above it
PUBLISHED = """
1   .90 .89 .89 .96 .85 .78 .75 .75 .62 .54 .39 .21
.77 1   .99 .97 .95 .92 .85 .83 .82 .68 .61 .45 .26
.62 .91 1   .99 .95 .93 .87 .85 .84 .70 .62 .46 .27
.60 .87 .97 1   .97 .95 .90 .88 .87 .73 .65 .48 .27
.66 .88 .93 .95 1   .94 .89 .86 .86 .72 .64 .47 .25
.43 .55 .60 .64 .75 1   .98 .96 .95 .85 .77 .58 .34
.41 .53 .58 .61 .73 .97 1   .99 .98 .90 .83 .63 .35
.38 .49 .54 .57 .68 .93 .98 1   .99 .92 .85 .65 .38
.35 .47 .52 .55 .65 .91 .95 .98 1   .93 .87 .67 .39
.29 .37 .40 .41 .49 .72 .76 .79 .82 1   .95 .75 .45
.24 .30 .32 .34 .40 .60 .62 .65 .68 .91 1   .83 .50
.20 .23 .24 .25 .31 .44 .46 .47 .50 .71 .89 1   .65
.18 .19 .19 .20 .24 .34 .33 .33 .35 .50 .65 .83 1
"""
NETWORKS, POINTS, PAIRS, METRICS = (
    f"results/similarity/{name}.csv" for name in ("networks", "points", "pairs", "metrics")
)
HSIC = "results/similarity/hsic.safetensors"
SWEEP = "results/sweep.csv"
BASE = {
    "source": "sweep", "architecture": "wrn-16", "recipe": "adversarial-linf", "augment": "crop", "beta": 0.0,
    "norm": "linf", "strength": 1.0, "width": 2.0, "depth": 16.0, "n_train": 2000, "schedule": "one-cycle",
    "epochs": 8, "twin_of": np.nan, "role": np.nan, "accuracy_clean": 0.8, "accuracy_robust": 0.5,
}  # fmt: skip
STANDARD = {"recipe": "standard", "norm": np.nan}
STEP = {"schedule": "step", "epochs": 40, "n_train": 500}


def published() -> tuple[ndarray, ndarray]:
    """The maps of the standard and of the robust network."""
    both = np.array([row.split() for row in PUBLISHED.split("\n") if row], float)
    return tuple(np.tril(half) + np.tril(half, -1).T for half in (both, both.T))


def block_points() -> pd.DataFrame:
    """The rows of points.csv of the published maps."""
    return pd.DataFrame({"index": range(13), "kind": "relu", "block": 1, "stage": [1] * 4 + [2] * 4 + [3] * 4 + [-1]})


def layout() -> pd.DataFrame:
    """Sixteen points: a stem, three stages of four and a head of three."""
    rows = [("conv", 0, 0)]
    rows += [(kind, stage, block) for stage in (1, 2, 3) for kind, block in
             (("bn", 0), ("relu", 1), ("conv", 0), ("relu", 1))]  # fmt: skip
    rows += [("bn", -1, 0), ("relu", -1, 1), ("linear", -1, 0)]
    points = pd.DataFrame(rows, columns=["kind", "stage", "block"])
    return points.assign(index=range(16), depth=np.arange(16) / 15)


def falling(rate: float, border: float = 0.0) -> ndarray:
    """A map that falls with distance, exp(-rate d), and by the factor 1 - border between stages."""
    distance, stage = np.arange(16), layout()["stage"].to_numpy()
    across = stage[:, None] != stage
    return np.exp(-rate * abs(distance[:, None] - distance)) * (1 - border * across)


def alike(early: float, late: float) -> ndarray:
    """A map of two states whose matched points are so alike in the first five, the last six, and in between between."""
    return np.diag([early] * 5 + [(early + late) / 2] * 5 + [late] * 6)


class Book:
    """The tables of a study, written pair by pair; every seed and batch of a pair has the same map but for noise."""

    def __init__(self, networks: dict[str, dict], seeds: int = 3, batches: int = 4, noise: float = 0.0) -> None:
        self.networks, self.seeds, self.batches, self.noise = networks, seeds, batches, noise
        self.rows, self.hsic, self.history, self.rng = [], {}, [], np.random.default_rng(0)
        self.metrics: pd.DataFrame | None = None

    def add(self, kind: str, a: tuple, b: tuple, cka: ndarray, seeds: tuple | None = None) -> "Book":
        """A pair of states (network, epoch) for every seed, or for one pair of seeds."""
        for first, second in [seeds] if seeds else [(seed, seed) for seed in range(self.seeds)]:
            pair, images = len(self.rows), "adversarial" if kind == "adversarial" else "benign"
            self.rows.append((pair, kind, a[0], first, a[1], "benign", b[0], second, b[1], images, 64, self.batches))
            scale = self.rng.uniform(0.5, 2, (self.batches, 1, 1))
            noise = self.noise * self.rng.normal(size=(self.batches, *cka.shape))
            noise = (noise + noise.transpose(0, 2, 1)) * (1 - np.eye(len(cka))) if kind == "self" else noise
            size = 1 + np.arange(len(cka)) / 4  # of each point's HSIC, which CKA takes out
            ab = scale * (cka + noise) * np.sqrt(size[:, None] * size)
            within = np.broadcast_to(scale[:, 0] * size, ab.shape[:2])
            for name, values in (("ab", ab), ("aa", within), ("bb", within)):
                self.hsic[f"{pair}/{name}"] = values.astype(np.float32)
        return self

    def selves(self, network: str, epoch: int, cka: ndarray) -> "Book":
        return self.add("self", (network, epoch), (network, epoch), cka)

    def learn(self, network: str, clean: dict[int, float], robust: dict[int, float] | None = None) -> "Book":
        """Accuracies by epoch, a little different between seeds."""
        for seed in range(self.seeds):
            for epoch, value in clean.items():
                shift = 0.01 * (seed - (self.seeds - 1) / 2)
                self.history.append((network, seed, epoch, value + shift, (robust or clean)[epoch] - shift))
        return self

    def tables(self) -> dict:
        """The results by file name, as the stage of the claims reads them."""
        sides = [f"{column}_{side}" for side in "ab" for column in ("network", "seed", "epoch", "images")]
        columns = ["network", "seed", "epoch", "accuracy_clean", "accuracy_robust"]
        networks = pd.DataFrame([BASE | {"network": name} | about for name, about in self.networks.items()])
        tables = {
            NETWORKS: networks,
            POINTS: pd.concat([layout().assign(network=name) for name in self.networks], ignore_index=True),
            PAIRS: pd.DataFrame(self.rows, columns=["pair", "kind", *sides, "n", "batches"]),
            HSIC: self.hsic,
            SWEEP: pd.DataFrame(self.history, columns=columns),
        }  # fmt: skip
        return tables if self.metrics is None else tables | {METRICS: self.metrics}


LAST = 8
SWEPT = {
    "standard": STANDARD | {"role": "standard"}, "robust": {"role": "robust"},
    "robust-half": {"strength": 0.5}, "robust-quarter": {"strength": 0.25},
    "trades": {"recipe": "trades-linf", "beta": 6.0}, "fast": {"recipe": "fast-linf"},
    "l2": {"recipe": "adversarial-l2", "norm": "l2"}, "jpeg": {"recipe": "adversarial-jpeg", "norm": "jpeg"},
    "standard-k4": STANDARD | {"width": 4.0}, "standard-k8": STANDARD | {"width": 8.0},
    "robust-k4": {"width": 4.0}, "robust-k8": {"width": 8.0},
    "standard-step": STANDARD | STEP, "robust-step": STEP,
}  # fmt: skip
MAPS = {  # of each network at its end
    "standard": falling(0.12, 0.4), "robust": falling(0.04, 0.1), "robust-half": falling(0.05, 0.15),
    "robust-quarter": falling(0.08, 0.3), "trades": falling(0.05, 0.2), "fast": falling(0.10, 0.35),
    "l2": falling(0.05, 0.1), "jpeg": falling(0.06, 0.1),
    "standard-k4": falling(0.07, 0.3), "standard-k8": falling(0.05, 0.2),
    "robust-k4": falling(0.05, 0.2), "robust-k8": falling(0.04, 0.15),
    "standard-step": falling(0.12), "robust-step": falling(0.04),
}  # fmt: skip
EARLIER = falling(0.08, 0.2)  # the standard network at epoch 3
CROSS = {  # similarity of two networks at their early and late points
    ("standard", "robust"): (0.6, 0.4), ("standard", "robust-half"): (0.7, 0.5),
    ("standard", "robust-quarter"): (0.8, 0.6), ("standard", "l2"): (0.6, 0.2), ("standard", "jpeg"): (0.6, 0.2),
    ("robust", "robust-half"): (0.9, 0.9), ("robust", "robust-quarter"): (0.7, 0.7),
    ("robust-half", "robust-quarter"): (0.8, 0.8), ("robust", "l2"): (0.9, 0.5), ("robust", "jpeg"): (0.8, 0.5),
    ("l2", "jpeg"): (0.7, 0.5), ("standard", "standard-k4"): (0.9, 0.7), ("robust", "robust-k8"): (0.9, 0.8),
}  # fmt: skip
STEPS = {  # movement between two epochs at early and late points
    ("robust-step", 20, 40): (0.05, 0.30), ("robust-step", 10, 40): (0.9, 0.9), ("robust-step", 2, 20): (0.1, 0.4),
    ("robust-step", 2, 40): (0.9, 0.9), ("robust-step", 10, 20): (0.9, 0.9), ("robust-step", 2, 10): (0.9, 0.9),
    ("standard-step", 20, 40): (0.10, 0.40),
}  # fmt: skip


def other_metrics(seeds: int) -> pd.DataFrame:
    """CCA ranks pairs as linear CKA does; Procrustes too for the robust network, backwards for the other."""
    pairs, rows = list(combinations(range(5), 2)), []
    for network, level in (("standard", 0.3), ("robust", 0.5)):
        for seed in range(seeds):
            for rank, (i, j) in enumerate(pairs):
                up = level + rank / 100 + seed / 1000
                values = {"linear CKA": up, "linear CKA (biased)": 1 - up, "CCA": 2 * up**3}
                values["Procrustes"] = up if network == "robust" else 1 - up
                rows += [(network, seed, metric, i, j, value) for metric, value in values.items()]
    return pd.DataFrame(rows, columns=["network", "seed", "metric", "i", "j", "value"])


def sweep(seeds: int = 3, noise: float = 0.0) -> Book:
    """A study from which every quantity can be had."""
    made = Book(SWEPT, seeds=seeds, noise=noise)
    for network, m in MAPS.items():
        made.selves(network, 40 if "step" in network else LAST, m)
    made.selves("standard", 3, EARLIER).selves("standard", 5, falling(0.5))
    for (a, b), levels in CROSS.items():
        made.add("cross", (a, LAST), (b, LAST), alike(*levels))
    for a, b in combinations(range(seeds), 2):
        made.add("twin", ("standard", LAST), ("standard", LAST), alike(0.9, 0.8), seeds=(a, b))
        made.add("twin", ("robust", LAST), ("robust", LAST), alike(1.0, 1.0), seeds=(a, b))
    for network, levels in (("standard", (0.95, 0.2)), ("robust", (0.98, 0.9))):
        made.add("adversarial", (network, LAST), (network, LAST), alike(*levels))
    for (network, first, second), (early, late) in STEPS.items():
        rising = np.linspace(0, 0.01, 16) - 0.005  # so that points of one third have an order
        made.add("epochs", (network, first), (network, second), alike(1 - early, 1 - late) - np.diag(rising))
    made.learn("standard", {1: 0.3, 3: 0.72, 5: 0.79, 8: 0.9}).learn("robust", {1: 0.2, 8: 0.7})
    made.learn("robust-step", dict.fromkeys((2, 10, 20, 30, 40), 0.7), {2: 0.3, 10: 0.4, 20: 0.5, 30: 0.9, 40: 0.45})
    made.metrics = other_metrics(seeds)
    return made
