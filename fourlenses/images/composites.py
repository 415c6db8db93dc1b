"""Images with a distractor in them: two parts, of which only one carries the label, on the canvas of one image."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int, Int64, UInt8
from torch import Tensor

from fourlenses.errors import UserError
from fourlenses.params import choose

WAVES = 5.5  # of the stripes across an image


@dataclass(frozen=True)
class Composite:
    """Composite images and their parts.

    `x`, the composites; `target` and `distractor`, each part as it would stand alone on this canvas, at its own
    contrast (black in the other half of images that stand beside or above one another); `y_target` and `y_distractor`,
    their labels; `halves`, where the halves are one part each, the pixels where the target stands.
    """

    x: UInt8[Tensor, "n c h w"]
    target: UInt8[Tensor, "n c h w"]
    distractor: UInt8[Tensor, "n c h w"]
    y_target: Int64[Tensor, " n"]
    y_distractor: Int64[Tensor, " n"]
    halves: Bool[Tensor, "n h w"] | None = None


@dataclass(frozen=True)
class Draws:
    """Random bytes that a seed fixes on every machine: SHAKE-256 of the seed and of what they are for."""

    seed: int | str

    def bytes(self, purpose: str, n: int) -> UInt8[Tensor, " n"]:
        """n bytes, each uniform on 0 to 255; fewer are the first of more."""
        stream = hashlib.shake_256(f"fourlenses composites, {purpose}, {self.seed}".encode()).digest(n)
        return torch.from_numpy(np.frombuffer(stream, np.uint8).copy())

    def coins(self, purpose: str, n: int) -> Int64[Tensor, " n"]:
        """n numbers, each 0 or 1 with equal chance."""
        return (self.bytes(purpose, n) & 1).long()

    def partners(self, n: int, m: int) -> Int64[Tensor, " n"]:
        """A partner of m for each of n images: all of them in random order, and again, so none is used much more."""
        keys = self.bytes("partners", 8 * m).numpy().view("<u8")
        return torch.from_numpy(np.argsort(keys, kind="stable").astype(np.int64)).repeat(-(-n // m))[:n]


def compose(
    kind: str,
    x: UInt8[Tensor, "n c h w"],
    y: Int[Tensor, " n"],
    partners: UInt8[Tensor, "m _ _ _"] | None,
    partner_labels: Int[Tensor, " m"] | None,
    seed: int | str,
) -> Composite:
    """Put a distractor into every image; integer arithmetic, and draws that the seed alone fixes.

    Arguments: `kind`, a key of KINDS; `x` and `y`, images on the CPU and their labels, with sides that are even;
    `partners` and `partner_labels`, the images and labels that "photo", "beside" and "stacked" draw distractors from
    (None for the others); `seed`, of every draw: a longer set of images starts with the composites of a shorter one.
    Returns the composites and their parts. Raises UserError for an unknown kind, for partners that are missing, too
    many or of another shape, and for odd sides.
    Source: section 3.2 of the specification (mnist_uniform, stripes, mnist_cifar, mnist_fashion).
    """
    put, wants = choose("distractor", kind, KINDS)
    if (partners is None) == wants or (partner_labels is None) == wants or (wants and len(partners) == 0):
        given = f"the distractor {kind!r} with {0 if partners is None else len(partners)} partners"
        raise UserError(given, "one or more" if wants else "none", "give the images that distract, where they are used")
    if wants and partners.shape[1:] != x.shape[1:]:
        given = f"partners of shape {tuple(partners.shape[1:])} for images of {tuple(x.shape[1:])}"
        raise UserError(given, "the same shape", "bring them to the canvas first")
    if x.shape[2] % 2 or x.shape[3] % 2:
        given = f"images of {x.shape[2]}x{x.shape[3]} pixels"
        raise UserError(given, "even sides", "choose images whose halves are whole pixels")
    draws = Draws(seed)
    if not wants:
        return put(x, y.long(), draws)
    drawn = draws.partners(len(x), len(partners))
    return put(x, y.long(), partners[drawn], partner_labels[drawn].long(), draws)


def _noise(x: Tensor, y: Tensor, draws: Draws) -> Composite:
    """x / 2 + x U / 2 for U uniform on [0, 1) for every pixel and channel: black stays black."""
    u = draws.bytes("noise", x.numel()).view(x.shape).int()
    both, alone = (x.int() * (256 + u) + 256) >> 9, (x.int() * u + 128) >> 8
    return Composite(both.byte(), x, alone.byte(), y, torch.zeros_like(y))


def _stripes(x: Tensor, y: Tensor, draws: Draws) -> Composite:
    """0.85 x + 0.15 s, s = (1 + sin(t)) / 2 for t from 0 to 11 pi: horizontal stripes (label 0) or vertical (1)."""
    way = draws.coins("stripes", len(x))
    across, along = (_waves(side) for side in x.shape[2:])
    stripes = torch.where(way[:, None, None] == 0, across[:, None], along).byte()[:, None].expand_as(x).contiguous()
    return Composite(((17 * x.int() + 3 * stripes.int() + 10) // 20).byte(), x, stripes, y, way)


def _waves(side: int) -> Tensor:
    """255 (1 + sin(t)) / 2, rounded; the sines of the ends are 0 only up to their last bits, which must not decide."""
    t = np.linspace(0, 2 * np.pi * WAVES, side)
    return torch.from_numpy(np.floor(127.5 * (1 + np.sin(t)) + 0.5 + 1e-6).astype(np.int32))


def _photo(x: Tensor, y: Tensor, partners: Tensor, labels: Tensor, draws: Draws) -> Composite:
    """x / 2 + p / 2."""
    return Composite(((x.int() + partners.int() + 1) >> 1).byte(), x, partners, y, labels)


def _beside(x: Tensor, y: Tensor, partners: Tensor, labels: Tensor, draws: Draws) -> Composite:
    """The two side by side in random order, each squeezed to half its width: the means of pairs of columns."""
    return _halved(x, y, partners, labels, draws, 3)


def _stacked(x: Tensor, y: Tensor, partners: Tensor, labels: Tensor, draws: Draws) -> Composite:
    """The two above one another in random order, each squeezed to half its height: the means of pairs of rows."""
    return _halved(x, y, partners, labels, draws, 2)


def _halved(x: Tensor, y: Tensor, partners: Tensor, labels: Tensor, draws: Draws, axis: int) -> Composite:
    second = draws.coins("sides", len(x))  # whether the target stands in the second half
    half = (torch.arange(x.shape[axis]) >= x.shape[axis] // 2).long().unflatten(0, (1, -1) if axis == 3 else (-1, 1))
    halves = (half == second[:, None, None]).expand(-1, *x.shape[2:]).contiguous()
    target, distractor = (_squeezed(part, axis) * where[:, None]
                          for part, where in ((x, halves), (partners, ~halves)))  # fmt: skip
    return Composite(target + distractor, target, distractor, y, labels, halves)


def _squeezed(x: Tensor, axis: int) -> Tensor:
    """The images at half their extent along an axis (bilinear, rounded), twice one after the other."""
    pairs = x.unflatten(axis, (-1, 2)).int().sum(axis + 1)
    return ((pairs + 1) >> 1).byte().repeat(*(2 if i == axis else 1 for i in range(4)))


# name: how it is put into the images, and whether it needs partners
KINDS: dict[str, tuple[Callable[..., Composite], bool]] = {
    "noise": (_noise, False),
    "stripes": (_stripes, False),
    "photo": (_photo, True),
    "beside": (_beside, True),
    "stacked": (_stacked, True),
}
