"""Each format decoded by the real loader of its data set, from small files that the test writes."""

import gzip
import io
import struct

import numpy as np
import pytest
import torch
from scipy.io import savemat
from small_files import cifar_batch, idx, mnist_files, picture, pixels, small, tar, zipped

from fourlenses.errors import UserError
from fourlenses.images.classes import CIFAR10, IMAGENETTE, TINY_IMAGENET
from fourlenses.images.formats import decode_cifar, decode_idx, decode_svhn
from fourlenses.images.load import load
from fourlenses.images.sources import Where


def loaded(name, files, counts, folder):
    dataset = small(name, files, counts, folder / "mirror")
    return load(dataset, Where(folder / "cache", folder / "mirror")).parts


def same(images, x, y):
    assert images.x.dtype == torch.uint8
    assert images.y.dtype == torch.int64
    assert images.x.is_contiguous()
    np.testing.assert_array_equal(images.x.numpy(), x)
    assert images.y.tolist() == list(y)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_idx(name, tmp_path):
    parts = loaded(name, mnist_files(30), {"train": 30, "test": 15}, tmp_path)
    same(parts["train"], pixels(30, 28, 28)[:, None], np.arange(30) % 10)
    same(parts["test"], pixels(15, 28, 28)[:, None], np.arange(15) % 10)


def test_idx_with_one_part(tmp_path):
    files = {name: data for name, data in mnist_files(30).items() if name.startswith("t10k")}
    same(loaded("notmnist", files, {"all": 15}, tmp_path)["all"], pixels(15, 28, 28)[:, None], np.arange(15) % 10)


def test_cifar10(tmp_path):
    x, y = pixels(12, 3, 32, 32), np.arange(12) % 10
    pairs = [slice(2 * i, 2 * i + 2) for i in range(5)]
    batches = {f"data_batch_{i + 1}.bin": cifar_batch(y[pair, None], x[pair]) for i, pair in enumerate(pairs)}
    batches |= {"test_batch.bin": cifar_batch(y[10:, None], x[10:]), "batches.meta.txt": b"airplane\n"}
    archive = tar({f"cifar-10-batches-bin/{name}": data for name, data in batches.items()}, "w:gz")
    parts = loaded("cifar10", {"cifar-10-binary.tar.gz": archive}, {"train": 10, "test": 2}, tmp_path)
    same(parts["train"], x[:10], y[:10])
    same(parts["test"], x[10:], y[10:])


def test_cifar100_takes_the_fine_label(tmp_path):
    x, fine = pixels(6, 3, 32, 32), np.array([99, 0, 50, 7, 8, 9])
    both = np.stack([fine // 5, fine], 1)
    files = {"cifar-100-binary/train.bin": cifar_batch(both[:4], x[:4])}
    files |= {
        "cifar-100-binary/test.bin": cifar_batch(both[4:], x[4:]),
        "cifar-100-binary/fine_label_names.txt": b"apple",
    }
    parts = loaded("cifar100", {"cifar-100-binary.tar.gz": tar(files, "w:gz")}, {"train": 4, "test": 2}, tmp_path)
    same(parts["train"], x[:4], fine[:4])
    same(parts["test"], x[4:], fine[4:])


def matlab(x, y):
    file = io.BytesIO()
    savemat(file, {"X": x.transpose(2, 3, 1, 0), "y": y})  # (n, 3, h, w) to (h, w, 3, n)
    return file.getvalue()


def test_svhn_has_the_digit_0_as_10(tmp_path):
    x, y = pixels(8, 3, 32, 32), np.array([10, 1, 2, 9, 10, 3, 4, 5], np.uint8)[:, None]
    files = {f"{part}_32x32.mat": io.BytesIO() for part in ("train", "test")}
    savemat(files["train_32x32.mat"], {"X": x[:5].transpose(2, 3, 1, 0), "y": y[:5]}, do_compression=True)
    savemat(files["test_32x32.mat"], {"X": x[5:].transpose(2, 3, 1, 0), "y": y[5:]})
    parts = loaded("svhn", {name: file.getvalue() for name, file in files.items()}, {"train": 5, "test": 3}, tmp_path)
    same(parts["train"], x[:5], [0, 1, 2, 9, 0])
    same(parts["test"], x[5:], [3, 4, 5])


def test_jpeg_folders(tmp_path):
    flat = [np.full((32, 32, 3), 20 * k, np.uint8) for k in range(10)]  # JPEG keeps a picture of one colour
    members = {}
    for part in ("test", "train"):
        for kind, array in zip(CIFAR10, flat, strict=True):
            members |= {f"cifar10-jpeg75/{part}/{kind}/{i}.jpg": picture(array, "JPEG") for i in (1, 0)}
    parts = loaded("cifar10-jpeg75", {"cifar10-jpeg75.tar.xz": tar(members)}, {"train": 20, "test": 20}, tmp_path)
    expected = np.repeat(np.stack([array.transpose(2, 0, 1) for array in flat]), 2, 0)
    same(parts["train"], expected, np.repeat(np.arange(10), 2))
    same(parts["test"], expected, np.repeat(np.arange(10), 2))


@pytest.mark.parametrize("pack", [tar, zipped])
def test_tiny_imagenet(pack, tmp_path):
    kinds = list(TINY_IMAGENET)
    x = pixels(4, 64, 64, 3)
    grey = pixels(64, 64)
    root = "tiny-imagenet-200"
    annotations = [f"val_{i}.JPEG\t{kinds[k]}\t0\t0\t1\t1\n" for i, k in enumerate((5, 3))]
    members = {
        f"{root}/wnids.txt": "\n".join(kinds).encode(),
        f"{root}/train/{kinds[7]}/images/{kinds[7]}_0.JPEG": picture(x[0]),
        f"{root}/train/{kinds[7]}/{kinds[7]}_boxes.txt": b"0 0 1 1",
        f"{root}/train/{kinds[2]}/images/{kinds[2]}_1.JPEG": picture(grey),
        f"{root}/val/images/val_0.JPEG": picture(x[2]),
        f"{root}/val/images/val_1.JPEG": picture(x[3]),
        f"{root}/val/val_annotations.txt": "".join(annotations).encode(),
        f"{root}/test/images/test_0.JPEG": picture(x[1]),
    }
    parts = loaded("tiny-imagenet", {"archive": pack(members)}, {"train": 2, "test": 2}, tmp_path)
    same(parts["train"], [np.stack([grey] * 3), x[0].transpose(2, 0, 1)], [2, 7])
    same(parts["test"], [x[3].transpose(2, 0, 1), x[2].transpose(2, 0, 1)], [3, 5])


def test_imagenette_is_cut_to_its_centre(tmp_path):
    kinds = list(IMAGENETTE)
    wide, tall, large = pixels(160, 213, 3), pixels(171, 160, 3), np.full((400, 320, 3), 77, np.uint8)
    members = {
        f"imagenette2-160/train/{kinds[9]}/a.JPEG": picture(wide),
        f"imagenette2-160/train/{kinds[1]}/b.JPEG": picture(tall),
        f"imagenette2-160/val/{kinds[4]}/c.JPEG": picture(large),
        "imagenette2-160/noisy_imagenette.csv": b"path",
    }
    files = {"imagenette2-160.tgz": tar(members, "w:gz")}
    parts = loaded("imagenette", files, {"train": 2, "test": 1}, tmp_path)
    expected = [tall[5:165].transpose(2, 0, 1), wide[:, 26:186].transpose(2, 0, 1)]
    same(parts["train"], expected, [1, 9])
    same(parts["test"], np.full((1, 3, 160, 160), 77), [4])


def test_an_archive_with_an_unknown_class_or_picture_size_is_refused(tmp_path):
    files = {"a": tar({"cifar10-jpeg75/train/zebra/0.jpg": picture(pixels(32, 32, 3))})}
    with pytest.raises(UserError, match=r"train/zebra/0.jpg is of the class 'zebra'; expected one of the 10 classes"):
        loaded("cifar10-jpeg75", files, {"train": 1, "test": 0}, tmp_path)
    files = {"b": tar({"cifar10-jpeg75/train/cat/0.jpg": picture(pixels(32, 31, 3))})}
    with pytest.raises(UserError, match=r"train/cat/0.jpg has 31 x 32 pixels; expected 32 x 32"):
        loaded("cifar10-jpeg75", files, {"train": 1, "test": 0}, tmp_path)
    files = {"c": tar({"cifar10-jpeg75/train/cat/0.jpg": picture(pixels(32, 32, 3))[:900]})}
    with pytest.raises(UserError, match=r"train/cat/0.jpg cannot be decoded"):
        loaded("cifar10-jpeg75", files, {"train": 1, "test": 0}, tmp_path)


IMAGES, LABELS = idx(pixels(3, 4, 5)), idx(pixels(3))


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (b"", LABELS, "starts with ; expected 00000803"),
        (LABELS, LABELS, "starts with 00000801; expected 00000803"),
        (IMAGES, IMAGES, "starts with 00000803; expected 00000801"),
        (IMAGES[:-1], LABELS, "an idx file of 59 values; expected 60"),
        (IMAGES + b"0", LABELS, "an idx file of 61 values; expected 60"),
        (b"\0\0\x0d\x03" + IMAGES[4:], LABELS, "starts with 00000d03"),
        (b"\0\0\x08\x03" + struct.pack(">3I", *[2**31] * 3), LABELS, f"an idx file of 0 values; expected {2**93}"),
    ],
)
def test_idx_that_is_none(images, labels, message):
    with pytest.raises(UserError, match=message):
        decode_idx(images, labels)


def test_cifar_that_is_none():
    with pytest.raises(UserError, match="a CIFAR batch of 3072 bytes; expected records of 3073 bytes"):
        decode_cifar([bytes(3072)], 1)


def hdf5():
    return b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM" + bytes(400)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "cannot be read"),
        (b"<html>not found</html>" * 20, "cannot be read"),
        (matlab(pixels(4, 3, 8, 8), np.ones((4, 1)))[:300], "cannot be read"),
        (hdf5(), "cannot be read"),
        (matlab(pixels(4, 3, 8, 8), np.ones((5, 1))), r"expected X of uint8"),
        (matlab(pixels(4, 3, 8, 8).astype(float), np.ones((4, 1))), r"X of float64"),
        (matlab(pixels(4, 3, 8, 8), np.array([["a"], [{"b": 1}]], object)), "expected"),
    ],
)
def test_matlab_that_is_no_svhn(data, message):
    with pytest.raises(UserError, match=message):
        decode_svhn(data)


def test_gzip_is_not_read_beyond_its_limit(tmp_path, monkeypatch):
    files = mnist_files(10) | {"train-images-idx3-ubyte.gz": gzip.compress(bytes(100_000))}
    monkeypatch.setattr("fourlenses.images.sources.MAX_BYTES", 50_000)
    with pytest.raises(UserError, match="train-images-idx3-ubyte.gz unpacks to more than 50000 bytes"):
        loaded("mnist", files, {"train": 10, "test": 5}, tmp_path)
