"""Inversion: our identically represented inputs in bfloat16 against the attacker of `robustness` in float32."""

from functools import partial
from pathlib import Path
from statistics import mean

import torch
from torch import Tensor

from benchmarks.attacker import attacker_model, no_gpu_needed
from benchmarks.side_by_side import RESULTS, interleaved, mnist5k, record, resnet
from fourlenses import runtime
from fourlenses.attacks import UnconstrainedStep, frozen
from fourlenses.images import Images
from fourlenses.invariance.invert import Settings, invert, pick_targets
from fourlenses.invariance.losses import representation_error
from fourlenses.invariance.perceptual import TrunkDistance
from fourlenses.invariance.seeds import SEED_IMAGES
from fourlenses.nets import Network
from fourlenses.training import RECIPES, Threat, train
from fourlenses.training import Settings as TrainSettings


def main(
    repetitions: int = 3,
    n_targets: int = 100,
    steps: int = 200,
    step_l2: float = 4.0,
    epochs: int = 6,
    out: Path = RESULTS,
) -> None:
    """Time the inversion of a trained ResNet with the regularizer-free loss from super-noise, ours and robustness's.

    Args:
        repetitions: how often each side is timed; the median counts
        n_targets: test images of MNIST-5k to be inverted at once
        steps: normalised gradient steps
        step_l2: length of the first step in pixels of [0, 1]; the length falls linearly to 0
        epochs: epochs of standard training of the network
        out: table that gets the row (CSV)
    """
    environment = runtime.environment()
    data = mnist5k(runtime.device())
    network = trained(data["train"], epochs)
    chosen = pick_targets(data["test"].y.cpu(), n_targets, 10, runtime.generator("targets"))
    targets = data["test"].x[chosen].float() / 255
    start = SEED_IMAGES["super-noise"](targets.cpu(), runtime.generator("seed image")).to(targets.device)
    distance = TrunkDistance(network)  # a trunk is asked for, but without a regularizer only its references are made

    def ours(steps: int) -> Tensor:
        stream = runtime.generator("unused", device=targets.device)
        made = Settings(steps, step_l2, "bfloat16")
        free = {"transforms": False, "fourier": False, "backward": "exact", "regularizer": None, "weight": 0.0}
        return invert(network, targets, start, distance, made, **free, generator=stream)[0]

    sides = {"ours": ours, "peer": partial(invert_peer, network, targets, start, step_l2)}
    for go in sides.values():
        go(3)
    spent, found = interleaved(repetitions, **{name: lambda _, go=go: go(steps) for name, go in sides.items()})
    loss = {name: mean(error(network, x, targets) for x in each) for name, each in found.items()}
    note = (
        f"ResNet 16-32-64-128, {n_targets} images, {steps} steps, regularizer-free; "
        f"mean final loss {loss['ours']:.4f}, peer {loss['peer']:.4f}"
    )
    record("inversion", environment, spent["ours"], spent["peer"], "robustness", "s", note, out)


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


@torch.no_grad()
def error(network: Network, x: Tensor, targets: Tensor) -> float:
    """Mean representation error in float32."""
    return float(representation_error(network.features(x), network.features(targets)).mean())


if __name__ == "__main__":
    runtime.run(main)
