"""Inversion: our identically represented inputs in bfloat16 against the attacker of `robustness` in float32."""

from functools import partial
from pathlib import Path
from statistics import mean

import torch
from torch import Tensor

from benchmarks.attacker import attacker_model, no_gpu_needed
from benchmarks.scaling import Sides, write_scaling
from benchmarks.side_by_side import RESULTS, interleaved, mnist5k, operations, record, resnet, share_of_peak
from fourlenses import runtime
from fourlenses.attacks import UnconstrainedStep, frozen
from fourlenses.images import Images
from fourlenses.invariance.invert import Settings, invert, pick_targets
from fourlenses.invariance.losses import representation_error
from fourlenses.invariance.perceptual import TrunkDistance
from fourlenses.invariance.seeds import SEED_IMAGES
from fourlenses.nets import Network, build
from fourlenses.training import RECIPES, Threat, train
from fourlenses.training import Settings as TrainSettings


def main(
    repetitions: int = 3,
    n_targets: int = 100,
    steps: int = 200,
    step_l2: float = 4.0,
    epochs: int = 6,
    out: Path = RESULTS,
    scaling: Path | None = None,
) -> None:
    """Time the inversion of a trained ResNet with the regularizer-free loss from super-noise, ours and robustness's.

    Args:
        repetitions: how often each side is timed; the median counts
        n_targets: test images of MNIST-5k to be inverted at once
        steps: normalised gradient steps
        step_l2: length of the first step in pixels of [0, 1]; the length falls linearly to 0
        epochs: epochs of standard training of the network
        out: table that gets the row (CSV)
        scaling: also time both at other sizes, into this table (CSV) and a figure beside it
    """
    environment = runtime.environment()
    data = mnist5k(runtime.device())
    network = trained(data["train"], epochs)
    chosen = pick_targets(data["test"].y.cpu(), n_targets, 10, runtime.generator("targets"))
    targets = data["test"].x[chosen].float() / 255
    start = super_noise(targets)
    sides = {name: partial(go, network, targets, start, step_l2) for name, go in SIDES.items()}
    for go in sides.values():
        go(3)
    spent, found = interleaved(repetitions, **{name: lambda _, go=go: go(steps) for name, go in sides.items()})
    loss = {name: mean(error(network, x, targets) for x in each) for name, each in found.items()}
    share = share_of_peak(operations(lambda: sides["ours"](10)), spent["ours"] * 10 / steps, targets.device)
    note = (
        f"ResNet 16-32-64-128, {n_targets} images, {steps} steps, regularizer-free; "
        f"mean final loss {loss['ours']:.4f}, peer {loss['robustness']:.4f}; "
        f"{share:.0%} of the rate of a large bfloat16 GEMM"
    )
    record("inversion", environment, spent["ours"], spent["robustness"], "robustness", "s", note, out)
    if scaling:
        sizes = {"images": [12, 25, 50, 100, 200], "steps": [12, 25, 50, 100, 200], "layers": [10, 16, 22]}
        write_scaling(scaling, repetitions, {"images": 50, "steps": 50, "layers": 16}, sizes, partial(at, data["test"]))


def at(test: Images, images: int, steps: int, layers: int) -> Sides:
    """Inversions of as many images by a wide residual network of so many layers, as drawn."""
    targets = test.x[:images].float() / 255
    network = build(
        f"wrn-{layers}-half", widths=[16, 16, 32, 64], n_classes=10, image_shape=targets.shape[1:],
        generator=runtime.generator(0, "benchmark"), mean=0.13, std=0.31,
    ).to(targets.device).eval()  # fmt: skip
    start = super_noise(targets)
    return {name: lambda _, go=go: go(network, targets, start, 4.0, steps) for name, go in SIDES.items()}


def super_noise(targets: Tensor) -> Tensor:
    """The seed image of every study."""
    return SEED_IMAGES["super-noise"](targets.cpu(), runtime.generator("seed image")).to(targets.device)


def trained(images: Images, epochs: int) -> Network:
    """The default study's network after standard training."""
    network = resnet(images, 0)
    objective = RECIPES["standard"].objective("bfloat16", Threat("l2", 0.0, 1), 0.0)
    made = TrainSettings(epochs, batch=64, lr=0.1, weight_decay=5e-4, crop_padding=2, flip=False, ema_decay=0.0)
    stream = runtime.generator("train", device=images.x.device)
    for _ in train(network, images.x, images.y, objective, made, stream, evaluate=lambda _: {}):
        pass
    return network.eval()


class DecayingStep(UnconstrainedStep):
    """Our steps as robustness takes them: it makes one such object an attack, whose length falls with every call."""

    def __init__(self, steps: int, **arguments: object) -> None:
        super().__init__(**arguments)
        self.first, self.steps, self.taken = self.step_size, steps, 0

    def step(self, x: Tensor, g: Tensor) -> Tensor:
        self.step_size = self.first * (1 - self.taken / self.steps)
        self.taken += 1
        return super().step(x, g)


def invert_ours(network: Network, targets: Tensor, start: Tensor, step_l2: float, steps: int) -> Tensor:
    """As the invert stage does it, regularizer-free."""
    made, stream = Settings(steps, step_l2, "bfloat16"), runtime.generator("unused", device=targets.device)
    distance = TrunkDistance(network)  # a trunk is asked for, but without a regularizer only its references are made
    free = {"transforms": False, "fourier": False, "backward": "exact", "regularizer": None, "weight": 0.0}
    return invert(network, targets, start, distance, made, **free, generator=stream)[0]


def invert_peer(network: Network, targets: Tensor, start: Tensor, step_l2: float, steps: int) -> Tensor:
    """robustness's AttackerModel with a custom loss: contiguous float32 weights, batch normalisation as it is."""
    model = attacker_model(network.to(memory_format=torch.contiguous_format)).to(targets.device).eval()
    with frozen(network), no_gpu_needed(targets.device):
        with torch.no_grad():
            wanted = network.features(targets)
        _, found = model(
            start.expand_as(targets).contiguous(),
            wanted,
            make_adv=True,
            constraint=partial(DecayingStep, steps),
            eps=0.0,
            step_size=step_l2,
            iterations=steps,
            targeted=True,
            custom_loss=lambda peer, x, target: (representation_error(peer.network.body(x), target), None),
            use_best=True,
        )
    return found.detach()


SIDES = {"ours": invert_ours, "robustness": invert_peer}


@torch.no_grad()
def error(network: Network, x: Tensor, targets: Tensor) -> float:
    """Mean representation error in float32."""
    return float(representation_error(network.features(x), network.features(targets)).mean())


if __name__ == "__main__":
    runtime.run(main)
