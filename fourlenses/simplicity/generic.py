"""Generic images: what a prior learns from, so that it knows photographs and everything simpler alike."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float, Int, Int64, Shaped, UInt8
from torch import Generator, Tensor

from fourlenses.errors import UserError
from fourlenses.images import Images
from fourlenses.images.shifted import fitted
from fourlenses.training.augment import gaussian_blur, luminance

SHIFT = 3  # pixels
BLURRED, DRAWN, FADED, BOXED, GREY, NOISY = 0.1, 0.6, 0.15, 0.2, 0.2, 0.03  # shares of the images
CHUNK = 10_000  # images that are resampled together


def split_generic(
    parts: Mapping[str, Images],
    classes: Sequence[str],
    held_out: Sequence[str],
    canvas: Shaped[Tensor, "_ c h w"],
    n_images: int,
    seed: int,
) -> tuple[UInt8[Tensor, "n c h w"], UInt8[Tensor, "m c h w"], Int64[Tensor, " m"]]:
    """Images to train a prior on and photographs that no prior sees, on the canvas of a study, each in random order.

    Arguments: `parts`, a data set: where it has a part "test", the photographs are that part and `held_out` is empty;
    otherwise they are the images of the classes in `held_out`; `classes`, the names of its classes; `canvas`, images
    of the study, for their shape; `n_images`, how many of either there are at most; `seed`, of the order.
    Returns the images to train on, the photographs and the classes of the photographs.
    Raises UserError for a class that the data set has not, and when no image is held out, or none is left.
    """
    unknown = [name for name in held_out if name not in classes]
    if unknown:
        remedy = "correct glow.held_out"
        raise UserError(f"glow.held_out names {unknown[0]!r}", f"classes among {', '.join(classes)}", remedy)
    if "test" in parts and held_out:
        given = "glow.held_out names classes of a data set that has a part test"
        raise UserError(given, "no names: that part is held out", "empty glow.held_out")
    if "test" in parts:
        known, unseen = parts["train"], parts["test"]
    else:
        every = parts["all"]
        held = torch.isin(every.y, torch.tensor([classes.index(name) for name in held_out], dtype=torch.int64))
        known, unseen = Images(every.x[~held], every.y[~held]), Images(every.x[held], every.y[held])
    for images, what in ((known, "glow.held_out leaves no image to train on"), (unseen, "no image is held out")):
        if len(images) == 0:
            raise UserError(what, "some classes of glow.source, not all", "name others in glow.held_out")
    stream = torch.Generator().manual_seed(seed)
    train, photos = (torch.randperm(len(images), generator=stream)[:n_images] for images in (known, unseen))
    return _onto(known.x, train, canvas), _onto(unseen.x, photos, canvas), unseen.y[photos]


def _onto(x: UInt8[Tensor, "n _ _ _"], chosen: Int[Tensor, " m"], canvas: Tensor) -> UInt8[Tensor, "m c h w"]:
    return torch.cat([fitted(x[part], canvas) for part in chosen.split(CHUNK)])


def varied(x: UInt8[Tensor, "n c h w"], generator: Generator) -> UInt8[Tensor, "n c h w"]:
    """The images changed at random, many towards less complexity and a few towards more; else a prior explodes there.

    In this order, with u and every colour (a number for each channel) uniform and drawn anew for each image; a third
    of the numbers of a colour is 0 and a third 1, and a quarter of the u of the noise is 1:

    - half are mirrored, and all are shifted by up to 3 pixels along both axes, the border reflected;
    - 10 % are blurred by a Gaussian of 0.5 to 2 pixels;
    - 60 % become drawings in two colours, bands between the level lines of the image;
    - 15 % are faded: u x + (1 - u) colour;
    - 20 % have a flat background: the colour outside a random box;
    - 20 % of those of three channels become grey;
    - 3 % are mixed with noise, uniform for each pixel and channel: (1 - u) x + u noise.

    Arguments: `x`, bytes; `generator`, the random stream, on any device. Returns new images on the device of `x`.
    Source: spec 5.2 (prior B), but for the drawings, without which thin strokes need more bits than photographs.
    """
    n, c, h, w = x.shape

    def uniform(*shape: int) -> Float[Tensor, "n ..."]:
        return torch.rand(n, *shape, generator=generator, device=generator.device).to(x.device)

    def some(share: float) -> Tensor:
        return uniform(1, 1, 1) < share

    def colour() -> Float[Tensor, "n c 1 1"]:
        return (3 * uniform(c, 1, 1) - 1).clamp(0, 1)

    z = _shifted(x, uniform(3), SHIFT).float() / 255
    z = torch.where(some(BLURRED), gaussian_blur(z, 0.5 + 1.5 * uniform()), z)
    z = torch.where(some(DRAWN), _drawn(z, uniform(4), colour(), colour()), z)
    z = torch.where(some(FADED), colour().lerp(z, uniform(1, 1, 1)), z)
    inside = _between(uniform(2), h)[:, None, :, None] & _between(uniform(2), w)[:, None, None, :]
    z = torch.where(some(BOXED) & ~inside, colour(), z)
    if c == 3:
        z = torch.where(some(GREY), luminance(z), z)
    z = torch.where(some(NOISY), z.lerp(uniform(c, h, w), (4 / 3 * uniform(1, 1, 1)).clamp(max=1)), z)
    return (255 * z).round().byte()


def _drawn(
    z: Float[Tensor, "n c h w"], u: Float[Tensor, "n 4"], ink: Float[Tensor, "n c 1 1"], paper: Float[Tensor, "n c 1 1"]
) -> Float[Tensor, "n c h w"]:
    """A drawing in two colours: bands between level lines of the smoothed image, with soft edges.

    Ink is where floor(k s + v) is odd, s the luminance smoothed by 1 to 2 pixels and stretched to [0, 1], k from 1 to
    4 and v from 0 to 2; the edges are smoothed by 0.3 to 0.7 pixels.
    """
    level = gaussian_blur(luminance(z), 1 + u[:, 0])
    low, high = level.amin((1, 2, 3), keepdim=True), level.amax((1, 2, 3), keepdim=True)
    k, v = (each.view(-1, 1, 1, 1) for each in (1 + 3 * u[:, 1], 2 * u[:, 2]))
    bands = (k * (level - low) / (high - low).clamp(min=1e-3) + v).floor() % 2
    return paper.lerp(ink, gaussian_blur(bands, 0.3 + 0.4 * u[:, 3]))


def _shifted(x: UInt8[Tensor, "n c h w"], u: Float[Tensor, "n 3"], most: int) -> UInt8[Tensor, "n c h w"]:
    """Mirrored where u_2 < 1/2, and moved by whole pixels from -most to most along both axes, reflected."""

    def indices(size: int, u: Float[Tensor, " n"]) -> Int[Tensor, "n size"]:
        moved = torch.arange(size, device=x.device) + ((2 * most + 1) * u).long()[:, None] - most
        return (size - 1) - ((size - 1) - moved.abs()).abs()

    rows, columns = indices(x.shape[2], u[:, 0]), indices(x.shape[3], u[:, 1])
    columns = torch.where(u[:, 2:] < 0.5, x.shape[3] - 1 - columns, columns)
    images = torch.arange(len(x), device=x.device)
    # whole pixels, whose channels then come last
    return x[images[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _between(u: Float[Tensor, "n 2"], size: int) -> Bool[Tensor, "n size"]:
    """Which of `size` pixels lie between two random places, both included."""
    ends = (size * u).long().sort(1).values
    at = torch.arange(size, device=u.device)
    return (ends[:, :1] <= at) & (at <= ends[:, 1:])
