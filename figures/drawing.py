"""What all figures share: the style, names that a reader understands, and files with the same bytes every time."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from fourlenses.artifacts import atomic_path
from fourlenses.errors import UserError

matplotlib.use("Agg")
STYLE = Path(__file__).with_name("style.mplstyle")
ARCHITECTURES = {"resnet": "ResNet", "resnet-noskip": "ResNet, no skips", "vgg": "VGG"}
RECIPES = {"standard": "standard", "adversarial-l2": "adversarial L2", "adversarial-linf": "adversarial Linf"}
FREE, HUMAN = "free", "transforms"
SEED_IMAGE = "super-noise"


def use_style() -> None:
    """Set matplotlib to the style sheet and nothing else."""
    plt.style.use(["default", STYLE])


def files(out: Path) -> list[Path]:
    """The two files of a figure."""
    return [out.with_suffix(".svg"), out.with_suffix(".png")]


def save(figure: Figure, out: Path) -> None:
    """Write the figure as SVG and PNG, without dates or versions in them, and close it."""
    for path, metadata in zip(files(out), ({"Date": None, "Creator": None}, {"Software": None}), strict=True):
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:], metadata=metadata)
    plt.close(figure)


def network_label(architecture: str, recipe: str, separator: str = "\n") -> str:
    """Name of a network for a reader, such as "ResNet, adversarial L2"."""
    return f"{ARCHITECTURES.get(architecture, architecture)}{separator}{RECIPES.get(recipe, recipe)}"


def loss_label(loss: str) -> str:
    """Name of a loss for a reader, on two lines."""
    form, _, weight = loss.partition("-")
    long = {"away": "adversarial:\naway from target", "toward": "adversarial:\ntowards seed"}
    if form in long:
        return f"{long[form]}, {weight}"
    return {FREE: "regularizer-\nfree", HUMAN: "human-leaning\n(transforms)"}.get(loss, loss)


def main_losses(table: pd.DataFrame) -> list[str]:
    """The losses to show side by side: free, human-leaning, and each adversarial form at its largest weight."""
    known = table.drop_duplicates("loss")
    if FREE not in set(known["loss"]):
        raise UserError("no loss called free", "the regularizer-free loss", "add it to invert.losses")
    chosen = [loss for loss in (FREE, HUMAN) if loss in set(known["loss"])]
    for form in ("away", "toward"):
        weights = known[known["regularizer"] == form].sort_values("weight")
        chosen += weights["loss"].tolist()[-1:]
    return chosen


def of_seed_image(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the super-noise seed, which the tables of the paper use."""
    rows = table[table["seed_image"] == SEED_IMAGE]
    if rows.empty:
        raise UserError(f"no IRIs from the {SEED_IMAGE} seed", "them in the results", "add it to invert.seed_images")
    return rows


def networks_of(table: pd.DataFrame) -> Sequence[str]:
    """Networks in the order of the table, which is that of params.yaml."""
    return list(dict.fromkeys(table["network"]))
