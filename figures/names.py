"""Names that a reader understands, and the colour and marker that go with them."""

import re
from collections.abc import Iterable
from typing import Any

import pandas as pd
from matplotlib import pyplot as plt

from fourlenses.errors import UserError

FREE = "free"
ARCHITECTURES = {
    "resnet": "ResNet", "resnet-noskip": "ResNet, no skips", "resnet-maxpool": "ResNet, max-pool", "vgg": "VGG",
    "cnn": "CNN", "convnet": "ConvNet", "groupnorm": "CNN, group norm",
    "robustness-resnet18": "ResNet18", "robustness-resnet50": "ResNet50", "robustness-vgg16": "VGG16",
    "robustness-densenet121": "DenseNet121", "robustness-inceptionv3": "InceptionV3",
    **{f"wrn-{depth}": f"WRN-{depth}" for depth in (10, 16, 22, 28)},
    **{f"wrn-{depth}-half": f"WRN-{depth}, half size" for depth in (10, 16, 22)},
}  # fmt: skip
COUNTERPARTS = {"resnet": "ResNet18", "vgg": "VGG16"}  # of our small networks in the paper
RECIPES = {
    "standard": ("standard", "#0072B2", "o"), "adversarial-l2": ("adversarial L2", "#D55E00", "s"),
    "adversarial-linf": ("adversarial Linf", "#8C6D31", "p"), "trades-l2": ("TRADES", "#E69F00", "D"),
    "mart-l2": ("MART", "#CC79A7", "v"), "simclr": ("SimCLR", "#009E73", "^"),
    "simclr-adversarial": ("SimCLR + adversarial", "#56B4E9", "P"), "trades-linf": ("TRADES Linf", "#999933", "d"),
    "half-half-linf": ("half-half Linf", "#882255", "<"), "fast-linf": ("fast Linf", "#44AA99", ">"),
    "adversarial-jpeg": ("adversarial JPEG", "#332288", "h"), "adversarial-snow": ("adversarial snow", "#AA4499", "H"),
    "adversarial-gabor": ("adversarial Gabor", "#117733", "*"), "untrained": ("untrained", "0.45", "X"),
}  # fmt: skip
NORMS = {"": "none", "linf": "Linf", "l2": "L2", "jpeg": "JPEG", "gabor": "Gabor", "snow": "snow"}
AUGMENTATIONS = {
    "crop": "crops", "none": "no augmentation", "simclr": "SimCLR views", "simclr-without-colour": "no colour"
}  # fmt: skip
LOSSES = {
    "free": "regularizer-\nfree", "transforms": "transforms", "tv": "total\nvariation", "straight-through":
    "straight-\nthrough", "cut-skip": "skips\ncut", "fourier": "Fourier",
}  # fmt: skip
FORMS = {  # of the adversarial regularizer: which way, and by which trunk the distance is taken
    ("away", "regularizer"): ("away from\ntarget", "#D55E00"),
    ("away", "robust-regularizer"): ("away,\nrobust\ntrunk", "#CC79A7"),
    ("toward", "regularizer"): ("towards\nseed", "#0072B2"),
    ("toward", "robust-regularizer"): ("towards,\nrobust trunk", "#56B4E9"),
}

SETS = {
    "notmnist": "notMNIST", "mnist5k": "MNIST", "mnist": "MNIST", "fashion-mnist": "Fashion-MNIST", "svhn": "SVHN",
    "cifar10": "CIFAR-10", "cifar10-jpeg75": "cifar10-jpeg75", "cifar100": "CIFAR-100",
    "tiny-imagenet": "Tiny ImageNet", "photo-patches": "photo patches", "usps": "USPS",
}  # fmt: skip
DETECTORS = {
    "credibility": "DkNN credibility", "confidence": "DkNN confidence", "softmax": "max-softmax", "energy": "energy",
    "mahalanobis": "Mahalanobis", "knn": "distance to the\nk-th neighbour",
}  # fmt: skip
TEMPERATURES = {  # how the temperature of the soft nearest neighbour loss is found
    "fixed": "fixed", "released": "as released", "tracked": "tracked", "search": "searched", "minimum": "T minimised",
}  # fmt: skip
REACHES = {"first-half": "first half", "hidden": "hidden layers", "penultimate": "", "logits": "with logits"}
GANS = {"conv": "convolutional", "mlp": "fully connected"}
DISTRACTORS = {  # how the other part stands to a bed's images, and what it is called
    "noise": ("under noise", "noise"), "stripes": ("with stripes", "stripes"), "photo": ("over a photo", "photo"),
    "beside": ("beside another", "other"), "stacked": ("above another", "other"),
}  # fmt: skip
SIMPLIFIERS = {  # how images lose bits
    "simplified": ("simplified", "#0072B2", "o"), "blur": ("blur", "#E69F00", "^"), "jpeg": ("JPEG", "#009E73", "D"),
    "mse": ("simplified by squared error", "#CC79A7", "v"),
}  # fmt: skip


def recipe_label(network: Any) -> str:
    """Recipe of a network for a reader, such as "adversarial L2, no augmentation" or "TRADES, β 6"."""
    parts = [RECIPES.get(network.recipe, (network.recipe,))[0]]
    parts += [f"β {network.beta:g}"] if network.beta else []
    parts += [AUGMENTATIONS.get(network.augment, network.augment)] if network.augment != _usual(network.recipe) else []
    return ", ".join(parts)


def on_usual_views(networks: pd.DataFrame) -> pd.Series:
    """Which networks were trained on the augmentation that is usual for their recipe."""
    return networks["augment"] == networks["recipe"].map(_usual)


def _usual(recipe: str) -> str:
    return "simclr" if recipe.startswith("simclr") else "crop"


def architectures_in_order(networks: pd.DataFrame) -> list[str]:
    """The architectures among some networks, always in the same order."""
    present = set(networks["architecture"])
    return [each for each in dict.fromkeys([*ARCHITECTURES, *sorted(present)]) if each in present]


def architecture_label(architecture: str) -> str:
    """Architecture for a reader."""
    return ARCHITECTURES.get(architecture, architecture)


def network_label(network: Any, separator: str = "\n") -> str:
    """Name of a network for a reader, such as "ResNet, adversarial L2"."""
    return f"{architecture_label(network.architecture)}{separator}{recipe_label(network)}"


def wrapped(label: str, width: int) -> str:
    """A name of several parts, a new line where the next part would make a line longer than `width` letters."""
    lines = [""]
    for part in label.split(", "):
        if lines[-1] and len(f"{lines[-1]}, {part}") > width:
            lines[-1] += ","
            lines.append(part)
        else:
            lines[-1] += f", {part}" if lines[-1] else part
    return "\n".join(lines)


def colour_of(recipe: str) -> str:
    """The recipe's colour in every figure."""
    return RECIPES.get(recipe, (recipe, "black", "h"))[1]


def marker_of(recipe: str) -> str:
    """The recipe's marker in every figure, so that colour is never alone."""
    return RECIPES.get(recipe, (recipe, "black", "h"))[2]


def loss_kind(loss: pd.Series) -> str:
    """What a loss is for: "free", "human-leaning", "adversarial", or "ablation" (another backward rule)."""
    if loss["backward"] != "exact":
        return "ablation"
    if (loss["regularizer"], loss["through"]) in FORMS:
        return "adversarial"
    return FREE if loss.name == FREE else "human-leaning"


def loss_label(loss: pd.Series, separator: str = "\n") -> str:
    """Name of a loss for a reader, in short lines or in one."""
    form = FORMS.get((loss["regularizer"], loss["through"]))
    text = f"{form[0]}, {loss['weight']:g}" if form else LOSSES.get(loss.name, loss.name)
    return text if separator == "\n" else text.replace("-\n", "-").replace("\n", separator)


def loss_title(loss: pd.Series, separator: str = "\n") -> str:
    """Name of a loss for a reader, with what it is for before it."""
    kind, label = loss_kind(loss), loss_label(loss, separator)
    return label if kind == FREE else f"{kind}:{separator}{label}"


def main_losses(losses: pd.DataFrame) -> list[str]:
    """The losses to show side by side: free, the first human-leaning, each adversarial form at its largest weight."""
    if FREE not in losses.index:
        raise UserError("no loss called free", "the regularizer-free loss", "add it to invert.losses")
    kinds = {kind: losses.loc[[loss_kind(row) == kind for _, row in losses.iterrows()]] for kind in
             ("human-leaning", "adversarial")}  # fmt: skip
    largest = kinds["adversarial"].sort_values("weight").groupby(["regularizer", "through"]).tail(1)
    return [FREE, *kinds["human-leaning"].index[:1], *[loss for loss in losses.index if loss in largest.index]]


def recipe_handles(recipes: Iterable[str]) -> list[plt.Line2D]:
    """Legend entries of the recipes' colours."""
    shown = [each for each in [*RECIPES, *recipes] if each in set(recipes)]
    return [
        plt.Line2D([], [], marker="o", color=colour_of(each), label=RECIPES.get(each, (each,))[0])
        for each in dict.fromkeys(shown)
    ]


def layer_label(layer: str) -> str:
    """A layer for a reader, such as "stage 1"."""
    return re.sub(r"^(stage|block)(\d+)$", r"\1 \2", layer)


def attack_label(attack: str) -> str:
    """An attack for a reader, such as "targeted FGSM"."""
    name = attack.removesuffix("-targeted")
    return f"targeted {name.upper()}" if name != attack else name.upper()


def set_label(images: str) -> str:
    """A set of images for a reader, such as "photographs, blurred"."""
    name = images.removesuffix("-blurred")
    return SETS.get(name, name) + (", blurred" if name != images else "")


def gan_label(gan: str) -> str:
    """A generative network for a reader, such as "convolutional, guided"."""
    name = gan.removesuffix("-guided")
    return GANS.get(name, name) + (", guided" if name != gan else "")


def signed(number: float) -> str:
    """A number with a minus sign that is as wide as a plus."""
    return f"{number:g}".replace("-", "−")
