"""Test beds: the images that a simplifier is trained and tested on, with a distractor or without."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from jaxtyping import Bool, Int64, UInt8
from torch import Tensor

from fourlenses import runtime
from fourlenses.images import Images, splits
from fourlenses.images.composites import compose
from fourlenses.images.shifted import fitted
from fourlenses.sections import Bed


@dataclass(frozen=True)
class BedImages:
    """The images of one split of a bed.

    `x` and `y`, images and the labels asked for, of `n_classes` classes. Where there are two parts: `target`, the one
    that carries these labels, and `distractor`, the other, each alone on this canvas, so that a bed whose label is the
    distractor's has the two in exchanged roles; `y_distractor`, the labels of the other part, of `n_distractors`
    classes (1 where they say nothing); `halves`, where each part has a half, the pixels where the target stands.
    """

    x: UInt8[Tensor, "n c h w"]
    y: Int64[Tensor, " n"]
    target: UInt8[Tensor, "n c h w"] | None
    distractor: UInt8[Tensor, "n c h w"] | None
    y_distractor: Int64[Tensor, " n"] | None
    halves: Bool[Tensor, "n h w"] | None
    n_classes: int
    n_distractors: int = 0

    def __len__(self) -> int:
        return len(self.y)


def make_bed(
    bed: Bed, images: tuple[Tensor, Tensor], partners: Mapping[str, Images] | None, seed: int, split: str
) -> BedImages:
    """A bed's images of one split ("train" or "test"), which the seed alone fixes.

    Arguments: `bed`, what is put into the images and which part carries the label; `images`, bytes (n, c, h, w) and
    labels (n,) of the source, on the CPU, all used; `partners`, what the distractors "photo", "beside" and "stacked"
    are drawn from, at any size: from the split's part if there are "train" and "test", otherwise from a half of them
    all, the other half being the other split's.
    """
    x, y = images[0], images[1].long()
    if bed.distractor is None:
        return BedImages(x, y, x, None, None, None, _classes(y))
    if partners is None:
        found = compose(bed.distractor, x, y, None, None, f"{seed} {split}")
        n_others = {"noise": 1, "stripes": 2}[bed.distractor]
    else:
        others = _share(partners, len(x), seed, split)
        found = compose(bed.distractor, x, y, fitted(others.x, x), others.y, f"{seed} {split}")
        n_others = max(_classes(part.y) for part in partners.values())
    if bed.label == "target":
        parts = (found.y_target, found.target, found.distractor, found.y_distractor, found.halves)
        return BedImages(found.x, *parts, _classes(y), n_others)
    halves = None if found.halves is None else ~found.halves
    parts = (found.y_distractor, found.distractor, found.target, found.y_target, halves)
    return BedImages(found.x, *parts, n_others, _classes(y))


def load_bed(
    bed: Bed,
    own: Mapping[str, Images],
    photos: Images,
    load: Callable[[str], Mapping[str, Images]],
    sizes: Mapping[str, int],
    seed: int,
) -> dict[str, BedImages]:
    """A bed's "train" and "test" images, from what a stage has at hand.

    Arguments: `own`, the study's splits "train" and "test", whose first images are used unless the bed has another
    source; `photos`, photographs on the same canvas; `load`, the parts of a data set by its name; `sizes`, images of
    each of the two splits; `seed`, of every draw.
    Another source gives as many images of its own, the classes as equal as it allows, from its part "test" for testing
    where there is one. Raises UserError if it has too few.
    """
    canvas = own["train"].x[:1]
    if bed.source is None:
        images = {name: Images(own[name].x[:n], own[name].y[:n]) for name, n in sizes.items()}
    else:
        drawn = splits.split(load(bed.source), sizes, runtime.generator(seed, "bed", bed.source))
        images = {name: Images(fitted(each.x, canvas), each.y) for name, each in drawn.items()}
    partners = {"all": photos} if bed.distractor == "photo" else bed.partner and load(bed.partner)
    made = {name: make_bed(bed, (each.x, each.y), partners, seed, name) for name, each in images.items()}
    most = {field: max(getattr(each, field) for each in made.values()) for field in ("n_classes", "n_distractors")}
    return {name: replace(each, **most) for name, each in made.items()}


def _share(partners: Mapping[str, Images], n: int, seed: int, split: str) -> Images:
    """At most n of the partners that the composites of a split may show, the classes as equal as possible."""
    stream = runtime.generator(seed, "partners")
    if {"train", "test"} <= set(partners):
        pool = {"all": partners[split]}
        return splits.split(pool, {"all": min(n, len(pool["all"]))}, stream)["all"]
    whole = sum(map(len, partners.values()))
    half = splits.split(partners, {"train": whole - whole // 2, "test": whole // 2}, stream)[split]
    return Images(half.x[:n], half.y[:n])


def _classes(y: Tensor) -> int:
    return int(y.max()) + 1
