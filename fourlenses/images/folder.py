"""Any folder of pictures by class."""

from pathlib import Path

from fourlenses.errors import UserError
from fourlenses.images.dataset import Bar, Images, Loaded, digest_images
from fourlenses.images.formats import decode_pictures, picture_shape

PARTS = ("train", "test")


def load_folder(folder: Path, bar: Bar) -> Loaded:
    """The pictures of <folder>/<class>/, or of <folder>/train/<class>/ and <folder>/test/<class>/.

    Classes are in the order of their names, pictures in the order of their paths; the first picture decides size and
    mode (grey or RGB) of all. Names that start with a dot are left out.
    Arguments: `folder`, the folder; `bar`, shows progress.
    Raises UserError if there is no folder or no picture, if a class is not in every part, or, naming the file, if a
    picture cannot be decoded or has another size or mode than the first.
    """
    if not folder.is_dir():
        raise UserError(f"no folder {folder}", "a folder of pictures by class", "correct the path after folder:")
    children = [child.name for child in _entries(folder)]
    roots = {part: folder / part for part in PARTS} if children == sorted(PARTS) else {"all": folder}
    classes = {part: tuple(c.name for c in _entries(root) if _is_class(c)) for part, root in roots.items()}
    names = next(iter(classes.values()))
    for part, found in classes.items():
        if found != names:
            given = f"{folder}: the part {part} has other classes than the part {next(iter(classes))}"
            raise UserError(given, "the same classes in each part", "add or remove folders")
    files = {part: [(f, k) for k, c in enumerate(names) for f in _entries(root / c)] for part, root in roots.items()}
    empty = [part for part, found in files.items() if not found]
    if empty:
        raise UserError(f"{folder}: no pictures in {empty[0]}", "<class>/<picture>", "add pictures")
    parts = _decode(files, bar)
    label = "folder of the user"
    return Loaded(f"folder:{folder}", parts, names, "the user's", str(folder), label, digest_images(parts))


def _decode(files: dict[str, list[tuple[Path, int]]], bar: Bar) -> dict[str, Images]:
    first = next(iter(files.values()))[0][0]
    shape = picture_shape(str(first), _read(first))
    parts = {}
    for part, found in files.items():
        pictures = [(str(path), _read(path)) for path, _ in found]
        parts[part] = decode_pictures(pictures, [k for _, k in found], shape, bar)
    return parts


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise UserError(f"{path} is no file", "pictures only in the folder of a class", "move or remove it")
    return path.read_bytes()


def _is_class(path: Path) -> bool:
    if not path.is_dir():
        raise UserError(f"{path} is no folder", "one folder a class", "move the file into the folder of its class")
    return True


def _entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
