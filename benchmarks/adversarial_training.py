"""Adversarial training: our loop in bfloat16 and channels-last against `robustness.train.train_model` in float32."""

import contextlib
import io
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from unittest.mock import patch

import torch
from cox.utils import Parameters
from torch import Tensor

from benchmarks.attacker import attacker_model, no_gpu_needed
from benchmarks.side_by_side import RESULTS, interleaved, mnist5k, operations, record, resnet, share_of_peak
from fourlenses import runtime
from fourlenses.images import Images
from fourlenses.nets import Network
from fourlenses.training import RECIPES, Settings, Threat, one_cycle, robust_accuracy, train
from fourlenses.training.augment import crop_and_flip

THREAT = Threat("l2", 1.5, 3)


def main(repetitions: int = 3, epochs: int = 6, batch: int = 128, out: Path = RESULTS) -> None:
    """Time adversarial training (L2, eps 1.5, 3 steps) of a ResNet on 2,200 images of MNIST-5k, ours and robustness's.

    Both start from the same weights and see the same batches in the same order; each repetition is another seed.

    Args:
        repetitions: how often each side is timed; the median counts, and the mean robust accuracy
        epochs: epochs of one training
        batch: images in a batch
        out: table that gets the row (CSV)
    """
    environment = runtime.environment()
    data = mnist5k(runtime.device())
    few = Images(data["train"].x[: 4 * batch], data["train"].y[: 4 * batch])
    for side in (train_ours, train_peer):
        side(few, 0, settings(1, batch))
    full = settings(epochs, batch)
    spent, networks = interleaved(
        repetitions,
        ours=lambda seed: train_ours(data["train"], seed, full),
        peer=lambda seed: train_peer(data["train"], seed, full),
    )
    robust = {name: mean(pgd_20(network, data["test"]) for network in each) for name, each in networks.items()}
    seen = epochs * (len(data["train"]) // batch) * batch
    note = (
        f"ResNet 16-32-64-128, {epochs} epochs of batches of {batch}, L2 eps 1.5, 3 steps; "
        f"PGD-20 accuracy, mean of {repetitions}: {robust['ours']:.4f}, peer {robust['peer']:.4f}; "
        "the peer is its train_model with our batches and our one-cycle SGD"
    )
    with torch.no_grad():
        once = operations(lambda: networks["ours"][0](few.x.float())) / len(few)
    passes = 2 * THREAT.steps + 3  # a step: forward and back to the image; then forward, and back to image and weights
    share = share_of_peak(seen * passes * once, spent["ours"], few.x.device)
    note += f"; {share:.0%} of the rate of a large bfloat16 GEMM"
    rates = (seen / spent[side] for side in ("ours", "peer"))
    record("adversarial-training", environment, *rates, "robustness", "images/s", note, out)


def settings(epochs: int, batch: int) -> Settings:
    """The default study's."""
    return Settings(epochs, batch, lr=0.2, weight_decay=5e-4, crop_padding=2, flip=False, ema_decay=0.0)


def train_ours(images: Images, seed: int, settings: Settings) -> Network:
    network = resnet(images, seed)
    objective = RECIPES["adversarial-l2"].objective("bfloat16", THREAT, 0.0)
    stream = runtime.generator(seed, "batches", device=images.x.device)
    for _ in train(network, images.x, images.y, objective, settings, stream, evaluate=lambda _: {}):
        pass
    return network


def train_peer(images: Images, seed: int, settings: Settings) -> Network:
    """robustness's train_model, which evaluates on nothing and writes its checkpoint to a folder that is deleted."""
    network = resnet(images, seed)
    model = attacker_model(network)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no apex
        from robustness import train as peer

    batches = Batches(images, settings, runtime.generator(seed, "batches", device=images.x.device))
    quiet = contextlib.redirect_stderr(io.StringIO())
    with tempfile.TemporaryDirectory() as folder, no_gpu_needed(images.x.device), quiet:
        arguments = Parameters(
            {
                "out_dir": folder,
                "adv_train": 1,
                "epochs": settings.epochs,
                "lr": settings.lr,
                "momentum": 0.9,
                "weight_decay": settings.weight_decay,
                "constraint": "2",
                "eps": THREAT.eps,
                "attack_lr": 2 * THREAT.eps / THREAT.steps,
                "attack_steps": THREAT.steps,
                "use_best": 0,
                "random_start": 0,
                "random_restarts": 0,
                "log_iters": settings.epochs + 1,
                "save_ckpt_iters": -1,
            }
        )
        for absent in ("custom_lr_multiplier", "step_lr", "custom_eps_multiplier", "mixed_precision", "adv_eval"):
            setattr(arguments, absent, None)
        with patch.object(peer, "SGD", one_cycle_sgd(settings.epochs * len(batches))):
            peer.train_model(arguments, model, (batches, []))
    return network


class Batches:
    """The batches that our loop makes from the same stream: memory to memory, so loading is no part of the ratio."""

    def __init__(self, images: Images, settings: Settings, generator: torch.Generator) -> None:
        self.images, self.settings, self.generator = images, settings, generator

    def __len__(self) -> int:
        return len(self.images) // self.settings.batch

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        x, y, made = self.images.x, self.images.y, self.settings
        order = torch.randperm(len(x), generator=self.generator, device=x.device)
        for index in order.split(made.batch)[: len(self)]:
            yield crop_and_flip(x[index].float() / 255, made.crop_padding, made.flip, self.generator), y[index]


def one_cycle_sgd(total: int) -> type[torch.optim.SGD]:
    """Nesterov SGD whose rate follows our schedule by step; robustness's own schedules move by epoch only."""

    class OneCycleSGD(torch.optim.SGD):
        def __init__(self, parameters: Iterator, lr: float, momentum: float, weight_decay: float) -> None:
            super().__init__(parameters, lr, momentum, weight_decay=weight_decay, nesterov=True)
            self.peak, self.taken = lr, 0

        def step(self) -> None:
            self.param_groups[0]["lr"] = one_cycle(self.taken, total, self.peak)
            super().step()
            self.taken += 1

    return OneCycleSGD


def pgd_20(network: Network, test: Images) -> float:
    """Accuracy on the 1,000 test images under 20 steps of the training budget, as the train stage measures it."""
    attack = runtime.generator("PGD-20", device=test.x.device)
    x, threat = test.x.float() / 255, Threat("l2", THREAT.eps, 20)
    return robust_accuracy(network, x, test.y, threat, generator=attack, precision="bfloat16").value


if __name__ == "__main__":
    runtime.run(main)
