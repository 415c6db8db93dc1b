"""Networks by name; a new one is a builder function and one line in NETWORKS."""

import difflib
from collections.abc import Callable, Sequence
from functools import partial

import torch
from jaxtyping import UInt8

from fourlenses.errors import UserError
from fourlenses.nets.network import Network, Normalize
from fourlenses.nets.plain import cnn, convnet, groupnorm
from fourlenses.nets.small import resnet, vgg
from fourlenses.nets.wide import wide_resnet

__all__ = ["NETWORKS", "Network", "Normalize", "arguments_for", "build"]


def bridged(architecture: str, **arguments: object) -> Network:
    """A network of `robustness` or torchvision, which are imported only here because that takes seconds."""
    from fourlenses.nets import bridge

    return bridge.build(architecture, **arguments)


NETWORKS: dict[str, Callable[..., Network]] = {
    "resnet": resnet,
    "resnet-noskip": partial(resnet, skip=False),
    "resnet-maxpool": partial(resnet, pool="max"),
    "vgg": vgg,
    "cnn": cnn,
    "groupnorm": groupnorm,
    "convnet": convnet,
    "wrn-10": partial(wide_resnet, depth=10),
    "wrn-16": partial(wide_resnet, depth=16),
    "wrn-22": partial(wide_resnet, depth=22),
    "wrn-28": partial(wide_resnet, depth=28),
    "wrn-10-half": partial(wide_resnet, depth=10, shrink=2),
    "wrn-16-half": partial(wide_resnet, depth=16, shrink=2),
    "wrn-22-half": partial(wide_resnet, depth=22, shrink=2),
    "robustness-resnet18": bridged,
    "robustness-resnet50": bridged,
    "robustness-vgg16": bridged,
    "robustness-densenet121": bridged,
    "robustness-inceptionv3": bridged,
}


def build(architecture: str, *, widths: Sequence[int] | None = None, n_classes: int,
          image_shape: Sequence[int], generator: torch.Generator, mean: float | Sequence[float] = 0.0,
          std: float | Sequence[float] = 1.0) -> Network:
    """A freshly initialised network on the generator's device, in training mode.

    Arguments: `architecture`, a key of NETWORKS or "imagenet-<name>" with a classification model of torchvision;
    `widths`, channels per stage of the small networks (bridged networks have fixed widths and take None);
    `n_classes`, outputs; `image_shape`, (channels, height, width) with sides of at least 8 pixels; `generator`, the
    only source of randomness (the global one is neither read nor moved); `mean` and `std`, the normalisation in pixel
    units, one number or one per channel.
    Raises: UserError for an unknown architecture or a shape or width that it cannot take.
    """
    builder = bridged if architecture.startswith("imagenet-") else NETWORKS.get(architecture)
    if builder is None:
        near = difflib.get_close_matches(architecture, NETWORKS, n=1)
        raise UserError(f"architecture {architecture!r}", f"one of {', '.join(NETWORKS)} or imagenet-<name>",
                        f"did you mean {near[0]!r}?" if near else "see NETWORKS in fourlenses/nets/__init__.py")
    if len(image_shape) != 3 or image_shape[0] < 1 or min(image_shape[1:]) < 8:
        raise UserError(f"image shape {tuple(image_shape)}", "(channels, height, width) with sides of 8 or more pixels",
                        "give the shape of one image")
    if n_classes < 1:
        raise UserError(f"{n_classes} classes", "at least 1", "give the number of classes of the data set")
    return builder(architecture, widths=widths, n_classes=n_classes, image_shape=tuple(image_shape),
                   generator=generator, normalize=Normalize(mean, std, image_shape[0]))


def arguments_for(
    x: UInt8[torch.Tensor, "n c h w"], n_classes: int, architecture: str, widths: Sequence[int] | None
) -> dict:
    """Arguments of `build` for a network trained on the images `x`, normalising by their mean and deviation."""
    pixels = x.float() / 255
    return {
        "architecture": architecture,
        "widths": widths,
        "n_classes": n_classes,
        "image_shape": list(x.shape[1:]),
        "mean": pixels.mean((0, 2, 3)).tolist(),
        "std": pixels.std((0, 2, 3)).tolist(),
    }
