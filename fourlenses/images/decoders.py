"""What turns the files of a source into the parts of a data set, one function a layout."""

from collections.abc import Callable, Mapping

from fourlenses.errors import UserError
from fourlenses.images.archives import read_archive
from fourlenses.images.dataset import Bar, Images
from fourlenses.images.formats import decode_cifar, decode_idx, decode_pictures, decode_svhn

Decode = Callable[[Mapping[str, bytes], Bar], dict[str, Images]]


def idx(**parts: tuple[str, str]) -> Decode:
    """Decoder of parts, each of an idx file of images and one of labels."""
    return lambda contents, _: {part: decode_idx(contents[x], contents[y]) for part, (x, y) in parts.items()}


def cifar(n_labels: int, **parts: str) -> Decode:
    """Decoder of a binary CIFAR archive: the beginning of the names of each part's batches."""

    def decode(contents: Mapping[str, bytes], _: Bar) -> dict[str, Images]:
        (archive,) = contents.values()
        batches = read_archive(archive, lambda name: name.endswith(".bin"))
        chosen = {p: [batches[n] for n in sorted(batches) if n.split("/")[-1].startswith(s)] for p, s in parts.items()}
        return {part: decode_cifar(found, n_labels) for part, found in chosen.items()}

    return decode


def svhn(**parts: str) -> Decode:
    """Decoder of one MATLAB file a part."""
    return lambda contents, _: {part: decode_svhn(contents[name]) for part, name in parts.items()}


def tree(folders: tuple[str, ...], shape: tuple[int, int, int], parts: Mapping[str, str], crop: bool = False) -> Decode:
    """Decoder of an archive of pictures <root>/<part>/<class>/.../<picture>, the classes in the order of `folders`.

    The folder of a part may instead hold <part>/images/<picture> and <part>/<part>_annotations.txt, whose lines name a
    picture and its class.
    """
    label = {folder: k for k, folder in enumerate(folders)}

    def decode(contents: Mapping[str, bytes], bar: Bar) -> dict[str, Images]:
        (archive,) = contents.values()
        kinds = (".jpg", ".jpeg", ".png", "_annotations.txt")
        members = read_archive(archive, lambda name: name.lower().endswith(kinds) and "/." not in name)
        return {part: one(members, folder, bar) for part, folder in parts.items()}

    def one(members: Mapping[str, bytes], folder: str, bar: Bar) -> Images:
        annotations = [data for name, data in members.items() if name.endswith(f"/{folder}_annotations.txt")]
        lines = annotations[0].decode().splitlines() if annotations else []
        known = dict(line.split("\t")[:2] for line in lines)
        pictures, labels = [], []
        for name in sorted(name for name in members if not name.endswith(".txt")):
            path = name.split("/")
            if len(path) < 3 or path[1] != folder:
                continue
            kind = known.get(path[-1]) if known else path[2]
            if kind not in label:
                raise UserError(f"{name} is of the class {kind!r}", f"one of the {len(label)} classes", "remove it")
            pictures.append((name, members[name]))
            labels.append(label[kind])
        order = sorted(range(len(labels)), key=labels.__getitem__)  # stable: by class, then by path
        chosen, kinds = [pictures[i] for i in order], [labels[i] for i in order]
        return decode_pictures(chosen, kinds, shape, bar, convert=True, crop=crop)

    return decode
