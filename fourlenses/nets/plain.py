"""Plain convolutional networks without statistics of a batch: every image is classified by itself."""

import math
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn

from fourlenses.errors import UserError
from fourlenses.nets.network import Network, Normalize
from fourlenses.nets.small import assemble, check_widths, kept_rng


def cnn(
    architecture: str,
    *,
    widths: Sequence[int] | None,
    n_classes: int,
    image_shape: tuple[int, int, int],
    generator: torch.Generator,
    normalize: Normalize,
) -> Network:
    """The network of the soft nearest neighbour loss, which normalises nothing.

    Three convolutions, each with a ReLU: 8x8 of stride 2, padded to half the side, 6x6 of stride 2, 5x5; flatten.
    The stages are the outputs of the first two ReLUs; the third, flattened, is the representation. Weights are normal
    with deviation 1 / sqrt(fan in), biases zero.
    Arguments: `widths`, three numbers of filters; the others as in `fourlenses.nets.build`.
    Raises UserError for an image that leaves the last convolution nothing: sides are 27 pixels or more.
    Source: cleverhans 3.1, model_zoo/soft_nearest_neighbor_loss (widths 64, 128, 128), whose images are not normalised.
    """
    _check_widths(widths, 3)
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


def groupnorm(
    architecture: str,
    *,
    widths: Sequence[int] | None,
    n_classes: int,
    image_shape: tuple[int, int, int],
    generator: torch.Generator,
    normalize: Normalize,
) -> Network:
    """Four 3x3 convolutions of strides 2, 2, 1, 1, each with group normalisation and a SiLU; means of 2x2 pixels.

    The stages are the outputs of the SiLUs, and the means are flattened. A normalisation has 4 groups of channels, or
    as many as divide both 4 and the width. Smooth, so that it can be differentiated twice; quick to learn in few steps,
    which a mean over all pixels would not be.
    Arguments: `widths`, four numbers of filters; the others as in `fourlenses.nets.build`.
    (SiLU takes a thirtieth of the time of ELU here.) Source: Wu and He 2018 (arXiv:1803.08494); Hendrycks and Gimpel
    2016 (arXiv:1606.08415).
    """
    _check_widths(widths, 4)
    channels, *sides = image_shape
    height, width = ((side + 3) // 4 // 2 for side in sides)
    with kept_rng():
        layers, inputs = OrderedDict(), channels
        for i, (out, stride) in enumerate(zip(widths, (2, 2, 1, 1), strict=True), 1):
            conv = nn.Conv2d(inputs, out, 3, stride=stride, padding=1, bias=False)
            layers[f"stage{i}"] = nn.Sequential(conv, nn.GroupNorm(math.gcd(4, out), out), nn.SiLU())
            inputs = out
    stages = tuple(f"body.{name}" for name in layers)
    layers |= {"pool": nn.AvgPool2d(2), "flatten": nn.Flatten()}
    n_features = inputs * height * width
    return assemble(architecture, layers, n_features, stages, n_classes, image_shape, generator, normalize)


def convnet(
    architecture: str,
    *,
    widths: Sequence[int] | None,
    n_classes: int,
    image_shape: tuple[int, int, int],
    generator: torch.Generator,
    normalize: Normalize,
) -> Network:
    """Three times a 3x3 convolution, instance normalisation, a ReLU and the mean of 2x2 pixels; flatten.

    The stages are the outputs of the ReLUs. Convolutions have no biases, which the normalisation would take away.
    Arguments: `widths`, three numbers of filters; the others as in `fourlenses.nets.build`.
    Source: Zhao et al. 2021 (arXiv:2006.05929), section 4 (widths 128, 128, 128).
    """
    _check_widths(widths, 3)
    channels, height, width = image_shape
    with kept_rng():
        layers, inputs = OrderedDict(), channels
        for i, out in enumerate(widths, 1):
            conv = nn.Conv2d(inputs, out, 3, padding=1, bias=False)
            layers[f"stage{i}"] = nn.Sequential(conv, nn.GroupNorm(out, out), nn.ReLU())
            layers[f"pool{i}"] = nn.AvgPool2d(2)
            inputs = out
    stages = tuple(f"body.stage{i}" for i in (1, 2, 3))
    layers["flatten"] = nn.Flatten()
    n_features = inputs * (height // 8) * (width // 8)
    return assemble(architecture, layers, n_features, stages, n_classes, image_shape, generator, normalize)


def _check_widths(widths: Sequence[int] | None, n: int) -> None:
    check_widths(widths, n)
    if len(widths) > n:
        raise UserError(f"{len(widths)} widths", f"{n}, one a convolution", "give the filters of each convolution")
