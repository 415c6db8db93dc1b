"""What loops of the lenses make of a simulated GPU, for tests/test_gpu.py: their numbers, and how often they wait.

python tests/gpu_loops.py OUT
"""

import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import simulated_gpu
import torch
import two_processes

from fourlenses import runtime
from fourlenses.artifacts import save_tensors
from fourlenses.entanglement import gan
from fourlenses.entanglement.objective import Plan, entangled_recipe
from fourlenses.entanglement.temperatures import RULES
from fourlenses.invariance.invert import Settings, invert
from fourlenses.invariance.perceptual import TrunkDistance
from fourlenses.nets import build
from fourlenses.nets.gan import build_gan
from fourlenses.training.recipes import RECIPES

SHAPE = (1, 8, 8)
INVERSIONS = {
    "free": {"regularizer": None},
    "free, transforms": {"regularizer": None, "transforms": True},
    "away": {"regularizer": "away"},
    "toward, fourier": {"regularizer": "toward", "fourier": True},
    "frequency, straight-through": {"regularizer": "frequency", "backward": "straight-through"},
}
ENTANGLED = {f"entangled, {rule}": entangled_recipe(Plan(-1.0, rule, "hidden", 0.01, True, 100.0)) for rule in RULES}


def network(architecture: str, seed: int, device: torch.device) -> torch.nn.Module:
    arguments = {"widths": [4, 8], "n_classes": 3, "image_shape": SHAPE}
    return build(architecture, **arguments, generator=runtime.generator(seed)).to(device).eval()


def inverted(kind: dict, steps: int, device: torch.device) -> torch.Tensor:
    targets = two_processes.X[:6].to(device).float() / 255
    distance = TrunkDistance(network("vgg", 1, device))
    stream = runtime.generator("transforms", device=device)
    settings = {"transforms": False, "weight": 0.5} | kind
    return invert(
        network("resnet", 0, device), targets, targets[0].flip(2), distance, Settings(steps, 1.0, "float32"),
        **settings, generator=stream,
    )[0]  # fmt: skip


def adversaries(kind: str, iterations: int, device: torch.device) -> torch.Tensor:
    name, game = gan.KINDS[kind]
    game = game().to(device)
    players = build_gan(name, image_shape=SHAPE, widths=[8, 4], outputs=game.outputs, generator=runtime.generator(0))
    stream = runtime.generator("gan", device=device)
    images, evaluate = two_processes.X.to(device), lambda gan: {}
    for state, _ in gan.train(players.to(device), game, images, 16, [iterations], stream, evaluate=evaluate):  # noqa: B007
        pass
    return torch.cat([value.double().flatten() for name, value in state.items() if name.startswith("gan/")])


def trained(name: str, repeats: int, device: torch.device) -> torch.Tensor:
    x, y = (each.to(device).repeat(repeats, *[1] * (each.ndim - 1)) for each in (two_processes.X, two_processes.Y))
    weights, _ = two_processes.trained(name, x, y)
    return torch.cat([value.double().flatten() for value in weights.values()])


def loops() -> Iterable[tuple[str, int, Callable[[int, torch.device], torch.Tensor]]]:
    """Names, a number of steps, and what makes numbers of as many steps on a device."""
    for name in (*two_processes.NAMES, *ENTANGLED):
        yield f"training, {name}", 1, partial(trained, name)
    for name, kind in INVERSIONS.items():
        yield f"inversion, {name}", 4, partial(inverted, kind)
    for kind in gan.KINDS:
        yield f"GAN, {kind}", 3, partial(adversaries, kind)


if __name__ == "__main__":
    RECIPES |= ENTANGLED
    torch.set_num_threads(1)
    numbers = {f"cpu/{name}": make(steps, torch.device("cpu")) for name, steps, make in loops()}
    waits, device = {}, simulated_gpu.GPU
    with simulated_gpu.SimulatedGpu():
        for name, steps, make in loops():
            simulated_gpu.waits.clear()
            numbers[f"gpu/{name}"] = make(steps, device).cpu()
            once = simulated_gpu.waits.copy()
            simulated_gpu.waits.clear()
            make(2 * steps, device)
            waits[name] = dict(simulated_gpu.waits - once)
    save_tensors(Path(sys.argv[1]), numbers, {"waits": waits})
