"""Small files in the formats of the data sets, and data sets that are made of them."""

import gzip
import hashlib
import io
import struct
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from fourlenses.images import DATASETS, Dataset
from fourlenses.images.sources import File, Mirror


def pixels(*shape: int, seed: int = 0) -> np.ndarray:
    """Random uint8 values."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def idx(array: np.ndarray) -> bytes:
    """An array of unsigned bytes as an idx file."""
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def cifar_batch(labels: np.ndarray, images: np.ndarray) -> bytes:
    """Labels (n, 1 or 2) and images (n, 3, 32, 32) as a binary CIFAR batch."""
    return np.concatenate([labels.astype(np.uint8), images.reshape(len(images), -1)], axis=1).tobytes()


def picture(array: np.ndarray, kind: str = "PNG") -> bytes:
    """An image (h, w) or (h, w, 3 or 4) as an encoded picture."""
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind)
    return file.getvalue()


def tar(members: Mapping[str, bytes], mode: str = "w:xz", extra: tuple[tarfile.TarInfo, ...] = ()) -> bytes:
    """A tar archive of these members, and of further headers without content."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in extra:
            archive.addfile(info)
    return file.getvalue()


def zipped(members: Mapping[str, bytes], links: Mapping[str, bytes] | None = None) -> bytes:
    """A zip archive of these members, and of symbolic links."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        for name, target in (links or {}).items():
            info = zipfile.ZipInfo(name)
            info.external_attr = 0o120777 << 16
            archive.writestr(info, target)
    return file.getvalue()


def listed(files: Mapping[str, bytes]) -> tuple[File, ...]:
    """The files as a source lists them: by the SHA-256 of their content, after gunzip for .gz."""
    listing = []
    for name, data in files.items():
        gzipped = name.endswith("ubyte.gz")
        content = gzip.decompress(data) if gzipped else data
        served = f"md5:{hashlib.md5(data).hexdigest()}"
        listing.append(File(name, hashlib.sha256(content).hexdigest(), gzipped, served))
    return tuple(listing)


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write the files and return their folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def small(name: str, files: Mapping[str, bytes], counts: Mapping[str, int], mirror: Path) -> Dataset:
    """The data set of that name as it would be if it were made of these files, which are put into the mirror."""
    write(mirror, files)
    return replace(DATASETS[name], counts=counts, digest=None, sources=(Mirror("", listed(files)),))


def mnist_files(n: int = 30, seed: int = 0) -> dict[str, bytes]:
    """The four files of MNIST with n training and n // 2 test images."""
    files = {}
    for part, m in (("train", n), ("t10k", n // 2)):
        files[f"{part}-images-idx3-ubyte.gz"] = gzip.compress(idx(pixels(m, 28, 28, seed=seed)))
        files[f"{part}-labels-idx1-ubyte.gz"] = gzip.compress(idx(np.arange(m, dtype=np.uint8) % 10))
    return files
