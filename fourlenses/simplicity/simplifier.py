"""The simplifier: a U-Net from images to images that starts as the identity."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from fourlenses.errors import UserError
from fourlenses.nets.small import kept_rng

CLIP = 1e-3  # pixels are kept this far from 0 and 1, whose logits are infinite
GROWTH = (1, 2, 4, 8, 8)  # channels of each level, in those of the first
FORMS = ("mix", "residual")


class Conv(nn.Conv2d):
    """b (w * x + a), a convolution whose channels have an offset a and a gain b where a normalisation would stand:
    a = 0, b = 1 at the start, no statistics."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int) -> None:
        super().__init__(inputs, outputs, size, stride, padding=1, bias=False)
        self.shift, self.scale = nn.Parameter(torch.zeros(outputs)), nn.Parameter(torch.ones(outputs))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h2 w2"]:
        return self._conv_forward(x, self.scale.view(-1, 1, 1, 1) * self.weight, self.scale * self.shift)


class UNet(nn.Module):
    """Images -> maps of the same size, through levels of half the side each and back, with skips between equal sides.

    Down: 4x4 convolutions of stride 2; up: nearest-pixel upsampling and 3x3 convolutions; SiLU after each but the last.
    Images whose sides are no multiples of 2^levels are reflected at their borders, and the maps cut back.
    """

    def __init__(self, inputs: int, outputs: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.levels = len(widths)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        skips = [inputs, *widths[:-1]]
        for before, after in zip(skips, widths, strict=True):
            self.down.append(Conv(before, after, 4, 2))
        channels = widths[-1]
        for width in reversed(widths[:-1]):
            self.up.append(Conv(channels + width, width, 3, 1))
            channels = width
        self.last = nn.Conv2d(channels + inputs, outputs, 3, padding=1)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h w"]:
        *_, h, w = x.shape
        rows, columns = (-side % 2**self.levels for side in (h, w))
        top, left = rows // 2, columns // 2
        x = F.pad(x, (left, columns - left, top, rows - top), mode="reflect")
        skips = []
        for layer in self.down:
            skips.append(x)
            x = F.silu(layer(x))
        for layer in self.up:
            x = F.silu(layer(_joined(x, skips.pop())))
        return self.last(_joined(x, skips.pop()))[..., top : top + h, left : left + w]


def _joined(x: Tensor, skip: Tensor) -> Tensor:
    return torch.cat([F.interpolate(x, scale_factor=2, mode="nearest"), skip.to(x.dtype)], 1)


class Simplifier(nn.Module):
    """x~ = S(x), images in [0, 1] to images of the same shape in (0, 1), with l = logit(clip(x, 1e-3, 1 - 1e-3)).

    form "residual": x~ = sigmoid(l + m U(2x - 1)), m a learned number, 0 at the start;
    form "mix": x~ = sigmoid((1 + F(2x - 1)) l + U(2x - 1)), F and U out of one network whose last layer is 0 at the
    start. Both start as x~ = clip(x, 1e-3, 1 - 1e-3).
    Source: Schirrmeister et al. 2022 (arXiv:2201.05610), code: the residual form, with transposed convolutions on the
    way up, whose checkerboards cost bits, and with ELU, which takes a multiple of the time; "mix" is close to their
    later network.
    """

    def __init__(self, image_shape: Sequence[int], base: int, form: str) -> None:
        super().__init__()
        channels, *sides = image_shape
        levels = min(5, int(math.log2(min(sides))))
        outputs = 2 * channels if form == "mix" else channels
        self.unet = UNet(channels, outputs, [base * growth for growth in GROWTH[:levels]])
        if form == "residual":
            self.gate = nn.Parameter(torch.zeros(()))
        self.form = form

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        logits = torch.logit(x, CLIP)
        change = self.unet(2 * x - 1).to(x.dtype)
        if self.form == "residual":
            return torch.sigmoid(logits + self.gate * change)
        factor, change = change.chunk(2, 1)
        return torch.sigmoid(logits + factor * logits + change)


def build_simplifier(image_shape: Sequence[int], base: int, form: str, generator: Generator) -> Simplifier:
    """A simplifier that is the identity, up to the clip, on the generator's device.

    Arguments: `image_shape`, (channels, height, width), sides of 4 pixels or more; `base`, channels of the first of
    min(5, log2 side) levels; `form`, "mix" or "residual"; `generator`, the only source of randomness.
    Raises UserError for another form or smaller images.
    Source: 64 channels in the paper's code, 512 at most.
    """
    if form not in FORMS:
        raise UserError(f"form {form!r} of the simplifier", " or ".join(FORMS), "correct it in params.yaml")
    if min(image_shape[1:]) < 4:
        given = f"images of {image_shape[1]}x{image_shape[2]} pixels"
        raise UserError(given, "sides of 4 or more pixels", "choose larger images")
    with kept_rng():
        simplifier = Simplifier(image_shape, base, form).to(generator.device)
    for layer in simplifier.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
    nn.init.zeros_(simplifier.unet.last.bias)
    if form == "mix":
        nn.init.zeros_(simplifier.unet.last.weight)
    return simplifier
