"""The convolutional network of the soft nearest neighbour loss, without pooling or normalisation layers."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn

from fourlenses.errors import UserError
from fourlenses.nets.network import Network, Normalize
from fourlenses.nets.small import check_widths, kept_rng


def cnn(
    architecture: str,
    *,
    widths: Sequence[int] | None,
    n_classes: int,
    image_shape: tuple[int, int, int],
    generator: torch.Generator,
    normalize: Normalize,
) -> Network:
    """Three convolutions, each with a ReLU: 8x8 of stride 2, padded to half the side, 6x6 of stride 2, 5x5; flatten.

    The stages are the outputs of the first two ReLUs; the third, flattened, is the representation. Weights are normal
    with deviation 1 / sqrt(fan in), biases zero.
    Arguments: `widths`, three numbers of filters; the others as in `fourlenses.nets.build`.
    Raises UserError for an image that leaves the last convolution nothing: sides are 27 pixels or more.
    Source: cleverhans 3.1, model_zoo/soft_nearest_neighbor_loss (widths 64, 128, 128), whose images are not normalised.
    """
    check_widths(widths, 3)
    if len(widths) > 3:
        raise UserError(f"{len(widths)} widths", "3, one a convolution", "give the filters of each convolution")
    channels, *sides = image_shape
    if min(sides) < 27:
        given = f"images of {sides[0]}x{sides[1]} pixels"
        raise UserError(given, "sides of 27 or more pixels", "choose another network")
    height, width = (((side + 1) // 2 - 6) // 2 - 3 for side in sides)
    first, second, third = widths
    with kept_rng():
        pad = nn.ZeroPad2d((3, 3 + sides[1] % 2, 3, 3 + sides[0] % 2))
        body = nn.Sequential(
            OrderedDict(
                stage1=nn.Sequential(pad, nn.Conv2d(channels, first, 8, stride=2), nn.ReLU(inplace=True)),
                stage2=nn.Sequential(nn.Conv2d(first, second, 6, stride=2), nn.ReLU(inplace=True)),
                stage3=nn.Sequential(nn.Conv2d(second, third, 5), nn.ReLU(inplace=True)),
                flatten=nn.Flatten(),
            )
        )
        head = nn.Linear(third * height * width, n_classes)
    for layer in [*body.modules(), head]:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.to(generator.device)
            nn.init.normal_(layer.weight, std=layer.weight[0].numel() ** -0.5, generator=generator)
            nn.init.zeros_(layer.bias)
    stages = ("body.stage1", "body.stage2")
    normalize = normalize.to(generator.device)
    return Network(architecture, normalize, body, head, stages=stages, image_shape=image_shape)
