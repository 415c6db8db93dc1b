"""Generative adversarial networks of small images: convolutional, or of fully connected layers."""

from collections.abc import Callable, Sequence
from math import prod

import torch
from torch import nn

from fourlenses.errors import UserError
from fourlenses.nets.network import Normalize
from fourlenses.nets.small import check_widths, kept_rng

N_NOISE = 64  # normal numbers that an image is made from
HIDDEN = 256  # units of a fully connected layer

Shape = tuple[int, int, int]  # channels, height, width
Layers = list[nn.Module]


class Gan(nn.Module):
    """A `generator`, noise (n, N_NOISE) -> images (n, c, h, w) in [0, 1], and a `discriminator`, images ->
    (n, outputs)."""

    def __init__(self, generator: nn.Module, discriminator: nn.Module) -> None:
        super().__init__()
        self.generator, self.discriminator = generator, discriminator


def conv(image_shape: Shape, widths: Sequence[int] | None, outputs: int) -> tuple[Layers, Layers]:
    """Noise -> linear -> for each width (BN, ReLU, nearest-pixel upsampling, 3x3 convolution); images -> for each width
    (4x4 convolution of stride 2, LeakyReLU 0.2) -> linear.

    Arguments, errors: as in `build_gan`. Source: Radford et al. 2016 (arXiv:1511.06434), section 3, in small; with
    upsampling for their transposed convolutions, whose checkerboards a discriminator tells from images at once (Odena
    et al. 2016, doi:10.23915/distill.00003), and without batch normalisation in the discriminator, which would show it
    whether a whole batch is real.
    """
    check_widths(widths, 1)
    channels, *sides = image_shape
    scale = 2 ** len(widths)
    if any(side % scale for side in sides):
        raise UserError(
            f"{len(widths)} widths of a GAN for images of {sides[0]}x{sides[1]} pixels",
            f"sides that are multiples of {scale}: each width doubles those of the map before",
            "give fewer widths",
        )
    small = [side // scale for side in sides]
    n_units = widths[0] * prod(small)
    generator: Layers = [nn.Linear(N_NOISE, n_units), nn.Unflatten(1, (widths[0], *small))]
    discriminator: Layers = [nn.Flatten(), last(n_units, outputs)]
    for i, (before, after) in enumerate(zip(widths, [*widths[1:], channels], strict=True), 1):
        generator += [nn.BatchNorm2d(before), nn.ReLU(), nn.Upsample(scale_factor=2)]
        generator += [nn.Conv2d(before, after, 3, padding=1, bias=i == len(widths))]
        discriminator = [nn.Conv2d(after, before, 4, stride=2, padding=1), nn.LeakyReLU(0.2), *discriminator]
    return generator, discriminator


def mlp(image_shape: Shape, widths: Sequence[int] | None, outputs: int) -> tuple[Layers, Layers]:
    """Two layers of HIDDEN units in either, ReLU in the generator and LeakyReLU(0.2) in the discriminator.

    Arguments: as in `build_gan`; there are no widths to choose. Source: Goodfellow et al. 2014 (arXiv:1406.2661),
    section 5, in small, and without maxout and dropout.
    """
    n_pixels = prod(image_shape)
    generator = [nn.Linear(N_NOISE, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU()]
    generator += [nn.Linear(HIDDEN, n_pixels), nn.Unflatten(1, image_shape)]
    discriminator = [nn.Flatten(), nn.Linear(n_pixels, HIDDEN), nn.LeakyReLU(0.2)]
    discriminator += [nn.Linear(HIDDEN, HIDDEN), nn.LeakyReLU(0.2), last(HIDDEN, outputs)]
    return generator, discriminator


def last(inputs: int, outputs: int) -> nn.Linear:
    """The discriminator's last layer: the bias of an embedding moves no distance, and Adam would follow its rounding
    errors."""
    return nn.Linear(inputs, outputs, bias=outputs == 1)


GANS: dict[str, Callable[[Shape, Sequence[int] | None, int], tuple[Layers, Layers]]] = {"conv": conv, "mlp": mlp}


def initialise(gan: Gan, generator: torch.Generator) -> None:
    """Draw every weight anew from `generator` alone: normal of variance 1 / fan in, biases 0, batch normalisation one
    and zero.

    The usual deviation of 0.02 is too small for so few channels: images hardly differ, and training does not begin.
    """
    for layer in gan.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.normal_(layer.weight, std=layer.weight[0].numel() ** -0.5, generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def build_gan(
    kind: str, image_shape: Sequence[int], widths: Sequence[int] | None, outputs: int, generator: torch.Generator
) -> Gan:
    """A freshly initialised GAN on the generator's device, in training mode.

    Arguments: `kind`, a key of GANS; `image_shape`, (channels, height, width) in pixels; `widths`, channels of the
    convolutional generator's maps from small to large, and of the discriminator's back; `outputs` of the discriminator,
    1 for a logit; `generator`, the only source of randomness.
    Raises: UserError for widths that are none, and for sides that cannot be doubled up to from a whole number.
    """
    with kept_rng():
        drawn, judged = GANS[kind](tuple(image_shape), widths, outputs)
    gan = Gan(nn.Sequential(*drawn, nn.Sigmoid()), nn.Sequential(Normalize(0.5, 0.5, image_shape[0]), *judged))
    initialise(gan.to(generator.device), generator)
    return gan.to(memory_format=torch.channels_last)
