"""Results of made-up numbers for figures: studies of any size, with every kind of network and loss."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from figures.results import Results
from fourlenses.artifacts import save_tensors, write_csv
from fourlenses.invariance.unit import Unit
from tests import synthetic, synthetic_entanglement, synthetic_similarity, synthetic_simplicity_results

ROOT = Path(__file__).parents[1]
HEAVY = ("resnet-standard", "resnet-adversarial")
ZOO = {  # architecture, recipe, augmentation, beta, alignment by the free loss in percent
    "resnet-standard": ("resnet", "standard", "crop", 0, 3),
    "resnet-adversarial": ("resnet", "adversarial-l2", "crop", 0, 86),
    "vgg-standard": ("vgg", "standard", "crop", 0, 4),
    "noskip-adversarial": ("resnet-noskip", "adversarial-l2", "crop", 0, 90),
    "vgg-adversarial": ("vgg", "adversarial-l2", "crop", 0, 94),
    "resnet-trades-6": ("resnet", "trades-l2", "crop", 6, 83),
    "resnet-mart-6": ("resnet", "mart-l2", "crop", 6, 80),
    "resnet-adversarial-plain": ("resnet", "adversarial-l2", "none", 0, 70),
    "vgg-standard-views": ("vgg", "standard", "simclr", 0, 8),
    "resnet-simclr": ("resnet", "simclr", "simclr", 0, 25),
    "resnet-simclr-plain": ("resnet", "simclr", "simclr-without-colour", 0, 20),
    "resnet-simclr-adversarial": ("resnet", "simclr-adversarial", "simclr", 0, 96),
    "resnet-untrained": ("resnet", "untrained", "crop", 0, 1),
    "noskip-standard": ("resnet-noskip", "standard", "crop", 0, 2),
    "maxpool-standard": ("resnet-maxpool", "standard", "crop", 0, 2),
    "maxpool-adversarial": ("resnet-maxpool", "adversarial-l2", "crop", 0, 75),
    "vgg-adversarial-plain": ("vgg", "adversarial-l2", "none", 0, 88),
    "resnet-standard-views": ("resnet", "standard", "simclr", 0, 5),
    "resnet-trades-1": ("resnet", "trades-l2", "crop", 1, 60),
    "vgg-trades-6": ("vgg", "trades-l2", "crop", 6, 89),
    "vgg-mart-6": ("vgg", "mart-l2", "crop", 6, 85),
    "noskip-untrained": ("resnet-noskip", "untrained", "crop", 0, 0),
}
LOSSES = {  # regularizer, weight, other columns
    "free": ("none", 0.0, {}),
    "transforms": ("none", 0.0, {"transforms": 1}),
    "tv": ("tv", 1.0, {}),
    "frequency": ("frequency", 1.0, {}),
    "fourier": ("none", 0.0, {"fourier": 1}),
    "away-0.1": ("away", 0.1, {"through": "regularizer"}),
    "away-0.3": ("away", 0.3, {"through": "regularizer"}),
    "away-1": ("away", 1.0, {"through": "regularizer"}),
    "away-robust-1": ("away", 1.0, {"through": "robust-regularizer"}),
    "toward-0.1": ("toward", 0.1, {"through": "regularizer"}),
    "toward-1": ("toward", 1.0, {"through": "regularizer"}),
    "straight-through": ("none", 0.0, {"backward": "straight-through"}),
    "cut-skip": ("none", 0.0, {"backward": "cut-skip"}),
}
SEED_IMAGES = ["super-noise", "light-noise", "other-image"]
EPOCHS, CHECKPOINTS = 24, [3, 6, 12, 18]


def answers(n_networks: int, losses: dict = LOSSES, seeds: int = 1, images: int = 20, starts: list = SEED_IMAGES,
            noise: bool = True) -> pd.DataFrame:  # fmt: skip
    """A table of answers: alignment falls with the weight of an adversarial loss, which some networks are spared."""
    rng = np.random.default_rng(0)
    frames = []
    for network, (architecture, recipe, augment, beta, level) in list(ZOO.items())[:n_networks]:
        robust = recipe.startswith(("adversarial", "trades", "mart"))
        cells = [(loss, "super-noise", "test", EPOCHS) for loss in losses if _applies(loss, network, robust)]
        cells += [("free", start, "test", EPOCHS) for start in starts[1:]]
        cells += [("free", "super-noise", "noise", EPOCHS)] * noise
        cells += [("free", "super-noise", "test", at) for at in CHECKPOINTS if recipe.startswith("simclr")]
        for loss, start, targets, epoch in cells:
            regularizer, weight, others = losses[loss]
            human = others.get("transforms", 0) or others.get("fourier", 0) or regularizer in ("tv", "frequency")
            share = min(level + 42 * human, 99) / 100 * (1 if regularizer in ("none", "tv", "frequency") else
                                                         1 / (1 + (weight / 0.3) ** 2))  # fmt: skip
            share *= {"super-noise": 1, "light-noise": 0.95, "other-image": 0.9}[start] * (
                0.3 if targets == "noise" else 1
            )
            share *= 1 - 0.5 * abs(epoch - 12) / 12 if epoch != EPOCHS else 1
            error = 0.07 + (0.18 * human if "through" not in others else 0.45 * weight / (weight + 0.4))
            n = seeds * images
            about = {"network": network, "architecture": architecture, "recipe": recipe, "augment": augment}
            about |= {"beta": float(beta), "seed": np.repeat(range(seeds), images), "epoch": epoch, "loss": loss}
            about |= {"transforms": 0, "fourier": 0, "backward": "exact", "regularizer": regularizer, "weight": weight}
            about |= {"through": "none" if regularizer == "none" else "regularizer"} | others
            about |= {"seed_image": start, "targets": targets, "image": np.tile(3 * np.arange(images), seeds)}
            about |= {"error": error * rng.uniform(0.6, 1.4, n), "null_low": 0.3, "null_median": 0.9}
            luck = rng.random(n)
            votes = {judge: luck < share * (1 - 0.06 * rank) for rank, judge in enumerate(synthetic.PANEL)}
            votes |= {judge: rng.random(n) < rng.random() for judge in synthetic.CONTROLS}
            frame = pd.DataFrame(about | {name: vote.astype(float) for name, vote in votes.items()})
            frame.insert(frame.columns.get_loc("J1"), "accepted", (frame["error"] <= 0.3).astype(int))
            frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _applies(loss: str, network: str, robust: bool) -> bool:
    if loss in ("free", "transforms", "away-1"):
        return True
    if loss == "straight-through":
        return robust
    return network in HEAVY or (loss.startswith(("away-0", "toward")) and network.startswith(("vgg", "noskip")))


def alignment(table: pd.DataFrame) -> pd.DataFrame:
    """results/alignment.csv from the answers, with the normal approximation in place of the bootstrap."""
    keys = list(table.columns[: table.columns.get_loc("image")].drop("seed"))
    kept = table[synthetic.PANEL + synthetic.CONTROLS].where(table["accepted"] == 1)
    parts = []
    for suffix, votes in (("", table), ("_kept", table.assign(**kept))):
        means = 100 * votes.groupby(keys, sort=False)[synthetic.PANEL + synthetic.CONTROLS].mean()
        means["median"] = means[synthetic.PANEL].median(axis=1)
        parts.append(means.melt(ignore_index=False, var_name="judge", value_name=f"alignment{suffix}"))
    frame = pd.concat([parts[0], parts[1].drop(columns="judge")], axis=1)
    groups = table.groupby(keys, sort=False)
    frame["n"], frame["n_kept"], frame["seeds"] = groups.size(), groups["accepted"].sum(), groups["seed"].nunique()
    frame["kept_fraction"], frame["error_mean"] = frame["n_kept"] / frame["n"], groups["error"].mean()
    frame["null_low"], frame["null_median"] = 0.3, 0.9
    for suffix, n in (("", frame["n"]), ("_kept", frame["n_kept"])):
        share = frame[f"alignment{suffix}"]
        half = 196 * np.sqrt((share / 100 * (1 - share / 100) + 0.01) / n)
        frame[f"low{suffix}"], frame[f"high{suffix}"] = (share - half).clip(0, 100), (share + half).clip(0, 100)
    return frame.reset_index()


def write(folder: Path, table: pd.DataFrame, sweep: bool = True) -> Results:
    """Every file that figures read; `sweep`, whether the similarity lens has networks of its own, and more besides."""
    rng = np.random.default_rng(1)
    final = table[(table["epoch"] == table.groupby("network")["epoch"].transform("max")) & (table["loss"] == "free")]
    about = final.drop_duplicates("network").set_index("network")
    level = final[final["seed_image"] == "super-noise"].groupby("network")[synthetic.PANEL].mean().median(axis=1)
    names, seeds = list(about.index), sorted(set(table["seed"]))
    write_csv(folder / "results/answers.csv", table)
    write_csv(folder / "results/alignment.csv", alignment(table))
    write_csv(folder / "results/judges.csv", synthetic.judges())

    few = table["seed_image"].nunique() < 3
    rows = [
        {"network": name, **about.loc[name, ["architecture", "recipe", "augment"]], "loss": "free", "kind": kind,
         "judge": judge, "clustering": value, "low": max(value - 6, 0), "high": min(value + 6, 100), "n": 1800}
        for name in names for kind, top in (("easy", 66), ("hard", 30))
        for judge, value in ((each, 33 + top * level[name]) for each in [*synthetic.PANEL, "median"])
    ]  # fmt: skip
    columns = "network architecture recipe augment loss kind judge clustering low high n".split()
    write_csv(folder / "results/clustering.csv", pd.DataFrame([] if few else rows, columns=columns))
    rows = [
        {"network": name, "seed": seed, "loss": "free", "observer": other, "recognised": 100 * alike, "cka": alike**2}
        for name in names for seed in seeds for other in names
        for alike in [1.0 if name == other else (0.2 + 0.7 * level[name]) * rng.uniform(0.7, 1)]
    ]  # fmt: skip
    write_csv(folder / "results/recognition.csv", pd.DataFrame(rows))
    write_csv(folder / "results/predictions.csv", predictions(level, len(seeds)))
    for rank, name in enumerate(names):
        epochs = np.arange(1, 13) if about.loc[name, "recipe"] != "untrained" else np.arange(0)
        rows = [
            {"network": name, "seed": seed, "epoch": epoch, "lr": 0.1, "loss": 2 / epoch, "accuracy_train": 0.9,
             "accuracy_clean": 0.97 - 0.6 / (epoch + rank / 5) ** 1.5 - 0.01 * seed,
             "accuracy_robust": (0.1 + 0.7 * level[name]) * (1 - 0.8 / (epoch + 1)) - 0.01 * seed}
            for seed in seeds for epoch in epochs
        ]  # fmt: skip
        columns = "network seed epoch lr loss accuracy_train accuracy_clean accuracy_robust".split()
        write_csv(folder / f"results/train/{name}.csv", pd.DataFrame(rows, columns=columns))
    iris(folder / "results/iris", table)
    synthetic_similarity.write(folder, about[["architecture", "recipe", "augment", "beta"]], seeds, sweep)
    synthetic_entanglement.write(folder, about[["architecture", "recipe", "augment"]], seeds, sweep)
    robust = "resnet-adversarial" if "resnet-adversarial" in names else names[-1]
    synthetic_simplicity_results.write(folder, names[0], robust, sweep)
    return Results(folder / "results", ROOT / "paper/reported.csv", tuple(names), names[0], robust)


def predictions(level: pd.Series, seeds: int, images: int = 100) -> pd.DataFrame:
    """A table of predicted classes in which a network errs the more often, the less aligned it is."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame([(seed, image) for seed in range(seeds) for image in range(images)], columns=["seed", "image"])
    frame["label"] = frame["image"] % 10
    for name, aligned in level.items():
        errs = rng.random(len(frame)) < 0.3 - 0.25 * aligned
        frame[name] = (frame["label"] + errs * rng.integers(1, 10, len(frame))) % 10
    return frame


def iris(folder: Path, table: pd.DataFrame) -> None:
    """results/iris/<network>.safetensors: noise blended with bars in the place of digits, as the judges say."""
    rng = torch.Generator().manual_seed(0)
    indices = torch.tensor(sorted(set(table.loc[table["targets"] == "test", "image"])))
    labels = torch.arange(len(indices)) % 10
    targets = torch.zeros(len(indices), 1, 28, 28)
    for i, label in enumerate(labels.tolist()):
        targets[i, 0, 4 + label : 8 + label, 4:24] = 0.9
        targets[i, 0, 4:24, 22 - label : 25 - label] = 0.7
    noise = torch.randn(1, 28, 28, generator=rng).clamp(0, 1)
    final = table[(table["epoch"] == table.groupby("network")["epoch"].transform("max"))
                  & (table["seed_image"] == "super-noise") & (table["targets"] == "test")]  # fmt: skip
    for network, group in final.groupby("network"):
        tensors = {"targets": targets, "labels": labels, "indices": indices, "seed_images/super-noise": noise}
        for (seed, loss), cell in group.groupby(["seed", "loss"]):
            share = float(cell[synthetic.PANEL].to_numpy().mean())
            grain = 0.2 * torch.rand(targets.shape, generator=rng)
            x = (share * targets + (1 - share) * noise + grain).clamp(0, 1)
            tensors[f"{Unit(loss, 'super-noise').key(seed)}/x"] = x
        save_tensors(folder / f"{network}.safetensors", tensors, {"made": "up"})


def study(folder: Path, n_networks: int, sweep: bool = True, **changes: object) -> Results:
    """The results of a study of the first networks of the zoo."""
    return write(folder, answers(n_networks, **changes), sweep)
