"""Results of made-up numbers for the figures of the similarity lens: a sweep of networks, and a zoo beside it."""

from functools import cache
from pathlib import Path
from zlib import crc32

import numpy as np
import pandas as pd
from safetensors.numpy import save_file

from fourlenses.artifacts import write_csv

BATCHES, SIZE, EPOCHS, LONG = 3, 64, 12, [1, 2, 4, 8, 16, 24, 32]
BASE = {"architecture": "wrn-16", "recipe": "adversarial-linf", "augment": "crop", "beta": 0.0, "norm": "linf",
        "strength": 1.0, "width": 2.0, "depth": 16.0, "n_train": 2000, "schedule": "one-cycle", "epochs": EPOCHS,
        "twin_of": "", "role": ""}  # fmt: skip
STANDARD = {"recipe": "standard", "norm": ""}
OVERFIT = {"schedule": "step", "epochs": LONG[-1], "n_train": 500}
SWEEP = {
    "standard": STANDARD | {"role": "standard"},
    "robust": {"role": "robust"},
    "untrained": {"recipe": "untrained", "norm": ""},
    **{f"robust-{s:g}": {"strength": s} for s in (0.25, 0.5, 2.0)},
    "half-half": {"recipe": "half-half-linf"},
    "trades": {"recipe": "trades-linf", "beta": 6.0},
    "fast": {"recipe": "fast-linf"},
    **{norm: {"recipe": f"adversarial-{norm}", "norm": norm} for norm in ("l2", "jpeg", "gabor", "snow")},
    **{f"{name}-k{k}": ({} if name == "robust" else STANDARD) | {"width": float(k)}
       for name in ("standard", "robust") for k in (1, 4)},
    **{f"{name}-d{d}": ({} if name == "robust" else STANDARD) | {"depth": float(d), "architecture": f"wrn-{d}"}
       for name in ("standard", "robust") for d in (10, 22)},
    "standard-step": STANDARD | OVERFIT,
    "robust-step": OVERFIT,
}  # fmt: skip


def wide_points(depth: int) -> pd.DataFrame:
    """The points of a Wide ResNet in execution order."""
    rows = [("stem", "conv", 0, 0)]
    for stage in (1, 2, 3):
        for block in range((depth - 4) // 6):
            kinds = ["bn", "relu", "conv", "bn", "relu", "conv", *["conv"] * (block == 0), "sum"]
            rows += [(f"{stage}.{block}.{i}", kind, stage, int(i == 1)) for i, kind in enumerate(kinds)]
    rows += [(f"head.{kind}", kind, -1, int(kind == "relu")) for kind in ("bn", "relu", "pool", "linear")]
    frame = pd.DataFrame(rows, columns=["point", "kind", "stage", "block"])
    overwritten = (frame["kind"] == "bn").astype(int)
    frame["index"] = np.arange(len(frame))
    return frame.assign(depth=frame["index"] / (len(frame) - 1), aliased_by=frame["index"] + overwritten)


def networks(zoo: pd.DataFrame, sweep: bool) -> pd.DataFrame:
    """results/similarity/networks.csv; `zoo` has architecture, recipe, augmentation and beta by network."""
    rows = [BASE | {"network": name, "source": "sweep"} | about for name, about in SWEEP.items()] if sweep else []
    empty = {"norm": "", "width": np.nan, "depth": np.nan}
    rows += [BASE | empty | {"network": name, "source": "zoo"} | dict(row) for name, row in zoo.iterrows()]
    frame = pd.DataFrame(rows)
    robust = np.array([_robustness(row) for row in frame.to_dict("records")])
    frame["accuracy_clean"] = np.where(frame["recipe"] == "untrained", 0.1, 0.95 - 0.2 * robust)
    return frame.assign(accuracy_robust=0.05 + 0.55 * robust)


def _robustness(about: dict) -> float:
    """How robust a made-up network is, from 0 to 1."""
    if about["recipe"] in ("standard", "untrained", "simclr"):
        return 0.0
    return about["strength"] / (about["strength"] + 0.3)


@cache
def _mixing(name: str) -> np.ndarray:
    """A random rotation, the same for the same name."""
    return np.linalg.qr(np.random.default_rng(crc32(name.encode())).normal(size=(SIZE, SIZE)))[0]


def _states(about: dict, points: pd.DataFrame, seed: int, progress: float, images: str) -> np.ndarray:
    """A vector for every batch and point of a network in one state: similarity of points is their scalar product."""
    robust, name = _robustness(about), f"{about['network']}{seed}"
    rng = np.random.default_rng(crc32(f"{name}{progress}{images}".encode()))
    stage = points["stage"].where(points["stage"] >= 0, 4).to_numpy()
    t = points["depth"].to_numpy()
    place = t + (0.25 - 0.2 * robust) * stage - 0.4 * t * (1 - progress)
    waves = np.random.default_rng(0).normal(size=SIZE // 2) / (0.55 + 0.25 * robust)
    phase = np.outer(place, waves)
    curve = np.concatenate([np.cos(phase), np.sin(phase)], axis=1) / np.sqrt(SIZE / 2)
    family = "untrained" if about["recipe"] == "untrained" else "standard"
    parts = {"images": 0.5 - 0.3 * t, family: (1 - robust) * 0.5, "robust": robust * 0.9, about["recipe"]: 0.15 * t}
    parts |= {name: 0.05 + 0.2 * t * (1 - robust)}
    parts[f"{name}{progress}"] = (0.3 * t**2 + 0.02) * progress
    if images == "adversarial":
        parts["attack"] = (1.6 - 1.5 * robust) * t**2
    parts["noise"] = {"no-first-component": 0.3, "no-largest-norms": 0.1}.get(images, 0) * t
    vectors = sum(np.sqrt(np.broadcast_to(share, t.shape))[:, None] * (curve @ _mixing(part))
                  for part, share in parts.items())  # fmt: skip
    own = np.random.default_rng(crc32(about["recipe"].encode())).normal(size=(len(t), SIZE)) / np.sqrt(SIZE)
    vectors += np.where((points["kind"] == "conv").to_numpy()[:, None], 0.45 * own, 0)
    if images == "shuffled":
        return rng.normal(size=(BATCHES, len(t), SIZE)) * 0.2
    return vectors + 0.04 * rng.normal(size=(BATCHES, len(t), SIZE)) / np.sqrt(SIZE)


def comparisons(about: pd.DataFrame, points: pd.DataFrame, seeds: list[int]) -> tuple[pd.DataFrame, dict]:
    """results/similarity/pairs.csv and the arrays of hsic.safetensors."""
    known = {row["network"]: row for row in about.to_dict("records")}
    where = {name: rows.reset_index(drop=True) for name, rows in points.groupby("network")}
    end = {name: 0 if row["recipe"] == "untrained" else row["epochs"] for name, row in known.items()}
    rows, arrays = [], {}

    def compare(kind: str, a: tuple, b: tuple) -> None:
        x, y = (_states(known[name], where[name], seed, epoch / (end[name] or 1), images)
                for name, seed, epoch, images in (a, b))  # fmt: skip
        pair = str(len(rows))
        arrays[f"{pair}/ab"] = (x @ y.transpose(0, 2, 1)).astype(np.float32)
        arrays[f"{pair}/aa"], arrays[f"{pair}/bb"] = ((z**2).sum(-1).astype(np.float32) for z in (x, y))
        rows.append((int(pair), kind, *a, *b, 64, BATCHES))

    def last(name: str, seed: int, images: str = "benign") -> tuple:
        return name, seed, end[name], images

    for seed in seeds:
        for name, row in known.items():
            early = {"step": LONG[:-1]}.get(row["schedule"], [1, 3, 6] if row["role"] == "standard" else [])
            kept = [*early, end[name]]
            for epoch in kept:
                compare("self", (name, seed, epoch, "benign"), (name, seed, epoch, "benign"))
            for i, epoch in enumerate(kept if row["schedule"] == "step" else []):
                for later in kept[i + 1 :]:
                    compare("epochs", (name, seed, epoch, "benign"), (name, seed, later, "benign"))
            if row["source"] == "sweep":
                compare("adversarial", last(name, seed), last(name, seed, "adversarial"))
            if row["role"]:
                compare("shuffled", last(name, seed), last(name, seed, "shuffled"))
                for images in ("no-first-component", "no-largest-norms"):
                    compare(images, last(name, seed, images), last(name, seed, images))
        same = about[(about["source"] == "sweep") & (about["depth"] == BASE["depth"]) & (about["schedule"] != "step")]
        for i, a in enumerate(same["network"]):
            for b in same["network"].iloc[i + 1 :]:
                compare("cross", last(a, seed), last(b, seed))
    for name in about.loc[about["source"] == "sweep", "network"]:
        for i, a in enumerate(seeds):
            for b in seeds[i + 1 :]:
                compare("twin", last(name, a), last(name, b))
    sides = [f"{column}_{side}" for side in "ab" for column in ("network", "seed", "epoch", "images")]
    return pd.DataFrame(rows, columns=["pair", "kind", *sides, "n", "batches"]), arrays


def scores(about: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """results/similarity/scores.csv, of plausible numbers for every state."""
    rng, known = np.random.default_rng(2), {row["network"]: row for row in about.to_dict("records")}
    rows = []
    for state in pairs[pairs["kind"] == "self"].itertuples():
        robust = _robustness(known[state.network_a])
        wide = np.log2(np.nan_to_num(known[state.network_a]["width"], nan=2.0))
        made = {"s_off": 0.55 + 0.3 * robust - 0.02 * wide, "s_near": 0.8 + 0.1 * robust, "s_far": 0.3 + 0.4 * robust}
        made |= {"gap": 0.5 - 0.3 * robust, "stage_contrast": 0.32 - 0.2 * robust + 0.03 * wide * (1 - robust)}
        made |= {"run_0.9": 0.2 + 0.3 * robust, "run_0.8": 0.4 + 0.3 * robust + 0.06 * wide * (1 - robust)}
        made |= {"run_0.7": 0.6 + 0.3 * robust, "effective_rank": 2.4 - 0.8 * robust, "first_to_last": 0.2}
        made |= {"drop_depth": 0.2 + 0.4 * robust, "edge": 0.25 - 0.2 * robust}
        for layers in ("all", "no-bn", "blocks"):
            for score, value in made.items():
                value += 0.02 * rng.normal()
                about_it = (state.network_a, state.seed_a, state.epoch_a, layers, score)
                rows.append((*about_it, value, value - 0.03, value + 0.03))
    return pd.DataFrame(rows, columns="network seed epoch layers score value low high".split())


def components(about: pd.DataFrame, points: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """results/similarity/components.csv: one component and a few images hold most in deep layers."""
    known, rng = {row["network"]: row for row in about.to_dict("records")}, np.random.default_rng(4)
    tables = []
    for state in pairs[pairs["kind"] == "self"].itertuples():
        depth = points.loc[points["network"] == state.network_a, "depth"].to_numpy()
        dominated = (1 - 0.6 * _robustness(known[state.network_a])) * (1 - 1 / (state.epoch_a + 1.5))
        held = depth * dominated + 0.05 * rng.random(len(depth))
        made = {"network": state.network_a, "seed": state.seed_a, "epoch": state.epoch_a, "index": range(len(depth))}
        tables.append(pd.DataFrame(made | {"first_component": 0.15 + 0.5 * held, "largest_norms": 0.02 + 0.1 * held}))
    return pd.concat(tables, ignore_index=True)


def histories(about: pd.DataFrame, seeds: list[int]) -> pd.DataFrame:
    """results/sweep.csv: a step schedule on few images overfits where the training is robust."""
    rows = []
    for row in about[(about["source"] == "sweep") & (about["recipe"] != "untrained")].to_dict("records"):
        robust, long = _robustness(row), row["schedule"] == "step"
        for seed in seeds:
            for epoch in range(1, row["epochs"] + 1):
                risen = 1 - np.exp(-epoch / 4)
                lost = 0.15 * max(0, epoch - 16) / 16 * robust * long
                train = min(1, 0.55 * risen + 0.45 * epoch / row["epochs"] * long) if robust else risen
                clean, held = (0.95 - 0.2 * robust) * risen, robust * 0.6 * risen - lost + 0.02
                about_it = (row["network"], seed, epoch, 0.1, 2 / epoch)
                rows.append((*about_it, train, clean - 0.01 * seed, held - 0.01 * seed))
    columns = "network seed epoch lr loss accuracy_train accuracy_clean accuracy_robust".split()
    return pd.DataFrame(rows, columns=columns)


def metrics(about: pd.DataFrame, seeds: list[int]) -> pd.DataFrame:
    """results/similarity/metrics.csv: metrics that agree with linear CKA more or less."""
    rng, rows = np.random.default_rng(3), []
    for name in about.loc[about["role"] != "", "network"]:
        for seed in seeds:
            base = {(i, j): np.exp(-abs(i - j) / 6) for i in range(16) for j in range(i + 1, 16)}
            for rank, metric in enumerate(METRICS):
                for (i, j), value in base.items():
                    seen = value ** (1 + 0.1 * rank) + 0.03 * rank * rng.normal() * value * (1 - value)
                    rows.append((name, seed, metric, i, j, seen))
    return pd.DataFrame(rows, columns="network seed metric i j value".split())


METRICS = ("linear CKA", "linear CKA (biased)", "RBF CKA", "CCA", "SVCCA", "PWCCA", "Procrustes")


def bias(about: pd.DataFrame, seeds: list[int]) -> pd.DataFrame:
    """results/similarity/bias.csv: the biased estimator finds similarity where there is none, most among few images."""
    rows = []
    for name in about.loc[about["role"] != "", "network"]:
        for seed in seeds:
            for i in range(5):
                for j in range(i + 1, 5):
                    for n in (16, 32, 64, 128, 256):
                        for images, truth in (("paired", 0.8 - 0.1 * (j - i)), ("shuffled", 0.0)):
                            floor = 60 * (5 - i) / (60 * (5 - i) + n)
                            rows.append((name, seed, i, j, images, "debiased", n, truth + 0.3 * (-1) ** i / n))
                            rows.append((name, seed, i, j, images, "biased", n, truth + (1 - truth) * floor))
    return pd.DataFrame(rows, columns="network seed i j images estimator n value".split())


def write(folder: Path, zoo: pd.DataFrame, seeds: list[int], sweep: bool) -> None:
    """Every file of the similarity lens that figures read, in the study's results/."""
    about = networks(zoo, sweep)
    wide = {depth: wide_points(depth) for depth in (10, 16, 22)}
    depths = about["depth"].fillna(10).astype(int)
    points = pd.concat([wide[d].assign(network=name) for name, d in zip(about["network"], depths, strict=True)])
    pairs, arrays = comparisons(about, points, seeds)
    tables = {
        "networks": about, "points": points, "pairs": pairs, "scores": scores(about, pairs),
        "components": components(about, points, pairs), "metrics": metrics(about, seeds), "bias": bias(about, seeds),
    }  # fmt: skip
    for name, table in tables.items():
        write_csv(folder / f"results/similarity/{name}.csv", table)
    write_csv(folder / "results/sweep.csv", histories(about, seeds))
    save_file(arrays, folder / "results/similarity/hsic.safetensors")
