"""Threats that draw into an image rather than move its pixels: JPEG artefacts, Gabor noise, snow.

A threat is a step of projected gradient whose points are what is drawn, one row an image, of size at most eps;
`to_image` draws a point into the original images. `random_perturb` draws the start from torch's global stream, which
the caller seeds, and with it what stays fixed during the attack: Gabor kernels and the shapes of flakes.

Source: Kang et al. 2019 (arXiv:1908.08016) and their code; where we differ is said in each class.
"""

import math

import torch
from jaxtyping import Float, Int
from robustness.attack_steps import AttackerStep
from torch import Tensor
from torch.nn import functional as F

LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *[(99,) * 8] * 4,
)
TO_RGB = ((1, 0, 1.402), (1, -0.344136, -0.714136), (1, 1.772, 0))  # from Y, Cb and Cr
KERNEL = 23  # side of a Gabor kernel in pixels
MOST_SIDES = 10  # orientations of a Gabor kernel
IMPULSES = 1 / 14  # share of the pixels at which a Gabor kernel is put down
LAYERS, CELL, REACH = 7, 4, 8  # kinds of flakes, pixels between two of a kind, the furthest pixel of a flake
SNOWFALL = 0.0375  # largest mean brightness of the flakes, as a share of eps


class Drawn(AttackerStep):
    """A step whose points are drawn into the images, and whose start is always random.

    `by_image` names what `random_perturb` keeps of each image.
    """

    by_image: tuple[str, ...] = ()


class JpegStep(Drawn):
    """Quantised DCT coefficients moved inside an L2 ball: x' = clip(x + J(z)), ||z||_2 <= eps, J as in `artefacts`.

    The radius is in steps of the quantisation of quality 50. A start has a random direction and a random length.
    Differences: chroma is not subsampled, so that x' = x at z = 0 and any side will do; the authors' code halves z
    and cuts its coordinates at 1, so that its eps is twice ours.
    """

    def random_perturb(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        z = torch.randn(n, c, h + -h % 8, w + -w % 8, device=x.device)
        return z * (self.eps * torch.rand(n, 1, 1, 1, device=x.device) / _length(z))

    def step(self, z: Tensor, gradient: Tensor) -> Tensor:
        return z + self.step_size * gradient / _length(gradient)

    def project(self, z: Tensor) -> Tensor:
        return z * (self.eps / _length(z)).clamp(max=1)

    def to_image(self, z: Tensor) -> Tensor:
        h, w = self.orig_input.shape[2:]
        return (self.orig_input + artefacts(z)[..., :h, :w]).clamp(0, 1)


class GaborStep(Drawn):
    """Gabor noise of amplitude eps: x' = clip(x + eps G(z)), max |z| <= eps, G as in `gabor_noise`.

    Kernels of 1 to 10 orientations, of deviation 2.3 to 9.2 pixels and of period 4 to 7.7 pixels, one an image, stand
    at one pixel in 14; steps follow the sign of the gradient of their weights z.
    Differences: the noise is divided by its largest value, where the code's variance normalisation comes to little
    more than its sign, and lies in [-eps, eps] rather than [0, eps]; the pixels that have a kernel keep it, where the
    code's mask takes it from them and lets all the others have one.
    """

    by_image = ("kernels", "places")

    def random_perturb(self, x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        sides = torch.randint(1, MOST_SIDES + 1, (n,), device=x.device)
        sigma, frequency, angle = torch.rand(3, n, device=x.device)
        self.kernels = gabor_kernels(sides, 0.1 + 0.3 * sigma, 3 + (KERNEL / 4 - 3) * frequency, math.pi * angle)
        self.places = torch.rand(n, h * w, device=x.device).topk(math.ceil(IMPULSES * h * w)).indices
        return self.eps * (2 * torch.rand(self.places.shape, device=x.device) - 1)

    def step(self, z: Tensor, gradient: Tensor) -> Tensor:
        return z + self.step_size * gradient.sign()

    def project(self, z: Tensor) -> Tensor:
        return z.clamp(-self.eps, self.eps)

    def to_image(self, z: Tensor) -> Tensor:
        h, w = self.orig_input.shape[2:]
        return (self.orig_input + self.eps * gabor_noise(z, self.places, self.kernels, h, w)).clamp(0, 1)


class SnowStep(Drawn):
    """Flakes of brightness up to eps: x' = clip(x + S(z)), 0 <= z <= eps, mean z <= 0.0375 eps, S as in `snowflakes`.

    Seven kinds of flakes, streaks of one slant that are 1.5 to 3.5 pixels wide, each on a grid of 4 pixels that starts
    anywhere; steps follow the gradient divided by its largest value. A start is eps exp(-u / 0.0375), u ~ U(0, 1).
    Differences: z is the brightness itself, where the authors move its fourth root; the budget is over the whole image
    rather than over parts of 32 x 32 pixels; nothing is whitened, so that x' = x at z = 0; streaks are not blurred.
    """

    def random_perturb(self, x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        ends = torch.randint(2, 7, (LAYERS, 2), device=x.device).to(x)
        ends[:, 1] *= 1 - 2 * torch.randint(2, (), device=x.device)
        centres = torch.randint(CELL, (LAYERS, 2), device=x.device).to(x)
        chances = torch.tensor([0.6, 0.3, 0.1], device=x.device)
        widths = 1.5 + torch.multinomial(chances, LAYERS, replacement=True)
        self.flakes = flakes(centres, ends, widths.to(x))
        u = torch.rand(n, LAYERS, math.ceil(h / CELL), math.ceil(w / CELL), device=x.device)
        return self.project(self.eps * torch.exp(-u / SNOWFALL))

    def step(self, z: Tensor, gradient: Tensor) -> Tensor:
        return z + self.step_size * gradient / (gradient.abs().amax((1, 2, 3), keepdim=True) + 1e-30)

    def project(self, z: Tensor) -> Tensor:
        z = z.clamp(0, self.eps)
        return z * (SNOWFALL * self.eps / (z.mean((1, 2, 3), keepdim=True) + 1e-30)).clamp(max=1)

    def to_image(self, z: Tensor) -> Tensor:
        h, w = self.orig_input.shape[2:]
        return (self.orig_input + snowflakes(z, self.flakes, h, w)).clamp(0, 1)


def artefacts(z: Float[Tensor, "n c h8 w8"]) -> Float[Tensor, "n c h8 w8"]:
    """What moves of the quantised coefficients add to an image: J(z) = C D^T (Q * z) D / 255 in each block of 8 x 8.

    D is the orthonormal DCT-II; Q, the tables of luminance and chrominance at quality 50; C, the matrix from Y, Cb and
    Cr to RGB, or 1 for grey images. JPEG without its rounding is linear, so that this is the difference of two decoded
    images.

    Arguments: `z`, one block after the other, for 1 or 3 channels and sides that are multiples of 8.
    Returns the difference in pixels of [0, 1], not clipped.
    Raises ValueError for other numbers of channels. Source: Kang et al. 2019; ITU-T T.81, annexes A and K.
    """
    if z.shape[1] not in (1, 3):
        raise ValueError(f"{z.shape[1]} channels, but JPEG takes 1 or 3")
    tables = z.new_tensor([LUMINANCE, CHROMINANCE, CHROMINANCE][: z.shape[1]])
    u = torch.arange(8, device=z.device, dtype=z.dtype)
    dct = torch.cos(math.pi / 16 * u[:, None] * (2 * u + 1)) / 2
    dct[0] /= math.sqrt(2)
    blocks = z.unflatten(3, (-1, 8)).unflatten(2, (-1, 8)).transpose(3, 4)
    pixels = dct.T @ (tables[:, None, None] * blocks) @ dct / 255
    planes = pixels.transpose(3, 4).flatten(4).flatten(2, 3)
    return planes if z.shape[1] == 1 else (z.new_tensor(TO_RGB) @ planes.flatten(2)).view_as(planes)


def gabor_kernels(
    sides: Int[Tensor, " n"], sigma: Float[Tensor, " n"], frequency: Float[Tensor, " n"], angle: Float[Tensor, " n"]
) -> Float[Tensor, "n k k"]:
    """K(p) = exp(-|p|^2 / 2 sigma^2) sum_{i < sides} cos(2 pi f p . e(angle + i pi / sides)) for p in [-1/2, 1/2]^2.

    Arguments: `sides`, orientations, 1 to 10; `sigma`, in sides of the kernel; `frequency` f, in waves a side; `angle`,
    in radians, e its unit vector.
    """
    at = torch.linspace(-0.5, 0.5, KERNEL, device=sigma.device, dtype=sigma.dtype)
    y, x = torch.meshgrid(at, at, indexing="ij")
    i = torch.arange(MOST_SIDES, device=sigma.device, dtype=sigma.dtype)
    angles = (angle[:, None] + math.pi * i / sides[:, None])[..., None, None]
    waves = torch.cos(2 * math.pi * frequency.view(-1, 1, 1, 1) * (x * angles.cos() + y * angles.sin()))
    waves = (waves * (i < sides[:, None])[..., None, None]).sum(1)
    return waves * torch.exp(-(x**2 + y**2) / (2 * sigma.view(-1, 1, 1) ** 2))


def gabor_noise(
    z: Float[Tensor, "n m"], places: Int[Tensor, "n m"], kernels: Float[Tensor, "n k k"], height: int, width: int
) -> Float[Tensor, "n 1 height width"]:
    """Sparse convolution noise G(z) = g / max |g|, g(p) = sum_j z_j K(p - p_j), zero outside the kernel's square.

    Arguments: `z`, weights; `places`, the pixels p_j, counted along the rows; `kernels`, of odd side.
    Source: Lagae et al. 2009, with a kernel an image; Kang et al. 2019.
    """
    size, middle = (height + KERNEL - 1, width + KERNEL - 1), KERNEL // 2
    impulses = z.new_zeros(len(z), height * width).scatter(1, places, z).unflatten(1, (height, width))
    spectrum = torch.fft.rfft2(impulses, size) * torch.fft.rfft2(kernels, size)
    g = torch.fft.irfft2(spectrum, size)[:, None, middle : middle + height, middle : middle + width]
    return g / (g.abs().amax((2, 3), keepdim=True) + 1e-30)


def flakes(
    centres: Float[Tensor, "kinds 2"], ends: Float[Tensor, "kinds 2"], widths: Float[Tensor, " kinds"]
) -> Float[Tensor, "kinds 1 side side"]:
    """Streaks k(p) = clip((w + 1) / 2 - d(p), 0, 1), d(p) the distance in pixels from the line c - e to c + e.

    Arguments: `centres` c, within a cell of the grid, and `ends` e, in pixels, row before column; `widths` w, in
    pixels, at half of the brightness. The pixels p are those from -8 to 11 in rows and columns.
    """
    at = torch.arange(-REACH, REACH + CELL, device=ends.device, dtype=ends.dtype)
    p = torch.stack(torch.meshgrid(at, at, indexing="ij"), -1) - centres[:, None, None]
    e = ends[:, None, None]
    along = ((p * e).sum(-1, keepdim=True) / e.square().sum(-1, keepdim=True)).clamp(-1, 1)
    distance = (p - along * e).norm(dim=-1)
    return ((widths.view(-1, 1, 1) + 1) / 2 - distance).clamp(0, 1)[:, None]


def snowflakes(
    z: Float[Tensor, "n kinds rows columns"], flakes: Float[Tensor, "kinds 1 side side"], height: int, width: int
) -> Float[Tensor, "n 1 height width"]:
    """S(z)(p) = sum over kinds and cells of z_kind,cell k_kind(p - 4 cell), k as in `flakes`."""
    drawn = F.conv_transpose2d(z, flakes, stride=CELL)
    return drawn[..., REACH : REACH + height, REACH : REACH + width]


def _length(z: Tensor) -> Float[Tensor, "n 1 1 1"]:
    """The L2 norm of each row, kept from 0."""
    return z.flatten(1).norm(dim=1).view(-1, 1, 1, 1) + 1e-30
