"""Results files of made-up numbers in the formats of the stages, for tests of what reads them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from fourlenses.artifacts import save_tensors, write_csv, write_json
from fourlenses.invariance.alignment import tabulate

NETWORKS = {
    "resnet-standard": ("resnet", "standard", 2.0),
    "resnet-adversarial": ("resnet", "adversarial-l2", 86.0),
    "noskip-adversarial": ("resnet-noskip", "adversarial-l2", 90.0),
    "vgg-standard": ("vgg", "standard", 3.0),
    "vgg-adversarial": ("vgg", "adversarial-l2", 94.0),
}
LOSSES = {
    "free": ("none", 0.0),
    "transforms": ("none", 0.0),
    **{f"away-{w:g}": ("away", w) for w in (0.03, 0.1, 0.3, 1.0)},
    **{f"toward-{w:g}": ("toward", w) for w in (0.1, 1.0)},
}
PANEL = ["J1", "J2", "J3", "J4", "J5", "J6"]
CONTROLS = [f"J9-{draw}" for draw in range(10)]
TAU = 0.3


def answers(seeds: int = 2, images: int = 30, networks: dict = NETWORKS, losses: dict = LOSSES) -> pd.DataFrame:
    """A table of answers in which adversarial losses trade alignment against error, as in the pilot."""
    rng = np.random.default_rng(0)
    rows = []
    for network, (architecture, recipe, level) in networks.items():
        for loss, (regularizer, weight) in losses.items():
            shift = 45 if loss == "transforms" else 0
            aligned = min(level + shift, 99) / (1 + (weight / 0.3) ** 2)
            error = 0.07 + (0.12 if loss == "transforms" else 0.45 * weight / (weight + 0.4))
            for seed in range(seeds):
                errors = error * rng.uniform(0.7, 1.3, images)
                for image in range(images):
                    row = {
                        "network": network, "architecture": architecture, "recipe": recipe, "augment": "crop",
                        "beta": 0, "seed": seed, "epoch": 8, "loss": loss, "regularizer": regularizer, "weight": weight,
                        "through": "regularizer" if weight else "none", "backward": "exact", "fourier": 0,
                        "transforms": int(loss == "transforms"), "targets": "test",
                        "seed_image": "super-noise", "image": image * 3, "error": errors[image],
                        "null_low": TAU, "null_median": 0.9, "accepted": int(errors[image] <= TAU),
                    }  # fmt: skip
                    luck = rng.uniform(0, 100)
                    for rank, judge in enumerate(PANEL):
                        row[judge] = float(luck < aligned * (1 - 0.05 * rank))
                    row |= {judge: float(rng.random() < 0.5) for judge in CONTROLS}
                    rows.append(row)
    return pd.DataFrame(rows)


def predictions(seeds: int = 2, images: int = 60, networks: dict = NETWORKS) -> pd.DataFrame:
    """A table of predicted classes in which a network errs the more often, the less aligned it is."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame([(seed, image) for seed in range(seeds) for image in range(images)], columns=["seed", "image"])
    frame["label"] = frame["image"] % 10
    for network, (_, _, level) in networks.items():
        errs = rng.random(len(frame)) < 0.3 - 0.25 * level / 100
        frame[network] = (frame["label"] + errs * rng.integers(1, 10, len(frame))) % 10
    return frame


def cell(architecture: str, recipe: str, loss: str, votes: list[float], errors: float | list[float] = 0.1,
         **changes: object) -> pd.DataFrame:  # fmt: skip
    """Answers of one network by one loss, on which two judges agree; `changes` are other columns than the usual."""
    form, *_, weight = loss.split("-") if loss.startswith(("away", "toward")) else ("none", "0")
    frame = pd.DataFrame({"image": range(len(votes)), "error": errors, "J1": votes, "J2": votes})
    usual = {"augment": "crop", "beta": 0.0, "epoch": 8, "seed": 0, "fourier": 0, "targets": "test"}
    usual |= {"through": "none", "backward": "exact", "transforms": int(loss == "transforms")}
    usual |= {"seed_image": "super-noise"}
    about = usual | {"loss": loss, "regularizer": form, "weight": float(weight)} | changes
    name = f"{architecture}-{recipe}-{about['augment']}".removesuffix("-crop")
    about = {"network": name, "architecture": architecture, "recipe": recipe} | about
    return frame.assign(**about, accepted=(frame["error"] <= TAU).astype(int))


def aligned(count: int, n: int = 20) -> list[float]:
    """Answers of which the first `count` are for the target."""
    return [1.0] * count + [0.0] * (n - count)


def two_judges() -> pd.DataFrame:
    """The judges of `cell`, and two negative controls of which one passes."""
    return pd.DataFrame({"judge": ["J1", "J2", "J9-0", "J9-1"], "panel": [1, 1, 0, 0], "passes": [1, 1, 0, 1]})


def judges() -> pd.DataFrame:
    """The panel, the negative control and a missing metric."""
    panel = [("J1", "LPIPS form on a standard trunk"), ("J2", "LPIPS form on an adversarially trained trunk")]
    panel += [("J3", "LPIPS form on a random trunk"), ("J4", "pixel L2"), ("J5", "1 - SSIM"), ("J6", "L2, 4x4 blocks")]
    rows = [(name, text, 1, 100.0, 0.0, 1, 1, "used") for name, text in panel]
    rows += [(name, "signed random weights", 0, 52.0, 47.0, 0, 0, "used") for name in CONTROLS]
    rows.append(("lpips-alex", "calibrated LPIPS", 0, np.nan, np.nan, np.nan, np.nan, "missing: no weights"))
    names = ["judge", "description", "panel", "target_score", "seed_score", "non_negative", "passes", "status"]
    return pd.DataFrame(rows, columns=names)


def alignment(table: pd.DataFrame, resamples: int = 100) -> pd.DataFrame:
    """results/alignment.csv from the answers."""
    given = table.assign(null_low=TAU, null_median=0.9)
    return tabulate(given, [*PANEL, *CONTROLS], PANEL, resamples, np.random.default_rng(0))


def training(folder: Path, seeds: int, epochs: int = 8) -> None:
    """results/train/<network>.csv and .json."""
    for rank, (network, (architecture, recipe, _)) in enumerate(NETWORKS.items()):
        robust = recipe != "standard"
        rows = [
            {
                "network": network, "seed": seed, "epoch": epoch, "lr": 0.1, "loss": 2 / (epoch + 1),
                "accuracy_train": 1 - 0.7 / (epoch + 1),
                "accuracy_clean": 0.97 - 0.6 / (epoch + 1 + rank / 2) ** 1.5 - 0.01 * seed,
                "accuracy_robust": (0.78 if robust else 0.15) * (1 - 0.8 / (epoch + 1 + rank / 2)) - 0.01 * seed,
            }
            for seed in range(seeds) for epoch in range(1, epochs + 1)
        ]  # fmt: skip
        write_csv(folder / f"{network}.csv", pd.DataFrame(rows))
        measured = [
            {
                "seed": seed, "clean": {"value": 0.965, "low": 0.952, "high": 0.975, "n": 1000},
                "robust": {"value": 0.77 if robust else 0.12, "low": 0.7 if robust else 0.1, "high": 0.8, "n": 1000},
                "floor_clean": 0.9, "floor_robust": 0.5 if robust else 0.0,
            }
            for seed in range(seeds)
        ]  # fmt: skip
        content = {"network": network, "architecture": architecture, "recipe": recipe, "n_parameters": 175000}
        content |= {"attack": {"norm": "l2", "eps": 1.5, "steps": 20}, "seeds": measured}
        write_json(folder / f"{network}.json", content)


def iris(folder: Path, table: pd.DataFrame, images: int = 30) -> None:
    """iris/<network>.safetensors: noise blended with bars in the place of digits."""
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(images) % 10
    targets = torch.zeros(images, 1, 28, 28)
    for i, label in enumerate(labels.tolist()):
        targets[i, 0, 4 + label : 8 + label, 4:24] = 0.9
        targets[i, 0, 4:24, 22 - label : 25 - label] = 0.7
    noise = torch.randn(1, 28, 28, generator=rng).clamp(0, 1)
    for network, group in table.groupby("network"):
        tensors = {"targets": targets, "labels": labels, "indices": torch.arange(images) * 3}
        tensors["seed_images/super-noise"] = noise
        for (seed, loss), cell in group.groupby(["seed", "loss"]):
            share = float(cell[PANEL].to_numpy().mean())
            grain = 0.2 * torch.rand(targets.shape, generator=rng)
            name = f"seed{seed}/{loss}/super-noise"
            tensors[f"{name}/x"] = (share * targets + (1 - share) * noise + grain).clamp(0, 1)
            tensors[f"{name}/error"] = torch.tensor(cell["error"].to_numpy()).float()
        save_tensors(folder / f"{network}.safetensors", tensors, {"made": "up"})


def study(folder: Path, seeds: int = 2, images: int = 30) -> Path:
    """A study folder with every file that claims, figures and the paper read."""
    table = answers(seeds, images)
    write_csv(folder / "results/answers.csv", table)
    write_csv(folder / "results/judges.csv", judges())
    write_csv(folder / "results/predictions.csv", predictions(seeds))
    write_csv(folder / "results/alignment.csv", alignment(table))
    training(folder / "results/train", seeds)
    iris(folder / "iris", table, images)
    splits = {name: {"n": n, "shape": [1, 28, 28], "digest": "0" * 64, "classes": [n // 10] * 10}
              for name, n in (("train", 2200), ("judges", 1400), ("calibration", 400), ("test", 1000))}  # fmt: skip
    card = {"dataset": "mnist5k", "licence": "MIT", "homepage": "https://example.org", "source": "embedded"}
    card |= {"digest": "0" * 64, "splits": splits, "classes": [str(digit) for digit in range(10)]}
    (folder / "data").mkdir(parents=True, exist_ok=True)
    (folder / "data/card.json").write_text(json.dumps(card))
    return folder
