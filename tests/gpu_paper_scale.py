"""Every architecture of studies/cifar10 on a simulated GPU, for tests/test_gpu.py: a batch trained, then looked at.

python tests/gpu_paper_scale.py
"""

import simulated_gpu
import torch
from commands import ROOT
from ruamel.yaml import YAML

from fourlenses import runtime
from fourlenses.invariance.invert import Settings as Descent
from fourlenses.invariance.invert import invert
from fourlenses.invariance.perceptual import TrunkDistance
from fourlenses.nets import Network, build
from fourlenses.similarity.grams import blocks
from fourlenses.training import RECIPES, Settings, Threat, train

SHAPE, BATCH = (3, 32, 32), 8
ONE_BATCH = Settings(epochs=1, batch=BATCH, lr=0.01, weight_decay=5e-4, crop_padding=4, flip=True, ema_decay=0.0)


def looked_at(architecture: str, network: Network, x: torch.Tensor) -> torch.Tensor:
    """By the similarity lens if the network is one of its sweep, else by the invariance lens."""
    if architecture.startswith("wrn-"):
        return blocks(network, x, BATCH)
    loss = {"transforms": False, "regularizer": "away", "weight": 1.0}
    stream = runtime.generator("transforms", device=x.device)
    return invert(network, x[:2], x[2], TrunkDistance(network), Descent(2, 1.0, "bfloat16"), **loss, generator=stream)[
        0
    ]


if __name__ == "__main__":
    params = YAML(typ="safe").load(ROOT / "studies/cifar10/params.yaml")
    zoo = [*params["networks"].values(), *params["sweep"]["networks"].values()]
    torch.set_num_threads(1)
    with simulated_gpu.SimulatedGpu():
        stream = runtime.generator("images", device=simulated_gpu.GPU)
        x = torch.randint(0, 256, (BATCH, *SHAPE), generator=stream, device=stream.device, dtype=torch.uint8)
        y = torch.arange(BATCH, device=stream.device)
        for architecture, widths in {network["architecture"]: network.get("widths") for network in zoo}.items():
            given = {"widths": widths, "n_classes": 10, "image_shape": SHAPE}
            network = build(architecture, **given, generator=runtime.generator(architecture)).to(stream.device)
            objective = RECIPES["adversarial-l2"].objective("bfloat16", Threat("l2", 1.0, 1), 0.0)
            for _ in train(network, x, y, objective, ONE_BATCH, stream, evaluate=lambda network: {}):
                pass
            found = looked_at(architecture, network.eval(), x.float() / 255)
            assert found.device == stream.device and torch.isfinite(found).all(), architecture
