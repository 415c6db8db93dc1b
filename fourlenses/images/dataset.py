"""What a data set is, what it promises, and the digest that says whether the promise is kept."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Int64, UInt8
from torch import Tensor

from fourlenses.errors import UserError
from fourlenses.images.sources import Source

Bar = Callable[[Iterable[Any], str], Iterable[Any]]  # wraps a loop that may show its progress under a name


@dataclass(frozen=True)
class Images:
    """Images `x` of one size and mode, 0 to 255, and their classes `y`, from 0; UserError unless as many of both."""

    x: UInt8[Tensor, "n c h w"]
    y: Int64[Tensor, " labels"]

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y):
            given = f"{len(self.x)} images and {len(self.y)} labels"
            raise UserError(given, "one label an image", "get both files from the same source")

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Dataset:
    """A data set by name, and everything that it promises.

    `decode` turns the contents of the source's files (by file name, checked) into parts and class names. `counts` are
    the images of each part. `digest` is `digest_images` of the decoded parts; it is None where a JPEG decoder makes
    the pixels, whose builds may differ in the last bit: there each source pins the SHA-256 of its files.
    """

    name: str
    image_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    counts: Mapping[str, int]
    licence: str
    homepage: str
    decode: Callable[[Mapping[str, bytes], Bar], dict[str, Images]]
    sources: tuple[Source, ...] = field(default=())
    digest: str | None = None

    @property
    def n_classes(self) -> int:
        return len(self.classes)


@dataclass(frozen=True)
class Loaded:
    """A data set in memory: its parts, the source that answered, and `digest_images` of what was decoded."""

    name: str
    parts: dict[str, Images]
    classes: tuple[str, ...]
    licence: str
    homepage: str
    source: str
    digest: str


def digest_images(parts: Mapping[str, Images]) -> str:
    """SHA-256 of every part's name, shape, pixels and labels, parts in the order of their names.

    Returns 64 hexadecimal digits, the same on every machine for the same images in the same order.
    """
    digest = hashlib.sha256()
    for name in sorted(parts):
        images = parts[name]
        digest.update(json.dumps([name, list(images.x.shape)]).encode())
        digest.update(images.x.cpu().contiguous().numpy())
        digest.update(images.y.cpu().contiguous().numpy().astype("<i8", copy=False))
    return digest.hexdigest()


def keep_promise(dataset: Dataset, parts: Mapping[str, Images]) -> str:
    """Check decoded parts against what the data set promises and return their digest.

    Raises UserError if the parts, a count, an image size or mode, a class or the digest is another.
    """
    remedy = "use the original files of this data set, or folder:<path> for other images"
    if set(parts) != set(dataset.counts):
        given = f"{dataset.name} has the parts {', '.join(sorted(parts))}"
        raise UserError(given, f"the parts {', '.join(sorted(dataset.counts))}", remedy)
    for name, images in parts.items():
        if len(images) != dataset.counts[name]:
            given = f"{dataset.name}, part {name}: {len(images)} images"
            raise UserError(given, f"{dataset.counts[name]} images", remedy)
        shape = tuple(images.x.shape[1:])
        if shape != tuple(dataset.image_shape):
            given = f"{dataset.name}, part {name}: images of (channels, height, width) {shape}"
            raise UserError(given, f"{tuple(dataset.image_shape)}", remedy)
        if len(images) and not 0 <= int(images.y.min()) <= int(images.y.max()) < dataset.n_classes:
            given = f"{dataset.name}, part {name}: labels from {int(images.y.min())} to {int(images.y.max())}"
            raise UserError(given, f"labels from 0 to {dataset.n_classes - 1}", remedy)
    digest = digest_images(parts)
    if dataset.digest is not None and digest != dataset.digest:
        raise UserError(f"{dataset.name} decodes to the digest {digest}", f"the digest {dataset.digest}", remedy)
    return digest
