"""A new classifier on simplified images: what they still tell one that has seen nothing else."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from fourlenses.attacks import frozen
from fourlenses.nets import Network, arguments_for, build
from fourlenses.training.loop import Settings, final_weights, train
from fourlenses.training.objectives import standard

BATCH, LR = 64, 2e-3  # LR: the peak of Adam's one-cycle schedule
LEAST_DEVIATION = 1 / 255  # images may have been simplified to nothing

Streams = Callable[..., torch.Generator]  # (purpose, device=...) -> a random stream of its own


def retrain(
    x: UInt8[Tensor, "n c h w"],
    y: Int[Tensor, " n"],
    n_classes: int,
    *,
    architecture: str,
    widths: Sequence[int] | None,
    epochs: int,
    crop_padding: int,
    flip: bool,
    precision: str,
    streams: Streams,
    standardise: UInt8[Tensor, "m c h w"] | None = None,
) -> Network:
    """A network trained from scratch on images, with Adam and the one-cycle schedule; in evaluation mode.

    Arguments: `x`, bytes on the device where it is to be; `y`, labels; `architecture` and `widths`, of
    `fourlenses.nets.build`; `crop_padding`, in pixels, and `flip`, of the augmentation; `streams`, the maker of its
    generators, of weights and of batches; `standardise`, the images whose mean and deviation its first layer takes, `x`
    if not given.
    Raises FloatingPointError when the loss or a weight is not finite.
    Source: spec 2.6; AdamW at a constant rate in the paper's code.
    """
    settings = Settings(
        epochs=epochs, batch=min(BATCH, len(x)), lr=LR, weight_decay=0.0, crop_padding=crop_padding, flip=flip,
        ema_decay=0.0, optimizer="adam",
    )  # fmt: skip
    arguments = arguments_for(x if standardise is None else standardise, n_classes, architecture, widths)
    arguments["std"] = [max(std, LEAST_DEVIATION) for std in arguments["std"]]
    network = build(**arguments, generator=streams("initial weights")).to(x.device)
    stream = streams("train", device=x.device)
    for state, _ in train(network, x, y, standard(precision), settings, stream, evaluate=lambda network: {}):
        weights = final_weights(state)
    network.load_state_dict(weights)
    return network.eval()


@torch.no_grad()
def right_answers(
    network: Network, x: UInt8[Tensor, "n c h w"], y: Int[Tensor, " n"], batch: int = 500
) -> UInt8[Tensor, " n"]:
    """1 for every image, given as bytes, whose label the network says, 0 for the others; in float32."""
    with frozen(network):
        parts = [network(images.float() / 255).argmax(1) for images in x.split(batch)]
    return (torch.cat(parts) == y).byte()
