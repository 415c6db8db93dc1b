"""What several processes train, for tests/test_processes.py: run by torchrun, or imported to train alone.

torchrun --nproc-per-node 2 tests/two_processes.py OUT
"""

import sys
from pathlib import Path
from unittest.mock import patch

import torch

from fourlenses import processes, runtime
from fourlenses.artifacts import save_tensors
from fourlenses.nets import build
from fourlenses.training import Settings, Threat, contrastive, trades
from fourlenses.training.loop import final_weights, train
from fourlenses.training.recipes import RECIPES

STREAM = torch.Generator().manual_seed(0)
X = torch.randint(0, 256, (48, 1, 8, 8), generator=STREAM, dtype=torch.uint8)
Y = torch.randint(0, 3, (48,), generator=STREAM)
BATCH = 16
NAMES = (
    "standard", "adversarial-l2", "adversarial-linf", "adversarial-jpeg", "adversarial-gabor", "adversarial-snow",
    "fast-linf", "half-half-linf", "trades-l2", "trades-linf", "mart-l2", "simclr", "simclr-adversarial",
)  # fmt: skip


@patch.multiple(contrastive, DEVIATION=0.05)
@patch.multiple(trades, DEVIATION=0.05)
def trained(name: str, x: torch.Tensor = X, y: torch.Tensor = Y) -> tuple[dict, list[dict]]:
    """Weights and history of a small network after two epochs of a recipe, in float32, on the device of the images.

    Attacks that climb from 1e-5 beside the image have a gradient there of all but 0, whose direction the last bits
    decide (without oneDNN one process differs from itself by 4 % after these two epochs); here they start further off.
    """
    recipe = RECIPES[name]
    network = build(
        "resnet", widths=[4, 8], n_classes=3, image_shape=(1, 8, 8), generator=runtime.generator("weights", name)
    )  # fmt: skip
    network.to(x.device)
    if recipe.scaffold:
        recipe.scaffold(network, runtime.generator("projector", name, device=x.device))
    settings = Settings(
        epochs=2, batch=BATCH, lr=0.05, weight_decay=5e-4, crop_padding=1, flip=True, ema_decay=0.5,
        augment="simclr" if recipe.contrastive else "crop", views=2 if recipe.contrastive else 1,
    )  # fmt: skip
    objective = recipe.objective("float32", Threat(recipe.norm or "l2", 0.3, 2), 6.0 if recipe.weighted else 0.0)
    stream = runtime.generator("train", name, device=x.device)
    for state, history in train(network, x, y, objective, settings, stream, evaluate=lambda network: {}):  # noqa: B007
        pass
    return final_weights(state), history


if __name__ == "__main__":
    torch.set_num_threads(1)
    processes.join(torch.device("cpu"))
    found = {name: trained(name) for name in NAMES}
    if processes.rank() == 0:
        tensors = {f"{name}/{key}": value for name, (weights, _) in found.items() for key, value in weights.items()}
        save_tensors(Path(sys.argv[1]), tensors, {name: history for name, (_, history) in found.items()})
