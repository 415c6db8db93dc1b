"""Glow, a density of images by invertible layers; quick on small images, for whatever no image changes is done once.

Activation normalisations are folded into the matrix or convolution beside them, the parameters of all steps of a scale
are stacked so that they are folded together, and channels lie last in a map.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from fourlenses.errors import UserError

COUPLINGS = ("affine", "additive")
LEAST_DEVIATION = 1e-3  # that an activation normalisation makes 1: a constant channel has none
LEAST_LOGIT = -80.0  # of a coupling's factor, so that its logarithm is finite

Map = Float[Tensor, "n h w _"]
Step = tuple[Tensor, ...]  # matrix and offset of the 1x1 convolution; weight and offset of the net's three layers


class Scale(nn.Module):
    """`depth` flow steps on maps of one size, each ActNorm -> invertible 1x1 convolution -> coupling.

    y = W exp(a) (x + b), where W = P L (U + diag(sign exp(d))) and a, b are of each channel; with y split into halves,
    y1' = (y1 + t(y2)) sigmoid(s(y2) + 2) if affine, else y1 + t(y2). The net of t and s is 3x3 convolution, ActNorm,
    ReLU, 1x1 convolution, ActNorm, ReLU, and a 3x3 convolution times exp(3 r) that is zero at the start.
    The first dimension of every parameter counts the steps.
    """

    def __init__(self, channels: int, depth: int, width: int, affine: bool, generator: torch.Generator) -> None:
        super().__init__()

        def normal(*shape: int) -> Tensor:
            return torch.randn(depth, *shape, generator=generator, device=generator.device)

        def zeros(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.zeros(depth, *shape, device=generator.device))

        self.affine, self.half = affine, channels // 2
        self.shift, self.log_scale = zeros(channels), zeros(channels)
        permutation, lower, upper = torch.linalg.lu(torch.linalg.qr(normal(channels, channels)).Q)
        diagonal = upper.diagonal(dim1=-2, dim2=-1)
        self.register_buffer("rows", permutation.argmax(-1))  # row i of W is row rows[i] of the product
        self.register_buffer("sign", diagonal.sign())
        self.log_diagonal = nn.Parameter(diagonal.abs().log())
        self.lower, self.upper = nn.Parameter(lower.tril(-1)), nn.Parameter(upper.triu(1))
        self.first = nn.Parameter(0.05 * normal(width, self.half, 3, 3))
        self.first_shift, self.first_log_scale = zeros(width), zeros(width)
        self.middle = nn.Parameter(0.05 * normal(width, width, 1, 1))
        self.middle_shift, self.middle_log_scale = zeros(width), zeros(width)
        outputs = channels if affine else self.half
        self.last, self.last_bias, self.last_log_scale = zeros(outputs, width, 3, 3), zeros(outputs), zeros(outputs)

    def log_det(self) -> Float[Tensor, ""]:
        """Of all that is not a coupling, at one pixel: the same for all images."""
        return self.log_scale.sum() + self.log_diagonal.sum()

    def folded(self, precision: torch.dtype) -> list[Step]:
        """Every step's 1x1 convolution, and its net in this precision; the normalisations, and the 2 that is added to
        s, are in them."""
        unit = torch.eye(2 * self.half, dtype=self.lower.dtype, device=self.lower.device)
        upper = self.upper.triu(1) + torch.diag_embed(self.sign * self.log_diagonal.exp())
        product = (self.lower.tril(-1) + unit) @ upper
        matrix = product.gather(1, self.rows[..., None].expand_as(product)) * self.log_scale.exp()[:, None]
        first, middle = self.first_log_scale.exp(), self.middle_log_scale.exp()
        last = (3 * self.last_log_scale).exp()
        net = (
            self.first * first[..., None, None, None],
            self.first_shift * first,
            self.middle * middle[..., None, None, None],
            self.middle_shift * middle,
            self.last * last[..., None, None, None],
            self.last_bias * last + 2 * (torch.arange(last.shape[1], device=last.device) >= self.half),
        )
        parts = [matrix, (matrix @ self.shift[..., None])[..., 0], *(layer.to(precision) for layer in net)]
        return list(zip(*(part.unbind() for part in parts), strict=True))

    def step(self, x: Map, step: Step) -> tuple[Map, Float[Tensor, "n"] | float]:
        """The map after one step, and the logarithm of the coupling's determinant for each image."""
        matrix, offset, *net = step
        y1, y2 = F.linear(x, matrix, offset).chunk(2, -1)
        out = transformed(y2, *net)
        if not self.affine:
            return torch.cat([y1 + out, y2], -1), 0.0
        t, s = out.chunk(2, -1)
        factor = sigmoid(s)
        return torch.cat([(y1 + t) * factor, y2], -1), factor.log().sum((1, 2, 3))

    def forward(self, x: Map, precision: torch.dtype) -> tuple[Map, Float[Tensor, "n"] | float]:
        """The map after all steps, and the logarithm of the couplings' determinants for each image."""
        log_det = 0.0
        for step in self.folded(precision):
            x, of_coupling = self.step(x, step)
            log_det = log_det + of_coupling
        return x, log_det

    def inverse(self, y: Map, precision: torch.dtype) -> Map:
        """The map before all steps."""
        for matrix, offset, *net in reversed(self.folded(precision)):
            y1, y2 = y.chunk(2, -1)
            out = transformed(y2, *net)
            if self.affine:
                y1 = y1 / sigmoid(out[..., self.half :])
            back = torch.linalg.inv(matrix.double()).to(matrix)  # in float32 its errors would be the largest of all
            y = F.linear(torch.cat([y1 - out[..., : self.half], y2], -1) - offset, back)
        return y

    @torch.no_grad()
    def initialise(self, x: Map) -> Map:
        """Make what leaves every ActNorm have mean 0 and deviation 1, one after the other; the map after all steps."""
        for k in range(len(self.shift)):
            standardise(x, self.shift[k], self.log_scale[k])
            matrix, offset, *_ = self.folded(x.dtype)[k]
            half = F.linear(x, matrix, offset)[..., self.half :]
            standardise(conv(half, self.first[k]), self.first_shift[k], self.first_log_scale[k])
            _, _, first, first_bias, *_ = self.folded(x.dtype)[k]
            hidden = conv(F.relu(conv(half, first, first_bias)), self.middle[k])
            standardise(hidden, self.middle_shift[k], self.middle_log_scale[k])
            x, _ = self.step(x, self.folded(x.dtype)[k])
        return x


class Glow(nn.Module):
    """Images in glow space (pixels about [-0.5, 0.5)) <-> latents that are standard normal, one tensor a scale.

    At every scale blocks of 2x2 pixels become channels, flow steps follow, and half of the channels leave as a latent
    (at the last scale all), z = exp(a) (y + b) with a and b of each dimension.
    Made by `build_glow`. Source: Kingma and Dhariwal 2018 (arXiv:1807.03039), section 3; the latents' own scale in
    place of a prior that a convolution makes from the other half, as in the code of arXiv:2201.05610.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        n_scales: int,
        depth: int,
        width: int,
        coupling: str,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.arguments = {"image_shape": list(image_shape), "n_scales": n_scales, "depth": depth, "width": width}
        self.arguments["coupling"] = coupling
        channels, height, length = image_shape
        self.scales, self.shifts, self.log_scales = nn.ModuleList(), nn.ParameterList(), nn.ParameterList()
        for i in range(n_scales):
            height, length = height // 2, length // 2
            self.scales.append(Scale(4 * channels, depth, width, coupling == "affine", generator))
            channels = 2 * channels if i < n_scales - 1 else 4 * channels
            for parameters in (self.shifts, self.log_scales):
                parameters.append(nn.Parameter(torch.zeros(height, length, channels, device=generator.device)))

    def forward(self, x: Float[Tensor, "n c h w"]) -> tuple[list[Float[Tensor, "n _ _ _"]], Float[Tensor, "n"]]:
        """Latents, and the natural logarithm of the density of each image.

        log p(x) = sum_j log N(z_j; 0, 1) + log |det dz/dx|. Arguments: `x`, in glow space. Under the caller's autocast
        the coupling nets, and they alone, have its precision: the determinant is that of what is computed.
        """
        latents, log_density = [], -math.prod(self.image_shape) * math.log(2 * math.pi) / 2
        with nets_alone(x) as precision:
            x = x.permute(0, 2, 3, 1)
            for scale, shift, log_scale, last in self.parts():
                x, of_couplings = scale(squeezed(x), precision)
                constant = scale.log_det() * math.prod(x.shape[1:3]) + log_scale.sum()
                y, x = (x, x) if last else x.chunk(2, -1)
                z = (y + shift) * log_scale.exp()
                log_density = log_density + constant + of_couplings - z.square().sum((1, 2, 3)) / 2
                latents.append(z.permute(0, 3, 1, 2))
        return latents, log_density

    def log_density(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n"]:
        """In nats, of images in glow space."""
        return self(x)[1]

    def inverse(self, latents: Sequence[Float[Tensor, "n _ _ _"]]) -> Float[Tensor, "n c h w"]:
        """The images in glow space that have these latents."""
        x = None
        with nets_alone(latents[0]) as precision:
            for z, (scale, shift, log_scale, last) in reversed(list(zip(latents, self.parts(), strict=True))):
                y = z.permute(0, 2, 3, 1) * (-log_scale).exp() - shift
                x = unsqueezed(scale.inverse(y if last else torch.cat([y, x], -1), precision))
        return x.permute(0, 3, 1, 2).contiguous()

    def parts(self) -> Iterator[tuple[Scale, Tensor, Tensor, bool]]:
        """Each scale, the shift and log-scale of its latent, and whether it is the last."""
        lasts = (scale is self.scales[-1] for scale in self.scales)
        return zip(self.scales, self.shifts, self.log_scales, lasts, strict=True)

    def zeros(self, n: int) -> list[Float[Tensor, "n _ _ _"]]:
        """The most probable latents, `n` times."""
        return [shift.new_zeros(n, *shift.permute(2, 0, 1).shape) for shift in self.shifts]

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator, temperature: float = 1.0) -> Float[Tensor, "n c h w"]:
        """Images in glow space, from normal latents of this deviation."""
        latents = [torch.randn(z.shape, generator=generator, device=generator.device).to(z) for z in self.zeros(n)]
        return self.inverse([temperature * z for z in latents])

    @torch.no_grad()
    def initialise(self, x: Float[Tensor, "n c h w"]) -> None:
        """Give what leaves every activation normalisation mean 0 and deviation 1 over these images in glow space.

        A deviation below LEAST_DEVIATION counts as that.
        """
        x = x.permute(0, 2, 3, 1)
        for scale, shift, log_scale, last in self.parts():
            x = scale.initialise(squeezed(x))
            y, x = (x, x) if last else x.chunk(2, -1)
            standardise(y, shift, log_scale)


def build_glow(
    image_shape: Sequence[int], *, n_scales: int, depth: int, width: int, coupling: str, generator: torch.Generator
) -> Glow:
    """A fresh Glow on the generator's device.

    Arguments: `image_shape`, (channels, height, width) in pixels; `n_scales`, each halves the sides; `depth`, flow
    steps a scale; `width`, channels of the coupling nets; `coupling`, of COUPLINGS; `generator`, the only source of
    randomness: 1x1 convolutions are random rotations, the other weights normal with deviation 0.05 or zero.
    Raises: UserError for sides that cannot be halved so often, and for an unknown coupling.
    """
    if coupling not in COUPLINGS:
        raise UserError(f"coupling {coupling!r}", f"one of {', '.join(COUPLINGS)}", "choose one")
    channels, *sides = image_shape
    if any(side % 2**n_scales for side in sides):
        raise UserError(
            f"{n_scales} scales of a Glow for images of {sides[0]}x{sides[1]} pixels",
            f"sides that are multiples of {2**n_scales}: each scale halves them",
            "give fewer scales",
        )
    return Glow((channels, *sides), n_scales, depth, width, coupling, generator)


def conv(x: Map, weight: Tensor, bias: Tensor | None = None) -> Map:
    """A convolution of maps whose channels lie last, padded to keep their size."""
    padding = weight.shape[-1] // 2
    return F.conv2d(x.permute(0, 3, 1, 2), weight, bias, padding=padding).permute(0, 2, 3, 1)


def transformed(
    y: Map, first: Tensor, first_bias: Tensor, middle: Tensor, middle_bias: Tensor, last: Tensor, last_bias: Tensor
) -> Map:
    """What a coupling's net makes of half a map: t and, if affine, s + 2."""
    hidden = F.conv2d(y.permute(0, 3, 1, 2).to(first.dtype), first, first_bias, padding=1).relu_()
    hidden = F.conv2d(hidden, middle, middle_bias).relu_()
    return F.conv2d(hidden, last, last_bias, padding=1).permute(0, 2, 3, 1).to(y.dtype)


def sigmoid(s: Map) -> Map:
    """A coupling's factor."""
    return s.clamp(min=LEAST_LOGIT).sigmoid()


def squeezed(x: Float[Tensor, "n h w c"]) -> Float[Tensor, "n h//2 w//2 4*c"]:
    """Blocks of 2x2 pixels as channels."""
    n, height, length, channels = x.shape
    blocks = x.reshape(n, height // 2, 2, length // 2, 2, channels)
    return blocks.permute(0, 1, 3, 5, 2, 4).reshape(n, height // 2, length // 2, 4 * channels)


def unsqueezed(x: Float[Tensor, "n h w c"]) -> Float[Tensor, "n 2*h 2*w c//4"]:
    """Channels as blocks of 2x2 pixels."""
    n, height, length, channels = x.shape
    blocks = x.reshape(n, height, length, channels // 4, 2, 2)
    return blocks.permute(0, 1, 4, 2, 5, 3).reshape(n, 2 * height, 2 * length, channels // 4)


def standardise(y: Map, shift: Tensor, log_scale: Tensor) -> None:
    """Set an ActNorm in place so that these maps leave it with mean 0 and deviation 1: of each dimension if its
    parameters have the shape of one map, else of each channel."""
    y = y.flatten(0, -1 - shift.ndim)
    shift.copy_(-y.mean(0))
    log_scale.copy_(-y.std(0, correction=0).clamp(min=LEAST_DEVIATION).log())


@contextmanager
def nets_alone(x: Tensor) -> Iterator[torch.dtype]:
    """Switch autocast off; the precision that it would have given the nets."""
    device = x.device.type
    precision = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
    with torch.autocast(device, enabled=False):
        yield precision
