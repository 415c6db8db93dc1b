"""torch.compile: our adversarial training as it is, against the same loop with a compiled network."""

import copy
import os
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from unittest.mock import patch

import torch

from benchmarks.adversarial_training import THREAT, pgd_20, settings, train_ours
from benchmarks.side_by_side import RESULTS, interleaved, mnist5k, record, resnet, seconds
from fourlenses import runtime
from fourlenses.images import Images
from fourlenses.nets import Network
from fourlenses.training import RECIPES, Settings, train


def main(repetitions: int = 3, epochs: int = 6, batch: int = 128, out: Path = RESULTS) -> None:
    """Time adversarial training (L2, eps 1.5, 3 steps) of a ResNet on 2,200 images of MNIST-5k, plain and compiled.

    On a GPU the compiled side replays CUDA graphs (mode "reduce-overhead"). What compiling takes is timed apart, by a
    first training of one epoch; each repetition is another seed of the same network.

    Args:
        repetitions: how often each side is timed; the median counts, and the mean robust accuracy
        epochs: epochs of one training
        batch: images in a batch
        out: table that gets the row (CSV)
    """
    environment = runtime.environment()
    data = mnist5k(runtime.device())
    images, once, full = data["train"], settings(1, batch), settings(epochs, batch)
    network = resnet(images, 0)
    compiled = torch.compile(network, mode="reduce-overhead" if images.x.is_cuda else None)
    with TemporaryDirectory() as fresh, patch.dict(os.environ, TORCHINDUCTOR_CACHE_DIR=fresh):
        first = seconds(lambda: train_compiled(network, compiled, images, 0, once))[0]
    train_ours(images, 0, once)
    spent, networks = interleaved(
        repetitions,
        ours=lambda seed: train_ours(images, seed, full),
        peer=lambda seed: train_compiled(network, compiled, images, seed, full),
    )
    robust = {name: mean(pgd_20(each, data["test"]) for each in found) for name, found in networks.items()}
    seen = epochs * (len(images) // batch) * batch
    rates = {name: seen / each for name, each in spent.items()}
    compiling = first - spent["peer"] / epochs
    note = (
        f"ResNet 16-32-64-128, {epochs} epochs of batches of {batch}, L2 eps 1.5, {THREAT.steps} steps; PGD-20 "
        f"accuracy, mean of {repetitions}: {robust['ours']:.4f}, peer {robust['peer']:.4f}; compiling took "
        f"{compiling:.0f} s more, which are in neither rate"
    )
    record("compile", environment, rates["ours"], rates["peer"], "torch.compile", "images/s", note, out)


def train_compiled(
    network: Network, compiled: torch.nn.Module, images: Images, seed: int, settings: Settings
) -> Network:
    """As `train_ours`, by the compiled form of a network, whose weights are drawn anew; returns a copy of it."""
    network.load_state_dict(resnet(images, seed).state_dict())
    objective = RECIPES["adversarial-l2"].objective("bfloat16", THREAT, 0.0)
    stream = runtime.generator(seed, "batches", device=images.x.device)
    for _ in train(compiled, images.x, images.y, objective, settings, stream, evaluate=lambda _: {}):
        pass
    return copy.deepcopy(network)


if __name__ == "__main__":
    runtime.run(main)
