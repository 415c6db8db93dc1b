"""A study of 8x8 images that trains in a second, for tests of whole stages without DVC."""

from pathlib import Path

import torch
from commands import ROOT
from ruamel.yaml import YAML

from fourlenses.artifacts import save_tensors

NETWORK = {"architecture": "resnet", "widths": [4, 8]}
WIDE = {"architecture": "wrn-10", "widths": [4, 4, 8, 8]}
PARAMS = {
    "fetch": {"dataset": "digits", "n_train": 64, "n_judges": 64, "n_calibration": 24, "n_test": 24, "seed": 0},
    "networks": {
        "robust": NETWORK | {"recipe": "adversarial-linf"},
        "plain": NETWORK | {"recipe": "standard"},
        "other": NETWORK | {"recipe": "standard", "architecture": "vgg"},
    },
    "train": {
        "seeds": [0, 1], "epochs": 4, "batch": 16, "lr": 0.1, "weight_decay": 5e-4, "crop_padding": 1, "flip": True,
        "ema_decay": 0.5, "precision": "bfloat16", "eps_l2": 0.2, "eps_linf": 0.05, "attack_steps": 2,
        "floor_clean": 0.0, "floor_robust": 0.0, "floor_probe": 0.0,
    },
    "judges": {
        "seed": 1000, "epochs": 2, "eps_l2": 0.2, "lpips": [],
        "trunks": {
            name: NETWORK | {"recipe": recipe}
            for name, recipe in {
                "standard": "standard", "robust": "adversarial-l2", "random": "untrained", "regularizer": "standard",
                "robust-regularizer": "adversarial-l2",
            }.items()
        },
    },
    "invert": {
        "n_targets": 6, "noise_targets": 2, "steps": 40, "step_l2": 1.0, "precision": "bfloat16",
        "seed_images": ["super-noise"],
        "losses": {"free": {}, "transforms": {"transforms": True}, "away-1": {"regularizer": "away", "weight": 1.0}},
    },
    "judge": {"n_bootstrap": 50},
    "sweep": {
        "epochs": 2, "n_train": 64, "attack_steps": 1, "floor_clean": 0.0,
        "eps_l2": 0.2, "eps_linf": 0.05, "eps_jpeg": 1.0, "eps_gabor": 0.1, "eps_snow": 0.1,
        "networks": {
            "wide-standard": WIDE | {"recipe": "standard"},
            "wide-robust": WIDE | {"recipe": "adversarial-linf", "epochs": 3, "checkpoints": [1]},
            "wide-robust-again": WIDE | {"recipe": "adversarial-linf", "epochs": 3},
            "wide-snow": WIDE | {"recipe": "adversarial-snow", "strength": 0.5},
        },
    },
    "represent": {"n_images": 16, "batch": 8, "attack_steps": 2, "attacked": ["wide-standard", "wide-robust"]},
    "compare": {"standard": "wide-standard", "robust": "wide-robust", "n_bootstrap": 20},
    "entangled": {
        "architecture": "resnet", "widths": [4, 8], "seeds": [0, 1], "epochs": 2, "n_train": 64, "lr": 1e-3,
        "temperature": 100.0,
        "networks": {
            "cnn-plain": {}, "cnn-entangled": {"alpha": -1.0, "rule": "released"}, "cnn-scale": {"scale": 0.01},
            "cnn-first-half": {"alpha": -0.1, "layers": "first-half"},
            "cnn-shuffled": {"alpha": -0.1, "shuffled": True},
        },
    },
    "watched": {
        "architecture": "wrn-10", "widths": [4, 4, 8, 8], "recipes": ["standard", "adversarial-linf"], "epochs": 2,
        "n_train": 64, "n_images": 24, "every": 4,
    },
    "measure": {
        "plain": "cnn-plain", "entangled": "cnn-entangled", "control": "cnn-scale", "n_images": 24, "toy_seeds": [0],
        "toy_points": 24, "toy_steps": 20,
    },
    "perturb": {
        "networks": ["cnn-plain", "cnn-entangled", "cnn-scale"], "seeds": [0, 1],
        "attacks": ["fgsm", "bim", "fgsm-targeted"],
        "eps": [0.1, 0.2], "steps": 2, "n_images": 24, "n_gradients": 20,
    },
    "detect": {
        "networks": ["cnn-plain", "cnn-entangled", "cnn-scale"], "k": 5, "n_references": 64, "n_images": 24,
        "sets": ["noise", "blurred", "rotated"],
    },
    "gans": {
        "kinds": ["conv", "mlp", "conv-guided"], "seeds": [0], "iterations": 6, "batch": 16, "every": 3, "n_images": 12,
        "widths": [8, 4],
    },
    "glow": {
        "source": "uniform-noise:1x8x8", "held_out": ["group 8", "group 9"], "n_images": 200, "seed": 0, "n_scales": 2,
        "batch": 16, "lr": 2e-3, "most_black": 100.0, "least_noise": 0.0, "most_noise": 1000.0, "ordered": False,
        "precision": "bfloat16",
        "priors": {
            "glow": {"depth": 2, "width": 8, "steps": 20},
            "shallow": {"depth": 1, "width": 8, "coupling": "additive", "steps": 10},
        },
    },
    "ladder": {"n_images": 16, "sets": ["digits"]},
    "simplify": {
        "architecture": "groupnorm", "widths": [4, 8, 8, 8], "base": 4, "n_train": 48, "n_test": 16, "warm_steps": 2,
        "steps": 4, "batch": 16, "lr": 1e-3, "tau": 0.5, "retrain_epochs": 2,
        "beds": {
            "images": {"weights": [0.0, 1.0, 2.0, 5.0, 10.0], "seeds": [0]},
            "noise": {"distractor": "noise", "weights": [0.0, 10.0], "seeds": [0, 1]},
            "beside": {"distractor": "beside", "partner": "digits", "weights": [10.0], "seeds": [0]},
            "beside-reversed": {
                "distractor": "beside", "partner": "digits", "label": "distractor", "weights": [10.0], "seeds": [0],
            },
            "stripes-residual": {"distractor": "stripes", "form": "residual", "weights": [10.0], "seeds": [0]},
        },
    },
    "baselines": {"beds": ["images", "beside"], "blur": [0.5, 1.0], "jpeg": [5, 50], "mse": [1.0]},
    "condense": {
        "architecture": "convnet", "widths": [4, 4, 4], "seeds": [0, 1], "ipc": [1, 2], "weights": [0.0, 10.0],
        "rounds": 2, "inner": 2, "net_steps": 1, "batch": 8, "lr": 0.1, "n_networks": 2, "epochs": 4,
        "evaluate": {
            "convnet": {"architecture": "convnet", "widths": [4, 4, 4]},
            "groupnorm": {"architecture": "groupnorm", "widths": [4, 8, 8, 8]},
        },
    },
    "explain": {
        "standard": "plain", "robust": "robust", "seeds": [0, 1], "n_images": 3, "steps": 3, "lr": 0.05, "weight": 1.0,
    },
    "rehearse": {
        "tasks": ["digits", "own"], "seeds": [0], "n_train": 48, "epochs": 2, "lr": 1e-3, "ipc": 1,
        "weights": [0.0, 10.0],
    },
    "draw": {"standard": "plain", "robust": "robust"},
}  # fmt: skip


def make(folder: Path, **train: object) -> Path:
    """Write the parameters, with changes in the section `train`, and the images: three classes of noisy stripes."""
    params = PARAMS | {"root": str(ROOT), "train": PARAMS["train"] | train}
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "params.yaml", "w") as file:
        YAML(typ="safe").dump(params, file)
    for i, split in enumerate(("train", "judges", "calibration", "test")):
        n = params["fetch"][f"n_{split}"]
        stream = torch.Generator().manual_seed(i)
        y = torch.arange(n) % 3
        stripes = (torch.arange(8).view(1, 8) // (y.view(n, 1) + 1) % 2).view(n, 1, 1, 8)
        x = 150 * stripes.expand(n, 1, 8, 8) + torch.randint(0, 100, (n, 1, 8, 8), generator=stream)
        save_tensors(folder / f"data/{split}.safetensors", {"x": x.byte(), "y": y}, {"classes": ["a", "b", "c"]})
    return folder


def train(network: str) -> list[str]:
    """The command of the train stage, as in dvc.yaml, after `python`."""
    outputs = f"--out models/{network}.safetensors --history results/{network}.csv --metrics results/{network}.json"
    return f"-m stages.train --network {network} --data data {outputs}".split()


def train_judges() -> list[str]:
    return "-m stages.train_judges --data data --out models/judges.safetensors --metrics results/judges.json".split()


def invert(network: str) -> list[str]:
    inputs = f"--data data --weights models/{network}.safetensors --judges models/judges.safetensors"
    outputs = f"--out iris/{network}.safetensors --table results/invert/{network}.csv"
    return f"-m stages.invert --network {network} {inputs} {outputs}".split()


def judge() -> list[str]:
    inputs = "--trunks models/judges.safetensors --iris iris --tables results/invert"
    outputs = "--answers results/answers.csv --alignment results/alignment.csv --judges results/judges.csv"
    return f"-m stages.judge {inputs} {outputs}".split()


def train_sweep() -> list[str]:
    outputs = "--out sweep --history results/sweep.csv --metrics results/sweep.json"
    return f"-m stages.train_sweep --data data {outputs}".split()


def represent() -> list[str]:
    inputs = "--data data --models models --sweep sweep --accuracy results/sweep.json"
    return f"-m stages.represent {inputs} --out grams".split()


def compare() -> list[str]:
    return "-m stages.compare --folder grams --out results/similarity".split()


def train_glow() -> list[str]:
    outputs = "--out results/glow.safetensors --photos data/photos.safetensors --table results/simplicity/glow.csv"
    return f"-m stages.train_glow --data data {outputs}".split()
