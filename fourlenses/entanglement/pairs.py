"""Sums over all pairs of points by temperature, in memory that does not grow with the number of pairs.

Points are sorted by class and their distances cut into tiles that fit a cache; one matrix product makes a tile and
its mirror image. Sums of exponentials are kept in float64, shifted by the nearest distance so far of each point.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import inf

import torch
from jaxtyping import Float, Float64, Int64, Integer
from torch import Tensor

from fourlenses.entanglement.snnl import EMBEDDINGS, refuse_without_pairs

TILE = 512  # points; in float64 a tile takes 2 MiB


@dataclass(frozen=True)
class Shifted:
    """Distances, of which an infinite one counts as absent, less the nearest of each row, which is kept beside them."""

    distances: Float[Tensor, "r c"]
    nearest: Float[Tensor, " r"]

    @classmethod
    def of(cls, distances: Float[Tensor, "r c"]) -> "Shifted":
        """Uses up the distances; where a row has none, its nearest is the largest number."""
        nearest = distances.amin(1).clamp(max=torch.finfo(distances.dtype).max)
        return cls(distances.sub_(nearest[:, None]), nearest)

    def sums(self, betas: Float64[Tensor, " t"]) -> Float64[Tensor, "t r"]:
        """sum_j e^(-beta (d_ij - nearest_i))."""
        sums = betas.new_empty(len(betas), len(self.nearest))
        weights = torch.empty_like(self.distances)
        range_ = torch.finfo(self.distances.dtype)
        for k, beta in enumerate(betas.clamp(range_.tiny, range_.max).tolist()):  # at 0, infinity would weigh NaN
            sums[k] = torch.mul(self.distances, -beta, out=weights).exp_().sum(1, dtype=torch.float64)
        return sums


class Sums:
    """sum_j e^(-beta (d_ij - nearest_i)) of n points and all betas, over the distances that were added so far."""

    def __init__(self, betas: Float64[Tensor, " t"], n: int) -> None:
        self.betas = betas
        self.values = betas.new_zeros(len(betas), n)
        self.nearest = betas.new_full((n,), torch.finfo(torch.float64).max)

    def add(self, rows: slice, part: Shifted) -> None:
        """Adds distances of the points `rows`."""
        before, nearest = self.nearest[rows], part.nearest.minimum(self.nearest[rows])
        fade, weight = (torch.exp(-self.betas[:, None] * (each - nearest)) for each in (before, part.nearest))
        self.values[:, rows] = fade * self.values[:, rows] + weight * part.sums(self.betas)
        self.nearest[rows] = nearest


@dataclass(frozen=True)
class Side:
    """Distances of some points, `rows`, to some others, and to those of their class if any of these are."""

    rows: slice
    others: Shifted
    partners: Shifted | None


@dataclass(frozen=True)
class Pairs:
    """Points p sorted by class, with squares s: d_ij = s_i + s_j - 2 p_i p_j.

    `first` and `last`, where the class of each begins and ends; `order`, where each was before.
    """

    points: Float[Tensor, "n d"]
    squares: Float[Tensor, " n"]
    first: Int64[Tensor, " n"]
    last: Int64[Tensor, " n"]
    order: Int64[Tensor, " n"]

    @classmethod
    def of(cls, x: Float[Tensor, "n ..."], y: Integer[Tensor, " n"], distance: str) -> "Pairs":
        """`distance`, a name in EMBEDDINGS.

        Raises ValueError for fewer than two points, no class with two, and points that are NaN, infinite or too large
        to be squared.
        """
        refuse_without_pairs(y)
        order = y.argsort(stable=True)
        points, squares = EMBEDDINGS[distance](x.detach()[order])
        if not (torch.isfinite(4 * squares).all() and torch.isfinite(points).all()):
            raise ValueError("a point is NaN, infinite or too large to be squared")
        counts = y[order].unique_consecutive(return_counts=True)[1]
        last = counts.cumsum(0)
        return cls(points, squares, (last - counts).repeat_interleave(counts), last.repeat_interleave(counts), order)

    def mean_distance(self) -> float:
        """The mean over all pairs, 0 if it is no more than rounding."""
        n, s = len(self.squares), self.squares.double()
        mean = 2 * (n * s.sum() - self.points.sum(0, dtype=torch.float64).square().sum()) / (n * (n - 1))
        return float(mean) if mean > 64 * torch.finfo(self.squares.dtype).eps * s.mean() else 0.0

    def tiles(self, edge: int) -> Iterator[Side]:
        """Both sides of every tile of distances of `edge` points to as many others."""
        rows = [slice(start, min(start + edge, len(self.squares))) for start in range(0, len(self.squares), edge)]
        for i, above in enumerate(rows):
            for below in rows[: i + 1]:
                points = self.points[above], self.points[below].T
                tile = torch.addmm(self.squares[below], *points, alpha=-2).add_(self.squares[above, None])
                if above == below:
                    tile.fill_diagonal_(inf)
                else:
                    yield self.side(tile.T.clone(memory_format=torch.contiguous_format), below, above)
                yield self.side(tile, above, below)

    def side(self, tile: Float[Tensor, "r c"], rows: slice, columns: slice) -> Side:
        """A tile as its rows see it; the tile itself is used up."""
        first = self.first[rows].clamp(columns.start, columns.stop) - columns.start
        last = self.last[rows].clamp(columns.start, columns.stop) - columns.start
        partners = None
        if most := int((last - first).max()):
            places = first[:, None] + torch.arange(most, device=tile.device)
            found = tile.gather(1, places.clamp(max=tile.shape[1] - 1))
            partners = Shifted.of(found.masked_fill_(places >= last[:, None], inf))
        return Side(rows, Shifted.of(tile), partners)

    def losses(self, betas: Float64[Tensor, " t"], sides: Iterable[Side]) -> Float64[Tensor, "t anchors"]:
        """The terms of the loss at temperatures 1 / beta, in the order that y had."""
        betas = betas.clamp(max=torch.finfo(betas.dtype).max)
        others, partners = Sums(betas, len(self.order)), Sums(betas, len(self.order))
        for side in sides:
            others.add(side.rows, side.others)
            if side.partners:
                partners.add(side.rows, side.partners)
        shift = betas[:, None] * (partners.nearest - others.nearest)
        return self.anchored((shift + others.values.log() - partners.values.log()).clamp_(min=0))

    def losses_at_infinity(self) -> Float64[Tensor, " anchors"]:
        """The terms of the loss at infinite temperature, log((n - 1) / (n_i - 1))."""
        return self.anchored(torch.log((len(self.order) - 1) / (self.last - self.first - 1).double()))

    def anchored(self, values: Float64[Tensor, "*t n"]) -> Float64[Tensor, "*t anchors"]:
        """The values of points that have a partner, in the order that y had."""
        back = self.order.argsort()
        return values[..., back[(self.last - self.first > 1)[back]]]
