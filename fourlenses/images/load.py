"""A data set by name, from whichever source answers, checked against what it promises."""

from pathlib import Path

from fourlenses import runtime
from fourlenses.images.computed import SHAPED
from fourlenses.images.dataset import Bar, Dataset, Images, Loaded, keep_promise
from fourlenses.images.folder import load_folder
from fourlenses.images.registry import DATASETS
from fourlenses.images.sources import Where, obtain
from fourlenses.params import choose


def load_dataset(name: str, *, cache: Path, mirror: Path | None, progress: bool) -> dict[str, Images]:
    """The parts of a data set: "train" and "test" where it has them, otherwise "all". See `fetch_dataset`."""
    return fetch_dataset(name, cache=cache, mirror=mirror, progress=progress).parts


def fetch_dataset(name: str, *, cache: Path, mirror: Path | None, progress: bool) -> Loaded:
    """A data set in memory, with the source that answered and the digest of what was decoded.

    Arguments: `name`, a key of DATASETS, `folder:<path>`, or `uniform-noise:<c>x<h>x<w>` and `constant:<c>x<h>x<w>`
    for those two at another size; `cache`, the folder where downloads are kept; `mirror`, a folder with copies of the
    files, tried first; `progress`, whether to show bars on standard error.
    Raises UserError if the name is unknown, if no source gives good files (naming each, and why), or if the decoded
    images are not what the data set promises.
    """
    kind, _, rest = name.partition(":")
    if kind == "folder":
        return load_folder(Path(rest), _bar(progress))
    if kind in SHAPED and rest:
        return load(SHAPED[kind](rest), Where(cache, mirror, progress))
    choices = {**DATASETS, "folder:<path>": None}  # None is never chosen: it is taken above
    return load(choose("data set", name, choices), Where(cache, mirror, progress))


def load(dataset: Dataset, where: Where) -> Loaded:
    """Obtain, decode and check one data set."""
    contents, source = obtain(dataset.name, dataset.sources, where) if dataset.sources else ({}, "computed")
    parts = dataset.decode(contents, _bar(where.progress))
    digest = keep_promise(dataset, parts)
    return Loaded(dataset.name, parts, dataset.classes, dataset.licence, dataset.homepage, source, digest)


def _bar(progress: bool) -> Bar:
    return runtime.progress if progress else lambda items, _: items
