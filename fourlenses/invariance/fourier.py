"""Fourier preconditioning: an image as scaled, decorrelated Fourier coefficients, on which the descent runs.

Low frequencies weigh more, so that the descent prefers smooth changes; the image lies in (0, 1) for any coefficients,
which therefore are never clipped.
Source: Olah et al. 2017, Feature Visualization (its library, lucid); spec 2.6 (c) after Nanda et al. 2023 (code).
"""

import torch
from jaxtyping import Float
from robustness.attack_steps import AttackerStep
from torch import Tensor

from fourlenses.attacks import STEPS, UnconstrainedStep

# Lucid's square root of the correlation of red, green and blue in ImageNet, its longest column scaled to 1.
COLOURS = torch.tensor([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]], dtype=torch.float64)
COLOURS = COLOURS / COLOURS.norm(dim=0).max()


def decode(z: Float[Tensor, "n c h k 2"], width: int | None = None) -> Float[Tensor, "n c h w"]:
    """The image of Fourier coefficients: x = sigmoid(C irfft2(s z) / 4), s = 1 / max(|f|, 1 / max(h, w)).

    f is the frequency in cycles per pixel, irfft2 the orthonormal inverse transform; C decorrelates the colours of
    3 channels and is the identity for any other number of them.
    Arguments: `z`, real and imaginary parts, any real numbers; `width`, w in pixels, 2 (k - 1) when None.
    Returns images in (0, 1).
    """
    height, width = z.shape[2], width or 2 * (z.shape[3] - 1)
    spectrum = torch.view_as_complex(z.contiguous()) * _scale(height, width, z)
    return torch.sigmoid(_mix(torch.fft.irfft2(spectrum, s=(height, width), norm="ortho") / 4, COLOURS))


def encode(x: Float[Tensor, "n c h w"], margin: float = 0.02) -> Float[Tensor, "n c h k 2"]:
    """The coefficients z with decode(z, w) = clip(x, margin, 1 - margin): z = rfft2(4 C^-1 logit(x)) / s.

    Arguments: `x`, images in [0, 1]; `margin`, in (0, 1/2), which keeps the logit finite.
    Returns real and imaginary parts, k = w // 2 + 1.
    """
    logits = _mix(x.clamp(margin, 1 - margin).logit(), COLOURS.inverse())
    spectrum = torch.fft.rfft2(4 * logits, norm="ortho") / _scale(*x.shape[2:], x)
    return torch.view_as_real(spectrum)


@torch.enable_grad()
def step_length(image_shape: tuple[int, int, int], step_l2: float) -> float:
    """Length of a step on z that moves pixels about `step_l2` far: eta_z = eta ||J^T v|| / ||J J^T v||, J = dx/dz.

    The ratio is taken at pixel noise x = clip(N(0, 1), 0, 1), where most inversions start, for a loss whose gradient v
    by pixels is white. So it depends on the shape of the images alone, not on network, target or seed image: where
    pixels are nearly black or white J is small, and a ratio taken there would make the steps of the rest too long.
    Arguments: `image_shape`, (c, h, w); `step_l2`, eta in pixels of [0, 1].
    """
    noise, v = torch.randn(2, 16, *image_shape, generator=torch.Generator().manual_seed(0))
    z, v = encode(noise.clamp(0, 1)).requires_grad_(True), v.requires_grad_(True)
    (direction,) = torch.autograd.grad(decode(z, image_shape[2]), z, v, create_graph=True)
    (moved,) = torch.autograd.grad(direction, v, direction.detach())  # the gradient of J^T v by v, applied: J J^T v
    return step_l2 * float(direction.detach().norm() / moved.norm())


class SpectrumStep(AttackerStep):
    """Moves of fixed L2 length on coefficients, which are never clipped: z + step_size g / ||g||_2 for each image."""

    step = UnconstrainedStep.step

    def project(self, x: Tensor) -> Tensor:
        return x


STEPS["spectrum"] = SpectrumStep


def _scale(height: int, width: int, like: Tensor) -> Float[Tensor, "h k"]:
    rows = torch.fft.fftfreq(height, dtype=like.dtype, device=like.device)
    columns = torch.fft.rfftfreq(width, dtype=like.dtype, device=like.device)
    return 1 / torch.hypot(rows[:, None], columns).clamp_min(1 / max(height, width))


def _mix(x: Float[Tensor, "n c h w"], colours: Float[Tensor, "3 3"]) -> Float[Tensor, "n c h w"]:
    return torch.einsum("dc,nchw->ndhw", colours.to(x), x) if x.shape[1] == 3 else x
